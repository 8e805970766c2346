"""EM and F1 by the CMRC2018 rules: each quirk of the published script as one hand-made case."""

from __future__ import annotations

import pytest

from clue_runner.metrics import answers


def test_punctuation_set_has_the_scripts_33_entries() -> None:
    assert len(answers.PUNCTUATION) == 33
    assert "……" in answers.PUNCTUATION
    assert not answers.PUNCTUATION & set("…‘.,!?;\"'()[]%")


@pytest.mark.parametrize(
    ("prediction", "reference", "equal"),
    [
        ("《红楼梦》", "红楼梦", 1.0),
        ("  NBA ", "nba", 1.0),
        ("1-2", "12", 1.0),
        ("好……", "好", 0.0),  # the ellipsis is an entry of two characters: never removed
        ("‘好’", "好", 0.0),  # the opening quote is not in the set
        ("“好”", "好", 1.0),
        ("3.5", "35", 0.0),  # ASCII full stop stays
        ("a b", "ab", 0.0),  # inner spaces stay
        ("　北京　", "北京", 1.0),  # ideographic spaces at the ends are stripped
    ],
)
def test_exact_match_quirks(prediction: str, reference: str, equal: float) -> None:
    assert answers.exact_match(prediction, [reference]) == equal


def test_exact_match_takes_any_reference() -> None:
    assert answers.exact_match("北京", ["上海", "北京。"]) == 1.0
    assert answers.exact_match("北京", []) == 0.0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("2010-2011年", ("20102011", "年")),  # skipped punctuation does not end the run
        ("iPhone 手机", ("iphone", "手", "机")),
        ("约3.5%。", ("约", "3.5", "%")),
        ("USS Port Royal号", ("uss", "port", "royal", "号")),
        ("it's", ("it", "'s")),
        ("ok. fine.", ("ok.", "fine", ".")),  # one sentence a run: only the last full stop is split off
        ("々", ("々",)),  # outside U+4E00-9FA5: a run of its own
        ("", ()),
        ("，。", ()),
    ],
)
def test_mixed_tokens(text: str, tokens: tuple[str, ...]) -> None:
    assert answers.segment(text) == tokens


def test_f1_uses_the_longest_contiguous_run() -> None:
    # 甲乙 and 丙丁 are both common, 甲乙丙丁 as a subsequence has 4, as a run only 2
    assert answers.overlap_f1("甲乙戊丙丁", ["甲乙丙丁"]) == pytest.approx(
        2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)
    )


def test_f1_takes_the_best_reference_and_zero_without_overlap() -> None:
    assert answers.overlap_f1("北京", ["上海", "北京市"]) == pytest.approx(0.8)
    assert answers.overlap_f1("天津", ["上海"]) == 0.0
    assert answers.overlap_f1("", ["上海"]) == 0.0


def test_unanswered_questions_count_zero_and_are_named() -> None:
    scores = answers.score_answers({"a": "北京", "z": "无关"}, {"a": ["北京"], "b": ["上海"]})
    assert (scores.exact_match, scores.f1, scores.average) == (50.0, 50.0, 50.0)
    assert scores.unanswered == ("b",)
    assert scores.by_question == {"a": (1.0, 1.0), "b": (0.0, 0.0)}
    low, high = scores.exact_match_interval
    assert 0.0 <= low <= 50.0 <= high <= 100.0


def test_random_answers_are_fixed_spans_of_their_contexts() -> None:
    contexts = {"a": "一二三四五六七八九十" * 10, "b": "短"}
    spans = answers.random_answers(contexts, longest=5)
    assert spans == answers.random_answers(contexts, longest=5)
    assert spans["b"] == "短"
    assert spans["a"] in contexts["a"] and 1 <= len(spans["a"]) <= 5

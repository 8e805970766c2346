"""The SogouQA scorer: hand cases, quirks of the tool, broken gold files."""

from __future__ import annotations

from pathlib import Path

import pytest

from clue_runner.errors import DataError
from clue_runner.metrics.python2_sets import Python2Set, string_hash
from clue_runner.metrics.sogou import character_overlap, read_gold, score_answer, score_answers

MARKS = frozenset(["", ",", "、", "·"])


def test_character_f1_of_the_article() -> None:
    assert character_overlap("北京市", "北京")[0] == pytest.approx(0.8)
    assert character_overlap("上海", "北京") == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "exact", "f1"),
    [
        ("北京", 1, 1.0),
        ("北 京", 1, 1.0),  # white space is dropped
        ("ＢＥＩＪＩＮＧ", 1, 1.0),  # full width and case
        ("北京市", 0, 0.8),
        ("", 0, 0.0),
        ("   ", 0, 0.0),
        ("东", 0, 0.0),
    ],
)
def test_exact_and_fuzzy(answer: str, exact: int, f1: float) -> None:
    score = score_answer(answer, "北京", ("北京", "beijing"), MARKS)
    assert (score.exact, score.f1) == (exact, pytest.approx(f1))


def test_a_list_is_exact_in_any_order_but_a_double_mark_is_a_part() -> None:
    assert score_answer("乙、甲", "甲、乙", ("甲乙",), MARKS).exact == 1
    assert score_answer("乙、、甲", "甲、乙", ("甲乙",), MARKS).exact == 0


def test_python2_hash_of_known_strings() -> None:
    # Published values of hash() in CPython 2.7 on 64 bits.
    assert string_hash(b"") == 0
    assert string_hash(b"a") == 12416037344
    assert list(Python2Set([b"a", b"b", b"c"])) == [b"a", b"c", b"b"]


def test_unknown_question_and_missing_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="qid_answer_expand"):
        read_gold(tmp_path)
    (tmp_path / "punctuation").write_text(",\n", encoding="utf-8")
    (tmp_path / "qid_answer_expand").write_text("1\t北京\t北京|京\n2\t上海\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"qid_answer_expand:2.*2 columns"):
        read_gold(tmp_path)
    (tmp_path / "qid_answer_expand").write_text("1\t北京\t北京|京\n", encoding="utf-8")
    gold = read_gold(tmp_path)
    with pytest.raises(DataError, match="9"):
        score_answers([("9", "北京")], gold)
    with pytest.raises(DataError, match="no answers"):
        score_answers([], gold)

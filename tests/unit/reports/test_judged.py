"""Confusions, lengths, order and marks by hand."""

from __future__ import annotations

from clue_runner.adapters.shown.shown import Shown, ShownSpan, ShownText
from clue_runner.reports.judged import (
    Judged,
    by_length,
    calibration,
    confusion,
    judge,
    mistake_line,
    mistakes,
)
from clue_runner.reports.marks import LONG, pieces
from clue_runner.reports.mistakes import MOST, show_mistakes


def record(number: int, gold: str, answer: str, probability: float | None = 0.5, text: str = "abc") -> Shown:
    return Shown(number, (ShownText("text", text),), answer, gold, gold == answer, probability)


def judged(*pairs: tuple[str, str], probability: float | None = 0.5) -> list[Judged]:
    return [Judged(record(number, *pair, probability), 3) for number, pair in enumerate(pairs)]


def test_confusion_of_labels_by_hand() -> None:
    found = confusion(judged(("a", "a"), ("a", "b"), ("a", "b"), ("b", "b"), ("c", "a")), ["a", "b", "c"])
    assert found is not None and found.unit == "records" and found.fits
    assert found.counts == {("a", "a"): 1, ("a", "b"): 2, ("b", "b"): 1, ("c", "a"): 1}
    assert found.pairs == [("a", "b", 2, 2 / 3), ("c", "a", 1, 1.0)]


def test_many_labels_give_top_pairs_alone() -> None:
    names = [str(number) for number in range(119)]
    found = confusion(judged(("0", "1"), ("0", "1"), ("2", "3")), names)
    assert found is not None and not found.fits and found.pairs[0][:3] == ("0", "1", 2)


def test_confusion_of_spans_by_hand() -> None:
    spans = (
        ShownSpan(0, 2, "name", "gold"),
        ShownSpan(0, 2, "name", "predicted"),
        ShownSpan(3, 5, "city", "gold"),
        ShownSpan(3, 5, "name", "predicted"),
        ShownSpan(6, 7, "city", "gold"),
        ShownSpan(8, 9, "city", "predicted"),
    )
    shown = Shown(1, (ShownText("text", "0123456789", spans),), "x", "y", False)
    found = confusion([Judged(shown, 10)], ["name", "city"])
    assert found is not None and found.unit == "spans"
    assert found.counts == {
        ("name", "name"): 1, ("city", "name"): 1, ("city", None): 1, (None, "city"): 1,
    }  # fmt: skip


def test_answers_that_are_no_labels_have_no_confusion() -> None:
    assert confusion(judged(("some text", "other")), []) is None
    assert confusion(judged(("some text", "other")), ["a"]) is None


def test_mistakes_come_most_confident_first() -> None:
    some = [Judged(record(n, "a", "b", p), 3) for n, p in enumerate((0.4, 0.9, 0.6))]
    assert [one.shown.id for one in mistakes([*some, Judged(record(9, "a", "a"), 3)])] == [1, 2, 0]


def test_lengths_by_hand() -> None:
    shown = [
        record(n, "a", "a" if n % 2 else "b", text="x" * length) for n, length in enumerate((1, 1, 2, 5))
    ]
    found = by_length(judge(shown, None, None), groups=2)
    assert [(one.low, one.high, one.count, one.right) for one in found] == [(1, 1, 2, 1), (2, 5, 2, 1)]
    full = judge(shown, [8, 3, 4, 5], 8)
    assert [one.at_limit for one in full] == [True, False, False, False]


def test_equal_lengths_stay_together() -> None:
    shown = [record(n, "a", "a", text="xx") for n in range(7)]
    assert [one.count for one in by_length(judge(shown, None, None), groups=3)] == [7]


def test_calibration_needs_probabilities() -> None:
    assert calibration(judged(("a", "b"), probability=None)) is None
    assert calibration(judged(("a", "b"), probability=1.2)) is None  # a sum of votes is none
    found = calibration(judged(("a", "b"), ("a", "a")))
    assert found is not None and found.error == 0.0  # one of two is right at 0.5


def test_a_mistake_without_texts_keeps_labels_alone() -> None:
    label, text = Judged(record(1, "a", "b"), 3), Judged(record(2, "secret", "b"), 3)
    assert mistake_line(label, texts=False, labels=frozenset("ab")).keys() >= {
        "gold",
        "answer",
        "probability",
    }
    entry = mistake_line(text, texts=False, labels=frozenset("ab"))
    assert "gold" not in entry and "texts" not in entry and "secret" not in str(entry)
    assert mistake_line(text, texts=True, labels=frozenset())["texts"][0]["text"] == "abc"


def test_pieces_join_to_the_text_and_are_marked() -> None:
    spans = (ShownSpan(2, 5, "x", "gold"), ShownSpan(4, 8, "4567", "predicted"))
    found = pieces(ShownText("text", "0123456789", spans))
    assert "".join(one.text for one in found) == "0123456789"
    assert [(one.text, one.role) for one in found] == [
        ("01", ""), ("23", "gold"), ("4", "both"), ("567", "predicted"), ("89", ""),
    ]  # fmt: skip
    assert [one.labels for one in found if one.labels] == [(("x", "gold"),)]


def test_one_place_with_two_labels_differs() -> None:
    spans = (ShownSpan(0, 2, "city", "gold"), ShownSpan(0, 2, "name", "predicted"))
    assert pieces(ShownText("text", "ab", spans))[0].role == "differ"


def test_a_long_text_keeps_what_is_marked() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(3 * LONG))
    found = pieces(ShownText("text", text, (ShownSpan(1500, 1503, "x", "gold"),)))
    assert sum(len(one.text) + one.elided for one in found) == len(text)
    assert [one.text for one in found if one.role == "gold"] == [text[1500:1503]]
    assert sum(len(one.text) for one in found) < LONG


def test_spans_outside_the_text_are_left_out() -> None:
    assert [one.role for one in pieces(ShownText("text", "ab", (ShownSpan(1, 9, "x", "gold"),)))] == [""]


def test_the_list_is_cut_and_says_of_how_many() -> None:
    wrong = judged(*[("a", "b")] * (MOST + 5))
    found = show_mistakes(wrong, 1000, ["a", "b"], texts=True, in_tokens=False)
    assert (len(found.items), found.wrong, found.total) == (MOST, MOST + 5, 1000)
    assert (found.golds, found.answers) == (["a"], ["b"])

"""Templates: joined lists, literal text, and marks around spans in either order."""

from __future__ import annotations

from typing import Any

import pytest

from clue_runner.data.cards import Template, find_card
from clue_runner.data.template import FieldError, check_fields, fill_template

WSC = find_card("cluewsc2020").template
CSL = find_card("csl")


def wsc_record(text: str, noun: str, noun_at: int, pronoun: str, pronoun_at: int) -> dict[str, Any]:
    target = {"span1_text": noun, "span1_index": noun_at, "span2_text": pronoun, "span2_index": pronoun_at}
    return {"text": text, "target": target}


def test_marks_go_around_both_spans_in_either_order() -> None:
    assert WSC is not None
    assert fill_template(wsc_record("小明说他累", "小明", 0, "他", 3), WSC) == ("_小明_说[他]累",)
    assert fill_template(wsc_record("他说小明累", "小明", 2, "他", 0), WSC) == ("[他]说_小明_累",)


def test_marks_count_characters_not_bytes_or_utf16_units() -> None:
    assert WSC is not None
    assert fill_template(wsc_record("𠮷𠮷小明说他", "小明", 2, "他", 5), WSC) == ("𠮷𠮷_小明_说[他]",)


@pytest.mark.parametrize(("noun", "at"), [("小明", 1), ("小明", -2), ("小红", 0), ("小明", 99), ("", 0)])
def test_a_span_that_is_elsewhere_is_refused(noun: str, at: int) -> None:
    assert WSC is not None
    with pytest.raises(FieldError, match=r"span1_text"):
        fill_template(wsc_record("小明说他累", noun, at, "他", 3), WSC)


def test_overlapping_spans_are_refused() -> None:
    assert WSC is not None
    with pytest.raises(FieldError, match="overlap"):
        fill_template(wsc_record("小明说他累", "明说他", 1, "他", 3), WSC)


def test_csl_joins_keywords_with_a_full_width_semicolon() -> None:
    assert CSL.template is not None
    assert fill_template({"keyword": ["甲", "乙"], "abst": "文"}, CSL.template) == ("甲；乙", "文")


def test_braces_in_the_data_are_left_alone() -> None:
    template = Template(parts=["问：{a}"])
    assert fill_template({"a": "{b} {a} 100%"}, template) == ("问：{b} {a} 100%",)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"keyword": ["甲"]}, "no key 'abst'"),
        ({"abst": 3, "keyword": ["甲"]}, "'abst' must be a string"),
        ({"abst": "文", "keyword": "甲"}, "'keyword' must be a list of strings"),
        ({"abst": "文", "keyword": [1]}, "'keyword' must be a list of strings"),
    ],
)
def test_fields_are_checked(record: dict[str, Any], said: str) -> None:
    with pytest.raises(FieldError, match=said):
        check_fields(record, CSL)


def test_true_is_no_integer_and_a_path_may_be_cut_short() -> None:
    card = find_card("cluewsc2020")
    record = wsc_record("小明说他累", "小明", 0, "他", 3)
    record["target"]["span1_index"] = True
    with pytest.raises(FieldError, match="must be an integer"):
        check_fields(record, card)
    with pytest.raises(FieldError, match=r"no key 'target\.span1_text'"):
        check_fields({"text": "小明", "target": "小明"}, card)

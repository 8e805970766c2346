from __future__ import annotations

import pytest

from clue_runner.data.cards import all_cards
from clue_runner.submission.names import name_problem, recognise

CARDS = all_cards()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ocnli_predict.json", "ocnli_50k_predict.json"),
        ("OCNLI_50k.json", "ocnli_50k_predict.json"),
        ("wsc_predict.json", "cluewsc11_predict.json"),
        ("cluewsc2020_predict.json", "cluewsc11_predict.json"),
        ("cluewsc_predict.json", "cluewsc11_predict.json"),
        ("tnews_predict.json", "tnews11_predict.json"),
        ("AFQMC_predict.json", "afqmc_predict.json"),
        ("afqmc_predict.jsonl", "afqmc_predict.json"),
        ("afqmc_predict (1).json", "afqmc_predict.json"),
        ("afqmc_predict.json.txt", "afqmc_predict.json"),
        ("afqmc-predict.json", "afqmc_predict.json"),
        ("csl_prediction.json", "csl_predict.json"),
        ("iflytek.json", "iflytek_predict.json"),
        ("cmnli_predicts.json", "cmnli_predict.json"),
    ],
)
def test_wrong_names_lead_to_the_right_one(name: str, expected: str) -> None:
    match = recognise(name, CARDS)
    assert match.candidates[0].submission.file == expected
    problem = name_problem(match, name, f"out/{name}", match.candidates[0])
    assert problem is not None and problem.allowed == expected
    assert problem.fix is not None and problem.fix.startswith("mv ") and problem.fix.endswith(expected)


def test_official_names_are_taken_as_they_are() -> None:
    for card in CARDS.values():
        for submission in card.submissions:
            match = recognise(submission.file, CARDS)
            assert match.problem is None
            assert [one.submission for one in match.candidates] == [submission]


def test_a_name_with_two_meanings_names_both_versions() -> None:
    match = recognise("wsc_predict.json", CARDS)
    assert {one.submission.split for one in match.candidates} == {"test1.1", "test1.0"}
    assert match.problem is not None and "CLUE issue 97" in match.problem


def test_a_strange_name_is_not_guessed() -> None:
    match = recognise("metrics.json", CARDS)
    assert match.candidates == ()
    assert name_problem(match, "metrics.json", "metrics.json", None) is not None


def test_inside_a_zip_the_fix_is_no_rename() -> None:
    match = recognise("ocnli_predict.json", CARDS)
    problem = name_problem(match, "ocnli_predict.json", "submit.zip:ocnli_predict.json", match.candidates[0])
    assert problem is not None and problem.fix == "clue predict --task ocnli --split test"

"""Our scorers against the published scripts, on real gold and perturbed predictions."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clue_runner.data.records import Entity
from clue_runner.metrics.answers import random_answers, score_answers
from clue_runner.metrics.entities import score_entities

pytestmark = pytest.mark.real_data


def golden(folder: Path, name: str) -> Any:
    return json.loads((folder / "goldens" / name).read_text(encoding="utf-8"))


def member(folder: Path, archive: str, name: str) -> bytes:
    with zipfile.ZipFile(folder / "official" / archive) as opened:
        return opened.read(name)


def questions(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    document = json.loads(member(folder, "cmrc2018_public.zip", "dev.json"))
    return [
        (paragraph["context"], question)
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def test_cmrc2018_equals_the_published_script(real_data: Path) -> None:
    expected = golden(real_data, "cmrc2018_dev.json")
    references = {q["id"]: [answer["text"] for answer in q["answers"]] for _, q in questions(real_data)}
    scores = score_answers(expected["predictions"], references)

    assert len(references) == expected["total"]
    assert len(scores.unanswered) == expected["skip"]
    assert scores.exact_match == pytest.approx(expected["em"], abs=1e-9)
    assert scores.f1 == pytest.approx(expected["f1"], abs=1e-9)
    assert expected["per_question_em_f1"].keys() == expected["predictions"].keys()
    for name, (em, f1) in expected["per_question_em_f1"].items():
        assert scores.by_question[name] == pytest.approx((em, f1), abs=1e-9), name
    low, high = scores.exact_match_interval
    assert low < scores.exact_match < high and high - low < 5


def test_random_spans_score_next_to_nothing(real_data: Path) -> None:
    asked = questions(real_data)
    references = {q["id"]: [answer["text"] for answer in q["answers"]] for _, q in asked}
    scores = score_answers(random_answers({q["id"]: context for context, q in asked}), references)
    assert scores.exact_match < 0.5
    assert scores.f1 < 10


def entities(label: Mapping[str, Mapping[str, list[list[int]]]]) -> list[Entity]:
    return [
        Entity(name, start, end, surface)
        for name, mentions in label.items()
        for surface, spans in mentions.items()
        for start, end in spans
    ]


def test_cluener_equals_the_published_script(real_data: Path) -> None:
    expected = golden(real_data, "cluener_dev.json")
    lines = member(real_data, "cluener_public.zip", "dev.json").decode("utf-8").split("\n")
    gold = [entities(json.loads(line)["label"]) for line in lines if line]
    scores = score_entities(
        [entities(label) for label in expected["predictions"]], gold, sorted(expected["per_type"])
    )

    assert scores.site_macro_f1 / 100 == pytest.approx(expected["site_macro_f1"], abs=1e-9)
    assert scores.strict_micro_f1 / 100 == pytest.approx(expected["strict_micro_f1"], abs=1e-9)
    for name, f1 in expected["per_type"].items():
        site = scores.by_type[name].site_f1
        assert site is not None and site / 100 == pytest.approx(f1, abs=1e-9), name
    assert scores.strict_macro_f1 <= scores.site_macro_f1
    for name, (low, high) in scores.intervals.items():
        assert low < getattr(scores, name) < high

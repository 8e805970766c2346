"""The shipped samples of the tasks that choose: as their script writes them, and complete."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clue_runner.data.cards import find_card
from clue_runner.data.check import check_source
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_samples_choices.py"
TASKS = ("c3", "chid", "diagnostics")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_samples_choices", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path  # the script makes its neighbour importable
    return module


@pytest.mark.parametrize("name", TASKS)
def test_the_files_are_what_the_script_writes(name: str, script: ModuleType) -> None:
    card = find_card(name)
    folder = card.folder / "sample"
    made = script.MAKERS[name](card)
    assert {path.name for path in folder.iterdir()} == set(made)
    assert {path.name for path in folder.iterdir() if path.read_bytes() != made[path.name]} == set()


@pytest.mark.parametrize("name", TASKS)
def test_a_sample_passes_its_own_check(name: str) -> None:
    card = find_card(name)
    report = check_source(card, locate(card, "sample"))
    assert report.problems == [] and report.complete
    assert card.sample is not None
    assert {split: counts["usable"] for split, counts in report.counts.items()} == dict(card.sample.records)


def test_official_oddities_are_in_the_samples() -> None:
    c3, chid = find_card("c3"), find_card("chid")
    sizes = {
        split: {len(record.choices) for record in read_records(c3, locate(c3, "sample"), split).items}
        for split in c3.splits
    }
    assert sizes["train"] <= {2, 3, 4} and max(sizes["test1.1"]) > 4
    ids = [record.id for record in read_records(c3, locate(c3, "sample"), "test1.0").items]
    assert sorted(ids) == list(range(64)) and ids != sorted(ids)
    blanks = [len(record.tags) for record in read_records(chid, locate(chid, "sample"), "dev").items]
    assert min(blanks) >= 1 and max(blanks) > 2

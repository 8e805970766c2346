"""The shipped sample records: as the script writes them, in the official layout, learnable, no text twice."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from clue_runner.data.cards import all_cards
from clue_runner.data.check import check_source
from clue_runner.data.locate import locate
from clue_runner.data.readers.text import read_text_records

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_samples.py"
CARDS = {
    name: card
    for name, card in all_cards().items()
    if card.adapter == "classification" and "train" in card.splits
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_samples", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(CARDS))
def test_the_files_are_what_the_script_writes(name: str, script: ModuleType) -> None:
    folder = CARDS[name].folder / "sample"
    made = script.make_task(name)
    assert {path.name for path in folder.iterdir()} == set(made)
    assert {path.name for path in folder.iterdir() if path.read_bytes() != made[path.name]} == set()


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_sample_passes_its_own_check(name: str) -> None:
    card = CARDS[name]
    report = check_source(card, locate(card, "sample"))
    assert report.ok and report.complete and report.warnings == []
    sizes = {split: counts["usable"] for split, counts in report.counts.items()}
    first = {"train": 1024, "dev": 256} if name == "afqmc" else {"train": 256, "dev": 64}
    assert sizes == first | dict.fromkeys(card.test_splits, 64)


def test_afqmc_is_learnable_from_its_wording() -> None:
    """The second question's kind alone tells the label in most pairs; the majority class is far below."""
    card = CARDS["afqmc"]
    source = locate(card, "sample")
    train, dev = (read_text_records(card, source, split).items for split in ("train", "dev"))
    share = sum(record.label == "1" for record in train) / len(train)
    assert 0.4 < share < 0.6
    words = {"额度": 0, "利息": 0, "费": 0, "哪一天": 0, "几号": 0, "还款": 0, "哪天": 0, "到期": 0}
    hits = sum((any(word in record.texts[1] for word in words)) == (record.label == "1") for record in dev)
    majority = Counter(record.label for record in dev).most_common(1)[0][1]
    assert 100 * (hits - majority) / len(dev) > 10


def test_official_oddities_are_in_the_samples() -> None:
    def rows(name: str, split: str) -> list[dict[str, object]]:
        card = CARDS[name]
        lines = (card.folder / "sample" / card.splits[split].file).read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    csl = [row["id"] for row in rows("csl", "test")]
    assert sorted(csl) == list(range(1, 65)) and csl != sorted(csl)
    assert [row["id"] for row in rows("cluewsc2020", "test1.0")] == list(range(1, 65))
    targets = [row["target"] for row in rows("cluewsc2020", "test1.1")]
    assert any(target["span2_index"] < target["span1_index"] for target in targets)  # type: ignore[index]
    assert all(row["keywords"] == "" for row in rows("tnews", "test1.1"))
    assert "level" in rows("ocnli", "dev")[0] and "idx" in rows("cluewsc2020", "train")[0]

"""Turns question files into train, dev and test: split in a seeded order, mixed, written in the list layout.

In: files in either layout of ``readers_passages``. Out: files of one folder, or the same in memory.
Knows nothing about tokens or models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_runner.data.readers.passages import Questions, parse_questions
from clue_runner.data.records import PassagesRecord
from clue_runner.data.sources import DataSource, MemorySource
from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import read_regular

SPLIT_SEED = 42
DEV_SHARE = 0.2
# WebQA v1.0's own names for the splits, the annotated ones first.
OFFICIAL = {
    "train": ("me_train.json", "me_train.ann.json"),
    "dev": ("me_validation.ann.json", "me_validation.ir.json"),
    "test": ("me_test.ann.json", "me_test.ir.json"),
}
FILES = {"train": "train.json", "dev": "dev.json", "test": "test.json"}


@dataclass(frozen=True)
class Converted:
    """Records by split, and the findings in each file read."""

    splits: Mapping[str, tuple[PassagesRecord, ...]]
    read: Mapping[str, Questions]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return split -> counts, as ``clue data convert`` shows them."""
        return {split: figures(records) for split, records in self.splits.items()}

    def notes(self) -> list[str]:
        """Return the counts of what was left out or noticed in each file read."""
        return [
            f"{file}: {count:,} {what}"
            for file, questions in self.read.items()
            for what, count in (questions.skipped | questions.counts).items()
        ]


def open_questions(path: Path) -> DataSource:
    """Return one file of questions as train and dev, split 4 to 1 in the order of seed 42.

    Raises:
        DataError: it cannot be read, or holds invalid records (with file:line).
    """
    converted = convert(path)
    files = {FILES[split]: to_bytes(records) for split, records in converted.splits.items()}
    return MemorySource(str(path), files, tuple(converted.notes()))


def convert(
    path: Path,
    *,
    seed: int = SPLIT_SEED,
    dev_share: float = DEV_SHARE,
    mix: Path | None = None,
    times: int = 2,
) -> Converted:
    """Return the questions of a file or of WebQA's folder as splits.

    Args:
        path: one file, split in a seeded order; or a folder with WebQA's own files, one per split.
        seed: that of the order.
        dev_share: fraction of the questions that becomes dev.
        mix: another file, all of whose questions are trained on.
        times: how often an epoch repeats the questions of ``path`` if ``mix`` is given.

    Raises:
        UsageError: a fraction outside 0 to 1.
        DataError: missing or broken files.
    """
    if not 0 < dev_share < 1:
        raise UsageError("--dev-share must lie between 0 and 1", received=str(dev_share))
    read: dict[str, Questions] = {}
    if path.is_dir():
        splits = _official(path, read)
    else:
        read[str(path)] = questions = parse_questions(read_regular(path), str(path))
        splits = split_by_order(questions.items, seed, dev_share)
    if mix is not None:
        read[str(mix)] = mixed = parse_questions(read_regular(mix), str(mix))
        own = [replace(record, repeat=times) for record in splits["train"]]
        splits["train"] = tuple(own + _renamed(mixed.items, own, mix.name))
    return Converted(splits, read)


def split_by_order(
    items: Sequence[PassagesRecord], seed: int, dev_share: float
) -> dict[str, tuple[PassagesRecord, ...]]:
    """Return train and dev; both keep the file's order, the seed decides which question goes where.

    Raises:
        DataError: fewer than two questions.
    """
    if len(items) < 2:
        raise DataError(
            "too few questions to split into train and dev", received=str(len(items)), allowed="2 or more"
        )
    import numpy as np  # imported here: listing tasks does not need it

    draws = np.random.Philox(np.random.SeedSequence([seed, 0x73706C6974])).random_raw(len(items))
    order = np.argsort(draws, kind="stable")
    held_out = set(order[: max(1, round(len(items) * dev_share))].tolist())
    return {
        "train": tuple(item for place, item in enumerate(items) if place not in held_out),
        "dev": tuple(item for place, item in enumerate(items) if place in held_out),
    }


def contents(converted: Converted) -> dict[str, bytes]:
    """Return file name -> bytes of each split, test without its answers."""
    return {
        FILES[split]: to_bytes(records, labelled=split != "test")
        for split, records in converted.splits.items()
    }


def to_bytes(records: Sequence[PassagesRecord], *, labelled: bool = True) -> bytes:
    """Return records in the list layout, one per line."""
    lines = [json.dumps(_listed(record, labelled=labelled), ensure_ascii=False) for record in records]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def figures(records: Sequence[PassagesRecord]) -> dict[str, int]:
    """Return the numbers of questions, passages and passages with the answer."""
    passages = [passage for record in records for passage in record.passages]
    return {
        "questions": len(records),
        "passages": len(passages),
        "with answer": sum(bool(passage.answers) for passage in passages),
        "without answer": sum(not passage.answers for passage in passages),
    }


def _listed(record: PassagesRecord, *, labelled: bool) -> dict[str, Any]:
    """Return one record of the list layout; references that no passage holds are kept beside them."""
    passages = [
        {"passage": passage.text, "answer": passage.answers[0] if labelled and passage.answers else ""}
        for passage in record.passages
    ]
    shown: dict[str, Any] = {"id": record.id, "question": record.question, "passages": passages}
    told = {passage["answer"] for passage in passages}
    further = [answer for answer in record.answers or () if answer not in told]
    if labelled and further:
        shown["answers"] = further
    return shown | ({"repeat": record.repeat} if record.repeat > 1 else {})


def _official(folder: Path, read: dict[str, Questions]) -> dict[str, tuple[PassagesRecord, ...]]:
    """Return the splits in WebQA's folder under their original names, gzipped or not."""
    splits: dict[str, tuple[PassagesRecord, ...]] = {}
    for split, names in OFFICIAL.items():
        for name in (file for base in names for file in (base, f"{base}.gz")):
            if (folder / name).is_file():
                path = folder / name
                read[str(path)] = questions = parse_questions(read_regular(path), str(path))
                splits[split] = questions.items
                break
    if not splits:
        wanted = ", ".join(name for names in OFFICIAL.values() for name in names)
        raise DataError(
            "no file of WebQA v1.0 in this folder", where=str(folder), allowed=f"{wanted} (or .gz)"
        )
    return splits


def _renamed(
    items: Sequence[PassagesRecord], others: Sequence[PassagesRecord], file: str
) -> list[PassagesRecord]:
    """Return the records with unique ids."""
    taken = {str(record.id) for record in others}
    return [
        replace(record, id=f"{file}#{record.id}") if str(record.id) in taken else record for record in items
    ]

"""Converts files in a foreign layout into the files of a card's splits, in memory.

In: a card and paths. Out: file name -> bytes, verified by the card's own reader. Knows nothing about argv.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clue_runner.data.card import Card, Layout
from clue_runner.data.division import divide
from clue_runner.data.foreign.converted import ConvertedFile, ConvertedRecord
from clue_runner.data.foreign.recognise import LAYOUTS, recognise, refuse_no_data
from clue_runner.data.foreign.splits import split_files, split_of
from clue_runner.data.foreign.to_chid import TAG, to_chid
from clue_runner.data.foreign.to_entities import to_entities
from clue_runner.data.foreign.to_lines import to_lines
from clue_runner.data.foreign.to_squad import to_squad
from clue_runner.data.layouts import read_records
from clue_runner.data.sources import MemorySource
from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import read_regular

Converter = Callable[..., ConvertedFile]
CONVERTERS: Mapping[Layout, Converter] = {
    "lines": to_lines,
    "cluener": to_entities,
    "squad": to_squad,
    "chid": to_chid,
}


@dataclass
class ConvertedData:
    """The files of the splits, the records of each, and notes for the user."""

    files: dict[str, bytes] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def convert_data(card: Card, source: Path, *, seed: int, dev_share: float) -> ConvertedData:
    """Return the converted files.

    Args:
        card: the task.
        source: one file, whose name may tell its split (``dev.csv``), else it is split into train
            and dev; or a folder with a file for each split.
        seed: that of the split.
        dev_share: fraction of a single file that becomes dev.

    Raises:
        UsageError: the task's layout has no conversion, or a fraction outside 0 to 1.
        DataError: files that cannot be read or are in no known layout, or invalid records.
    """
    if card.layout not in CONVERTERS:
        allowed = ", ".join(name for name in LAYOUTS if name in CONVERTERS)
        raise UsageError(f"no conversion to the layout {card.layout}", where=card.name, allowed=allowed)
    if not 0 < dev_share < 1:
        raise UsageError("--dev-share must lie between 0 and 1", received=str(dev_share))
    data = ConvertedData()
    splits = _read(card, source, data, seed, dev_share)
    for split, records in splits.items():
        data.counts[split] = len(records)
        data.files |= _written(card, split, records)
    proof = MemorySource(str(source), data.files)
    for split in splits:
        data.notes += read_records(card, proof, split).warnings
    return data


def _read(
    card: Card, source: Path, data: ConvertedData, seed: int, dev_share: float
) -> dict[str, Sequence[ConvertedRecord]]:
    """Return the records of each split."""
    if source.is_dir():
        paths = {
            _own_split(card, split): path for split, path in split_files(source, need_train=False).items()
        }
    else:
        said = split_of(source)
        paths = {_own_split(card, said) if said else "": source}
    splits: dict[str, Sequence[ConvertedRecord]] = {}
    for split, path in paths.items():
        divided = not split and "train" in card.splits
        name = split or ("train" if divided else card.test_splits[0])
        converted = _convert(card, path, labelled=card.splits[name].labelled)
        data.notes += [f"{path}: {remark}" for remark in converted.remarks]
        records = converted.whole(str(path))
        splits |= _divided(records, seed, dev_share, path) if divided else {name: records}
    return splits


def _own_split(card: Card, split: str) -> str:
    """Return the card's split that a file's name means: ``test`` is its first split without labels."""
    if split in card.splits:
        return split
    if split == "test" and card.test_splits:
        return card.test_splits[0]
    raise UsageError(f"{card.name} has no {split} split", allowed=", ".join(card.splits))


def _convert(card: Card, path: Path, *, labelled: bool) -> ConvertedFile:
    """Return the records of one file."""
    raw = read_regular(path)
    refuse_no_data(raw, str(path))
    seen, layout = recognise(raw), LAYOUTS[card.layout]
    if seen is not None and seen.shape in layout.own and not seen.form and card.layout != "lines":
        raise UsageError(
            f"this is already {layout.text}",
            where=str(path),
            next_step=(
                f"use it as it is: clue train --data {path.parent}, "
                "under the name of its split (clue tasks show)"
            ),
        )
    if seen is not None and seen.shape not in layout.converted:
        known = sorted(layout.converted)
        raise DataError(
            f"{seen.text}{seen.form} cannot be converted to {layout.text}",
            where=str(path),
            allowed=", ".join(known),
        )
    return CONVERTERS[card.layout](raw, str(path), card, labelled=labelled)


def _divided(
    records: Sequence[ConvertedRecord], seed: int, dev_share: float, path: Path
) -> dict[str, Sequence[ConvertedRecord]]:
    """Return train and dev of one file."""
    groups, labels = [record.group for record in records], [record.label for record in records]
    numbers = divide(groups, labels, {"train": 1 - dev_share, "dev": dev_share}, seed)
    if not all(numbers.values()):
        raise DataError(
            "too few records to split into train and dev", where=str(path), received=str(len(records))
        )
    return {split: [records[number] for number in chosen] for split, chosen in numbers.items()}


def _written(card: Card, split: str, records: Sequence[ConvertedRecord]) -> dict[str, bytes]:
    """Return the files of one split in the card's layout."""
    declared, values = card.splits[split], [record.value for record in records]
    if card.layout == "squad":
        document = {"version": "converted", "data": [{"paragraphs": [value]} for value in values]}
        return {declared.file: _json(document)}
    if card.layout == "chid" and declared.answers is None and declared.labelled:
        return {declared.file: _lines(values)}
    if card.layout == "chid":
        return _numbered(declared.file, declared.answers.file if declared.answers else None, values)
    return {declared.file: _lines(values)}


def _numbered(file: str, answers_file: str | None, values: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Return ChID's two files: records with numbered tags, and tag -> index."""
    answers: dict[str, int] = {}
    rows = []
    for number, value in enumerate(values):
        tag = f"#idiom{number:06d}#"
        rows.append({"candidates": value["candidates"], "content": [value["content"].replace(TAG, tag)]})
        if "answer" in value:
            answers[tag] = value["answer"]
    files = {file: _lines(rows)}
    return files | ({answers_file: _json(answers)} if answers_file else {})


def _lines(values: Sequence[dict[str, Any]]) -> bytes:
    """Return JSON lines."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def _json(value: object) -> bytes:
    """Return one JSON value as a file."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()

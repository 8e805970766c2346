"""Converts ChID's original layout into records with one blank each.

In: bytes. Out: records of a text with one ``#idiom#``, its candidates and the answer.
Knows nothing about files, splits or models.

The original has several blanks in one text, each with its own candidates; here the blanks of a record
share candidates. So every blank becomes a record, and the text's other blanks are filled in.
"""

from __future__ import annotations

from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.foreign.converted import ConvertedFile, ConvertedRecord
from clue_runner.data.foreign.objects import parse_objects
from clue_runner.errors import Problem

TAG = "#idiom#"


def to_chid(raw: bytes, path: str, card: Card, *, labelled: bool) -> ConvertedFile:
    """Return one record per blank, with the keys ``content``, ``candidates`` and ``answer``.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        card: the task; unused.
        labelled: whether answers are kept.

    Raises:
        DataError: not JSON, or no objects.
    """
    converted = ConvertedFile()
    several = 0
    for number, row in parse_objects(raw, path).rows:
        fault = _fault(row)
        if fault:
            converted.problems.append(Problem(fault, f"{path}:{number}"))
            continue
        parts, truths = row["content"].split(TAG), row["groundTruth"]
        several += len(truths) > 1
        for place, (truth, candidates) in enumerate(zip(truths, row["candidates"], strict=True)):
            filled = [*truths[:place], TAG, *truths[place + 1 :]]
            text = "".join(part for pair in zip(parts, [*filled, ""], strict=True) for part in pair)
            value = {"content": text, "candidates": candidates}
            if labelled:
                value["answer"] = candidates.index(truth)
            converted.records.append(ConvertedRecord(value, row["content"]))
    if several:
        converted.remarks.append(
            f"{several:,} texts have several blanks: each became a record with the other blanks filled in"
        )
    return converted


def _fault(row: dict[str, Any]) -> str | None:
    """Return the fault of one record in the original layout."""
    content, truths, candidates = row.get("content"), row.get("groundTruth"), row.get("candidates")
    if not isinstance(content, str) or not isinstance(truths, list) or not isinstance(candidates, list):
        return "expected a text 'content' and the lists 'groundTruth' and 'candidates'"
    if content.count(TAG) != len(truths) or len(truths) != len(candidates) or not truths:
        return f"{content.count(TAG)} blanks, {len(truths)} idioms, {len(candidates)} lists of candidates"
    for truth, listed in zip(truths, candidates, strict=True):
        if (
            not isinstance(listed, list)
            or not all(isinstance(text, str) for text in listed)
            or len(listed) < 2
        ):
            return f"candidates must be lists of two or more texts, got {listed!r:.60}"
        if truth not in listed:
            return f"the idiom {truth!r:.60} is not among its candidates"
    return None

"""Turns answers into the bytes of a submission file, in the form that every known source accepts.

In: (id, answer) pairs in file order and the card's description of the file. Out: bytes.
Knows nothing about where files are kept, tensors or scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from clue_runner.data.cards import Submission
from clue_runner.errors import DataError
from clue_runner.submission.findings import shorten


def json_lines(answers: Iterable[tuple[int | str, object]], submission: Submission) -> bytes:
    """Return one compact JSON object per line: UTF-8, no BOM, ends with a newline.

    The server compares line by line, so the order given is the order kept; ids are the records' own.
    Entities ({type: {surface: [[start, end]]}}) are written unchanged.

    Raises:
        DataError: an id or a label is not of the type required by the card.
    """
    lines = []
    for number, (record_id, label) in enumerate(answers, start=1):
        where = f"{submission.file}:{number}"
        if submission.shape != "entities":
            label = typed(label, submission.label_type, "label", where)
        record = {"id": typed(record_id, submission.id_type, "id", where), submission.answer_key: label}
        lines.append(json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return "".join(line + "\n" for line in lines).encode("utf-8")


def json_object(answers: Iterable[tuple[int | str, object]], submission: Submission) -> bytes:
    """Return one JSON object of ids and answers, one pair per line in the given order; ends with a newline.

    Raises:
        DataError: a duplicate id, or an answer is not of the type required by the card.
    """
    pairs: dict[str, object] = {}
    for record_id, answer in answers:
        key = str(typed(record_id, "str", "id", submission.file))
        if key in pairs:
            raise DataError("an id has two answers", where=submission.file, received=key)
        pairs[key] = typed(answer, submission.label_type, "answer", f"{submission.file}, {key}")
    return (json.dumps(pairs, ensure_ascii=False, indent=0, allow_nan=False) + "\n").encode("utf-8")


def typed(value: object, kind: str, what: str, where: str) -> int | str:
    """Return ``value`` as ``kind`` ("int" or "str"): digits may stand for an int, an int id for a string.

    Raises:
        DataError: it is anything else; nothing else is converted to a string to be submitted.
    """
    if kind == "str":
        if isinstance(value, str) or (what == "id" and type(value) is int):
            return str(value)
        raise _not_writable(value, what, where, "a string")
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(str(value))
    except ValueError:
        raise _not_writable(value, what, where, "a number") from None


def _not_writable(value: object, what: str, where: str, wanted: str) -> DataError:
    return DataError(f"the {what} cannot be written as {wanted}", where=where, received=shorten(value))

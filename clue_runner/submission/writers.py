"""Answers to the bytes of a submission file, in the form that every known source accepts.

In: (id, label) pairs in file order and the card's description of the file. Out: bytes.
Knows nothing about where files are kept, tensors or scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from clue_runner.data.cards import Submission
from clue_runner.errors import DataError


def json_lines(answers: Iterable[tuple[int | str, object]], submission: Submission) -> bytes:
    """Return one compact JSON object a line: UTF-8, no BOM, ends with a newline.

    The server compares line by line, so the order given is the order kept; ids are the records' own.

    Raises:
        DataError: an id or a label is not of the type that the card asks for.
    """
    lines = []
    for number, (record_id, label) in enumerate(answers, start=1):
        record = {
            "id": typed(record_id, submission.id_type, "id", f"{submission.file}:{number}"),
            "label": typed(label, submission.label_type, "label", f"{submission.file}:{number}"),
        }
        lines.append(json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return "".join(line + "\n" for line in lines).encode("utf-8")


def typed(value: object, kind: str, what: str, where: str) -> int | str:
    """Return ``value`` as ``kind`` ("int" or "str"); digits in a text count as an int."""
    if kind == "str":
        return str(value)
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(str(value))
    except ValueError:
        raise DataError(
            f"the {what} cannot be written as a number",
            where=where,
            received=repr(value),
            allowed="an integer",
        ) from None

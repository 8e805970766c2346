"""JSON of any outer shape as records: a list, lines, or an object that holds the list.

In: bytes. Out: (line, object) pairs and the name of the shape. Knows nothing about the meaning of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clue_runner.data.foreign.encoding import decode
from clue_runner.data.readers.json_document import parse_document
from clue_runner.data.readers.json_lines import JsonLine, bad_lines, parse_json_lines
from clue_runner.errors import DataError

WRAPPERS = ("data", "records", "rows", "examples", "items")


@dataclass(frozen=True)
class Objects:
    """Records as JSON objects; numbered by line, in a list by position from 1."""

    rows: tuple[JsonLine, ...]
    shape: str
    encoding: str


def parse_objects(raw: bytes, path: str) -> Objects:
    """Return the objects of a JSON list, of JSON lines, or of the list under a usual key.

    Raises:
        DataError: not text, not JSON, or no objects; with file:line.
    """
    decoded = decode(raw, path)
    text = decoded.text.encode("utf-8")
    start = text.lstrip()[:1]
    if start == b"{":
        rows, problems = parse_json_lines(text, path)
        if rows and not problems and not (len(rows) == 1 and _wrapped(rows[0][1]) is not None):
            return Objects(tuple(rows), "JSON lines", decoded.encoding)
        if problems and len(rows) > len(problems):
            raise bad_lines(path, problems)
    document = parse_document(text, path)
    value = document.value if isinstance(document.value, list) else _wrapped(document.value)
    if value is None:
        raise DataError(
            "no list of records in the JSON file",
            where=path,
            received=_shown(document.value),
            allowed="a list of objects, or one object per line",
        )
    wrong = next((number for number, row in enumerate(value) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise DataError(
            f"record {wrong + 1} of the list is not an object", where=path, received=f"{value[wrong]!r:.60}"
        )
    return Objects(tuple(enumerate(value, start=1)), "a JSON list", decoded.encoding)


def _wrapped(value: Any) -> list[Any] | None:
    """Return the list under a usual key of an object that is not itself a record."""
    if not isinstance(value, dict):
        return None
    lists = [value[key] for key in WRAPPERS if isinstance(value.get(key), list)]
    return lists[0] if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]) else None


def _shown(value: Any) -> str:
    """Return a JSON value for a message."""
    if isinstance(value, dict):
        return f"one object with the keys {', '.join(map(str, value))}"[:200]
    return f"{value!r:.60}"

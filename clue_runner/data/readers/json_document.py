"""A file that is one JSON value: parsed as a whole, every place in it named by file and line.

In: bytes. Out: the value, and the line of any part of it. Knows nothing about records or tasks.
Lines are looked up only when there is something to report: for a good file they cost nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from clue_runner.errors import DataError, Problem

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
SPACE = re.compile(r"[ \t\n\r]*")
UTF8_BOM = b"\xef\xbb\xbf"
LOCATED = 20  # findings shown in a message; looking up a line means scanning the file again

Step = int | str


@dataclass(frozen=True)
class JsonDocument:
    """A parsed file: its name, its text and its value."""

    file: str
    text: str
    value: Any

    def where(self, *path: Step) -> str:
        """Return ``file:line`` of the part at ``path``: keys of objects and indices of arrays."""
        offset = _skip(self.text, 0)
        for step in path:
            offset = next(start for key, start in _parts(self.text, offset) if key == step)
        return f"{self.file}:{_line(self.text, offset)}"


@dataclass
class Findings:
    """The faults of a document, collected and reported together."""

    document: JsonDocument
    problems: list[Problem] = field(default_factory=list)

    def add(self, what: str, *path: Step) -> None:
        """Note a fault of the part at ``path``."""
        located = len(self.problems) < LOCATED
        self.problems.append(
            Problem(what, where=self.document.where(*path) if located else self.document.file)
        )


def parse_document(raw: bytes, file: str) -> JsonDocument:
    """Return the file's value.

    Raises:
        DataError: not UTF-8, not JSON, cut off, or an object with a duplicate key;
            with file:line, and the column if known.
    """
    bare = raw.removeprefix(UTF8_BOM)
    try:
        text = bare.decode("utf-8")
    except UnicodeDecodeError as error:
        line = bare.count(b"\n", 0, error.start) + 1
        raise _broken("not UTF-8", f"{file}:{line}") from None
    try:
        value = _DECODER.decode(text)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return JsonDocument(file, text, value)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        what = "the file is cut off in the middle of a record" if cut else "not JSON"
        raise _broken(f"{what}: {error.msg}, column {error.colno}", f"{file}:{error.lineno}") from None
    except _RepeatedKeyError as error:
        place = _second_key(text, error.key)
        raise _broken(f"the key {error.key!r} appears twice", f"{file}:{_line(text, place)}") from None
    except UnicodeEncodeError:
        raise _broken("half a character: a \\ud8xx escape without its second half", file) from None
    except RecursionError:
        raise _broken("not a data file: nested too deeply", file) from None
    except ValueError as error:
        raise _broken(f"not JSON: {error}", file) from None


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the texts of a JSON list of strings; none if it is anything else."""
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(value)
    return ()


def bad_records(path: str, problems: Sequence[Problem], official: str = "") -> DataError:
    """Return the error that lists the faults of a file; the first 20 are shown.

    Args:
        path: the file's name in messages.
        problems: the faults.
        official: how to get the complete file, if there is an official one.
    """
    count = len(problems)
    return DataError(
        f"{count:,} bad record{'' if count == 1 else 's'} in {path}",
        problems=problems,
        next_step=f"correct the places above{official}",
    )


class _RepeatedKeyError(ValueError):
    """A duplicate key in an object: which value counts would be a guess."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; refuse a duplicate key."""
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return value


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_unique_keys)
_PLAIN = json.JSONDecoder()


def _broken(what: str, where: str) -> DataError:
    """Return the error for a file that cannot be read at all."""
    return DataError(what, where=where, next_step="correct the place above, or get the file again")


def _skip(text: str, offset: int) -> int:
    """Return the offset of the first character at or after ``offset`` that is not white space."""
    match = SPACE.match(text, offset)
    return match.end() if match else offset


def _line(text: str, offset: int) -> int:
    """Return the line number, from 1, of an offset."""
    return text.count("\n", 0, offset) + 1


def _second_key(text: str, key: str) -> int:
    """Return the offset of the key's second occurrence as written, 0 if it is escaped."""
    places = [
        match.start() for match in re.finditer(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)
    ]
    return places[1] if len(places) > 1 else 0


def _parts(text: str, offset: int) -> Iterator[tuple[Step, int]]:
    """Yield (index or key, offset of the value) for each part of the array or object at ``offset``."""
    is_object, index = text[offset] == "{", 0
    offset = _skip(text, offset + 1)
    while text[offset] not in "]}":
        key: Step = index
        if is_object:
            key, end = _PLAIN.raw_decode(text, offset)
            offset = _skip(text, _skip(text, end) + 1)  # past the colon
        yield key, offset
        _, end = _PLAIN.raw_decode(text, offset)
        offset = _skip(text, end)
        if text[offset] == ",":
            offset = _skip(text, offset + 1)
        index += 1

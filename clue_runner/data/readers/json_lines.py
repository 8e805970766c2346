"""A file of JSON lines: one object per line, every bad line named with file and line.

In: bytes. Out: (line number, object) pairs, and the faults of the other lines.
Knows nothing about tasks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from clue_runner.data.readers.json_document import SURROGATE, UTF8_BOM, refuse_constant
from clue_runner.errors import DataError, Problem

JsonLine = tuple[int, dict[str, Any]]


def read_json_lines(raw: bytes, file: str) -> list[JsonLine]:
    r"""Return (line number from 1, object) for every non-blank line.

    Lines end at ``\n`` alone: U+2028 and the like occur inside real records. One ``\r`` before it and
    a byte order mark at the start of the file are dropped.

    Raises:
        DataError: a line that is not a JSON object in UTF-8; all of them are listed.
    """
    rows, problems = parse_json_lines(raw, file)
    if problems:
        raise bad_lines(file, problems)
    return rows


def parse_json_lines(raw: bytes, file: str) -> tuple[list[JsonLine], list[Problem]]:
    """Return the good lines and the problems of the others, as ``read_json_lines`` without raising."""
    rows: list[JsonLine] = []
    problems: list[Problem] = []
    for number, line in enumerate(raw.removeprefix(UTF8_BOM).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append((number, _parse_line(line)))
        except ValueError as error:
            problems.append(Problem(str(error), where=f"{file}:{number}"))
    return rows, problems


def bad_lines(path: str, problems: Sequence[Problem], official: str = "") -> DataError:
    """Return the error that lists the lines, as ``bad_records`` does; the first 20 are shown."""
    count = len(problems)
    return DataError(
        f"{count:,} bad line{'' if count == 1 else 's'} in {path}",
        problems=problems,
        next_step=f"correct the lines above{official}; all findings: clue data check NAME --from PATH",
    )


def _parse_line(line: bytes) -> dict[str, Any]:
    """Return the line's object; raises ``ValueError`` with the reason."""
    try:
        text = line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        hint = ", the file looks like GBK" if _is_gbk(line) else ""
        raise ValueError(f"not UTF-8 (byte {error.start + 1} of the line){hint}") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("not a record: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object: {text[:40]!r}")
    if SURROGATE.search(text):
        _refuse_half_characters(value)
    return value


def _refuse_half_characters(value: dict[str, Any]) -> None:
    """Refuse a surrogate without its other half: it has no UTF-8 form."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character: a \\ud8xx escape without its second half") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; refuse a duplicate key: which value counts would be a guess."""
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"the key {twice[0]!r} appears twice")
    return value


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_unique_keys)


def _is_gbk(line: bytes) -> bool:
    """Return whether the bytes read as GBK, the usual cause of broken UTF-8 here."""
    try:
        line.decode("gbk")
    except UnicodeDecodeError:
        return False
    return True

"""A submission that is one JSON object, from id to answer, as (line, id, answer) triples.

In: the file's lines and a place to note findings. Out: answers, or none where it is something else.
Knows nothing about which ids and answers are right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.lines import Answer, NotANumberError, RepeatedKeyError, load_line

ONE_OBJECT = '{"id": answer, ...}, one object in the whole file'


def parse_object(lines: list[str], findings: Findings) -> list[Answer]:
    """Return the answers of a file that should be one object; anything else is noted and gives none."""
    text = "\n".join(lines)
    try:
        whole = load_line(text)
    except NotANumberError as error:
        findings.add("NaN or Infinity is not JSON", _line_of(text, str(error)), received=str(error))
        return []
    except RepeatedKeyError as error:
        findings.add("an id has two answers", _line_of(text, json.dumps(str(error)), -1), received=str(error))
        return []
    except json.JSONDecodeError as error:
        _note_broken(lines, error, findings)
        return []
    except ValueError as error:
        findings.add(f"the file is not JSON: {error}", 1, allowed=ONE_OBJECT)
        return []
    if not isinstance(whole, dict):
        kind = "list" if isinstance(whole, list) else type(whole).__name__
        findings.add(f"the file is one JSON {kind}", 1, received=shorten(whole, 40), allowed=ONE_OBJECT)
        return []
    if whole.keys() == {"id", "label"}:
        findings.add("the file is a line of id and label", 1, received=shorten(whole, 40), allowed=ONE_OBJECT)
        return []
    if not whole:
        findings.add("the object has no answers", 1, allowed=ONE_OBJECT)
    return list(located(text, whole))


def count_answers(raw: bytes, shape: str) -> int:
    """Return the answers in a file: lines, or the keys of its object; what cannot be read counts as lines."""
    if shape == "object":
        try:
            whole = load_line(raw.decode("utf-8"))
        except ValueError:
            whole = None
        if isinstance(whole, dict):
            return len(whole)
    return raw.count(b"\n") + (not raw.endswith(b"\n") and bool(raw))


def _note_broken(lines: list[str], error: json.JSONDecodeError, findings: Findings) -> None:
    """Note text that is no JSON value: lines of records, a file that is cut, or anything else."""
    try:
        first = load_line(lines[0])
    except ValueError:
        first = None
    if isinstance(first, dict) and len(lines) > 1 and lines[1].lstrip().startswith("{"):
        what = f"the file is {len(lines):,} lines of records, not one object"
        findings.add(what, 1, received=shorten(lines[0], 40), allowed=ONE_OBJECT)
        return
    cut = error.pos >= len("\n".join(lines).rstrip()) or error.msg.startswith("Unterminated string")
    what = "the file is cut in the middle" if cut else "the file is not JSON"
    findings.add(f"{what}: {error.msg}, column {error.colno}", error.lineno, allowed=ONE_OBJECT)


def located(text: str, whole: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield the object's answers with the lines they stand in, found by going through the text once."""
    line, place = 1, 0
    for key, value in whole.items():
        found = text.find(json.dumps(key, ensure_ascii=False), place)
        if found >= 0:  # an id written with escapes stays on the line of the one before
            line, place = line + text.count("\n", place, found), found
        yield Answer(line, key, value)


def _line_of(text: str, part: str, direction: int = 1) -> int:
    """Return the line where ``part`` stands first, or last."""
    place = text.find(part) if direction > 0 else text.rfind(part)
    return text.count("\n", 0, max(place, 0)) + 1

"""A file of answers that is one JSON object, which maps ids to answers.

In: the file's lines and a place to note findings. Out: answers, or none if it is something else.
Knows nothing about which ids and answers are correct.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress

from clue_runner.files.text import printable
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer
from clue_runner.submission.strict_json import NotANumberError, RepeatedKeyError, entries, load_json, repeats

ONE_OBJECT = '{"id": answer, ...}, one object in the whole file'


def parse_object(lines: list[str], findings: Findings) -> list[Answer]:
    """Return the answers of a file that should be one object; anything else is noted and yields none."""
    text = "\n".join(lines)
    try:
        whole = load_json(text)
        if isinstance(whole, dict) and whole and whole.keys() != {"id", "label"}:
            return [Answer(line, key, whole[key]) for line, key, _ in entries(text)]
        what = f"the file is one JSON {'list' if isinstance(whole, list) else type(whole).__name__}"
        if isinstance(whole, dict):
            what = "the file is a single line of id and label" if whole else "the object has no answers"
        findings.add(what, 1, received=shorten(whole, 40), allowed=ONE_OBJECT)
    except NotANumberError as error:
        received = printable(str(error), 60)
        findings.add("NaN or Infinity is not JSON", _line_of_no_number(text), received=received)
    except RepeatedKeyError as error:
        _note_repeats(text, error.key, findings)
    except json.JSONDecodeError as error:
        _note_broken(lines, error, findings)
    except ValueError as error:
        findings.add(f"the file is not JSON with answers: {error}", 1, allowed=ONE_OBJECT)
    return []


def count_answers(raw: bytes, shape: str) -> int:
    """Return the answers in a file: lines, or the keys of its object; what cannot be read counts as lines."""
    if shape == "object":
        try:
            whole = load_json(raw.decode("utf-8"))
        except ValueError:
            whole = None
        if isinstance(whole, dict):
            return len(whole)
    return raw.count(b"\n") + (not raw.endswith(b"\n") and bool(raw))


def _note_repeats(text: str, key: str, findings: Findings) -> None:
    """Note every duplicate id; a duplicate key further inside is noted without its line."""
    keys: list[str] = []
    lines: list[int] = []
    with suppress(ValueError, RecursionError):  # broken further on: report what was read so far
        for line, name, _ in entries(text):
            keys.append(name)
            lines.append(line)
    repeated = repeats(keys)
    for place, _ in repeated:
        findings.add("an id has two answers", lines[place], received=printable(keys[place], 60))
    if not repeated:
        findings.add("duplicate key in one answer", received=printable(key, 60))


def _line_of_no_number(text: str) -> int | None:
    """Return the line of the first answer that is NaN or Infinity; None if it is nested."""
    with suppress(ValueError, RecursionError):  # broken further on
        for line, _, value in entries(text):
            if isinstance(value, float) and not math.isfinite(value):
                return line
    return None


def _note_broken(lines: list[str], error: json.JSONDecodeError, findings: Findings) -> None:
    """Note text that is not one JSON value: lines of records, a truncated file, or anything else."""
    try:
        first = load_json(lines[0])
    except ValueError:
        first = None
    if isinstance(first, dict) and len(lines) > 1 and lines[1].lstrip().startswith("{"):
        what = f"the file is {len(lines):,} lines of records, not one object"
        findings.add(what, 1, received=shorten(lines[0], 40), allowed=ONE_OBJECT)
        return
    cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
    what = "the file is cut off in the middle" if cut else "the file is not JSON"
    findings.add(f"{what}: {error.msg}, column {error.colno}", error.lineno, allowed=ONE_OBJECT)

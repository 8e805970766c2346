"""A submission's bytes to (line, id, label) triples, every deviation from JSON lines explained.

In: bytes and a place to note findings. Out: answers of the lines that could be read.
Knows the form of a submission file, nothing about label lists, counts or other files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from clue_runner.submission.findings import Findings, shorten

ONE_LINE = '{"id": 0, "label": "..."}, one a line'
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of a submission: where it stands and what it says, types unchecked."""

    line: int
    id: Any
    label: Any


class NotANumberError(ValueError):
    """NaN or Infinity stands where a value should be."""


class RepeatedKeyError(ValueError):
    """A key stands twice in one object."""


def read_lines(raw: bytes, findings: Findings, form: str = ONE_LINE) -> list[str]:
    """Return the file's lines without their ends; an empty list where it is not readable text."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            findings.add(f"the file starts with a {encoding} byte order mark", 1, allowed="UTF-8 without one")
            raw = raw[len(mark) :] if encoding == "UTF-8" else b""
            break
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_line = raw.count(b"\n", 0, error.start) + 1
        findings.add("the file is not UTF-8", bad_line, received=shorten(raw[error.start : error.start + 4]))
        return []
    if not text.strip():
        if not findings:
            findings.add("the file is empty", allowed=form)
        return []
    lines = text.split("\n")  # not splitlines(): texts may hold U+2028
    if lines[-1] == "":
        lines.pop()
    for number, text_line in enumerate(lines, start=1):
        if text_line.endswith("\r"):
            findings.add("lines end with CR LF", number, allowed="LF alone")
    return [line.removesuffix("\r") for line in lines]


def parse_answers(lines: list[str], findings: Findings, key: str = "label") -> list[Answer]:
    """Return the answers of ``lines``; a line that is not one is noted and left out.

    Args:
        lines: what ``read_lines`` gave.
        findings: where to note what is wrong.
        key: what the lines call the answer.
    """
    form = ONE_LINE.replace("label", key)
    if _is_other_shape(lines, findings, key, form):
        return []
    answers = []
    for number, line in enumerate(lines, start=1):
        answer = _parse_line(line, number, findings, key, form)
        if answer is not None:
            answers.append(answer)
    return answers


def load_line(text: str) -> Any:
    """Return the value of one JSON text; NaN, Infinity and repeated keys are refused.

    Raises:
        ValueError: the text is not JSON (its subclasses say what else).
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parse_line(line: str, number: int, findings: Findings, key: str, form: str) -> Answer | None:
    """Return one line's answer, or None after noting why there is none."""
    if not line.strip():
        findings.add("blank line", number, allowed=form)
        return None
    try:
        record = load_line(line)
    except NotANumberError as error:
        findings.add("NaN or Infinity is not JSON", number, received=str(error))
        return None
    except RepeatedKeyError as error:
        findings.add("a key stands twice in one line", number, received=str(error))
        return None
    except ValueError:
        what = "a table row, not JSON" if "\t" in line else "the line is not JSON"
        findings.add(what, number, received=shorten(line), allowed=form)
        return None
    if not isinstance(record, dict):
        findings.add("the line is not a JSON object", number, received=shorten(line), allowed=form)
        return None
    missing = [name for name in ("id", key) if name not in record]
    if missing:
        what = f"the line has no {' and no '.join(missing)}"
        findings.add(what, number, received=shorten(line), allowed=form)
        return None
    extra = [name for name in record if name not in {"id", key}]
    if extra:
        findings.add(
            "keys that do not belong here", number, received=", ".join(extra)[:80], allowed=f"id, {key}"
        )
    return Answer(number, record["id"], record[key])


def _is_other_shape(lines: list[str], findings: Findings, key: str, form: str) -> bool:
    """Note a file that is one JSON value instead of lines, and return whether it is."""
    if not lines or lines[0].lstrip()[:1] not in {"[", "{"}:
        return False
    try:
        whole = load_line("\n".join(lines))
    except ValueError:
        return False
    if isinstance(whole, list):
        findings.add(f"the file is one JSON list of {len(whole):,} items", 1, received="[...]", allowed=form)
        return True
    if isinstance(whole, dict) and not {"id", key} & whole.keys():
        what = f"the file is one JSON object with {len(whole):,} keys"
        findings.add(what, 1, received=shorten(lines[0], 40), allowed=form)
        return True
    if isinstance(whole, dict) and len(lines) > 1:
        findings.add("one record is spread over several lines", 1, allowed=form)
        return True
    return False


def _refuse_constant(name: str) -> None:
    """Refuse what Python's JSON reader takes beyond the standard."""
    raise NotANumberError(name)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object, or refuse one that says two things under one name."""
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return record

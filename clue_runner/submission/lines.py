"""Turns a file's bytes into lines, and lines of JSON into answers; every deviation is explained.

In: bytes and a place to note findings. Out: the answers of the lines that can be read.
Knows the form of a file of answers, nothing about label lists, counts or other files.
"""

from __future__ import annotations

import sys
from typing import Any

from clue_runner.data.foreign.recognise import recognise_bytes
from clue_runner.files.text import printable
from clue_runner.submission.findings import Findings, shorten
from clue_runner.submission.forms import Answer, Form
from clue_runner.submission.strict_json import NotANumberError, RepeatedKeyError, UnusableJsonError, load_json

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_lines(raw: bytes, findings: Findings, form: Form, example: str) -> list[str]:
    """Return the file's lines without their ends; an empty list if it is not readable text.

    ``form`` tells whether a byte order mark and CR LF are faults, ``example`` what a file should contain.
    """
    seen = recognise_bytes(raw) if raw.strip() else None
    if seen is not None:
        findings.add(
            f"the file is {seen.text}", allowed=example, fix=(seen.next_step or "").partition(";")[0]
        )
        return []
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            if form.for_upload or encoding != "UTF-8":
                what = f"the file starts with a {encoding} byte order mark"
                findings.add(what, 1, allowed="UTF-8 without one")
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
            findings.add("the file is empty", allowed=example)
        return []
    lines = text.split("\n")  # not splitlines(): texts may hold U+2028
    if lines[-1] == "":
        lines.pop()
    if form.for_upload:
        for number, line in enumerate(lines, start=1):
            if line.endswith("\r"):
                findings.add("lines end with CR LF", number, allowed="LF alone")
    return [line.removesuffix("\r") for line in lines]


def parse_answers(lines: list[str], findings: Findings, form: Form) -> list[Answer]:
    """Return the answers of ``lines``; a line that is not one is noted and left out."""
    answers = (_parse_line(line, number, findings, form) for number, line in enumerate(lines, start=1))
    return [answer for answer in answers if answer is not None]


def is_one_object(lines: list[str], form: Form) -> bool:
    """Return whether the file is one object from id to answer, perhaps a broken one."""
    if not lines[0].lstrip().startswith("{"):
        return False
    own_keys = {"id", *form.keys}
    keys = _keys(lines[0])
    if keys is not None:
        return len(lines) == 1 and not keys & own_keys
    # The first of several lines of one object, or a broken record before others.
    keys = _keys("\n".join(lines))
    if keys is not None:
        return not keys & own_keys
    return not any(line.lstrip().startswith("{") for line in lines[1:2])


def is_other_shape(lines: list[str], findings: Findings, form: Form) -> bool:
    """Note a file that is one JSON value instead of lines, and return whether it is."""
    if lines[0].lstrip()[:1] not in {"[", "{"}:
        return False
    try:
        whole = load_json("\n".join(lines))
    except ValueError:
        return False
    if isinstance(whole, list):
        what = f"the file is one JSON list of {len(whole):,} items"
    elif not {"id", *form.keys} & whole.keys():
        what = f"the file is one JSON object with {len(whole):,} keys"
    elif len(lines) > 1:
        what = "one record is spread over several lines"
    else:
        return False
    findings.add(what, 1, received=shorten(lines[0], 40), allowed=form.line)
    return True


def _keys(text: str) -> frozenset[str] | None:
    """Return the keys of one JSON object, including duplicates; None if the text is not JSON."""
    try:
        value = load_json(text)
    except RepeatedKeyError as error:
        return error.keys
    except ValueError:
        return None
    return frozenset(value) if isinstance(value, dict) else frozenset()


def _parse_line(line: str, number: int, findings: Findings, form: Form) -> Answer | None:
    """Return one line's answer, or None after noting why."""
    if not line.strip():
        if form.for_upload:
            findings.add("blank line", number, allowed=form.line)
        return None
    record = _load_record(line, number, findings, form)
    if record is None:
        return None
    key = next((name for name in form.keys if name in record), None)
    missing = [] if "id" in record or not form.for_upload else ["id"]
    missing += [] if key is not None else list(form.keys[:2])
    if key is None or missing:
        what = f"the line has no {' and no '.join(missing)}"
        findings.add(what, number, received=shorten(line), allowed=form.line)
        return None
    if form.for_upload:
        extra = [name for name in record if name not in {"id", key}]
        if extra:
            received = printable(", ".join(extra), 80)
            findings.add("unexpected keys", number, received=received, allowed=f"id, {key}")
        return Answer(number, record["id"], record[key])
    return _scored_line(record, key, number, findings)


def _load_record(line: str, number: int, findings: Findings, form: Form) -> dict[str, Any] | None:
    """Return the object of one line, or None after noting its real form."""
    received = shorten(line)
    try:
        record = load_json(line)
        if isinstance(record, dict):
            return record
        what = "the line is not a JSON object"
    except NotANumberError as error:
        what, received = "NaN or Infinity is not JSON", printable(str(error), 60)
    except RepeatedKeyError as error:
        what, received = "duplicate key in one line", printable(error.key, 60)
    except UnusableJsonError as error:
        what = f"the line is not JSON with an answer: {error}"
    except ValueError:
        what = "a table row, not JSON" if "\t" in line else "the line is not JSON"
    findings.add(what, number, received=received, allowed=form.line)
    return None


def _scored_line(record: dict[str, Any], key: str, number: int, findings: Findings) -> Answer | None:
    """Return the answer of a line to score, with id and probability checked."""
    record_id, probability = record.get("id"), record.get("probability")
    if isinstance(record_id, bool) or not isinstance(record_id, int | str | None):
        findings.add("the id is neither an integer nor a string", number, received=shorten(record_id))
        return None
    if probability is None:
        return Answer(number, record_id, record[key])
    is_number = isinstance(probability, int | float) and not isinstance(probability, bool)
    if not is_number or abs(probability) > sys.float_info.max:
        findings.add("the probability is not a number", number, received=shorten(probability))
        return None
    return Answer(number, record_id, record[key], float(probability))

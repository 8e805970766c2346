"""Recognises a file that was given as data but is not in the expected layout.

In: bytes. Out: the name of their format, or None. Knows nothing about cards; reads no more than it needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from clue_runner.data.foreign.encoding import decode
from clue_runner.data.foreign.tables import DELIMITERS, find_delimiter
from clue_runner.errors import DataError

Shape = Literal[
    "no data",  # comes with its own next step
    "table",
    "json list",
    "json lines",
    "tagged",
    "spans",
    "cluener",
    "squad",
    "flat squad",
    "cmrc",
    "chid",
    "original chid",
    "c3",
    "questions",
    "webqa",
]
HEAD = 64 * 1024  # bytes from which the kind of a text file is recognised
LFS = b"version https://git-lfs.github.com/spec/"
PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml|<error|<body)", re.IGNORECASE)
MAGIC = (
    (b"PK\x03\x04", "a zip", "unpack it; an official zip can be used directly: clue train --data FILE"),
    (b"\x1f\x8b", "a gzip file", "unpack it: gunzip"),
    (b"BZh", "a bzip2 file", "unpack it: bunzip2"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it: unxz"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"PAR1", "a Parquet file", "export it as CSV or JSON lines"),
    (b"ARROW1", "an Arrow file", "export it as CSV or JSON lines"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", "save it as CSV UTF-8"),
    (b"\x89HDF", "an HDF5 file", "export it as CSV or JSON lines"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF", "provide the data itself"),
    (b"\x80\x04", "a pickle, which is never opened", "export it as CSV or JSON lines"),
    (b"\x93NUMPY", "a NumPy array", "export it as CSV or JSON lines"),
)
OFFICE = (b"[Content_Types].xml", b"mimetypeapplication/vnd.oasis")
TAG = re.compile(r"\S+[ \t]+(?:[BIESM]-\S+|O)")


@dataclass(frozen=True)
class ReadLayout:
    """A layout that tasks read: its description, its shapes, the shapes that ``convert`` turns into it."""

    text: str
    own: frozenset[Shape]
    converted: frozenset[Shape] = frozenset()


LAYOUTS: Mapping[str, ReadLayout] = {
    "lines": ReadLayout(
        "JSON lines", frozenset({"json lines"}), frozenset({"json lines", "json list", "table"})
    ),
    "cluener": ReadLayout(
        "CLUENER's JSON lines", frozenset({"cluener"}), frozenset({"cluener", "spans", "tagged"})
    ),
    "squad": ReadLayout("SQuAD's layout", frozenset({"squad"}), frozenset({"cmrc", "flat squad"})),
    "c3": ReadLayout("C3's layout", frozenset({"c3"})),
    "chid": ReadLayout("ChID's layout", frozenset({"chid"}), frozenset({"original chid"})),
    "passages": ReadLayout("questions with passages", frozenset({"questions", "webqa"})),
    "targets": ReadLayout("JSON lines", frozenset({"json lines"})),
    "squad_targets": ReadLayout("SQuAD's layout", frozenset({"squad"})),
}


@dataclass(frozen=True)
class Recognised:
    """A recognised file: its shape for programs, a description for people, a next step if it is not data."""

    shape: Shape
    text: str
    next_step: str | None = None
    form: str = ""  # " in GB18030", " in a JSON list": the reason why even the right layout cannot be read


def refuse_no_data(raw: bytes, path: str) -> None:
    """Refuse bytes that are not data: a pointer, a web page, an archive, an office file, nothing.

    Raises:
        DataError: it names the format and the next step.
    """
    seen = recognise_bytes(raw)
    if seen is not None:
        raise DataError(f"not data: {seen.text}", where=path, next_step=seen.next_step)


def recognise_bytes(raw: bytes) -> Recognised | None:
    """Return the format of a file that is not text with records, by its first bytes; None if it may be."""
    if not raw.strip():
        return Recognised("no data", "an empty file", "get the file again")
    if raw.startswith(LFS):
        return Recognised(
            "no data",
            "a git-lfs pointer, the placeholder of a file that was not fetched",
            "run git lfs pull, or download the file itself",
        )
    if PAGE.match(raw[:HEAD]):
        return Recognised(
            "no data",
            "a web page, as a server sends instead of a file",
            "open the URL in a browser and save the file itself",
        )
    if raw.startswith(b"PK") and any(mark in raw[:HEAD] for mark in OFFICE):
        return Recognised("no data", "a spreadsheet or office file", "save it as CSV UTF-8 in the program")
    for magic, text, next_step in MAGIC:
        if raw.startswith(magic):
            return Recognised("no data", text, next_step)
    return None


def recognise(raw: bytes) -> Recognised | None:
    """Return the file's format, or None if it is unknown."""
    seen = recognise_bytes(raw)
    if seen is not None:
        return seen
    try:
        decoded = decode(raw, "")
    except DataError:
        return None
    text = decoded.text.lstrip()
    seen = _recognise_json(text) if text[:1] in {"{", "["} else _recognise_rows(text[:HEAD])
    if seen is not None and not decoded.encoding.startswith("UTF-8"):
        return replace(seen, form=f"{seen.form} in {decoded.encoding}")
    return seen


def _recognise_rows(text: str) -> Recognised | None:
    """Return the format of text that is not JSON: characters with tags, or a table."""
    lines = [line.rstrip("\r") for line in text.split("\n")[:200] if line.strip()]
    if sum(bool(TAG.fullmatch(line)) for line in lines) > 0.8 * len(lines):
        return Recognised("tagged", "characters with their tags, one per line (BIO, CoNLL)")
    delimiter = find_delimiter(text)
    if delimiter is None:
        return None
    return Recognised(
        "table", {",": "CSV", "\t": "TSV"}.get(delimiter, f"a table with {DELIMITERS[delimiter]}")
    )


def _recognise_json(text: str) -> Recognised | None:
    """Return the format of JSON text: one value, or one value per line."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and text[end:].strip():
        return recognise_record(value, "JSON lines")
    seen = _recognise_value(value)
    # A single object may be a file of one line, or a complete file of some other kind.
    return None if isinstance(value, dict) and seen is not None and seen.shape == "json lines" else seen


def recognise_record(record: dict[str, Any], outer: str = "JSON lines") -> Recognised:
    """Return the layout of a record; ``outer`` is what encloses it."""
    keys = record.keys()
    if {"groundTruth", "candidates", "content"} <= keys:
        return Recognised("original chid", "ChID's original layout (groundTruth, candidates of every blank)")
    if {"candidates", "content"} <= keys:
        return Recognised("chid", "ChID's layout (content with #idiom# tags, candidates)")
    if {"context_text", "qas"} <= keys or {"context_id", "qas"} <= keys:
        return Recognised("cmrc", "CMRC2018's first layout (context_text, query_text)")
    if {"context", "question", "answers"} <= keys:
        return Recognised("flat squad", "single SQuAD records (context, question, answers)")
    if {"question", "passages"} <= keys:
        return Recognised("questions", "questions with passages, the layout of webqa and sogouqa")
    label = record.get("label", record.get("labels", record.get("entities")))
    if "text" in keys and isinstance(label, dict):
        return Recognised("cluener", "CLUENER's layout (text, and a label object of types and spans)")
    if "text" in keys and isinstance(label, list) and label and all(_is_span(entry) for entry in label):
        return Recognised("spans", "texts with a list of spans, as annotation tools export them")
    if outer == "JSON lines":
        return Recognised("json lines", "JSON lines")
    return Recognised("json list", "a JSON list of records")


def _recognise_value(value: Any) -> Recognised | None:
    """Return the layout of a complete JSON value."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        seen = recognise_record(value[0], "a JSON list")
        return replace(seen, form=" in a JSON list") if seen.shape in {"chid", "cluener"} else seen
    if isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) > 1:
        if isinstance(value[0][1], list):
            return Recognised("c3", "C3's layout (a list of [lines, questions, id])")
        return None
    if not isinstance(value, dict) or not value:
        return None
    data = value.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        if "paragraphs" in data[0]:
            return Recognised("squad", "SQuAD's layout, as in cmrc2018 and drcd")
        return recognise_record(data[0], "a JSON list")
    first = next(iter(value.values()))
    if isinstance(first, dict) and "evidences" in first:
        return Recognised("webqa", "WebQA's annotated layout (questions with evidences)")
    return recognise_record(value, "JSON lines")


def _is_span(value: Any) -> bool:
    """Return whether an entry is [start, end, type] or an object with these keys."""
    if isinstance(value, list):
        return len(value) == 3 and [type(part) for part in value] == [int, int, str]
    return isinstance(value, dict) and "start" in str(value.keys()) and "end" in str(value.keys())

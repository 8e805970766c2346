"""Converts tagged characters and lists of spans into CLUENER's lines.

In: bytes and the card's entity types. Out: records of ``text`` and ``{type: {surface: [[start, end]]}}``,
ends inclusive. Knows nothing about files, splits or models.

Tagged: a character and its tag per line, blank lines between texts; BIO, BIOES and BMES. Spans: JSON with a
text and ``[start, end, type]``, or objects of such keys, ends exclusive, as annotation tools export them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.foreign.converted import ConvertedFile, ConvertedRecord
from clue_runner.data.foreign.encoding import decode
from clue_runner.data.foreign.objects import parse_objects
from clue_runner.errors import Problem, suggest

Span = tuple[int, int, str]  # start, end exclusive, type
STARTS = ("start", "start_offset", "begin")
ENDS = ("end", "end_offset")
TYPES = ("label", "type", "entity", "labels")
OPENING, SINGLE = {"B", "S"}, {"S", "U"}


def to_entities(raw: bytes, path: str, card: Card, *, labelled: bool) -> ConvertedFile:
    """Return the texts of a file with their entities.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        card: the task; its labels are the allowed types.
        labelled: whether texts must come with entities, an empty list included.

    Raises:
        DataError: neither tagged characters nor JSON with texts.
    """
    converted = ConvertedFile()
    is_json = raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}
    for line, text, spans, fault in _listed(raw, path, card) if is_json else _tagged(raw, path):
        where = f"{path}:{line}"
        fault = fault or next(filter(None, (_span_fault(span, text, card) for span in spans)), None)
        if fault:
            converted.problems.append(Problem(fault, where))
            continue
        value: dict[str, Any] = {"text": text}
        if labelled:
            label: dict[str, dict[str, list[list[int]]]] = {}
            for start, end, name in spans:
                label.setdefault(name, {}).setdefault(text[start:end], []).append([start, end - 1])
            value[card.label_field] = label
        converted.records.append(ConvertedRecord(value, text))
    return converted


def _tagged(raw: bytes, path: str) -> Iterator[tuple[int, str, list[Span], str | None]]:
    """Yield (first line, text, spans, fault) of each text of tagged characters."""
    rows: list[tuple[str, str]] = []
    first = 1
    for number, line in enumerate([*decode(raw, path).text.split("\n"), ""], start=1):
        cells = line.split()
        if len(cells) >= 2:
            first = first if rows else number
            rows.append((cells[0], cells[-1]))
        elif rows:
            yield first, "".join(token for token, _ in rows), _spans_of(rows), None
            rows = []
        if len(cells) == 1:
            yield number, "", [], f"expected a character and its tag, got {line.strip()!r:.60}"


def _spans_of(rows: list[tuple[str, str]]) -> list[Span]:
    """Return the spans of one text; a tag that continues no span begins one, as in the CoNLL script."""
    spans: list[Span] = []
    open_start, open_type, offset = 0, "", 0
    for token, tag in rows:
        prefix, _, name = tag.partition("-")
        if open_type and (not name or prefix in OPENING or name != open_type):
            spans.append((open_start, offset, open_type))
            open_type = ""
        if name and not open_type:
            open_start, open_type = offset, name
        offset += len(token)
        if open_type and (prefix in SINGLE or prefix == "E"):
            spans.append((open_start, offset, open_type))
            open_type = ""
    if open_type:
        spans.append((open_start, offset, open_type))
    return spans


def _listed(raw: bytes, path: str, card: Card) -> Iterator[tuple[int, str, list[Span], str | None]]:
    """Yield (line, text, spans, fault) of each JSON record."""
    for line, row in parse_objects(raw, path).rows:
        text = row.get("text")
        if not isinstance(text, str) or not text:
            yield line, "", [], f"'text' must be a string, got {text!r:.60}"
            continue
        key = next((key for key in (card.label_field, "label", "labels", "entities") if key in row), None)
        given = row.get(key, []) if key else []
        if isinstance(given, dict):  # CLUENER's own label in another outer shape or encoding
            spans = [
                (place[0], place[1] + 1, name)
                for name, mentions in given.items() if isinstance(mentions, dict)
                for places in mentions.values() if isinstance(places, list)
                for place in places if isinstance(place, list) and [*map(type, place)] == [int, int]
            ]  # fmt: skip
            yield line, text, spans, None
        elif isinstance(given, list) and all(_span(entry) is not None for entry in given):
            yield line, text, [span for entry in given if (span := _span(entry)) is not None], None
        else:
            yield line, text, [], f"expected a list of [start, end, type], got {given!r:.60}"


def _span(value: Any) -> Span | None:
    """Return one span of a list, or None if it is not a span."""
    if isinstance(value, dict):
        value = [next((value[key] for key in keys if key in value), None) for keys in (STARTS, ENDS, TYPES)]
    if isinstance(value, list) and [type(part) for part in value[:3]] == [int, int, str]:
        return value[0], value[1], value[2]
    return None


def _span_fault(span: Span, text: str, card: Card) -> str | None:
    """Return the fault of a span, or None."""
    start, end, name = span
    if name not in card.label_names:
        guess = suggest(name, card.label_names)
        hint = f"did you mean {guess}? " if guess else ""
        return f"entity type {name!r:.40} is not in the list ({hint}allowed: {', '.join(card.label_names)})"
    if not 0 <= start < end <= len(text):
        return f"span [{start}, {end}] is outside the text of {len(text)} characters (ends are exclusive)"
    return None

"""Entities in the CLUENER layout: lines of text and ``{type: {surface: [[start, end], ...]}}``.

In: a card and a source. Out: ``Records[EntityRecord]``, every span checked against its text.
Knows nothing about tokens, tags or models. Ends are inclusive; offsets count characters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.readers.common import Noticed, Origin, make_records, read_part
from clue_runner.data.readers.json_lines import parse_json_lines
from clue_runner.data.records import Entity, EntityRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import Problem, suggest


def read_entity_records(
    card: Card, source: DataSource, split: str, *, labelled: bool | None = None
) -> Records[EntityRecord]:
    """Return the records of one split.

    Args:
        card: the task; its labels are the entity types.
        source: where its files are.
        split: a name in ``card.splits``.
        labelled: whether labels are required; None: as the card says for this split.

    Raises:
        DataError: no such file, an empty one, a type not in the card, a span outside the text,
            or a surface that differs from the text at its span; every finding with file:line.
    """
    declared = card.splits[split]
    part = read_part(source, declared)
    rows, problems = parse_json_lines(part.raw, part.path)
    wants_labels = declared.labelled if labelled is None else labelled
    items: list[EntityRecord] = []
    seen: dict[str, int] = {}
    for index, (line, row) in enumerate(rows):
        record, faults = _read_row(row, index, line, card, wants_labels)
        first = seen.setdefault(str(record.id), line)  # 1 and "1" are the same id
        if first != line:
            faults.append(f"id {record.id!r} is also on line {first}")
        problems += [Problem(fault, where=f"{part.path}:{line}") for fault in faults]
        if not faults:
            items.append(record)
    unused = not wants_labels and any(card.label_field in row for _, row in rows[:1])
    noticed = Noticed(
        problems,
        figures={"entities": sum(len(record.entities or ()) for record in items)},
        remarks=(f"{part.name} has labels; they are not used",) if unused else (),
    )
    origin = Origin(card, source, split, [part], hashlib.sha256(part.raw).hexdigest())
    return make_records(origin, items, noticed)


def entities_of(
    label: object, text: str | None, types: Sequence[str]
) -> tuple[tuple[Entity, ...], list[str]]:
    """Return the entities of a label object, without duplicates, and the label's faults.

    Args:
        label: ``{type: {surface: [[start, end], ...]}}`` as read.
        text: the text that the spans point into; None: unknown, so spans are not compared with it.
        types: the allowed types.
    """
    entities: dict[Entity, None] = {}
    faults: list[str] = []
    for name, surface, span in _spans(label, faults):
        if name not in types:
            guess = suggest(name, types)
            hint = f"did you mean {guess}? " if guess else ""
            faults.append(f"entity type {name!r:.40} is not in the list ({hint}allowed: {', '.join(types)})")
            continue
        start, end = span
        if text is None:
            entities[Entity(name, start, end, surface)] = None
        elif not 0 <= start <= end < len(text):
            faults.append(
                f"span [{start}, {end}] of {surface!r:.60} is outside the text of {len(text)} characters"
            )
        elif text[start : end + 1] != surface:
            hint = ", ends are inclusive" if text[start:end] == surface else ""
            faults.append(
                f"span [{start}, {end}] is {text[start : end + 1]!r:.60}, not {surface!r:.60}{hint}"
            )
        else:
            entities[Entity(name, start, end, surface)] = None
    return tuple(entities), faults


def _spans(label: object, faults: list[str]) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Yield (type, surface, (start, end)) of a label object; other shapes go into ``faults``."""
    if not isinstance(label, dict):
        faults.append(f"the label must be an object {{type: {{surface: [[start, end]]}}}}, got {label!r:.60}")
        return
    for name, mentions in label.items():
        if not isinstance(mentions, dict):
            faults.append(f"the mentions of {name!r} must be an object, got {mentions!r:.60}")
            continue
        for surface, spans in mentions.items():
            if not isinstance(spans, list) or not spans:
                faults.append(
                    f"the spans of {surface!r:.60} must be a list of [start, end], got {spans!r:.60}"
                )
                continue
            for span in spans:
                if isinstance(span, list) and [type(place) for place in span] == [int, int]:
                    yield name, surface, (span[0], span[1])
                else:
                    faults.append(f"a span of {surface!r:.60} must be [start, end], got {span!r:.60}")


def _read_row(
    row: dict[str, Any], index: int, line: int, card: Card, labelled: bool
) -> tuple[EntityRecord, list[str]]:
    """Return the record of one line and its faults."""
    faults: list[str] = []
    text, record_id = row.get("text"), row.get(card.id_field, index) if card.id_field else index
    if not isinstance(text, str) or not text:
        faults.append(f"'text' must be a non-empty string, got {text!r:.60}")
        text = ""
    if isinstance(record_id, bool) or not isinstance(record_id, int | str):
        faults.append(f"{card.id_field!r} must be an integer or a string, got {record_id!r:.60}")
        record_id = index
    entities: tuple[Entity, ...] | None = None
    if labelled and card.label_field not in row:
        faults.append(f"no key {card.label_field!r}, the record has {', '.join(row) or 'no keys'}")
    elif labelled and text:
        entities, wrong = entities_of(row[card.label_field], text, card.label_names)
        faults += wrong
    return EntityRecord(record_id, text, entities, line), faults

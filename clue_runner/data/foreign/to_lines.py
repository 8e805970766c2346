"""Converts tables and JSON of any outer shape into JSON lines with a card's fields.

In: bytes and the card. Out: records. Knows nothing about files, splits or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.foreign.columns import as_label
from clue_runner.data.foreign.converted import ConvertedFile, ConvertedRecord
from clue_runner.data.foreign.grid import LABELS, Grid, read_grid
from clue_runner.data.template import FieldError, check_fields, field_value
from clue_runner.errors import DataError, Problem

LIST_SEPARATOR = ";"  # between the texts of a list in one cell of a table


def to_lines(raw: bytes, path: str, card: Card, *, labelled: bool) -> ConvertedFile:
    """Return the records of a table, a JSON list or JSON lines in another encoding.

    Columns are found by the card's field names, the label's also by usual names; a table without a header
    has the card's fields in their order, and the label before or after them.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        card: the task.
        labelled: whether records must have labels.

    Raises:
        DataError: no records can be read, or the columns do not match the card.
    """
    is_json = raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}
    grid = read_grid(raw, path)
    places = _json_keys(grid) if is_json else _columns(grid, path, card, labelled)
    number = "record " if is_json and "list" in grid.described else ""
    converted = ConvertedFile(remarks=[f"left out: {problem}" for problem in grid.left_out])
    for line, cells in grid.rows:
        where = f"{path}, {number}{line}" if number else f"{path}:{line}"
        try:
            value: dict[str, Any] = {}
            for key, place in places.items():
                if is_json and cells[place] is not None:
                    value[key] = cells[place]
                elif not is_json:
                    _put(value, key, _typed(cells[place], key, card))
            check_fields(value, card)
            label = _label(value, card) if labelled else ""
            group = tuple(repr(field_value(value, field)) for field in card.fields)
            converted.records.append(ConvertedRecord(value, group, label))
        except FieldError as error:
            converted.problems.append(Problem(str(error), where))
    return converted


def _json_keys(grid: Grid) -> dict[str, int]:
    """Return every key of JSON objects with its column: objects stay as they are."""
    return {key: place for place, key in enumerate(grid.columns)}


def _columns(grid: Grid, path: str, card: Card, labelled: bool) -> dict[str, int]:
    """Return the card's keys with their columns in a table."""
    wanted = [*card.fields, *([card.label_field] if labelled else [])]
    if not grid.has_header:
        return _by_order(grid, path, card, wanted, labelled)
    lower = [name.casefold() for name in grid.columns]
    places = {key: lower.index(key.casefold()) for key in wanted if key.casefold() in lower}
    if labelled and card.label_field not in places:
        usual = [lower.index(name) for name in LABELS if name in lower]
        places |= {card.label_field: usual[0]} if usual else {}
    missing = [key for key in wanted if key not in places]
    if missing:
        raise DataError(
            f"no column for {', '.join(map(repr, missing))}",
            where=path,
            received=", ".join(grid.columns),
            next_step=f"name the columns of the table as in {card.name}: {', '.join(wanted)}",
        )
    if card.id_field and card.id_field.casefold() in lower:
        places[card.id_field] = lower.index(card.id_field.casefold())
    return places


def _by_order(grid: Grid, path: str, card: Card, wanted: list[str], labelled: bool) -> dict[str, int]:
    """Return the columns of a table without a header: the card's fields in order, the label at one end."""
    if len(grid.columns) != len(wanted):
        raise DataError(
            f"a table without a header has {len(grid.columns)} columns, {card.name} needs {len(wanted)}",
            where=path,
            received=", ".join(repr(cell)[:20] for cell in grid.rows[0][1]),
            next_step=f"add a header: {', '.join(wanted)}",
        )
    known = {*card.label_names, *card.skip_labels}
    if labelled and {as_label(cell) for cell in grid.column(0)} <= known:
        wanted = [card.label_field, *card.fields]
    return {key: place for place, key in enumerate(wanted)}


def _typed(cell: object, key: str, card: Card) -> object:
    """Return a table's cell with the type of the card's field."""
    text, kind = str(cell), card.fields.get(key)
    if kind == "strings":
        return [part.strip() for part in text.split(LIST_SEPARATOR) if part.strip()]
    digits = text.strip().removeprefix("-").isdecimal() and len(text) < 20
    if digits and (kind == "integer" or key == card.id_field):
        return int(text)
    return text.strip() if key == card.label_field else text


def _put(value: dict[str, Any], path: str, cell: object) -> None:
    """Set the value at a dotted path, in the notation of the card's fields."""
    *outer, last = path.split(".")
    for key in outer:
        value = value.setdefault(key, {})
    value[last] = cell


def _label(value: Mapping[str, Any], card: Card) -> str:
    """Return the record's label, which must be one of the card's."""
    if card.label_field not in value:
        raise FieldError(f"no key {card.label_field!r}, the record has {', '.join(map(str, value))}")
    given = value[card.label_field]
    label = as_label(given) if isinstance(given, str | int) else None
    if label not in {*card.label_names, *card.skip_labels}:
        shown = ", ".join(card.label_names[:10]) + (", ..." if len(card.labels) > 10 else "")
        raise FieldError(f"label {given!r:.60} is not in the list (allowed: {shown})")
    return str(label)

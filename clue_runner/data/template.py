"""Turns a record's fields into the one or two texts that a model reads, by the card's template.

In: one JSON object and the card. Out: a tuple of texts. Knows nothing about files or tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from clue_runner.data.card import PLACEHOLDER, Card, FieldType, Mark, Template

Record = Mapping[str, Any]
MISSING = object()
TYPE_NAMES: Mapping[FieldType, str] = {
    "string": "a string",
    "strings": "a list of strings",
    "integer": "an integer",
}


class FieldError(ValueError):
    """A record that the card does not allow; the message has no file or line."""


def check_fields(record: Record, card: Card) -> None:
    """Raise ``FieldError`` unless ``record`` holds every field of the card with its type."""
    for path, kind in card.fields.items():
        value = field_value(record, path)
        if value is MISSING:
            raise FieldError(f"no key {path!r}, the record has {', '.join(map(str, record)) or 'no keys'}")
        if not _is_of(value, kind):
            raise FieldError(f"{path!r} must be {TYPE_NAMES[kind]}, got {value!r:.60}")


def fill_template(record: Record, template: Template) -> tuple[str, ...]:
    """Return the texts of a record that passed ``check_fields``.

    Raises:
        FieldError: a marked span is not where its offset says, or two spans overlap.

    Examples:
        >>> template = Template(parts=["{keyword|join(;)}", "{abst}"])
        >>> fill_template({"keyword": ["a", "b"], "abst": "c"}, template)
        ('a;b', 'c')
    """
    marked = {}
    if template.marks and template.marked_field:
        text = str(field_value(record, template.marked_field))
        marked[template.marked_field] = _insert_marks(text, record, template.marks)
    replace = _replacer(record, marked)
    return tuple(PLACEHOLDER.sub(replace, part) for part in template.parts)


def field_value(record: Record, path: str) -> Any:
    """Return the value at a dotted path, or ``MISSING``."""
    value: Any = record
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return value


def _replacer(record: Record, marked: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    """Return the function that turns one placeholder into the record's text."""

    def replace(match: re.Match[str]) -> str:
        field = match["field"]
        value = marked[field] if field in marked else field_value(record, field)
        if isinstance(value, list):
            return (match["separator"] or "").join(value)
        return str(value)

    return replace


def _insert_marks(text: str, record: Record, marks: list[Mark]) -> str:
    """Return ``text`` with every span wrapped, the last one first so that earlier offsets stay valid."""
    spans = sorted((_span(text, record, mark) for mark in marks), key=lambda span: span[0])
    for (_, end, _), (start, _, _) in zip(spans, spans[1:], strict=False):
        if start < end:
            raise FieldError("the marked spans overlap")
    for start, end, mark in reversed(spans):
        text = f"{text[:start]}{mark.before}{text[start:end]}{mark.after}{text[end:]}"
    return text


def _span(text: str, record: Record, mark: Mark) -> tuple[int, int, Mark]:
    """Return (start, end, mark) in characters, checked against the span's own text."""
    wanted, start = str(field_value(record, mark.text)), int(field_value(record, mark.start))
    end = start + len(wanted)
    if start < 0 or not wanted or text[start:end] != wanted:
        raise FieldError(
            f"{mark.text!r} is {wanted!r:.60}, "
            f"but the text at {mark.start!r} = {start} reads {text[max(start, 0) : end]!r:.60}"
        )
    return start, end, mark


def _is_of(value: object, kind: FieldType) -> bool:
    """Return whether ``value`` has the card's type; True and False are not integers."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, list) and all(isinstance(item, str) for item in value)

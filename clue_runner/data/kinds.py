"""What each kind of task requires of a card, and its defaults for one: a YAML file beside each adapter.

In: the name under ``adapter`` in a card. Out: a ``Kind``. Knows nothing about the adapters' code: a card is
read, checked and shown without loading any.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field

from clue_runner.config.shipped import PACKAGE
from clue_runner.config.yaml_reader import read_yaml
from clue_runner.data.card import CardPart, Layout
from clue_runner.files.litter import entries

FOLDER = PACKAGE / "adapters"


class Kind(CardPart):
    """One kind of task.

    Attributes:
        layouts: the file layouts that it reads; the first is a card's default.
        metrics: the scores that can be the main one; the first is a card's default.
        labels: the minimum number of labels in a card; 0: a card has none.
        needs_fields: a card must name the fields of its records.
        texts: the numbers of texts that a template may make of a record; empty: a card has no template.
        id_field: a card's default.
        max_length: a card's default.
        recommended: settings under a card's own ``recommended``, section by section.
    """

    layouts: Annotated[list[Layout], Field(min_length=1)]
    metrics: Annotated[list[str], Field(min_length=1)]
    labels: int = 0
    needs_fields: bool = False
    texts: list[int] = []
    id_field: str | None = None
    max_length: int
    recommended: Mapping[str, Mapping[str, object]] = {}


@cache
def all_kinds() -> Mapping[str, Kind]:
    """Return every kind by name; there is no list but the files beside the adapters."""
    return {path.stem: _read(path.stem) for path in entries(FOLDER) if path.suffix == ".yaml"}


def _read(name: str) -> Kind:
    """Return one kind; a bad file is our bug, so pydantic's error is left as it is."""
    return Kind.model_validate(read_yaml(FOLDER / f"{name}.yaml").values)


def with_defaults(values: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a card's values with defaults filled in: layout, metric, lengths, template, settings."""
    name, fields = values.get("name"), values.get("fields")
    title = name if isinstance(name, str) else ""
    filled: dict[str, Any] = {
        "title": {"zh": title, "en": title},
        "layout": kind.layouts[0],
        "metric": kind.metrics[0],
        "max_length": kind.max_length,
        "id_field": kind.id_field,
        **values,
    }
    if kind.needs_fields and isinstance(fields, Mapping) and len(fields) in kind.texts:
        filled.setdefault("template", {"parts": [_part(str(field), fields[field]) for field in fields]})
    own = values.get("recommended") or {}
    if isinstance(own, Mapping):
        filled["recommended"] = {**kind.recommended, **own}
        for section, settings in kind.recommended.items():
            if isinstance(own.get(section), Mapping):
                filled["recommended"][section] = {**settings, **own[section]}
    return filled


def _part(field: str, field_type: object) -> str:
    """Return the template's part for one field; a list of strings is joined like CSL's keywords."""
    return f"{{{field}|join(;)}}" if field_type == "strings" else f"{{{field}}}"

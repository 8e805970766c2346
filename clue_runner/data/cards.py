"""Task cards: one ``task.yaml`` a dataset, found by walking the folder, validated, frozen.

In: a task name or a folder. Out: a ``Card``. Knows nothing about records, tokens or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class CardPart(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Title(CardPart):
    """A title in both languages."""

    zh: str
    en: str


class Label(CardPart):
    """One label in index order; ``name`` is the string in files, quoted in YAML."""

    name: str
    description: str = ""


class Mark(CardPart):
    """Marks put around a span of the text: WSC's ``_noun_`` and ``[pronoun]``.

    ``text`` and ``start`` are dotted field paths to the span's text and its character offset.
    """

    text: str
    start: str
    before: str
    after: str


class Template(CardPart):
    """How a record becomes one or two texts.

    Each part is literal text with ``{field}`` or ``{field|join(SEPARATOR)}`` for a list of strings;
    ``marks`` are inserted into the named field before the template is applied.
    """

    parts: Annotated[list[str], Field(min_length=1, max_length=2)]
    marks: list[Mark] = []
    marked_field: str | None = None


class Split(CardPart):
    """One file of the official zip.

    ``records`` counts all records of the file; several values where published copies differ.
    ``also`` are older spellings of the file name.
    """

    file: str
    records: list[int]
    labelled: bool = True
    also: list[str] = []


class Download(CardPart):
    """The official zip: mirrors in order, known hashes (``md5:...`` or ``sha256:...``)."""

    file: str
    urls: list[str]
    hashes: list[str] = []


class Submission(CardPart):
    """One file of the leaderboard's zip."""

    split: str
    file: str
    id_type: Literal["int", "str"] = "int"
    label_type: Literal["str", "int"] = "str"
    benchmarks: list[str]
    source: str


class Published(CardPart):
    """A published score in percent, with its source."""

    model: str
    split: str
    score: float
    source: str


class Sample(CardPart):
    """What makes the records in ``sample/`` learnable, and how many there are."""

    records: Mapping[str, int]
    learnable_by: str


class Card(CardPart):
    """A task: where its data is, what it means, how it is scored and handed in."""

    name: str
    title: Title
    version: str
    adapter: str
    id_field: str | None = None
    label_field: str = "label"
    labels: list[Label] = []
    skip_labels: list[str] = []
    template: Template | None = None
    metric: str
    download: Download | None = None
    splits: Mapping[str, Split]
    submissions: list[Submission] = []
    max_length: int
    recommended: Mapping[str, Mapping[str, object]] = {}
    recommended_source: str = ""
    published: list[Published] = []
    licence: str
    paper: str
    sample: Sample | None = None
    folder: Path = Path()

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Return the names of the splits without labels, in the card's order."""
        return tuple(name for name, split in self.splits.items() if not split.labelled)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels in index order."""
        return tuple(label.name for label in self.labels)

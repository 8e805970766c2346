"""The parts of a task card as types; every name that reaches the file system is a plain one.

In: the values of a ``task.yaml``. Out: a frozen ``Card``. Knows nothing about files, records or adapters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from clue_runner.config.shipped import shipped_folder
from clue_runner.files.names import PlainName

PLACEHOLDER = re.compile(r"\{(?P<field>[A-Za-z0-9_.]+)(?:\|join\((?P<separator>[^)]*)\))?\}")
FieldType = Literal["string", "strings", "integer"]
Layout = Literal[
    "lines", "cluener", "squad", "c3", "chid", "passages", "targets", "squad_targets", "token_rows"
]
# A split's name becomes part of the names of a run's files.
SplitName = Annotated[PlainName, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
TaskName = Annotated[PlainName, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class CardPart(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Title(CardPart):
    """A title in both languages."""

    zh: str
    en: str


class Label(CardPart):
    """One label in index order; ``name`` is the string in files, quoted in YAML."""

    name: Annotated[str, Field(min_length=1)]
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
    """How a record becomes one or two texts, or three: a passage, a question and a choice.

    Each part is literal text with ``{field}`` or ``{field|join(SEPARATOR)}`` for a list of strings;
    ``marks`` are inserted into the named field before the template is applied.
    """

    parts: Annotated[list[str], Field(min_length=1, max_length=3)]
    marks: list[Mark] = []
    marked_field: str | None = None

    @property
    def used_fields(self) -> tuple[str, ...]:
        """Return every field path that the parts and marks read."""
        used = [match["field"] for part in self.parts for match in PLACEHOLDER.finditer(part)]
        for mark in self.marks:
            used += [mark.text, mark.start]
        return tuple(dict.fromkeys(used))


class SplitFile(CardPart):
    """A further file that belongs to a split; ``also`` are older spellings of its name."""

    file: PlainName
    also: list[PlainName] = []

    @property
    def file_names(self) -> tuple[str, ...]:
        """Return the file's name, then its older spellings."""
        return (self.file, *self.also)


class Split(SplitFile):
    """One split of the official zip: one file, or several.

    ``records`` counts all records of the split; several values where published copies differ,
    none where the count is unknown (then it is not checked).
    ``also`` are older spellings of the file name.
    ``more`` are files whose records follow those of ``file`` (C3: mixed texts after dialogues);
    ``answers`` is the file that holds the answers where the records do not (ChID).
    """

    records: list[int] = []
    labelled: bool = True
    more: list[SplitFile] = []
    answers: SplitFile | None = None


class Download(CardPart):
    """The official zip: mirrors in order, known hashes (``md5:...`` or ``sha256:...``)."""

    file: PlainName
    urls: list[str]
    hashes: list[Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]] = []


class Submission(CardPart):
    """One file of the leaderboard's zip.

    ``wrong_names`` are names under which people have submitted this file, with a note on each.
    ``shape`` is the layout of its answers: ``lines`` of id and label, one ``object`` from id (question id,
    blank tag) to answer, ``entities``: lines of id and {type: {surface: [[start, end]]}}, or a ``table`` of
    id, tab and answer. ``answer_key`` is the key of the answer in lines (FewCLUE's ChID: ``answer``).
    """

    split: str
    file: PlainName
    id_type: Literal["int", "str"] = "int"
    label_type: Literal["str", "int"] = "str"
    shape: Literal["lines", "object", "entities", "table"] = "lines"
    answer_key: Literal["label", "answer"] = "label"
    benchmarks: list[str]
    source: str
    wrong_names: Mapping[str, str] = {}


class Published(CardPart):
    """A published score in percent, with its source."""

    model: str
    split: str
    score: float
    source: str


class Sample(CardPart):
    """What makes the records in ``sample/`` learnable, and their number."""

    records: Mapping[str, int]
    learnable_by: str


class Card(CardPart):
    """A task: where its data is, what it means, how it is scored and submitted.

    ``fields`` names what the reader requires of every record (dotted paths into objects) and its type;
    the id and the label are named by ``id_field`` and ``label_field``. ``layout`` is the format of
    the files and selects their reader (``data/layouts.py``); ``script`` is the script of the
    texts. ``target`` is a template like a part's: the text to be written in a generation task.
    ``labels_file`` is the member that repeats the label list, checked by ``clue data check``.
    What a ``task.yaml`` may omit besides the defaults here depends on its kind (``data/kinds.py``).
    """

    name: TaskName
    title: Title
    version: str = "1"
    adapter: str
    layout: Layout = "lines"
    fields: Mapping[str, FieldType] = {}
    id_field: str | None = None
    label_field: str = "label"
    labels: list[Label] = []
    labels_file: PlainName | None = None
    skip_labels: list[str] = []
    template: Template | None = None
    target: str | None = None
    script: Literal["simplified", "traditional"] = "simplified"
    metric: str
    download: Download | None = None
    splits: Annotated[Mapping[SplitName, Split], Field(min_length=1)]
    submissions: list[Submission] = []
    max_length: Annotated[int, Field(gt=2)]
    recommended: Mapping[Literal["task", "data", "model", "train"], Mapping[str, object]] = {}
    recommended_source: str = ""
    published: list[Published] = []
    licence: str = ""
    paper: str = ""
    sample: Sample | None = None
    folder: Path = Path()

    @property
    def ships(self) -> bool:
        """Return whether the card is shipped with this project."""
        return self.folder.parent == shipped_folder("tasks")

    @property
    def argument(self) -> str:
        """Return the task's argument for commands: a shipped one's name, another's folder."""
        return self.name if self.ships or self.folder == Path() else str(self.folder)

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Return the names of the splits without labels, in the card's order."""
        return tuple(name for name, split in self.splits.items() if not split.labelled)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels in index order."""
        return tuple(label.name for label in self.labels)

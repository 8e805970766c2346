"""Task cards: one ``task.yaml`` a dataset, found by walking the folder, validated, frozen.

In: a task name or a folder. Out: a ``Card``. Knows nothing about records, tokens or tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from clue_runner.config.shipped import shipped_folder
from clue_runner.config.yaml_reader import Document, read_yaml
from clue_runner.errors import Problem, UsageError, unknown_name
from clue_runner.files.litter import entries
from clue_runner.files.names import user_path

CARD_FILE = "task.yaml"
PLACEHOLDER = re.compile(r"\{(?P<field>[A-Za-z0-9_.]+)(?:\|join\((?P<separator>[^)]*)\))?\}")
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]
FieldType = Literal["string", "strings", "integer"]


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
    """How a record becomes one or two texts; three where a passage, a question and a choice are read.

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

    file: FileName
    also: list[FileName] = []

    @property
    def file_names(self) -> tuple[str, ...]:
        """Return the file's name, then its older spellings."""
        return (self.file, *self.also)


class Split(SplitFile):
    """One split of the official zip: one file, or several.

    ``records`` counts all records of the split; several values where published copies differ,
    none where the count is not known (then it is not checked).
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

    file: FileName
    urls: list[str]
    hashes: list[Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]] = []


class Submission(CardPart):
    """One file of the leaderboard's zip.

    ``wrong_names`` are names that people have handed this file in under, and what is known of each.
    ``shape`` is how the answers stand in it: ``lines`` of id and label, one ``object`` from id (question id,
    blank tag) to answer, ``entities``: lines of id and {type: {surface: [[start, end]]}}, or a ``table`` of
    id, tab and answer. ``answer_key`` is what lines call the answer (FewCLUE's ChID: ``answer``).
    """

    split: str
    file: FileName
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
    """What makes the records in ``sample/`` learnable, and how many there are."""

    records: Mapping[str, int]
    learnable_by: str


class Card(CardPart):
    """A task: where its data is, what it means, how it is scored and handed in.

    ``fields`` names what the reader requires of every record (dotted paths into objects) and its type;
    the id and the label are named by ``id_field`` and ``label_field``. ``layout`` is how the files are
    built, and so which reader takes them (``data/layouts.py``); ``script`` is what the texts are written
    in. ``labels_file`` is the member that repeats the label list, checked by ``clue data check``.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: Title
    version: str
    adapter: str
    layout: Literal["lines", "cluener", "squad", "c3", "chid", "passages"] = "lines"
    fields: Mapping[str, FieldType] = {}
    id_field: str | None = None
    label_field: str = "label"
    labels: list[Label] = []
    labels_file: FileName | None = None
    skip_labels: list[str] = []
    template: Template | None = None
    script: Literal["simplified", "traditional"] = "simplified"
    metric: str
    download: Download | None = None
    splits: Mapping[str, Split]
    submissions: list[Submission] = []
    max_length: Annotated[int, Field(gt=2)]
    recommended: Mapping[Literal["data", "model", "train"], Mapping[str, object]] = {}
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

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        """Refuse names that point nowhere, so that a typo is found when the card is read."""
        faults = [*self._label_faults(), *self._template_faults()]
        for submission in self.submissions:
            if submission.split not in self.splits:
                faults.append(
                    f"submission {submission.file} names split {submission.split!r}, which is not in splits"
                )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _label_faults(self) -> list[str]:
        """Return what is wrong with the label list."""
        names = self.label_names
        faults = [f"label {name!r} is listed twice" for name in sorted(set(names)) if names.count(name) > 1]
        return faults + [
            f"{name!r} is in labels and in skip_labels" for name in self.skip_labels if name in names
        ]

    def _template_faults(self) -> list[str]:
        """Return what is wrong with the template's field names."""
        if self.template is None:
            return []
        missing = [name for name in self.template.used_fields if name not in self.fields]
        faults = [f"the template reads {name!r}, which is not in fields" for name in missing]
        if self.template.marks and self.template.marked_field not in self.fields:
            faults.append("template.marked_field must name the field that the marks go into")
        return faults


def find_card(name: str) -> Card:
    """Return the card called ``name``, or the one in the folder ``name``.

    Raises:
        UsageError: no such task or folder, or a card that does not validate.
    """
    shipped = _shipped_folders()
    if name in shipped:
        return load_card(shipped[name])
    folder = user_path(name)
    if (folder / CARD_FILE).is_file():
        return load_card(folder.resolve())
    if folder.is_dir() or "/" in name:
        raise UsageError(
            "not a task folder: it holds no task.yaml" if folder.is_dir() else "no such task folder",
            where=name,
            next_step="name a shipped task (clue tasks) or a folder that holds a task.yaml",
        )
    raise unknown_name("task", name, shipped, list_command="clue tasks")


def recommended_settings(card: Card) -> dict[str, dict[str, object]]:
    """Return the card's layer of the configuration: ``data.max_length`` and what its source recommends."""
    groups: dict[str, dict[str, object]] = {group: dict(values) for group, values in card.recommended.items()}
    return {**groups, "data": {"max_length": card.max_length, **groups.get("data", {})}}


def all_cards() -> dict[str, Card]:
    """Return every shipped card by name, names sorted."""
    return {name: load_card(folder) for name, folder in _shipped_folders().items()}


@lru_cache(maxsize=64)
def load_card(folder: Path) -> Card:
    """Return the validated card of ``folder``.

    Raises:
        UsageError: the file is not valid YAML, or not a valid card; every problem with file:line.
    """
    path = folder / CARD_FILE
    document = read_yaml(path)
    try:
        return Card.model_validate({**document.values, "folder": folder})
    except ValidationError as error:
        problems = [_card_problem(document, item) for item in error.errors()]
        raise UsageError(
            "the task card is not valid",
            where=str(path),
            problems=problems,
            next_step="correct the lines named; tasks/afqmc/task.yaml is a commented example",
        ) from None


def _card_problem(document: Document, item: ErrorDetails) -> Problem:
    """Return pydantic's finding with the card's file:line."""
    path = tuple(part for part in item["loc"] if part != "[key]")
    return Problem(
        f"{'.'.join(map(str, path)) or 'card'}: {item['msg'].removeprefix('Value error, ')}",
        where=document.where(path),
        received=None if item["type"] in {"missing", "value_error"} else f"{item['input']!r:.80}",
    )


def _shipped_folders() -> dict[str, Path]:
    """Return name -> folder of every shipped card; the folder is the list."""
    root = shipped_folder("tasks")
    return {folder.name: folder for folder in entries(root) if (folder / CARD_FILE).is_file()}

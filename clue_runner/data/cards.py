"""Finds, reads and checks task cards; ``config check``, ``tasks show`` and ``train`` all read one with this.

In: a task name or a folder. Out: a ``Card``, or every problem in it with file and line.
Knows nothing about records, tokens or tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clue_runner.config.check import recommended_problems
from clue_runner.config.shipped import shipped_folder
from clue_runner.config.yaml_reader import Document, KeyPath, read_yaml
from clue_runner.data.card import Card, CardPart, Submission, Template
from clue_runner.data.kinds import Kind, all_kinds, with_defaults
from clue_runner.errors import ClueError, DataError, Problem, UsageError, suggest, unknown_name
from clue_runner.files.litter import entries
from clue_runner.files.names import user_path

__all__ = [
    "Card",
    "Submission",
    "Template",
    "all_cards",
    "card_problems",
    "find_card",
    "load_card",
    "recommended_settings",
]

CARD_FILE = "task.yaml"
Fault = tuple[KeyPath, str]


def find_card(name: str) -> Card:
    """Return the card called ``name``, or the one in the folder ``name``.

    Raises:
        UsageError: no such task or folder, or a card that does not validate.
        DataError: an impossible path, or a card that cannot be read.
    """
    shipped = _shipped_folders()
    if name in shipped:
        return load_card(shipped[name])
    # what a command of its own trains has a card that is not a task of the list
    own = shipped_folder("configs") / "cards"
    if name in {path.name for path in entries(own)}:
        return load_card(own / name)
    folder = user_path(name)
    if (folder / CARD_FILE).is_file():
        return load_card(folder)
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


def load_card(folder: Path) -> Card:
    """Return the validated card of ``folder``, completed with the defaults of its kind.

    Raises:
        UsageError: the file is not valid YAML, or not a valid card; every problem with file:line.
        DataError: it cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise DataError("no such card", where=str(path), next_step="name a folder that holds a task.yaml")
    facts = path.stat()
    # A long-lived process notices that a card was edited, or that it is in another folder.
    return _load(folder, folder.resolve(), (facts.st_mtime_ns, facts.st_size))


def card_problems(path: Path) -> list[Problem]:
    """Return every problem of the card in a file, as ``load_card`` finds them, without raising."""
    try:
        load_card(path.parent)
    except ClueError as error:
        return list(error.problems) or [error.headline]
    return []


@lru_cache(maxsize=64)
def _load(folder: Path, resolved: Path, version: tuple[int, int]) -> Card:
    """Return the card of ``folder``; messages name the folder as given."""
    path = folder / CARD_FILE
    document = read_yaml(path)
    kind, problems = _kind_of(document)
    if kind is not None:
        card, further = _validated(document, kind, resolved)
        problems += [*further, *recommended_problems(document)]
        if card is not None and not problems:
            return card
    raise invalid_card(path, problems)


def invalid_card(path: Path, problems: list[Problem]) -> UsageError:
    """Return the error for an invalid card."""
    return UsageError(
        "the task card is invalid",
        where=str(path),
        problems=problems,
        next_step="correct the lines above; tasks/afqmc/task.yaml is a commented example",
    )


def _kind_of(document: Document) -> tuple[Kind | None, list[Problem]]:
    """Return the kind that the card names, or the problem."""
    name, kinds = document.values.get("adapter"), all_kinds()
    if isinstance(name, str) and name in kinds:
        return kinds[name], []
    guess = suggest(name, kinds) if isinstance(name, str) else None
    hint = f", did you mean {guess}?" if guess else ""
    what = "adapter: no such kind of task" if "adapter" in document.values else "adapter: Field required"
    received = repr(name)[:80] if "adapter" in document.values else None
    return None, [Problem(f"{what}{hint}", document.where(("adapter",)), received, ", ".join(sorted(kinds)))]


def _validated(document: Document, kind: Kind, folder: Path) -> tuple[Card | None, list[Problem]]:
    """Return the card and its problems; no card if it does not even have the right types."""
    try:
        values: dict[str, Any] = with_defaults(document.values, kind)
        card = Card.model_validate({**values, "folder": folder})
    except ValidationError as error:
        return None, [_card_problem(document, item) for item in error.errors()]
    problems = [
        Problem(f"{'.'.join(map(str, path))}: {what}", document.where(path))
        for path, what in (*_kind_faults(card, kind), *_label_faults(card), *_split_faults(card))
    ]
    return card, problems + [
        Problem(f"template: {what}", document.where(path)) for path, what in _template_faults(card)
    ]


def _kind_faults(card: Card, kind: Kind) -> Iterator[Fault]:
    """Yield what the card's kind of task does not allow."""
    if card.layout not in kind.layouts:
        yield ("layout",), f"{card.adapter} does not read {card.layout} (allowed: {', '.join(kind.layouts)})"
    if card.metric not in kind.metrics:
        guess = suggest(card.metric, kind.metrics)
        hint = f", did you mean {guess}?" if guess else ""
        yield ("metric",), f"no score called {card.metric!r}{hint} (allowed: {', '.join(kind.metrics)})"
    if len(card.labels) < kind.labels:
        yield ("labels",), f"{len(card.labels)} labels, {card.adapter} needs {kind.labels} or more"
    if card.labels and not kind.labels:
        yield ("labels",), f"{card.adapter} has no labels"
    if kind.needs_fields and not card.fields:
        yield ("fields",), f"{card.adapter} needs the fields of a record and their types"
    texts = len(card.template.parts) if card.template else 0
    if texts and texts not in kind.texts:
        allowed = " or ".join(map(str, kind.texts)) or "no template"
        yield ("template", "parts"), f"{texts} texts, {card.adapter} takes {allowed}"
    if kind.needs_fields and card.fields and not texts:
        yield ("fields",), f"{len(card.fields)} fields need a template that says which texts they make"


def _label_faults(card: Card) -> Iterator[Fault]:
    """Yield the problems of the label list."""
    seen: set[str] = set()
    for number, name in enumerate(card.label_names):
        if name in seen:
            yield ("labels", number), f"label {name!r} is listed twice"
        seen.add(name)
    for number, name in enumerate(card.skip_labels):
        if name in seen:
            yield ("skip_labels", number), f"{name!r} is in labels and in skip_labels"


def _split_faults(card: Card) -> Iterator[Fault]:
    """Yield the problems of splits and of the submissions made from them."""
    folded = Counter(name.casefold() for name in card.splits)
    for name, split in card.splits.items():
        if folded[name.casefold()] > 1:
            yield ("splits", name), "another split's name differs only in letter case"
        if name in {"train", "dev"} and not split.labelled:
            yield ("splits", name, "labelled"), f"the {name} split needs labels"
    if "train" in card.splits and "dev" not in card.splits:
        yield ("splits",), "train needs dev: the best epoch is chosen by the dev score"
    files = Counter(submission.file.casefold() for submission in card.submissions)
    for number, submission in enumerate(card.submissions):
        if submission.split not in card.splits:
            yield ("submissions", number), f"names split {submission.split!r}, which is not in splits"
        if files[submission.file.casefold()] > 1:
            yield ("submissions", number), f"{submission.file} is also the file of another submission"


def _template_faults(card: Card) -> Iterator[Fault]:
    """Yield the problems with the field names of the template and of the target."""
    if (card.target is None) == (card.layout == "targets"):
        yield ("target",), f"target is needed by, and only by, the layout targets; this is {card.layout}"
    for name in Template(parts=[card.target]).used_fields if card.target else ():
        if name not in card.fields:
            yield ("target",), f"the target reads {name!r}, which is not in fields"
    if card.template is None:
        return
    for name in card.template.used_fields:
        if name not in card.fields:
            yield ("template",), f"the template reads {name!r}, which is not in fields"
    if card.template.marks and card.template.marked_field not in card.fields:
        yield ("template",), "template.marked_field must name the field that the marks go into"


def _card_problem(document: Document, item: ErrorDetails) -> Problem:
    """Return pydantic's finding with the card's file:line."""
    path = tuple(part for part in item["loc"] if part != "[key]")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        parts = [part for part in CardPart.__subclasses__() if part.__module__ == Card.__module__]
        known = {key for part in parts for key in part.model_fields}
        guess = suggest(str(path[-1]), known - {"folder"})
        message = f"no such key{f', did you mean {guess}?' if guess else ''}"
    return Problem(
        f"{'.'.join(map(str, path)) or 'card'}: {message}",
        where=document.where(path),
        received=None if item["type"] == "missing" else f"{item['input']!r:.80}",
    )


def _shipped_folders() -> dict[str, Path]:
    """Return name -> folder of every shipped card; there is no other list."""
    root = shipped_folder("tasks")
    return {folder.name: folder for folder in entries(root) if (folder / CARD_FILE).is_file()}

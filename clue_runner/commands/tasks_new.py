"""What ``clue tasks new`` does: a user's own examples become a task folder that is ready to train.

In: a folder's name, a file of examples or a folder of such files. Out: a card and its splits, all or nothing.
Knows nothing about argv, tokens or models.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clue_runner.console import Console
from clue_runner.data.cards import CARD_FILE, load_card
from clue_runner.data.division import divide
from clue_runner.data.foreign.columns import Columns, Example, as_label, choose_columns, examples_of
from clue_runner.data.foreign.grid import Grid, read_grid
from clue_runner.data.foreign.splits import split_files
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import open_source
from clue_runner.data.new_folder import require_new, write_new_folder
from clue_runner.data.own_card import card_text, max_length, task_name, tokens_of
from clue_runner.errors import DataError, Problem, UsageError
from clue_runner.files.names import read_regular, user_path

MOST_LABELS = 1_000
CLASS_SHARE = 0.5  # with more distinct labels per row than this, they are not classes
SHOWN = 8  # labels listed with their counts
OPTION = "DIR"


@dataclass(frozen=True)
class NewTaskRequest:
    """The options of ``clue tasks new``, named as on the command line."""

    folder: str
    source: str
    text: Sequence[str] = ()
    label: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    seed: int = 42
    dev_share: float = 0.1
    test_share: float = 0.1


@dataclass(frozen=True)
class ReadFile:
    """One file of examples, read."""

    path: str
    grid: Grid
    columns: Columns
    examples: Sequence[Example]
    left_out: Sequence[Problem]


def new_task(request: NewTaskRequest, console: Console) -> dict[str, object]:
    """Write the task's folder, report what was detected, and return the result event's content.

    Raises:
        UsageError: the folder is not empty, or the options are invalid.
        DataError: examples that cannot be read, or without classes to learn; nothing is written.
        StorageError: the folder cannot be written; nothing is left behind.
    """
    shares = request.dev_share + request.test_share
    if not (0 < request.dev_share < 1 and 0 <= request.test_share < 1 and shares < 1):
        raise UsageError(
            "the fractions of dev and test must leave something to train on",
            received=f"--dev-share {request.dev_share:g} --test-share {request.test_share:g}",
            allowed="more than 0 for dev, together less than 1",
        )
    folder = user_path(request.folder)
    require_new(folder, OPTION)
    files = _read_files(request)
    for name, file in files.items():
        _say_read(name, file, console)
    labels = _label_list(files)
    splits = _splits(files, request)
    texts = 2 if len(next(iter(files.values())).columns.texts) == 2 else 1
    fields = ("text",) if texts == 1 else ("text_a", "text_b")
    length = max_length([example.texts for rows in splits.values() for example in rows])
    name = task_name(folder)
    card = card_text(name, folder.resolve().name, fields, labels, _labelled(files, splits), length)
    contents = {CARD_FILE: card.encode()}
    for split, rows in splits.items():
        lines = [_line(fields, row, labelled=_has_labels(files, split)) for row in rows]
        contents[f"{split}.json"] = "".join(lines).encode()
    write_new_folder(folder, contents, OPTION, prove=_prove)
    return _say_written(folder, name, labels, splits, length, request, console)


def _read_files(request: NewTaskRequest) -> dict[str, ReadFile]:
    """Return the files read: one called ``all``, or one for each split."""
    source = user_path(request.source)
    paths = split_files(source) if source.is_dir() else {"all": source}
    files: dict[str, ReadFile] = {}
    for name, path in paths.items():
        first = next(iter(files.values()), None)
        known = first.grid.columns if first is not None and first.grid.has_header else ()
        grid = read_grid(
            read_regular(path),
            str(path),
            delimiter=request.delimiter,
            header=request.header,
            known=known,
            single=name == "test",
        )
        columns = _columns(name, grid, str(path), request, first)
        files[name] = ReadFile(str(path), grid, columns, *examples_of(grid, columns, str(path)))
    return files


def _columns(name: str, grid: Grid, path: str, request: NewTaskRequest, first: ReadFile | None) -> Columns:
    """Return which columns of a file hold what: a file after the first calls them as the first does.

    A test file may lack the label, or leave its cells empty.
    """
    texts, label, labelled = request.text, request.label, name != "test"
    if first is not None and first.grid.has_header and grid.has_header:
        named = [first.grid.columns[place] for place in first.columns.texts]
        texts = texts or (named if set(named) <= set(grid.columns) else ())
        of_first = None if first.columns.label is None else first.grid.columns[first.columns.label]
        label = label or (of_first if of_first in grid.columns else None)
    if not labelled and label is not None and label not in grid.columns and not label.isdecimal():
        label = None
    columns = choose_columns(grid, path, texts=texts, label=label, labelled=labelled)
    if labelled or first is None or columns.label is None:
        return columns
    empty = not any(as_label(value) for value in grid.column(columns.label))
    guessed = label is None and grid.columns[columns.label] != first.grid.columns[first.columns.label or 0]
    return Columns(columns.texts, None) if empty or guessed else columns


def _label_list(files: Mapping[str, ReadFile]) -> list[str]:
    """Return the labels in index order: numbers by size, else by their text.

    Raises:
        DataError: one class, or so many labels that they are not classes; a label that train lacks.
    """
    first, *others = files.values()
    counts = Counter(example.label for example in first.examples)
    problems = [
        Problem("a label that train does not have", f"{file.path}:{example.line}", repr(example.label))
        for file in others
        if file.columns.label is not None
        for example in file.examples
        if example.label not in counts
    ]
    if problems:
        raise DataError(
            "labels that cannot be learned",
            problems=problems,
            next_step=f"fix those rows, or add examples of these labels to {first.path}",
        )
    column = first.grid.columns[first.columns.label or 0]
    if len(counts) < 2:
        raise DataError(
            "there is only one class, so nothing can be learned",
            where=first.path,
            received=f"{column}: {next(iter(counts))!r} in all {len(first.examples):,} rows",
            next_step="name the column of the labels: --label COLUMN",
        )
    if len(counts) > min(MOST_LABELS, CLASS_SHARE * len(first.examples)):
        raise DataError(
            f"{len(counts):,} different labels in {len(first.examples):,} rows cannot be classes",
            where=first.path,
            received=f"{column}: {', '.join(map(repr, list(counts)[:3]))}, ...",
            next_step="name the column of the labels: --label COLUMN",
        )
    if all(re.fullmatch(r"-?\d{1,18}", label) for label in counts):
        return sorted(counts, key=lambda label: (int(label), label))
    return sorted(counts)


def _splits(files: Mapping[str, ReadFile], request: NewTaskRequest) -> dict[str, list[Example]]:
    """Return the examples of each split; splits without a file are drawn from the first file by the seed."""
    first = next(iter(files.values()))
    given = {name: list(file.examples) for name, file in files.items()}
    shares = {"train": 1.0, "dev": request.dev_share}
    if "all" in files and request.test_share > 0:
        shares["test"] = request.test_share
    if "dev" in files:
        return given
    texts = [example.texts for example in first.examples]
    numbers = divide(texts, [example.label for example in first.examples], shares, request.seed)
    divided = {name: [first.examples[number] for number in rows] for name, rows in numbers.items()}
    empty = [name for name, rows in divided.items() if not rows]
    if empty:
        raise DataError(
            f"too few examples for a {' and a '.join(empty)} split",
            where=first.path,
            received=f"{len(first.examples):,} rows, {len(set(texts)):,} distinct",
            next_step="add examples (three or more per label), or give --test-share 0",
        )
    return {**divided, **{name: rows for name, rows in given.items() if name == "test"}}


def _has_labels(files: Mapping[str, ReadFile], split: str) -> bool:
    """Return whether a split's records carry labels."""
    return split not in files or files[split].columns.label is not None


def _labelled(files: Mapping[str, ReadFile], splits: Mapping[str, Sequence[Example]]) -> dict[str, bool]:
    """Return split -> whether it carries labels."""
    return {split: _has_labels(files, split) for split in splits}


def _line(fields: Sequence[str], example: Example, *, labelled: bool) -> str:
    """Return one record as a JSON line."""
    record = dict(zip(fields, example.texts, strict=True)) | ({"label": example.label} if labelled else {})
    return json.dumps(record, ensure_ascii=False) + "\n"


def _prove(site: Path) -> None:
    """Read the written files as a run will, so that any folder that appears can be trained on."""
    card = load_card(site)
    source = open_source(site, card)
    for split in card.splits:
        read_records(card, source, split)


def _say_read(name: str, file: ReadFile, console: Console) -> None:
    """Report what a file was recognised as, and what was left out."""
    grid, columns = file.grid, file.columns
    header = "header" if grid.has_header else "no header"
    console.say(f"{name:<7} {file.path}: {grid.described}, {header}, {len(grid.rows):,} rows")
    used = {*columns.texts, columns.label}
    texts = " and ".join(shown(grid.columns[place]) for place in columns.texts)
    label = "none" if columns.label is None else shown(grid.columns[columns.label])
    ignored = [shown(column) for place, column in enumerate(grid.columns) if place not in used]
    console.say(
        f"        text: {texts}; label: {label}" + (f"; not used: {', '.join(ignored)}" if ignored else "")
    )
    left_out = [*grid.left_out, *file.left_out]
    for problem in left_out[:5]:
        console.warn(f"left out: {problem}")
    if len(left_out) > 5:
        console.warn(f"left out: {len(left_out) - 5:,} rows more")


def _say_written(
    folder: Path,
    name: str,
    labels: Sequence[str],
    splits: Mapping[str, Sequence[Example]],
    length: int,
    request: NewTaskRequest,
    console: Console,
) -> dict[str, object]:
    """Report the folder's content and the next step; return the result event's content."""
    counts = Counter(example.label for rows in splits.values() for example in rows)
    listed = ", ".join(f"{shown(label)} ({counts[label]:,})" for label in labels[:SHOWN])
    console.say(f"labels  {len(labels)}: {listed}{', ...' if len(labels) > SHOWN else ''}")
    sizes = ", ".join(f"{split} {len(rows):,}" for split, rows in splits.items())
    console.say(f"splits  {sizes} (seed {request.seed} where one file is split)")
    longer = sum(tokens_of(example.texts) > length for rows in splits.values() for example in rows)
    cut = (
        f"{longer:,} of {counts.total():,} records are longer and are cut"
        if longer
        else "no record is longer"
    )
    console.say(f"length  {length} tokens, about one a character; {cut}")
    rare = [shown(label) for label in labels if not any(row.label == label for row in splits["dev"])]
    if rare:
        console.warn(f"dev has no record for {len(rare)} labels: {', '.join(rare[:SHOWN])}")
    console.say(f"\n{folder}: {CARD_FILE}, {', '.join(f'{split}.json' for split in splits)}")
    console.say(f"train on it: clue train --task {request.folder}")
    return {
        "ok": True,
        "task": name,
        "folder": str(folder),
        "labels": list(labels),
        "max_length": length,
        "counts": {split: len(rows) for split, rows in splits.items()},
    }


def shown(text: str) -> str:
    """Return a name from a file, safe to show on a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]

"""What ``clue predict`` is asked to answer: a split, a file, standard input, or texts from the command line.

In: the options as plain values, a task. Out: records by the name of their output.
Knows nothing about runs or networks.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, load_adapter
from clue_runner.commands.answers.evaluate import gold_source
from clue_runner.console import Console
from clue_runner.data.card import Template
from clue_runner.data.cards import Card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.readers.targets import question_target
from clue_runner.data.records import EntityRecord, ReadingRecord, Records, TargetRecord, TextRecord
from clue_runner.data.sources import DataSource, FolderSource, MemorySource, missing_file, split_file
from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import open_regular, user_path
from clue_runner.files.text import printable

STANDARD_INPUT = "-"
TEXTS = "text"
LONGEST_STEM = 40  # characters of a file's name in the name of its answers


@dataclass(frozen=True)
class Question:
    """The records to answer.

    Args:
        source: where the records are from.
        records: records by the name of their output.
        is_own: a file, standard input or texts from the user.
        is_test: test splits, from which official files are made.
        gold: the records of a user's labelled file with their answers; None: nothing is scored.
        not_scored: why a user's file is not scored.
    """

    source: DataSource
    records: Mapping[str, Records[Any]]
    is_own: bool
    is_test: bool
    gold: Records[Any] | None = None
    not_scored: str | None = None


def read_split(adapter: Adapter, name: str, data: str | None, console: Console) -> Question:
    """Return the records of a split, or of all test splits.

    Args:
        adapter: the task's.
        name: a split of the card, or ``test`` for all without labels.
        data: ``--data``; None: where the task's data is looked for.
        console: told which files are missing.

    Raises:
        DataError: none of the files is found in the data.
    """
    card = adapter.card
    source = locate(card, data)
    names = (name,) if name in card.splits else card.test_splits
    there = [one for one in names if split_file(source, card.splits[one]) is not None]
    absent = [card.splits[one].file for one in names if one not in there]
    if not there:
        raise missing_file(source, absent)
    for file in absent:
        console.warn(f"{source.label} has no {file}: it is left out")
    records = {one: adapter.read(source, one) for one in there}
    is_test = all(one in card.test_splits for one in there)
    return Question(source, records, is_own=False, is_test=is_test)


def read_own(adapter: Adapter, text: str) -> Question:
    """Return the records of a user's file or of standard input; labels are not needed.

    Raises:
        DataError: no such split and no such file; not records of this task.
    """
    card = adapter.card
    name = (*card.test_splits, *card.splits)[0]
    path = None if text == STANDARD_INPUT else _existing(text, card)
    source: DataSource
    if path is None:
        source = MemorySource("standard input", {card.splits[name].file: _standard_input()})
        stem = "stdin"
    else:
        open_regular(path).close()
        source = FolderSource(text, {card.splits[name].file: path})
        stem = path.stem[:LONGEST_STEM]
    records = read_records(_one_file(card, name), source, name, labelled=False)
    # its own name, not that of the split whose layout it has: nothing is learned from it
    records = replace(records, split=text, file=records.file if path is None else printable(path.name))
    gold, why = _read_gold(adapter, source, path)
    # Two files with the same name stay two files, and neither is a split of the run.
    output = f"{stem}-{records.sha256[:8]}"
    return Question(source, {output: records}, is_own=True, is_test=False, gold=gold, not_scored=why)


def read_texts(card: Card, texts: Sequence[str], pairs: Sequence[str]) -> Question:
    """Return texts from the command line as records, each as the model reads it.

    Args:
        card: the task.
        texts: ``--text`` values: the first text of each record (of a reading task: the context).
        pairs: ``--text-pair`` values: the second text of each (of a reading task: the question).

    Raises:
        UsageError: the task reads a different number of texts, or none from the command line; an empty text.
    """
    names = text_fields(card)
    if not names:
        raise UsageError(
            f"records of {card.name} cannot be given with --text",
            where="--text",
            next_step="put them into a file in the task's layout: --split FILE, or --split -",
        )
    if len(pairs) != (len(texts) if len(names) == 2 else 0):
        what = " and ".join(names)
        wanted = "one --text-pair for each --text" if len(names) == 2 else "--text alone"
        raise UsageError(
            f"{card.name} reads {'two texts' if len(names) == 2 else 'one text'}: {what}",
            where="--text-pair",
            received=f"{len(texts)} --text, {len(pairs)} --text-pair",
            allowed=wanted,
        )
    if not all(text.strip() for text in (*texts, *pairs)):
        raise UsageError("a text is empty", where="--text")
    rows = list(zip(texts, pairs, strict=True)) if pairs else [(text,) for text in texts]
    content = hashlib.sha256("\x00".join(text for row in rows for text in row).encode("utf-8", "replace"))
    items = [_record(card, number, row) for number, row in enumerate(rows)]
    split = (*card.test_splits, *card.splits)[0]
    records = Records(split, items, "--text", content.hexdigest(), len(items), path="--text")
    return Question(MemorySource("--text", {}), {TEXTS: records}, is_own=True, is_test=False)


def text_fields(card: Card) -> tuple[str, ...]:
    """Return the name of each text of a record; empty where records are more than one or two texts."""
    if card.layout == "cluener":
        return ("text",)
    if card.layout == "squad":
        return ("text", "question")
    if card.layout == "squad_targets":
        return ("text", "answer")
    if card.layout not in {"lines", "targets"} or card.template is None:
        return ()
    parts = card.template.parts
    names = (", ".join(Template(parts=[part]).used_fields) or part for part in parts)
    return tuple(names) if len(parts) <= 2 else ()


def _record(card: Card, number: int, texts: tuple[str, ...]) -> Any:
    """Return one record without a label."""
    if card.layout == "cluener":
        return EntityRecord(number, texts[0], None, number + 1)
    if card.layout == "squad":
        return ReadingRecord(str(number), texts[0], texts[1], ())
    if card.layout == "squad_targets":
        return question_target(str(number), texts[0], texts[1], None)
    if card.layout == "targets":
        return TargetRecord(number, texts, None)
    return TextRecord(number, texts, None, number + 1)


def _existing(text: str, card: Card) -> Path:
    """Return the file that ``--split`` names."""
    path = user_path(text)
    if not path.is_file():
        raise DataError(
            "no such split and no such file",
            where="--split",
            received=printable(text),
            allowed=", ".join(dict.fromkeys(["test", *card.splits])),
            next_step="name a split, a file of records in the task's layout, or - for standard input",
        )
    return path


def _standard_input() -> bytes:
    """Return all of standard input."""
    if sys.stdin is None:
        raise DataError("standard input is closed", where="--split", received=STANDARD_INPUT)
    raw: bytes = sys.stdin.buffer.read()
    return raw


def _one_file(card: Card, name: str) -> Card:
    """Return the card of a split that is one file of the user's: no official count, nothing to download."""
    one = card.splits[name].model_copy(update={"more": [], "records": []})
    return card.model_copy(update={"splits": {**card.splits, name: one}, "download": None})


def _read_gold(
    adapter: Adapter, source: DataSource, path: Path | None
) -> tuple[Records[Any] | None, str | None]:
    """Return the records with their labels; where they cannot be scored, the reason."""
    card = adapter.card
    if "dev" not in card.splits:
        return None, f"{card.name} has no labelled split"
    try:
        if path is not None:
            source, card = gold_source(card, path)
        else:
            (raw,) = (source.read(name) for name in source.names())
            source, card = MemorySource(source.label, {card.splits["dev"].file: raw}), _one_file(card, "dev")
        return load_adapter(card, adapter.run).read(source, "dev"), None
    except DataError as error:
        return None, str(error.problems[0] if error.problems else error.headline)

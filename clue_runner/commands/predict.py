"""What ``clue predict`` was asked for: runs, splits, places to write.

In: the command's options as plain values. Out: prediction and submission files, and what was written.
Knows nothing about argv or networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, Predictions, load_adapter
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.data.cards import find_card
from clue_runner.data.layouts import read_records
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, FolderSource, missing_file, split_file
from clue_runner.errors import DataError, UsageError
from clue_runner.files.atomic import make_folder, probe_folder
from clue_runner.files.lock import FolderLock
from clue_runner.files.names import user_path
from clue_runner.runs.events import remembered_data
from clue_runner.runs.folder import RunFolder
from clue_runner.training.answers import (
    WrittenSubmission,
    describe,
    write_predictions,
    write_submission,
    write_submissions,
)
from clue_runner.training.lenders import advice, borrowed_card
from clue_runner.training.members import Asker, Member, find_members
from clue_runner.training.out_of_memory import memory_faults


@dataclass(frozen=True)
class PredictRequest:
    """The options of ``clue predict``, named as on the command line."""

    task: str | None = None
    run: Sequence[Path] = ()
    split: str = "test"
    data: str | None = None
    output: Path | None = None


@dataclass(frozen=True)
class Question:
    """What is to be answered.

    Args:
        source: where the records are from.
        records: records by the name of their output.
        is_file: a file of the user's.
        is_test: test splits, which official files are made of.
    """

    source: DataSource
    records: Mapping[str, Records[Any]]
    is_file: bool
    is_test: bool


def fulfil(request: PredictRequest, console: Console) -> dict[str, Any]:
    """Answer what was asked for and write it; return the result event's content.

    Raises:
        ClueError: every user mistake.
    """
    wanted = find_card(request.task) if request.task else None
    if wanted is not None and "train" not in wanted.splits and not request.run:
        raise UsageError(
            f"{wanted.name} has no runs of its own: name one with --run", next_step=advice(wanted)
        )
    members = find_members(request.run, wanted.name if wanted else None, console)
    card = find_card(members[0].run.task.name)
    home = members[0].folder if len(members) == 1 else _ensemble_folder(members)
    remembered = remembered_data(members[0].folder.path)
    if wanted is not None and wanted.name != card.name:
        card, remembered = borrowed_card(wanted, card), None
        home = RunFolder(home.path / wanted.name)  # beside the run's own answers, never over them
    adapter = load_adapter(card, members[0].run)
    question = read_question(adapter, remembered, request, console)
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(console.warn, last_words=console.last_words))
        if request.output is None:
            stack.enter_context(FolderLock(home.path))
            probe_folder(home.path)
        elif request.output.parent != Path():
            make_folder(request.output.parent)
        with memory_faults():
            answers = answer_all(members, adapter, question, signals, console)
        return write_answers(members, adapter, question, answers, home, request.output, console)


def read_question(
    adapter: Adapter, remembered: str | None, request: PredictRequest, console: Console
) -> Question:
    """Return the records that are to be answered; ``remembered`` is the ``--data`` that the run was given.

    Raises:
        DataError: no such file, or no test file in the data.
    """
    card = adapter.card
    if request.split not in {*card.splits, "test"}:
        return _read_file(adapter, request.split)
    source = locate(card, request.data or remembered)
    names = (request.split,) if request.split in card.splits else card.test_splits
    there = [name for name in names if split_file(source, card.splits[name]) is not None]
    absent = [card.splits[name].file for name in names if name not in there]
    if not there:
        raise missing_file(source, absent)
    for file in absent:
        console.warn(f"no {file} in {source.label}: it is left out")
    records = {name: adapter.read(source, name) for name in there}
    is_test = all(name in card.test_splits for name in there)
    return Question(source, records, is_file=False, is_test=is_test)


def answer_all(
    members: Sequence[Member], adapter: Adapter, question: Question, signals: Signals, console: Console
) -> dict[str, Predictions]:
    """Return the answers to every split: one run's, or several runs' joint ones."""
    backend = members[0].run.backend
    collected: dict[str, list[Predictions]] = {name: [] for name in question.records}
    for member in members:
        asker = Asker(member, adapter.card, backend, console)
        signals.defer()
        for name, records in question.records.items():
            collected[name].append(asker.answer(records, signals, console))
    return {
        name: given[0] if len(given) == 1 else adapter.ensemble(given, question.records[name])
        for name, given in collected.items()
    }


def write_answers(
    members: Sequence[Member],
    adapter: Adapter,
    question: Question,
    answers: Mapping[str, Predictions],
    home: RunFolder,
    output: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Write predictions and official files, say what was written, and return it."""
    result: dict[str, Any] = {
        "ok": True,
        "task": adapter.card.name,
        "runs": [str(one.folder.path) for one in members],
    }
    sample = question.source.is_sample
    official: list[WrittenSubmission] = []
    files: list[Path] = []
    if output is not None and question.is_test:
        official.append(_write_single_submission(output, adapter, answers, question))
    else:
        for name, predictions in answers.items():
            path = output or home.predictions / f"{name}.jsonl"
            write_predictions(path, predictions, probabilities=members[0].run.output.probabilities)
            files.append(path)
            console.say(f"{len(predictions):,} predictions -> {path}")
            for what, count in adapter.answer_notes(predictions).items():
                console.warn(f"{name}: {count:,} {what}")
            records = question.records[name]
            if question.is_test:
                folder = home.submission
                official += write_submissions(folder, adapter, name, predictions, records, sample=sample)
            elif not question.is_file:
                scores = adapter.score(predictions, records)
                result |= {
                    "split": name,
                    "metric": scores.main,
                    "score": scores.score,
                    "chance": scores.chance,
                    "examples": scores.examples,
                }
                console.say(f"{name} {scores.main} {scores.score:.2f}   chance {scores.chance:.1f}")
    for one in official:
        verdict = "accepted by clue submit check" if not one.problems else f"not accepted: {one.problems[0]}"
        console.say(f"{one.lines:,} lines -> {one.path}   {verdict}")
    if sample and official:
        console.say("answers to sample records: not for upload")
    submission = {"files": describe(official, None), "ok": not any(one.problems for one in official)}
    result |= {"files": [str(path) for path in files], "submission": submission if official else None}
    console.event({"event": "result", **result})
    return result


def _write_single_submission(
    output: Path, adapter: Adapter, answers: Mapping[str, Predictions], question: Question
) -> WrittenSubmission:
    """Write the one official file of the test splits to a place of the user's choice."""
    card = adapter.card
    wanted = [one for one in card.submissions if one.split in answers]
    if len(wanted) != 1:
        raise UsageError(
            f"--output names one file, and {card.name} has {len(wanted)} official ones",
            received=str(output),
            allowed=", ".join(one.file for one in wanted) or "none",
            next_step="leave --output out: each is written under its official name",
        )
    split = wanted[0].split
    return write_submission(
        output, adapter, wanted[0], answers[split], question.records[split], sample=question.source.is_sample
    )


def _read_file(adapter: Adapter, text: str) -> Question:
    """Return the records of a file of the user's; labels are neither needed nor used."""
    card = adapter.card
    path = user_path(text)
    if not path.is_file():
        raise DataError(
            "no such split and no such file",
            where="--split",
            received=text,
            allowed=", ".join(dict.fromkeys(["test", *card.splits])),
            next_step="name a split, or a file of records in the task's layout",
        )
    name = (*card.test_splits, *card.splits)[0]
    source = FolderSource(text, {card.splits[name].file: path})
    records = read_records(card, source, name, labelled=False)
    return Question(
        source, {path.stem: replace(records, file=str(path), split=text)}, is_file=True, is_test=False
    )


def _ensemble_folder(members: Sequence[Member]) -> RunFolder:
    """Return where several runs' joint answers go: beside the first of them."""
    return RunFolder(members[0].folder.path.parent / "ensemble")

"""What ``clue predict`` does: takes runs and splits or texts, writes answers where asked.

In: the command's options as plain values. Out: prediction and submission files, and a list of them.
Knows nothing about argv or networks, or about how answers are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, Predictions, load_adapter
from clue_runner.commands.answers.ensemble import ensemble_folder
from clue_runner.commands.answers.question import Question, read_own, read_split, read_texts
from clue_runner.commands.answers.writer import STANDARD_OUTPUT, Writer
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.data.cards import find_card
from clue_runner.errors import UsageError
from clue_runner.files.names import user_path
from clue_runner.runs.events import remembered_data
from clue_runner.runs.folder import RunFolder
from clue_runner.training.lenders import advice, borrowed_card
from clue_runner.training.members import Asker, Member, find_members
from clue_runner.training.out_of_memory import memory_faults


@dataclass(frozen=True)
class PredictRequest:
    """The options of ``clue predict``, named as on the command line; ``split`` None means ``test``."""

    task: str | None = None
    run: Sequence[Path] = ()
    split: str | None = None
    text: Sequence[str] = ()
    text_pair: Sequence[str] = ()
    data: str | None = None
    output: Path | None = None


def fulfil(request: PredictRequest, console: Console) -> dict[str, Any]:
    """Answer what was asked and write the answers; return the result event's content.

    Raises:
        ClueError: every user mistake.
    """
    _refuse_contradictions(request, console)
    wanted = find_card(request.task) if request.task else None
    if wanted is not None and "train" not in wanted.splits and not request.run:
        raise UsageError(
            f"{wanted.name} has no runs of its own: name one with --run", next_step=advice(wanted)
        )
    console.rows_on_stdout = request.output == STANDARD_OUTPUT
    members = find_members(request.run, wanted.name if wanted else None, console)
    card = find_card(members[0].run.task.name)
    home = members[0].folder if len(members) == 1 else ensemble_folder(members)
    remembered = remembered_data(members[0].folder.path)
    if wanted is not None and wanted.name != card.name:
        card, remembered = borrowed_card(wanted, card), None
        home = RunFolder(home.path / wanted.name)  # beside the run's own answers, never in their place
    adapter = load_adapter(card, members[0].run)
    question = read_question(adapter, remembered, request, console)
    writer = Writer(members, adapter, question, home, _place(request), console)
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(console.warn, last_words=console.last_words))
        writer.prepare(stack)
        with memory_faults():
            answers = answer_all(members, adapter, question, signals, console)
        result = writer.write(answers)
    console.event({"event": "result", **result})
    return result


def read_question(
    adapter: Adapter, remembered: str | None, request: PredictRequest, console: Console
) -> Question:
    """Return the records to answer; ``remembered`` is the ``--data`` that the run was given.

    Raises:
        UsageError: texts that do not suit the task.
        DataError: no such file, or no test file in the data.
    """
    if request.text:
        return read_texts(adapter.card, request.text, request.text_pair)
    split = request.split or "test"
    if split in {*adapter.card.splits, "test"}:
        return read_split(adapter, split, request.data or remembered, console)
    return read_own(adapter, split)


def answer_all(
    members: Sequence[Member], adapter: Adapter, question: Question, signals: Signals, console: Console
) -> dict[str, Predictions]:
    """Return the answers to every split: those of one run, or the joint ones of several."""
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


def _place(request: PredictRequest) -> Path | None:
    """Return ``--output`` as a path."""
    if request.output is None or request.output == STANDARD_OUTPUT:
        return request.output
    return user_path(request.output)


def _refuse_contradictions(request: PredictRequest, console: Console) -> None:
    """Refuse options that are allowed on their own but not together."""
    if request.text_pair and not request.text:
        raise UsageError("--text-pair needs --text", next_step="give the first text of each pair too")
    if request.text and (request.split is not None or request.data is not None):
        raise UsageError(
            "--text gives what to answer, and so does "
            + ("--split" if request.split is not None else "--data"),
            next_step="give one of them",
        )
    if request.output == STANDARD_OUTPUT and console.json:
        raise UsageError("--json and --output - both write to standard output", next_step="give one of them")

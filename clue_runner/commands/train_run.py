"""One run of ``clue train``: started, continued, or found finished in its folder.

In: settings, a card, a data source, a path. Out: the result.
Everything that can fail cheaply fails before a backend is loaded; ``train.batch_size: auto`` becomes a number
here, before anything is trained. Knows nothing about argv or about several seeds.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from clue_runner.adapters.sections import SECTIONS
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.data.cards import Card
from clue_runner.data.sources import DataSource
from clue_runner.errors import ClueError
from clue_runner.files.atomic import remove
from clue_runner.files.reading import exists
from clue_runner.memory.batch_size import as_begun, resolve_examples
from clue_runner.runs.find import load_result
from clue_runner.runs.folder import PAGE, RunFolder, write_settings
from clue_runner.runs.opening import open_folder
from clue_runner.runs.results import RunResult
from clue_runner.runs.resume import newest_state
from clue_runner.tokens.rows import Rows
from clue_runner.training.display import say_result
from clue_runner.training.network import choose
from clue_runner.training.run import Sitting, train
from clue_runner.training.setup import Inputs, Setup, complete, read_inputs


def train_run(
    run: Run,
    card: Card,
    source: DataSource,
    output: Path,
    console: Console,
    *,
    fresh: bool = False,
    data_argument: str | None = None,
) -> RunResult:
    """Train, continue, or show the result of an earlier call.

    Args:
        run: the resolved settings.
        card: the task.
        source: its files.
        output: the run folder.
        console: where to print.
        fresh: move an old run in ``output`` aside first.
        data_argument: what the user gave as ``--data``, for ``clue predict``.

    Raises:
        ClueError: every user mistake and every failure that a user can act on.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(console.warn, last_words=console.last_words))
        inputs = read_inputs(run, card, source, console)
        if not fresh:
            inputs = _as_begun(inputs, output, console)
        folder, lock = open_folder(output, inputs.run, inputs.identity, SECTIONS, fresh=fresh)
        stack.enter_context(lock)
        finished = folder.result()
        if finished is not None and finished.ok:
            return _show_finished(console, card, inputs, folder, finished)
        choices = choose(inputs.run)  # a refusal must leave no run.yaml behind: the settings will change
        setup = _with_number(complete(inputs, choices, console.warn), console)
        snapshot = newest_state(folder, console.warn)
        remove(folder.metrics)  # left by a failed run that is tried again
        write_settings(folder, setup.run, SECTIONS)
        sitting = Sitting(console, signals, began, data_argument)
        result = train(setup, folder, snapshot, sitting)
        say_result(console, result, card, folder.path)
        _write_page(setup, setup.rows["dev"], folder, console)
        return result


def _as_begun(inputs: Inputs, output: Path, console: Console) -> Inputs:
    """Replace ``train.batch_size: auto`` with the number that a run in the folder began with."""
    begun = RunFolder(output).run(SECTIONS) if inputs.run.train.batch_size == "auto" else None
    if begun is None:
        return inputs
    resolved = as_begun(inputs.run, begun)
    console.say(f"train.batch_size auto: {resolved.why}")
    return replace(inputs, run=resolved.run)


def _with_number(setup: Setup, console: Console) -> Setup:
    """Replace ``train.batch_size: auto`` with the number that memory allows."""
    if setup.run.train.batch_size != "auto":
        return setup
    resolved = resolve_examples(setup)
    console.say(f"train.batch_size auto: {resolved.why}")
    return setup.with_run(resolved.run)


def _write_page(inputs: Inputs, rows: Rows | None, folder: RunFolder, console: Console) -> None:
    """Write the page of a successful run; if that fails, the run is complete all the same.

    Messages are plain text, not events: with ``--json`` the result stays the last line.

    Args:
        inputs: the run's records and adapter.
        rows: dev's; None: they are encoded again, or taken from the cache.
        folder: that of the finished run.
        console: where to print.
    """
    from clue_runner.reports.answers import Answered, read_predictions, record_lengths, with_lengths
    from clue_runner.reports.run_page import PageOptions
    from clue_runner.reports.words import default_language
    from clue_runner.reports.write import write_run_page

    records = inputs.data.records["dev"]
    try:
        result = load_result(folder.path)
        answered = Answered(inputs.adapter, records, read_predictions(folder.predictions / "dev.jsonl"))
        if rows is None:
            answered = with_lengths(answered, folder, console.say)
        else:
            answered = replace(answered, lengths=record_lengths(rows, len(records)))
        options = PageOptions(default_language())
        page = write_run_page(folder, result, options, answered=answered, warn=console.say)
    except ClueError as error:
        console.say(f"  page       not written: {error}")
    else:
        console.say(f"  page       {page}")


def _show_finished(
    console: Console, card: Card, inputs: Inputs, folder: RunFolder, result: RunResult
) -> RunResult:
    """Print the result of an earlier run of the same command; write its page if a kill prevented that."""
    console.say(f"this run has already finished: {folder.path}")
    say_result(console, result, card, folder.path)
    if not exists(folder.path / PAGE):
        _write_page(inputs, None, folder, console)
    console.event({"event": "result", **result.to_json()})
    return result

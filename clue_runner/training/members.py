"""Opens finished runs for prediction: which ones are meant, and an engine with their best weights.

In: run folders. Out: members with an engine that holds the best weights.
Knows nothing about splits, files to write or argv.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Adapter, AnyTokenizer, Predictions, load_adapter
from clue_runner.adapters.sections import SECTIONS
from clue_runner.architectures.check_ids import check_ids
from clue_runner.architectures.settings import shape_of
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.console.signals import Signals
from clue_runner.data.cards import Card, find_card
from clue_runner.data.records import Records
from clue_runner.errors import CheckpointError, UsageError
from clue_runner.files.tensors import NativeReader
from clue_runner.runs.find import load_run, newest_finished, open_run
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.identity import card_content, card_differences
from clue_runner.runs.resume import best_snapshot
from clue_runner.runs.states import VOCABULARY, WEIGHTS_FILE, Snapshot
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.evaluation import Predictor, Stopped, answer_within_memory, smaller_batches
from clue_runner.training.network import build_engine, choose, without_kernel
from clue_runner.training.prepare import encode_records

ROOT = Path("runs")
TRAIN_AGAIN = "the run's settings do not fit its weights: train again, or name another run"


@dataclass(frozen=True)
class Member:
    """One run for prediction: its settings and its complete best state."""

    folder: RunFolder
    run: Run
    best: Snapshot


def find_members(folders: Sequence[Path], task: str | None, console: Console) -> list[Member]:
    """Return the selected runs: those named, else the newest finished one (of the task).

    Args:
        folders: ``--run`` values.
        task: name of the card, or None.
        console: told which run is used, and which has not finished.

    Raises:
        DataError: a folder does not exist.
        CheckpointError: no finished run, or one without a complete best state.
        UsageError: runs of different tasks.
    """
    chosen = list(folders) or [newest_finished(ROOT, task, warn=console.warn).folder.path]
    if not folders:
        console.say(f"using {chosen[0]}")
    members = [open_member(folder, console) for folder in chosen]
    for member in members:
        if Path(member.run.task.name).name != Path(members[0].run.task.name).name:
            raise UsageError(
                "the runs are of different tasks",
                received=", ".join(f"{one.folder.path}: {one.run.task.name}" for one in members),
                next_step="name runs of one task",
            )
    return members


def open_member(path: Path, console: Console) -> Member:
    """Return one run with its best state.

    Raises:
        DataError: no such folder.
        CheckpointError: no run in it, nothing saved, or a damaged state.
    """
    folder, run = open_run(path), load_run(path, SECTIONS)
    best = best_snapshot(folder)
    if not folder.finished:
        console.warn(f"{path}: the run has not finished; its best state so far is used ({best.folder.name})")
    _refuse_another_card(folder, run, best)
    return Member(folder, run, best)


def _refuse_another_card(folder: RunFolder, run: Run, best: Snapshot) -> None:
    """Refuse a card that would give the weights' answers another meaning."""
    card = card_content(find_card(run.task.name).model_dump(mode="json"))
    problems = card_differences(best.state.identity, card, scoring=False)
    if problems:
        raise CheckpointError(
            "the task card differs from the one that this run was trained with",
            where=str(folder.path),
            problems=problems,
            next_step="restore the card, or train again with this one: clue train --fresh",
        )


def _tokenizer(member: Member, adapter: Adapter) -> AnyTokenizer:
    """Return the tokenizer for a run's weights: its saved vocabulary, and what an adapter reads beside it.

    Raises:
        CheckpointError: a file that the vocabulary goes with (word vectors) is not the one of the training.
    """
    vocabulary = member.best.folder / VOCABULARY
    if (own := adapter.load_own_tokenizer(vocabulary)) is None:
        return Tokenizer(vocabulary, member.run.model.lowercase)
    if own.sha256 != (member.best.state.identity.vocabulary or own.sha256):
        raise CheckpointError(
            "the files that map texts to ids differ from those that this run was trained with",
            where=str(member.folder.path),
            next_step="restore the file of word vectors, or train again: clue train --fresh",
        )
    return own


class Asker:
    """One member's network, ready to answer."""

    def __init__(self, member: Member, card: Card, backend: str, console: Console) -> None:
        """Load the backend, build the network and load the best weights.

        Args:
            member: the run.
            card: its task.
            backend: of this process: weights are the same for all backends.
            console: where to print.
        """
        run = without_kernel(member.run.model_copy(update={"backend": backend}))
        # Batch sizes found to fit into memory, in training or here.
        self._tokens = member.best.state.progress.evaluate_tokens
        self._warn: Callable[[str], None] = console.warn
        self._adapter = load_adapter(card, run)
        self._tokenizer = _tokenizer(member, self._adapter)
        self._adapter.tokenizer = self._tokenizer
        choices = choose(run)
        self._at_once = choices.device.batches_at_once
        saved = member.best.state.buckets
        self._buckets = None if saved is None else tuple(int(length) for length in saved)
        header = NativeReader(member.best.folder / WEIGHTS_FILE).meta
        self._vocab_size = int(header["vocab_size"])
        self._engine = build_engine(self._adapter, choices, vocab_size=self._vocab_size)
        self._engine.set_state(member.best.tensors())

    def answer(self, records: Records[Any], signals: Signals, console: Console) -> Predictions:
        """Return one prediction per record."""
        run = self._adapter.run
        rows = encode_records(self._adapter, records, self._tokenizer, cache=run.data.cache, warn=self._warn)
        split, limits = {records.split: rows}, self._tokenizer.id_limits
        check_ids(shape_of(run.model), self._vocab_size, split, limits, TRAIN_AGAIN)
        predictor = Predictor(
            self._engine,
            self._adapter,
            self._tokens or run.train.evaluate_tokens,
            self._buckets,
            run.train.ema is not None,
            signals,
            at_once=self._at_once,
        )

        def take_smaller(tokens: int) -> None:
            self._tokens = tokens
            self._warn(smaller_batches(records.file, tokens))

        stopped = Stopped(
            f"while answering {records.file}; nothing was written", "run the same command again"
        )
        with console.progress(len(rows), f"predicting {records.file}") as bar:
            return answer_within_memory(predictor, records, rows, bar.update, stopped, take_smaller)

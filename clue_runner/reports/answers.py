"""The predictions of a finished run together with their records.

In: a run folder, the task's adapter, the data's location. Out: records, predictions, each record as a page
shows it. Knows nothing about HTML, or about networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clue_runner.adapters.base import Adapter, Prediction, Scores, load_adapter
from clue_runner.adapters.sections import SECTIONS
from clue_runner.adapters.shown.shown import Shown
from clue_runner.config.schema import Run
from clue_runner.data.cards import find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.errors import CheckpointError, DataError
from clue_runner.files.reading import DamagedFileError, exists, parse_object, read_file
from clue_runner.runs.events import remembered_data
from clue_runner.runs.find import load_run
from clue_runner.runs.folder import RunFolder
from clue_runner.runs.results import RunResult
from clue_runner.runs.states import VOCABULARY, damaged_state, open_snapshot
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.prepare import encode_records

DEV = "dev"
LIMIT = 1024**3


@dataclass(frozen=True)
class Answered:
    """The dev records of a run with its predictions, in file order.

    Args:
        adapter: that of the task, bound to the run's settings.
        records: labelled records.
        predictions: one per record.
        lengths: tokens of each record's longest row; None: unknown.
    """

    adapter: Adapter
    records: Records[Any]
    predictions: Sequence[Prediction]
    lengths: Sequence[int] | None = None

    @property
    def shown(self) -> list[Shown]:
        """Return every record as a page shows it."""
        pairs = zip(self.records.items, self.predictions, strict=True)
        return [self.adapter.show(record, prediction) for record, prediction in pairs]

    @property
    def scores(self) -> Scores:
        """Return the official scores."""
        return self.adapter.score(self.predictions, self.records)


def read_answered(folder: RunFolder, result: RunResult, data: str | None) -> Answered:
    """Return the dev answers of a finished run; nothing is downloaded.

    Args:
        folder: that of the run.
        result: its result.
        data: ``--data``; None: the data that the run used.

    Raises:
        DataError: the data is not available, or the run was scored on other data.
        CheckpointError: the run's files are damaged or missing.
    """
    run = load_run(folder.path, SECTIONS)
    adapter = load_adapter(find_card(run.task.name), run)
    records = read_dev(adapter, run, folder, data)
    require_same_data(records, result, folder.path)
    predictions = read_predictions(folder.predictions / f"{DEV}.jsonl")
    if [one.id for one in predictions] != [record.id for record in records.items]:
        raise DataError(
            "the answers do not belong to these records",
            where=str(folder.predictions / f"{DEV}.jsonl"),
            received=f"{len(predictions):,} answers, {len(records):,} records of {records.path}",
            next_step=f"clue predict --run {folder.path} --split dev",
        )
    return Answered(adapter, records, predictions)


def with_lengths(answered: Answered, folder: RunFolder, warn: Callable[[str], None]) -> Answered:
    """Return the predictions with each record's length in tokens, if the run has kept its vocabulary.

    Raises:
        CheckpointError: the vocabulary or the pointer to it is damaged.
    """
    adapter, state = answered.adapter, folder.best_state()
    if state is None or not exists(state / VOCABULARY):
        return answered
    try:
        own = adapter.load_own_tokenizer(state / VOCABULARY)
        known = None if own is None else open_snapshot(state).state.identity.vocabulary
    except DataError as error:
        warn(f"the page lacks the records' lengths: {error}")
        return answered
    except DamagedFileError as error:
        raise damaged_state(state, error) from error
    if own is not None and known not in {None, own.sha256}:
        warn("the page lacks the records' lengths: the word vectors differ from those of the training")
        return answered
    tokenizer = own or Tokenizer(state / VOCABULARY, adapter.run.model.lowercase)
    rows = encode_records(adapter, answered.records, tokenizer, cache=adapter.run.data.cache, warn=warn)
    return replace(answered, lengths=record_lengths(rows, len(answered.records)))


def read_dev(adapter: Adapter, run: Run, folder: RunFolder, data: str | None) -> Records[Any]:
    """Return the labelled records that the run was scored on, limited in the same way.

    Raises:
        DataError: the records are not available.
    """
    source = locate(adapter.card, data or remembered_data(folder.path), offline=True)
    records = adapter.read(source, DEV)
    limit = run.data.limit_dev
    return records if limit is None else replace(records, items=records.items[:limit])


def require_same_data(records: Records[Any], result: RunResult, where: Path) -> None:
    """Refuse a dev file that is not the one the run was scored on.

    Raises:
        DataError: it is a different one.
    """
    known = result.data_sha256.get(DEV)
    if known is not None and known != records.sha256:
        raise DataError(
            "the dev records differ from those that the run was scored on",
            where=records.path or records.file,
            received=f"SHA-256 {records.sha256[:12]}",
            allowed=f"{known[:12]}, as {where / 'metrics.json'} says",
            next_step="name the data with --data",
        )


def read_predictions(path: Path) -> list[Prediction]:
    """Return the predictions in the file of a run.

    Raises:
        CheckpointError: missing or damaged.
    """
    try:
        lines = [line for line in read_file(path, LIMIT).split(b"\n") if line.strip()]
        return [_prediction(parse_object(line)) for line in lines]
    except FileNotFoundError:
        raise CheckpointError(
            "this run has no answers to dev",
            where=str(path),
            next_step=f"clue predict --run {path.parent.parent} --split dev",
        ) from None
    except (DamagedFileError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the answers of this run cannot be read: {error}",
            where=str(path),
            next_step=f"clue predict --run {path.parent.parent} --split dev",
        ) from error


def _prediction(entry: Mapping[str, Any]) -> Prediction:
    """Return one line as the adapter gave it, without the probabilities of all labels, which no file has."""
    probability = entry.get("probability")
    return Prediction(
        entry["id"],
        entry["prediction"],
        None if probability is None else float(probability),
        alternatives=tuple(
            (str(one["prediction"]), float(one["probability"])) for one in entry.get("n_best", ())
        ),
        evidence=tuple(
            (int(one["passage"]), int(one["start"]), int(one["end"]), float(one["score"]))
            for one in entry.get("evidence", ())
        ),
    )


def record_lengths(rows: Rows, count: int) -> list[int]:
    """Return the number of tokens in each record's longest row; 0 for a record without rows."""
    lengths = np.zeros(count, np.int64)
    np.maximum.at(lengths, rows.record, rows.lengths)
    return [int(length) for length in lengths]

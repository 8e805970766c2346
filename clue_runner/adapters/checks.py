"""Checks of all adapters: refuse answers that cannot be compared, records that do not belong together.

In: records, predictions, rows. Out: nothing, or an error that names the record. Knows nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.answers import Partials, Predictions
from clue_runner.data.records import ClozeRecord, EntityRecord, Records, TextRecord
from clue_runner.errors import DataError, NotFiniteError, Problem
from clue_runner.tokens.rows import Array, Rows

SHOWN = 40  # characters of a wrong answer in a message


def place_of(records: Records[Any], index: int) -> str:
    """Return a record's place: ``file:line``, or the file and the id where it is one JSON value."""
    record = records.items[index]
    if isinstance(record, TextRecord | EntityRecord | ClozeRecord):
        return f"{records.shown}:{record.line}"
    return f"{records.shown}, id {record.id}"


def label_numbers(
    records: Records[Any], labels: Iterable[tuple[int, str]], names: Sequence[str]
) -> list[int]:
    """Return the index of each label in the card's list.

    Args:
        records: where the labels are from.
        labels: (number of the record, label).
        names: the card's labels.

    Raises:
        DataError: a label is not in the list; every one with file:line. As an invalid index it
            would silently be ignored in training.
    """
    index = {name: number for number, name in enumerate(names)}
    numbers: list[int] = []
    problems: list[Problem] = []
    for record, label in labels:
        if label in index:
            numbers.append(index[label])
        else:
            problems.append(
                Problem("not a label of the card", place_of(records, record), f"{label!r:.{SHOWN}}")
            )
    if problems:
        raise DataError(
            f"{len(problems):,} labels of {records.shown} are not in the card's list",
            problems=problems,
            allowed=", ".join(names),
            next_step="correct the records, or add the labels to the card at their index",
        )
    return numbers


def require_in_range(
    rows: Rows, records: Records[Any], name: str, values: Array, limit: int | NDArray[np.int64]
) -> None:
    """Refuse invalid indices: looked up in a table, they would silently count as nothing.

    Args:
        rows: the rows with the indices.
        records: the source of the rows.
        name: the name of the indices, for the message.
        values: (rows, ...) whole numbers; a negative one stands for nothing.
        limit: the first number that is too large, for all rows or for each.

    Raises:
        DataError: an index is too large; the first record is named.
    """
    highest = np.asarray(values, np.int64).reshape(len(rows), -1).max(axis=1, initial=-1)
    outside = np.flatnonzero(highest >= limit)
    if len(outside):
        first = int(outside[0])
        allowed = int(np.broadcast_to(limit, highest.shape)[first])
        raise DataError(
            f"{len(outside):,} rows have a {name} outside its table",
            where=place_of(records, int(rows.record[first])),
            received=str(int(highest[first])),
            allowed=f"under {allowed}",
            next_step="the rows do not belong to this card; data.cache=false encodes them again",
        )


def require_learnable(rows: Rows, records: Records[Any], next_step: str) -> None:
    """Refuse records to train on of which nothing can be learned.

    Args:
        rows: of the split.
        records: the split.
        next_step: what to change if no answer can be represented.

    Raises:
        DataError: no record has an answer, or no row can represent any of them.
    """
    if not rows.gold.total:
        raise DataError(
            "nothing to learn from: no record has an answer",
            where=records.shown,
            next_step="the train split needs records with answers; the card shows their form",
        )
    if rows.gold.lost == rows.gold.total:
        raise DataError(
            f"nothing to learn from: none of the {rows.gold.total:,} answers can be represented by tokens",
            where=records.shown,
            problems=[Problem(f"{what}: {count:,}") for what, count in rows.notes.items()],
            next_step=next_step,
        )


def require_answers(records: Records[Any], answers: Iterable[object]) -> None:
    """Refuse a split that cannot be scored.

    Raises:
        DataError: it is empty, or some records have no answer.
    """
    known = list(answers)
    if not known or any(answer is None for answer in known):
        raise DataError("a split without answers cannot be scored", where=records.shown, allowed="train, dev")


def require_order(predictions: Predictions, records: Records[Any]) -> None:
    """Refuse predictions that are not in the order of the records.

    Raises:
        RuntimeError: they are not (our bug).
    """
    if [prediction.id for prediction in predictions] != [record.id for record in records.items]:
        raise RuntimeError(f"{records.file}: predictions are not in the order of the records")


def require_members(members: Sequence[Predictions], records: Records[Any]) -> None:
    """Refuse an ensemble whose runs did not answer the same records.

    Raises:
        DataError: a member answers other records.
    """
    ids = [record.id for record in records.items]
    for number, member in enumerate(members, start=1):
        if [prediction.id for prediction in member] != ids:
            raise DataError(f"run {number} of the ensemble answers records other than {records.shown}")


def require_all_rows(partials: Partials, count: int, file: str, what: str = "rows") -> None:
    """Refuse partial results that are not one for each row.

    Raises:
        RuntimeError: rows are missing or too many (our bug).
    """
    rows = {index for index in partials if index >= 0}
    if rows != set(range(count)):
        missing = len(set(range(count)) - rows)
        raise RuntimeError(f"{file}: {missing} of {count} {what} have no prediction")


def require_finite(values: NDArray[np.floating], where: str) -> None:
    """Refuse NaN and infinity in a network's outputs.

    Raises:
        NotFiniteError: NaN or an infinity.
    """
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the network's answer is NaN",
            where=where,
            next_step="predict with an earlier checkpoint, or train again with a lower learning rate",
        )


def text_answers(
    predictions: Predictions, records: Records[Any], *, may_lack: bool = False
) -> dict[int, str]:
    """Return record number -> answer for a task whose answers are texts.

    Args:
        predictions: one per record.
        records: what they answer.
        may_lack: None stands for no answer at all, and is left out.

    Raises:
        DataError: an answer is something else (a list of candidates, null, a number): as text it would merely
            look like a wrong answer.
    """
    problems = [
        Problem("the answer is not a string", place_of(records, index), f"{one.prediction!r:.{SHOWN}}")
        for index, one in enumerate(predictions)
        if not (isinstance(one.prediction, str) or (may_lack and one.prediction is None))
    ]
    if problems:
        raise DataError(
            f"{len(problems):,} of {len(predictions):,} answers are not strings",
            problems=problems,
            next_step="give one text for each id; an n-best list has a file with the best answers beside it",
        )
    return {index: one.prediction for index, one in enumerate(predictions) if one.prediction is not None}


def label_answers(predictions: Predictions, records: Records[Any], names: Sequence[str]) -> list[str]:
    """Return the answers of a task whose answers are labels.

    Raises:
        DataError: an answer is not a label of the card.
    """
    known = set(names)
    problems = [
        Problem("the answer is not a label", place_of(records, index), f"{one.prediction!r:.{SHOWN}}")
        for index, one in enumerate(predictions)
        if not isinstance(one.prediction, str) or one.prediction not in known
    ]
    if problems:
        raise DataError(
            f"{len(problems):,} of {len(predictions):,} answers are not labels of the task",
            problems=problems,
            allowed=", ".join(names),
            next_step="labels are strings, not class indices",
        )
    return [one.prediction for one in predictions]


def mean_probabilities(members: Sequence[Predictions], records: Records[Any]) -> list[NDArray[np.float64]]:
    """Return each record's probabilities, averaged over the members.

    Raises:
        DataError: a member answers other records, or carries no probabilities.
    """
    require_members(members, records)
    votes: list[list[NDArray[np.float32]]] = [[] for _ in records.items]
    for number, member in enumerate(members, start=1):
        for vote, one in zip(votes, member, strict=True):
            if one.probabilities is None:
                raise DataError(f"run {number} of the ensemble has no probabilities to average")
            vote.append(one.probabilities)
    return [np.stack(vote).mean(axis=0, dtype=np.float64) for vote in votes]

"""What every adapter refuses: answers that cannot be compared, records that do not belong together.

In: records, predictions, rows. Out: nothing, or an error that names the record. Knows nothing about tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.answers import Predictions
from clue_runner.adapters.base import Partials
from clue_runner.data.records import ClozeRecord, EntityRecord, Records, TextRecord
from clue_runner.errors import DataError, NotFiniteError, Problem

SHOWN = 40  # characters of a wrong answer in a message


def place_of(records: Records[Any], index: int) -> str:
    """Return where a record stands: ``file:line``, or the file and the id where it is one JSON value."""
    record = records.items[index]
    if isinstance(record, TextRecord | EntityRecord | ClozeRecord):
        return f"{records.file}:{record.line}"
    return f"{records.file}, id {record.id}"


def require_answers(records: Records[Any], answers: Iterable[object]) -> None:
    """Refuse a split that cannot be scored.

    Raises:
        DataError: it is empty, or some records have no answer.
    """
    known = list(answers)
    if not known or any(answer is None for answer in known):
        raise DataError("a split without answers cannot be scored", where=records.file, allowed="train, dev")


def require_order(predictions: Predictions, records: Records[Any]) -> None:
    """Refuse predictions that are not in the order of the records.

    Raises:
        RuntimeError: they are not (a bug of ours).
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
            raise DataError(f"run {number} of the ensemble answers other records than {records.file}")


def require_all_rows(partials: Partials, count: int, file: str, what: str = "rows") -> None:
    """Refuse partial results that are not one for each row.

    Raises:
        RuntimeError: rows are missing or too many (a bug of ours).
    """
    rows = {index for index in partials if index >= 0}
    if rows != set(range(count)):
        missing = len(set(range(count)) - rows)
        raise RuntimeError(f"{file}: {missing} of {count} {what} have no prediction")


def require_finite(values: NDArray[np.floating], where: str) -> None:
    """Refuse what a network gave where it is not a number.

    Raises:
        NotFiniteError: NaN or an infinity.
    """
    if not np.isfinite(values).all():
        raise NotFiniteError(
            "the network's answer is not a number",
            where=where,
            next_step="predict with an earlier checkpoint, or train again with a lower learning rate",
        )


def text_answers(predictions: Predictions, records: Records[Any]) -> list[str]:
    """Return the answers of a task whose answers are texts.

    Raises:
        DataError: an answer is something else (a list of candidates, null, a number): as text it would only
            look wrong.
    """
    problems = [
        Problem("the answer is not a text", place_of(records, index), f"{one.prediction!r:.{SHOWN}}")
        for index, one in enumerate(predictions)
        if not isinstance(one.prediction, str)
    ]
    if problems:
        raise DataError(
            f"{len(problems):,} of {len(predictions):,} answers are not texts",
            problems=problems,
            next_step="give one text for each id; an n-best list has a file with the best answers beside it",
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

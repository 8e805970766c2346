"""What adapters share whose rows compete in groups: a candidate is a row, a question or a blank is a group.

In: one score per row. Out: tables of scores and probabilities, the head, an answer as an index.
Knows nothing about questions, passages or how a table is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import MemoryFacts, Partials
from clue_runner.adapters.checks import require_all_rows, require_finite
from clue_runner.config.schema import Run
from clue_runner.errors import DataError
from clue_runner.tokens.rows import Array, IntArray, Rows

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head


LONGEST_INDEX = 10  # digits; more are not an index, and int() refuses thousands of them


def group_tables(rows: Rows) -> dict[str, tuple[Array, int | IntArray]]:
    """Return the marks of right choices, and the places of choices in their groups."""
    sizes = np.diff(rows.group_starts)
    return {
        "label": (rows.columns["label"], 2),
        "place of a choice": (rows.columns["choice"], np.repeat(sizes, sizes)),
    }


def group_head(backbone: Any, run: Run) -> Head:
    """Return ``backbone`` with one output column and a softmax over each group."""
    from clue_runner.models.heads.choice_head import ChoiceHead

    return ChoiceHead(
        backbone,
        pooling=run.model.pooling,
        dropout_rate=run.model.head_dropout,
        drop_share=run.train.drop_tokens,
        seed=run.seed,
    )


def group_memory(run: Run) -> MemoryFacts:
    """Return whether the pooling reads more than the first token."""
    return MemoryFacts(every_token=run.model.pooling in {"mean", "max"})


def score_tables(
    partials: Partials, shapes: Sequence[tuple[int, int]], file: str
) -> list[NDArray[np.float64]]:
    """Return one (blanks, choices) table of scores per record, from rows that lie in that order.

    Raises:
        RuntimeError: rows are missing or too many (our bug).
        NotFiniteError: a score is not a number.
    """
    sizes = [blanks * choices for blanks, choices in shapes]
    require_all_rows(partials, sum(sizes), file, "choices")
    scores = np.fromiter((partials[row] for row in range(sum(sizes))), np.float64, count=sum(sizes))
    require_finite(scores, file)
    tables = np.split(scores, np.cumsum(sizes)[:-1])
    return [table.reshape(shape) for table, shape in zip(tables, shapes, strict=True)]


def group_probabilities(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax of each row of a (blanks, choices) table."""
    powers = np.exp(table - table.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)


def index_of(value: object, choices: int, where: str) -> int:
    """Return a prediction as an index from 0; digits in a text count, as some runners write them.

    Raises:
        DataError: it names no choice.
    """
    digits = isinstance(value, str) and value.isdecimal() and len(value) < LONGEST_INDEX
    index = int(str(value)) if digits or (isinstance(value, int) and not isinstance(value, bool)) else -1
    if not 0 <= index < choices:
        raise DataError(
            "the answer is not an index of a choice",
            where=where,
            received=f"{value!r:.60}",
            allowed=f"0 to {choices - 1}",
        )
    return index

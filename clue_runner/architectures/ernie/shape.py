"""ERNIE's shape: BERT's sizes, and the task-type table, one row of which is added to every token.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from clue_runner.architectures.encoder_shape import EncoderSizes, LearnedSizes
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.pairs import pair_problem
from clue_runner.errors import Problem

DEFAULT_TASKS = 3  # of ErnieConfig
Count = Annotated[int, Field(ge=0)]


class Shape(LearnedSizes):
    """Sizes and options of ERNIE's encoder."""

    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {"num_task_types"}
    UNPUBLISHED: ClassVar[frozenset[str]] = LearnedSizes.UNPUBLISHED | {"task_type"}
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "position_embedding_type": ("absolute",),
    }

    num_task_types: Count = Field(default=0, description="rows of the task-type table; 0: none")
    task_type: Count = Field(default=0, description="row of the task-type table added to every token")

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the group of the task-type table if there is none."""
        return frozenset() if self.num_task_types else frozenset({"task_types"})

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the rows of the task-type table; it exists if the config uses it."""
        rows = config.count("task_type_vocab_size", 1_024, DEFAULT_TASKS)
        return {"num_task_types": rows if config.flag("use_task_id", default=False) else 0}

    def own_config(self) -> dict[str, Any]:
        """Return the rows of the task-type table under their published keys."""
        rows = self.num_task_types
        return {"use_task_id": rows > 0, "task_type_vocab_size": rows or DEFAULT_TASKS}

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {**super().axes(vocab_size), "task_types": self.num_task_types}

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield the contradictions between sizes, and a task type without a row."""
        yield from super().cross_checks(values, origins)
        row, rows = "model.task_type", "model.num_task_types"
        if values[row] >= max(1, values[rows]):
            yield pair_problem("the table has no such row", row, rows, values, origins)

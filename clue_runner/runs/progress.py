"""The progress of a run: everything the loop must know to continue as if it had never stopped.

In: nothing, or a saved state. Out: numbers that go into ``state.json`` and back without loss.
Data order and dropout are not state: they are functions of (seed, epoch) and (seed, update, micro-batch).
Knows nothing about files, tensors or engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from clue_runner.errors import CheckpointError
from clue_runner.files.reading import DamagedFileError
from clue_runner.runs.results import Evaluation, describe

Count = Annotated[int, Field(ge=0)]
ADDED = {"token_budget", "evaluate_tokens"}  # later additions; defaults fit old states


def _check_evaluation(entry: dict[str, Any]) -> dict[str, Any]:
    """Refuse a history entry that is not an evaluation."""
    Evaluation.model_validate(entry)
    return entry


@dataclass
class Progress:
    """The loop's state; ``seconds`` alone differs between two equal runs.

    Args:
        step: updates done.
        epoch: epoch of the next update, from 0.
        position: index of the next update within the epoch; equals the epoch's length between its last
            update and its evaluation.
        best_step, best_epoch, best_score: the best evaluation so far; ties keep the earlier.
        evaluations_without_gain: counted against ``train.patience``.
        history: one entry per evaluation: step, epoch, score, scores, loss.
        loss_sum, loss_weight: train loss since the last evaluation.
        last_loss: loss of the last update.
        examples: train examples seen.
        real_tokens, computed_tokens: tokens in the train batches, without and with padding.
        seconds: time spent in compile, train, evaluate and predict, over all sittings.
        ended: why training is over; None while it is not.
        drop_due: before the next update the best weights are restored, once in a run.
        dropped_at: the step at which they did.
        token_budget, evaluate_tokens: what was found to fit into memory, if the settings ask for more.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    step: Count = 0
    epoch: Count = 0
    position: Count = 0
    best_step: Count | None = None
    best_epoch: int | None = None
    best_score: float | None = None
    evaluations_without_gain: int = 0
    history: list[Annotated[dict[str, Any], AfterValidator(_check_evaluation)]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    last_loss: float | None = None
    examples: int = 0
    real_tokens: int = 0
    computed_tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    ended: str | None = None
    drop_due: bool = False
    dropped_at: int | None = None
    token_budget: int | None = None
    evaluate_tokens: int | None = None

    @property
    def mean_loss(self) -> float | None:
        """Return the train loss since the last evaluation; None if nothing was read yet."""
        return self.loss_sum / self.loss_weight if self.loss_weight else None

    @property
    def evaluated(self) -> bool:
        """Return whether dev was scored at this very step."""
        return bool(self.history) and int(self.history[-1]["step"]) == self.step

    def spend(self, what: str, seconds: float) -> None:
        """Add measured time."""
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def become(self, other: Progress) -> None:
        """Take over everything from ``other``, in place: several parts of a run hold this object."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))

    def to_json(self) -> dict[str, Any]:
        """Return plain data; floats survive JSON bit for bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> Progress:
        """Return the saved progress.

        Raises:
            CheckpointError: a field is missing or unknown: another version wrote it.
            DamagedFileError: a value of the wrong type, or an impossible one.
        """
        names = {one.name for one in fields(cls)}
        if not isinstance(content, Mapping):
            raise DamagedFileError("has a progress that is not an object")
        if set(content) | ADDED != names:
            odd = ", ".join(sorted(names.symmetric_difference(set(content) | ADDED)))
            raise CheckpointError(
                f"the saved state is of another version of clue-runner (fields {odd})",
                next_step="finish it with the version that started it, or start over with --fresh",
            )
        try:
            # Validated as JSON, since exact types are required and a dataclass has no plain form in Python.
            return _ADAPTER.validate_json(json.dumps(content))
        except ValidationError as error:
            raise DamagedFileError(f"has a progress that cannot be used: {describe(error)}") from None


_ADAPTER = TypeAdapter(Progress)

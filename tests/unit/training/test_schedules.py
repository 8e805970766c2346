"""The learning rate of every update, by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from clue_runner.training.schedules import learning_rate


@dataclass(frozen=True)
class Settings:
    schedule: str = "linear"
    warmup_ratio: float = 0.2
    learning_rate: float = 1.0


def rates(total: int, **settings: object) -> list[float]:
    return [round(learning_rate(index, total, Settings(**settings)), 6) for index in range(total)]  # type: ignore[arg-type]


def test_linear() -> None:
    assert rates(10) == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates(4, warmup_ratio=0.0) == [1.0, 0.75, 0.5, 0.25]


def test_cosine_and_constant() -> None:
    assert rates(6, schedule="cosine", warmup_ratio=0.3) == [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert rates(5, schedule="constant", warmup_ratio=0.4) == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_every_rate_is_positive_and_at_most_the_peak() -> None:
    for total in range(1, 40):
        for ratio in (0.0, 0.01, 0.1, 0.5, 0.99):
            for schedule in ("linear", "cosine", "constant"):
                found = rates(total, schedule=schedule, warmup_ratio=ratio)
                assert all(0 < rate <= 1 for rate in found)
                assert max(found) == 1


def test_an_update_outside_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="update 5 is not in a run of 5"):
        learning_rate(5, 5, Settings())
    with pytest.raises(ValueError, match="no schedule"):
        learning_rate(4, 5, Settings(schedule="steps"))

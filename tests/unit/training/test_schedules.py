"""The learning rate of every update, by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.errors import UsageError
from clue_runner.training.rates.schedules import learning_rate


@dataclass(frozen=True)
class Settings:
    schedule: str = "linear"
    warmup_ratio: float = 0.2
    learning_rate: float = 1.0
    schedule_points: str = "0:1,1:0"


def rates(total: int, **settings: object) -> list[float]:
    return [round(learning_rate(index, total, Settings(**settings)), 6) for index in range(total)]  # type: ignore[arg-type]


def test_linear() -> None:
    assert rates(10) == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates(4, warmup_ratio=0.0) == [1.0, 0.75, 0.5, 0.25]


def test_cosine_and_constant() -> None:
    assert rates(6, schedule="cosine", warmup_ratio=0.3) == [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert rates(5, schedule="constant", warmup_ratio=0.4) == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_inverse_square_root() -> None:
    """As ``transformers.get_inverse_sqrt_schedule`` after warm-up: the root of warm-up over update."""
    found = rates(10, schedule="inverse_sqrt", warmup_ratio=0.3)
    expected = [1 / 3, 2 / 3, 1, *(math.sqrt(3 / update) for update in range(4, 11))]
    assert found == pytest.approx(expected, abs=1e-6)
    plain = rates(100, schedule="inverse_sqrt", warmup_ratio=0.0)
    assert plain[:4] == pytest.approx([1, math.sqrt(1 / 2), math.sqrt(1 / 3), 0.5], abs=1e-6)
    assert sum(plain) == pytest.approx(18.589604, abs=1e-4)  # of 1/sqrt(t) to 100


def test_piecewise_lines() -> None:
    """bert4keras' ``piecewise_linear``: lines between points, as shares of what follows warm-up."""
    points = {"schedule": "piecewise", "schedule_points": "0:1, 0.5:0.2, 1:0"}
    assert rates(10, warmup_ratio=0.2, **points) == pytest.approx(
        [0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.15, 0.1, 0.05], abs=1e-6
    )
    linear = rates(7, schedule="linear", warmup_ratio=0.3)
    assert rates(7, schedule="piecewise", warmup_ratio=0.3) == linear


@pytest.mark.parametrize("points", ["0.1:1,1:0", "0:1,0.5:0.1", "0:1,0.6:1,0.5:1,1:0", "0:1,1", "0:1"])
def test_points_that_do_not_go_from_0_to_1_are_refused(points: str) -> None:
    with pytest.raises(UsageError, match=r"train.schedule_points"):
        load_run(task="afqmc", overrides=[f"train.schedule_points={points}"])


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

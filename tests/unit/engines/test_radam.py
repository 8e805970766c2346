"""Rectified Adam, the average's warm-up, and the drop of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from clue_runner.config.schema import Run
from clue_runner.engines.average import kept_share
from clue_runner.engines.rules import make_rule


def by_the_paper(gradients: list[float], rate: float) -> list[float]:
    """The update rule in double precision, one number at a time."""
    weight = m = v = 0.0
    limit = 2 / (1 - 0.999) - 1
    found = []
    for t, gradient in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rho = limit - 2 * t * 0.999**t / (1 - 0.999**t)
        step = rate * m / (1 - 0.9**t)
        if rho > 4:
            r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
            step *= r / (math.sqrt(v / (1 - 0.999**t)) + 1e-7 / math.sqrt(1 - 0.999**t))
        weight -= step
        found.append(weight)
    return found


def test_radam_is_the_papers_rule() -> None:
    gradients = np.random.default_rng(0).normal(size=40).tolist()
    rule = make_rule("radam", {"epsilon": 1e-7})
    weight, slots, found = np.float32(0), dict.fromkeys(rule.slots(()), np.float32(0)), []
    for step, gradient in enumerate(gradients, 1):
        size = rule.size(np.float32(1e-3), np.float32(step))
        assert (float(size.plain) == 0) != (float(size.adaptive) == 0)
        assert (float(size.adaptive) == 0) == (step <= 4)
        weight, slots = rule.step(weight, np.float32(gradient), slots, size)
        found.append(float(weight))
    np.testing.assert_allclose(found, by_the_paper(gradients, 1e-3), rtol=2e-3, atol=1e-8)


def test_the_average_starts_with_a_short_memory() -> None:
    assert float(kept_share(np.float32(1), 0.9999, warmup=True)) == pytest.approx(2 / 11)
    assert float(kept_share(np.float32(1e6), 0.9999, warmup=True)) == pytest.approx(0.9999)
    assert kept_share(np.float32(1), 0.9999, warmup=False) == 0.9999


@pytest.mark.parametrize(
    ("scores", "dropped_at"),
    [
        ([60, 61, 62, 63, 64, 65, 66], 24),  # at the latest epoch
        ([60, 61, 62, 40, 64, 65, 66], 16),  # under the floor
        ([60, 61, 59, 59, 59, 59, 59], 16),  # no better score for two evaluations
        ([10, 11, 12, 63, 64, 65, 66], 24),  # a low start is no reason yet
    ],
)
def test_the_learning_rate_drops_once(
    fake: SimpleNamespace, make_run: Callable[..., Run], scores: list[float], dropped_at: int
) -> None:
    from clue_runner.console.signals import Signals
    from clue_runner.runs.progress import Progress
    from clue_runner.training.loop import Hooks, Loop

    run = make_run(
        *(f"train.{setting}" for setting in (
            "epochs=7", "patience=null", "schedule=constant", "warmup_ratio=0.0", "drop_learning_rate=1e-5",
            "drop_epoch=6", "drop_after=3", "drop_patience=2",
        ))
    )  # fmt: skip
    events: list[str] = []
    drops: list[int] = []
    progress = Progress()
    engine = fake.Engine()
    rates: list[float] = []
    step = engine.step

    def watched(update: Any, *, update_index: int, learning_rate: float) -> Any:
        rates.append(learning_rate)
        return step(update, update_index=update_index, learning_rate=learning_rate)

    engine.step = watched
    hooks = Hooks(
        lambda: fake.Scores(scores[len(progress.history)], {"accuracy": 1.0}),
        lambda progress, best: None,
        lambda event: events.append(event.event),
        lambda progress, shown: None,
        lambda: drops.append(progress.step),
    )
    Loop(engine, fake.Batches(4), run.train, progress, hooks, Signals(lambda text: None), lambda: 0.0).run()
    assert drops == [dropped_at] == [progress.dropped_at] and not progress.drop_due
    assert events.count("drop") == 1
    assert set(rates[:dropped_at]) == {run.train.learning_rate} and set(rates[dropped_at:]) == {1e-5}

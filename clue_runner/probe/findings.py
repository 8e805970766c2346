"""A schedule's trace compared with the theorem: regret, bound, slopes, and whether the bound is vacuous.

In: a problem, its best point, a schedule's trace. Out: curves and one summary.
Knows nothing about files or backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clue_runner.probe.best import Best
from clue_runner.probe.bound import Curve, right_side, running_mean, slope
from clue_runner.probe.descent import Trace
from clue_runner.probe.problem import GRADIENT, Problem
from clue_runner.probe.schedules import Schedule


@dataclass(frozen=True)
class Findings:
    """One schedule's curves, each (steps,).

    Args:
        schedule: its step-size schedule.
        sizes: step sizes.
        trace: what the backend computed.
        average: running mean of the losses.
        regret: average minus the running mean of the best point's losses.
        bound: on the regret, with D and G known in advance.
        seen: the largest gradient norm up to each step.
        bound_seen: the bound with that in place of G.
        diameter: D.
    """

    schedule: Schedule
    sizes: Curve
    trace: Trace
    average: Curve
    regret: Curve
    bound: Curve
    seen: Curve
    bound_seen: Curve
    diameter: float

    @property
    def vacuous(self) -> bool:
        """Return whether the bound is vacuous at the end.

        G D bounds the regret without any training: a loss with such gradients cannot vary more on the ball.
        With a decay to zero, D^2/(2 T eta_T) does not fall as T grows, however small it is here.
        """
        return self.schedule.falls_to_zero or bool(self.bound[-1] >= GRADIENT * self.diameter)

    @property
    def holds(self) -> bool:
        """Return whether the regret is at most the bound after every step."""
        return bool(np.all(self.regret <= self.bound))

    def summary(self) -> dict[str, Any]:
        """Return the content of ``probe.json``."""
        return {
            "schedule": self.schedule.text,
            "first_step_size": float(self.sizes[0]),
            "last_step_size": float(self.sizes[-1]),
            "average_loss": float(self.average[-1]),
            "last_loss": float(self.trace.losses[-1]),
            "regret": float(self.regret[-1]),
            "bound": float(self.bound[-1]),
            "bound_with_seen_gradients": float(self.bound_seen[-1]),
            "greatest_gradient_seen": float(self.seen[-1]),
            "slope_regret": slope(self.regret),
            "slope_bound": slope(self.bound),
            "smallest_margin": float(np.min(self.bound - self.regret)),
            "holds": self.holds,
            "bound_vacuous": self.vacuous,
        }

    def lines(self) -> list[dict[str, float | int]]:
        """Return one row per step."""
        columns = {
            "loss": self.trace.losses,
            "average_loss": self.average,
            "step_size": self.sizes,
            "gradient_norm": self.trace.gradient_norms,
            "G_seen": self.seen,
            "regret": self.regret,
            "bound": self.bound,
            "bound_with_seen_gradients": self.bound_seen,
        }
        constants = {"G": GRADIENT, "D": self.diameter}
        return [
            {
                "step": place + 1,
                **{name: float(values[place]) for name, values in columns.items()},
                **constants,
            }
            for place in range(len(self.sizes))
        ]


def compare(problem: Problem, best: Best, schedule: Schedule, sizes: Curve, trace: Trace) -> Findings:
    """Return the curves of a run together with those of the theorem."""
    average = running_mean(trace.losses)
    seen = np.maximum.accumulate(trace.gradient_norms)
    return Findings(
        schedule,
        sizes,
        trace,
        average,
        average - running_mean(best.step_losses),
        right_side(sizes, problem.diameter, GRADIENT),
        seen,
        right_side(sizes, problem.diameter, seen),
        problem.diameter,
    )

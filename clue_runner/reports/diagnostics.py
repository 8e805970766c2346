"""The running average of the training loss, beside step size and gradient norm: what a run logged, drawn.

In: events of a run. Out: charts; none where no update was logged. It is the quantity that the average-loss
theorem is about (``probe/``), but a network meets none of its conditions: nothing here is a bound.
Knows nothing about templates or folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from clue_runner.reports import charts
from clue_runner.runs.events import AnyEvent, Resume, Step

Points = list[tuple[float, float]]


def running_average(events: Sequence[AnyEvent]) -> Points:
    """Return (update, mean loss of all updates so far).

    A step event has the mean since the one before, or since the state that the run continued from; what was
    between that state and an event before it was never logged, and counts nothing.
    """
    points: Points = []
    total, count, since = 0.0, 0, 0
    for one in events:
        if isinstance(one, Resume):
            since = max(since, one.step)
        elif isinstance(one, Step):
            total, count = total + one.loss * (one.step - since), count + one.step - since
            since = one.step
            points.append((float(one.step), total / count))
    return points


def diagnostic_charts(events: Sequence[AnyEvent], say: Callable[..., str]) -> list[tuple[str, Markup]]:
    """Return (name, chart) of average loss, step size and gradient norm; [] where no update was logged."""
    steps = [one for one in events if isinstance(one, Step)]
    if not steps:
        return []
    drawn = {
        "running_average": running_average(events),
        "step_size": [(float(one.step), one.learning_rate) for one in steps],
        "gradient_norm": [(float(one.step), one.gradient_norm) for one in steps],
    }
    return [
        (say(name), charts.curve(points, title=say(name), x_title=say("update")))
        for name, points in drawn.items()
    ]

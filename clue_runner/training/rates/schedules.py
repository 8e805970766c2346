"""The learning rate of each update: warm-up from 0, then one of several decays, or none.

In: the update's index, their total, the train settings. Out: one float.
Knows nothing about optimizers; the engine gets the value as a number.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from clue_runner.config.scalars import points_of


class ScheduleSettings(Protocol):
    """The part of ``TrainSettings`` that a schedule reads."""

    @property
    def learning_rate(self) -> float:
        """Return the peak."""

    @property
    def schedule(self) -> str:
        """Return which way the rate goes after warm-up."""

    @property
    def schedule_points(self) -> str:
        """Return the points of ``piecewise``."""

    @property
    def warmup_ratio(self) -> float:
        """Return the share of updates that raise the rate."""


def warmup_updates(total_updates: int, settings: ScheduleSettings) -> int:
    """Return how many updates raise the rate; the last of them runs at the peak."""
    return math.ceil(total_updates * settings.warmup_ratio)


def learning_rate(update_index: int, total_updates: int, settings: ScheduleSettings) -> float:
    """Return the learning rate of one update.

    Args:
        update_index: 0 for the first update.
        total_updates: of the whole run; the rate would reach 0 right after the last one.
        settings: peak, schedule and warm-up share.

    Raises:
        ValueError: an index outside the run, or an unknown schedule.
    """
    if not 0 <= update_index < total_updates:
        raise ValueError(f"update {update_index} is not in a run of {total_updates}")
    warmup = warmup_updates(total_updates, settings)
    if update_index < warmup:
        return settings.learning_rate * (update_index + 1) / warmup
    progress = (update_index - warmup) / (total_updates - warmup)
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "linear":
        return settings.learning_rate * (1 - progress)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if settings.schedule == "inverse_sqrt":
        return settings.learning_rate * math.sqrt(max(warmup, 1) / (update_index + 1))
    if settings.schedule == "piecewise":
        shares, factors = zip(*points_of(settings.schedule_points), strict=True)
        return settings.learning_rate * float(np.interp(progress, shares, factors))
    raise ValueError(f"no schedule called {settings.schedule!r}")

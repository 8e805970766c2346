"""Step sizes of a probe: their names, their notation, and the sizes themselves.

In: ``NAME[:RATE[:FLOOR]]``, the number of steps, D and G. Out: one size per step, never increasing (the
theorem requires that, so there is no warm-up). Knows nothing about data or backends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clue_runner.errors import UsageError, unknown_name

CONSTANT_RATE: Final = 0.1
NAMES: Final = ("constant", "inverse-sqrt", "optimal", "linear", "cosine")
RATES: Final = (1e-9, 1e9)  # outside, nothing moves or float32 overflows
DECAYS: Final = ("linear", "cosine")
USUAL: Final = ("constant", "inverse-sqrt", "optimal", "linear", "cosine", "linear::0.1", "cosine::0.1")


@dataclass(frozen=True)
class Schedule:
    """One sequence of step sizes.

    Args:
        text: as the user wrote it; the name of the schedule everywhere.
        name: one of ``NAMES``.
        rate: the first step size; None: derived from D, G and the number of steps.
        floor: the fraction of the first step size at which a decay ends.
    """

    text: str
    name: str
    rate: float | None = None
    floor: float = 0.0

    @property
    def file_name(self) -> str:
        """Return the text as a file name, without colons."""
        return self.text.replace(":", "-")

    @property
    def falls_to_zero(self) -> bool:
        """Return whether the last step sizes go to zero however many steps there are."""
        return self.name in DECAYS and self.floor == 0

    def first(self, steps: int, diameter: float, gradient: float) -> float:
        """Return the first step size."""
        if self.rate is not None:
            return self.rate
        if self.name == "constant":
            return CONSTANT_RATE
        if self.name == "inverse-sqrt":
            return diameter / (gradient * math.sqrt(2))  # the best multiple of 1/sqrt t
        return diameter / (gradient * math.sqrt(steps))

    def sizes(self, steps: int, diameter: float, gradient: float) -> NDArray[np.float64]:
        """Return the step size of each step.

        Args:
            steps: T.
            diameter: D, the greatest distance between two points of the ball.
            gradient: G, the largest possible norm of a gradient.
        """
        first, before = self.first(steps, diameter, gradient), np.arange(steps, dtype=np.float64)
        if self.name in {"constant", "optimal"}:
            return np.full(steps, first)
        if self.name == "inverse-sqrt":
            return first / np.sqrt(before + 1)
        # as in the training loop: step t is (t - 1)/T of the way, so that the last step still has an effect
        left = 1 - before / steps if self.name == "linear" else (1 + np.cos(np.pi * before / steps)) / 2
        return first * (self.floor + (1 - self.floor) * left)


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that ``NAME[:RATE[:FLOOR]]`` means; an empty rate means the default.

    Raises:
        UsageError: an unknown name, or numbers that it does not allow.
    """
    name, *rest = text.split(":")
    if name not in NAMES:
        raise unknown_name("schedule", name, NAMES, list_command="clue probe --help", where="--schedule")
    if len(rest) > 2:
        raise _wrong("a schedule has at most a rate and a floor", text)
    rate, floor = ([*rest, "", ""])[:2]
    if rate and name == "optimal":
        raise _wrong("optimal is D/(G sqrt T) and takes no rate; constant does", text)
    if floor and name not in DECAYS:
        raise _wrong("only linear and cosine end at a floor", text)
    found = Schedule(
        text, name, _number(rate, text) if rate else None, _number(floor, text) if floor else 0.0
    )
    if found.rate is not None and not RATES[0] <= found.rate <= RATES[1]:
        raise _wrong(f"a step size lies between {RATES[0]:g} and {RATES[1]:g}", text)
    if not 0 <= found.floor <= 1:
        raise _wrong("a floor is a fraction of the first step size, from 0 to 1", text)
    return found


def _number(word: str, text: str) -> float:
    """Return a finite number.

    Raises:
        UsageError: the word is not a number.
    """
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(f"{word!r} is not a number", text)
    return number


def _wrong(what: str, text: str) -> UsageError:
    return UsageError(
        what,
        where="--schedule",
        received=text,
        allowed="NAME[:RATE[:FLOOR]], as in constant:0.5 or cosine::0.1",
    )

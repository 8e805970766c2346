"""What fits: the largest batch for a budget, by length and recompute mode, and which setting to use.

In: a forecast (mode, rows, length) -> ``Need``. Out: rows of a table, a recommendation.
Knows nothing about where a forecast comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clue_runner.config.schema import Run
from clue_runner.memory.model import Need

Forecast = Callable[[str, int, int], Need]

LARGEST = 4096  # rows; larger batches are of no interest
BATCHES = (1, 4, 16, 64)
AUTO_LARGEST = 256  # most examples per update that ``auto`` chooses: larger updates train worse, not faster
WITHIN = 0.15  # largest error of a forecast, see ``scripts/bench_memory.py --predict``
# Fraction of the free memory that a plan uses: forecasts may be too low, and others use the machine too.
# An explicit budget is used in full.
FREE_SHARE = 0.8


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    recompute: str
    length: int
    rows: int
    need: Need


@dataclass(frozen=True)
class Best:
    """The most rows at once that fit into the budget."""

    recompute: str
    length: int
    rows: int


def modes(num_layers: int) -> tuple[str, ...]:
    """Return the recompute modes worth comparing: of segments the one nearest to the root of the depth."""
    size = min(range(1, num_layers + 1), key=lambda one: (abs(one * one - num_layers), one))
    return ("none", "sublayer", "block", *([f"segment:{size}"] if size > 1 else []))


def lengths(max_length: int) -> tuple[int, ...]:
    """Return the lengths of the table: the longest, its half and its quarter, in steps of 8."""
    return tuple(sorted({max_length, *(max(8, -(-max_length // part // 8) * 8) for part in (2, 4))}))


def cells(forecast: Forecast, names: Sequence[str], sizes: Sequence[int]) -> Iterator[Cell]:
    """Yield the table's lines."""
    for recompute in names:
        for length in sizes:
            for rows in BATCHES:
                yield Cell(recompute, length, rows, forecast(recompute, rows, length))


def largest_rows(forecast: Forecast, recompute: str, length: int, budget: int, largest: int = LARGEST) -> int:
    """Return the most rows at once whose peak stays within ``budget`` bytes; 0: not even one."""
    low, high = 0, largest
    while low < high:
        middle = (low + high + 1) // 2
        if forecast(recompute, middle, length).total <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def handy(rows: int) -> int:
    """Return ``rows`` rounded down to what people choose: a multiple of 8, below that a power of 2."""
    return rows // 8 * 8 if rows >= 8 else 1 << (rows.bit_length() - 1) if rows else 0


def auto_examples(
    forecast: Forecast, recompute: str, length: int, *, group: int, budget: int, most: int = AUTO_LARGEST
) -> int:
    """Return the examples in an update that ``train.batch_size: auto`` takes; 0: not even one fits.

    Args:
        forecast: of rows.
        recompute: the mode.
        length: of the longest rows.
        group: rows in an example.
        budget: bytes.
        most: examples at most.
    """
    rows = largest_rows(forecast, recompute, length, budget, most * group)
    return most if rows // group == most else handy(rows // group)


@dataclass(frozen=True)
class Advice:
    """The setting to take: as ``--set`` arguments, and why."""

    settings: tuple[str, ...]
    reason: str


def advise(run: Run, best: Sequence[Best], length: int, wanted: int, *, group: int = 1) -> Advice:
    """Return the settings for rows of ``length``: without recomputation if that fits, else with.

    Args:
        run: the settings now.
        best: what fits, by mode and length; modes in order of preference, the plain one first.
        length: of the longest rows.
        wanted: examples in an update.
        group: rows in an example.
    """
    here = {one.recompute: one.rows // group for one in best if one.length == length}
    plain = next(iter(here))
    if here[plain] >= wanted:
        return Advice(
            _settings(run, plain, wanted, wanted, group * length),
            f"{wanted} examples at once fit without recomputation",
        )
    most = max(here.values())
    if most == 0:
        return Advice((), "not even one example fits: use a smaller model, shorter rows or a larger budget")
    name = next(one for one, rows in here.items() if rows >= min(wanted, most))
    if here[name] >= wanted:
        return Advice(
            _settings(run, name, wanted, wanted, group * length),
            f"{wanted} examples at once fit with it, {here[plain]} without",
        )
    at_once = handy(most)
    return Advice(
        _settings(run, name, wanted, at_once, group * length),
        f"{at_once} examples at once fit; an update of {wanted} takes {-(-wanted // at_once)} micro-batches",
    )


def _settings(run: Run, recompute: str, wanted: int, at_once: int, tokens: int) -> tuple[str, ...]:
    """Return the ``--set`` arguments.

    Args:
        run: the settings now.
        recompute: the mode.
        wanted: examples in an update.
        at_once: of them computed together.
        tokens: in an example at most.
    """
    found = [f"model.recompute={recompute}", f"train.batch_size={wanted}"]
    if wanted > at_once:
        found.append(f"train.accumulate={-(-wanted // at_once)}")
    if at_once * tokens > run.train.token_budget:
        found.append(f"train.token_budget={at_once * tokens}")
    return tuple(found)

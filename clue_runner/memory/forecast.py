"""Where a forecast of memory comes from: counted from shapes, or reported by the compiler.

In: a run and facts about its network. Out: ``Forecast`` functions. No weight is allocated, no step is run.
Knows nothing about budgets or tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from clue_runner.adapters.base import load_adapter
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card
from clue_runner.data.locate import open_sample
from clue_runner.engines import create_engine
from clue_runner.engines.base import Foresight
from clue_runner.memory.model import Need, step_need
from clue_runner.memory.network import Network
from clue_runner.memory.table import Forecast
from clue_runner.tokens.padding import padded
from clue_runner.tokens.rows import Rows
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.training.network import Choices, engine_settings, network_builder

COMPILED_ROWS = (8, 32)  # a line through these two gives every other number of rows


class Shape(NamedTuple):
    """An array without its content."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def counted(network: Network) -> Forecast:
    """Return the forecast that is counted from shapes."""
    return lambda recompute, rows, length: step_need(network, rows, length, recompute)


def on_each(forecast: Forecast, devices: int) -> Forecast:
    """Return the forecast for each of the devices that share a batch's rows: state and its part of them."""
    return lambda recompute, rows, length: forecast(recompute, -(-rows // devices), length)


@dataclass(frozen=True)
class _Line:
    """What the compiler reported for one recompute mode: bytes besides the state, linear in the rows."""

    start: float
    slope: float
    state: int


def compiled(
    run: Run,
    card: Card,
    network: Network,
    choices: Choices,
    rows: Rows,
    recomputes: Sequence[str],
    done: Callable[[int], None] = lambda count: None,
) -> Forecast:
    """Return the forecast of XLA's own analysis of the compiled step (JAX), on one device.

    Each mode is compiled for two numbers of rows at the longest length. The need is linear in the rows; for
    other lengths its slope is scaled with the counted one.

    Args:
        run: the settings, as chosen.
        card: the task.
        network: the facts about the same network, for the lengths in between and for the breakdown.
        choices: device, precision, compiler.
        rows: those of the task, for the columns of the batches.
        recomputes: the modes.
        done: called with the number of compiled steps.
    """
    length = run.data.max_length
    lines = {}
    for number, recompute in enumerate(recomputes):
        engine = cast(Foresight, create_engine(run.backend))
        one = run.model_copy(update={"model": run.model.model_copy(update={"recompute": recompute})})
        build = network_builder(load_adapter(card, one), choices, vocab_size=network.vocab_size)
        engine.plan(build, replace(engine_settings(one, choices), devices=1))
        found = []
        for place, count in enumerate(COMPILED_ROWS):
            found.append(engine.step_memory(batch_shapes(rows, count, length)))
            done(number * len(COMPILED_ROWS) + place + 1)
        slope = (found[1]["temporary"] - found[0]["temporary"]) / (COMPILED_ROWS[1] - COMPILED_ROWS[0])
        lines[recompute] = _Line(
            found[0]["temporary"] - COMPILED_ROWS[0] * slope, max(slope, 0.0), found[0]["state"]
        )
    return partial(_on_line, lines, network, length)


def _on_line(
    lines: Mapping[str, _Line], network: Network, longest: int, recompute: str, rows: int, length: int
) -> Need:
    """Return the memory that one setting needs, from the compiled points."""
    line, counted_here = lines[recompute], step_need(network, rows, length, recompute)
    slope = line.slope
    if length != longest:
        many = COMPILED_ROWS[1]
        here, there = (
            step_need(network, many, one, recompute).step - step_need(network, 1, one, recompute).step
            for one in (length, longest)
        )
        slope *= here / there
    step = max(0, round(line.start + slope * rows))
    gradients = min(step, counted_here.parameters)
    activations = min(step - gradients, counted_here.activations)
    return Need(
        counted_here.parameters,
        gradients,
        max(0, line.state - counted_here.parameters),
        activations,
        step - gradients - activations,
    ).with_copy(network)


def batch_shapes(rows: Rows, count: int, length: int) -> dict[str, Shape]:
    """Return the arrays of an update of one micro-batch of ``count`` rows, without content."""
    one = padded(rows, np.array([0]), max(length, int(rows.lengths[0])))
    shapes = {}
    for name, values in one.items():
        if name not in rows.host_columns:
            rest = (length,) if name in rows.tokens else values.shape[1:]
            shapes[name] = Shape((1, count, *rest), values.dtype)
    return shapes


def sample_rows(run: Run, card: Card, tokenizer: Tokenizer) -> Rows:
    """Return a few rows of the task, from the sample that ships with its card.

    Raises:
        DataError: the card has no sample.
    """
    adapter = load_adapter(card, run)
    records = adapter.read(open_sample(card), "train")
    return adapter.epoch_rows(adapter.encode(records, tokenizer), run.seed, 0)

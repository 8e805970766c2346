"""``clue memory``: what a task with a model needs, what fits, what to set.

In: the request, a budget. Out: a table on the console, and the same as one mapping.
Knows nothing about argv or about how a need is forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clue_runner.adapters.base import load_adapter
from clue_runner.commands.train import TrainRequest, resolve
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card
from clue_runner.engines.devices import Device
from clue_runner.errors import UsageError
from clue_runner.memory.forecast import COMPILED_ROWS, compiled, counted, on_each, sample_rows
from clue_runner.memory.guess import guess_choices
from clue_runner.memory.limits import free_bytes, read_size
from clue_runner.memory.model import Need
from clue_runner.memory.network import Network, network_of, require_encoder
from clue_runner.memory.table import (
    FREE_SHARE,
    LARGEST,
    WITHIN,
    Advice,
    Best,
    Cell,
    Forecast,
    advise,
    auto_examples,
    cells,
    largest_rows,
    lengths,
    modes,
)
from clue_runner.memory.vocabulary import vocabulary_size
from clue_runner.tokens.rows import Rows
from clue_runner.training.network import Choices, as_chosen, choose, open_tokenizer
from clue_runner.training.pretrained.opening import open_checkpoint

GIB = 2**30
PARTS = Need._fields


@dataclass(frozen=True)
class _Found:
    """The findings: printed, and returned as data."""

    card: Card
    run: Run
    choices: Choices
    vocab_size: int
    group: int
    source: str
    budget: str
    table: Sequence[Cell]
    best: Sequence[Best]
    advice: Advice


def show_memory(
    request: TrainRequest, console: Console, *, budget: str | None = None, only_counted: bool = False
) -> dict[str, Any]:
    """Print what training needs and what fits into ``budget``; return the same as data.

    Args:
        request: task, model and settings, as for ``clue train``.
        console: where to print.
        budget: such as ``24GB``; None: a fraction of the memory that is free now.
        only_counted: do not ask the compiler even where there is one.

    Raises:
        UsageError: wrong settings or budget; a network that is not a transformer encoder.
    """
    asked = None if budget is None else read_size(budget)
    card, run = resolve(request, weights_needed=False)
    require_encoder(run)
    choices, asks = _choices(run, only_counted=only_counted)
    allowed, budget_text = _budget(asked, budget, choices.device)
    run = as_chosen(run, choices)
    has_sample = (card.folder / "sample").is_dir()
    rows = sample_rows(run, card, open_tokenizer(run, open_checkpoint(run))) if has_sample else None
    size, unknown = vocabulary_size(run, card)
    network = network_of(
        run,
        load_adapter(card, run).memory_facts(),
        vocab_size=size,
        labels=len(card.labels),
        precision=choices.precision.value,
        on_gpu=choices.device.kind == "gpu",
    )
    names, sizes, longest = _modes(run), lengths(run.data.max_length), run.data.max_length
    if asks and rows is not None:
        forecast, source = _compiled(run, card, network, choices, rows, names, console)
    else:
        forecast, source = counted(network), _counted_source(run)
    source += unknown
    forecast = on_each(forecast, choices.device.count)
    group = rows.largest_group if rows is not None else 1
    best = [Best(name, size, largest_rows(forecast, name, size, allowed)) for name in names for size in sizes]
    wanted = run.train.batch_size
    if wanted == "auto":
        mode = run.model.recompute
        wanted = auto_examples(forecast, mode, longest, group=group, budget=allowed) or 1
    found = _Found(
        card,
        run,
        choices,
        network.vocab_size,
        group,
        source,
        budget_text,
        list(cells(forecast, names, sizes)),
        best,
        advise(run, best, longest, wanted, group=group),
    )
    _say(console, found)
    result = _as_data(found, allowed)
    console.event(result)
    return result


def _as_data(found: _Found, allowed: int) -> dict[str, Any]:
    """Return the findings for ``--json``."""
    return {
        "event": "memory",
        "ok": True,
        "task": found.card.name,
        "model": found.run.model.name,
        "backend": found.run.backend,
        "precision": found.choices.precision.value,
        "source": found.source,
        "devices": found.choices.device.count,
        "budget_bytes": allowed,
        "rows_per_example": found.group,
        "table": [
            {
                "recompute": one.recompute,
                "length": one.length,
                "rows": one.rows,
                **one.need._asdict(),
                "total": one.need.total,
            }
            for one in found.table
        ],
        "largest": [
            {"recompute": one.recompute, "length": one.length, "rows": one.rows} for one in found.best
        ],
        "recommended": list(found.advice.settings),
        "reason": found.advice.reason,
    }


def _modes(run: Run) -> tuple[str, ...]:
    """Return the recompute modes of the table, including the one in the settings."""
    names = modes(require_encoder(run).num_layers)
    return names if run.model.recompute in names else (*names, run.model.recompute)


def _choices(run: Run, *, only_counted: bool) -> tuple[Choices, bool]:
    """Return where training would compute, and whether the compiler there can be asked (JAX)."""
    choices = guess_choices(run)
    away = choices.device.kind == "gpu" and free_bytes(choices.device) is None
    if run.backend != "jax" or only_counted or away:
        return choices, False
    return choose(run), True


def _budget(asked: int | None, text: str | None, device: Device) -> tuple[int, str]:
    """Return the budget in bytes and in words."""
    if asked is not None:
        return asked, f"{text} (forecasts are accurate to {WITHIN:.0%}, and no margin is left)"
    free = free_bytes(device)
    if free is None:
        what = "there is no GPU to ask" if device.kind == "gpu" else "this machine does not report"
        raise UsageError(f"{what} how much memory is free", next_step="give --budget, such as --budget 24GB")
    return round(FREE_SHARE * free), (
        f"{FREE_SHARE:.0%} of the {free / GIB:.1f} GiB that are free now on the {device.text} "
        f"(forecasts are accurate to {WITHIN:.0%})"
    )


def _counted_source(run: Run) -> str:
    """Return where a counted forecast comes from, in words."""
    dropped = "; train.drop_tokens is not counted, so the need is lower" if run.train.drop_tokens else ""
    return f"counted from what the kernels keep{dropped}"


def _compiled(
    run: Run,
    card: Card,
    network: Network,
    choices: Choices,
    rows: Rows,
    names: Sequence[str],
    console: Console,
) -> tuple[Forecast, str]:
    """Return the compiler's forecast and its description."""
    with console.progress(len(COMPILED_ROWS) * len(names), "compiling") as bar:
        forecast = compiled(run, card, network, choices, rows, names, bar.update)
    return forecast, (
        f"XLA's analysis of steps compiled for {' and '.join(map(str, COMPILED_ROWS))} rows of "
        f"{run.data.max_length} tokens, linear in between; other lengths in proportion to the count of "
        "what the kernels keep"
    )


def _say(console: Console, found: _Found) -> None:
    """Print the table, what fits, and the recommendation."""
    run, best, precision = found.run, found.best, found.choices.precision
    console.say(
        f"{found.card.name} with {run.model.name}, {run.backend}, {precision.value} ({precision.reason}); "
        f"vocabulary of {found.vocab_size:,}"
    )
    console.say(f"forecast: {found.source}")
    if found.choices.device.count > 1:
        count = found.choices.device.count
        console.say(f"{count} devices share the rows: each needs the memory shown, for its part of them")
    if found.group > 1:
        console.say(f"an example of this task has up to {found.group} rows; the tables count rows")
    columns = ("recompute", "length", "rows", *PARTS, "total")
    longest = run.data.max_length
    console.table(
        (*columns[:3], *(f"{name} MiB" for name in columns[3:])),
        [
            (one.recompute, one.length, one.rows, *(_mib(value) for value in (*one.need, one.need.total)))
            for one in found.table
        ],
    )
    console.say(
        "(at the peak of a step: gradients are those computed by then, activations those still kept; "
        "copy: of the state that is being saved)"
    )
    console.say(f"\nlargest number of rows at once for {found.budget}:")
    sizes = sorted({one.length for one in best})
    plain = {one.length: one.rows for one in best if one.recompute == "none"}
    console.table(
        ("recompute", *(f"{size} tokens" for size in sizes), f"x none at {longest}"),
        [
            (name, *map(_at_most, rows.values()), _ratio(rows[longest], plain[longest]))
            for name in dict.fromkeys(one.recompute for one in best)
            if (rows := {one.length: one.rows for one in best if one.recompute == name})
        ],
    )
    arguments = " ".join(f"--set {setting}" for setting in found.advice.settings)
    console.say(f"\nrecommended: {arguments or 'nothing'}   ({found.advice.reason})")


def _at_most(rows: int) -> str:
    """Return a largest number of rows; the search stops at ``LARGEST``."""
    return f"{rows:,}" if rows < LARGEST else f"{rows:,} or more"


def _ratio(rows: int, plain: int) -> str:
    """Return how many times more rows fit, where both are known."""
    return f"{rows / plain:.1f}" if plain and rows < LARGEST else ""


def _mib(value: int) -> str:
    """Return bytes in MiB."""
    return f"{value / 2**20:,.0f}"

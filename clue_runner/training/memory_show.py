"""``clue memory``: what a task with a model needs, what fits, what to set.

In: what was asked for, a budget. Out: a table on the console, and the same as one mapping.
Knows nothing about argv or about how a need is forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clue_runner.config.presets import default_vocab_size, model_preset, model_presets
from clue_runner.config.schema import Run
from clue_runner.console import Console
from clue_runner.data.cards import Card
from clue_runner.errors import UsageError
from clue_runner.training.devices import Choice, Device, choose_precision
from clue_runner.training.memory_forecast import compiled, counted
from clue_runner.training.memory_limits import free_bytes, guess_device, read_size
from clue_runner.training.memory_model import Network, network_of, require_encoder
from clue_runner.training.memory_plan import (
    AUTO_LARGEST,
    Advice,
    Best,
    Cell,
    Forecast,
    advise,
    cells,
    handy,
    largest_rows,
    lengths,
    modes,
)
from clue_runner.training.network import choose, open_checkpoint, open_tokenizer
from clue_runner.training.request import TrainRequest, resolve

GIB = 2**30
PARTS = ("parameters", "gradients", "optimizer", "activations", "temporary")


def show_memory(
    request: TrainRequest, console: Console, *, budget: str | None = None, only_counted: bool = False
) -> dict[str, Any]:
    """Say what training needs and what fits into ``budget``; return the same as data.

    Args:
        request: task, model and settings, as for ``clue train``.
        console: where to speak.
        budget: such as ``24GB``; None: the memory that is free now.
        only_counted: do not ask the compiler, where there is one to ask.

    Raises:
        UsageError: wrong settings or budget; a network that is no transformer encoder.
    """
    card, run = resolve(request, weights_needed=False)
    require_encoder(run)
    device = guess_device(run)
    precision = choose_precision(run.train.precision, device)
    network = network_of(
        run, card.adapter, vocab_size=vocabulary_size(run), labels=len(card.labels), precision=precision.value
    )
    allowed, budget_text = _budget(budget, device)
    names = _modes(run)
    forecast, source = _forecast(run, card, network, names, console, only_counted=only_counted)
    sizes = lengths(run.data.max_length)
    table = list(cells(forecast, names, sizes))
    best = [Best(name, size, largest_rows(forecast, name, size, allowed)) for name in names for size in sizes]
    wanted = run.train.batch_size
    if wanted == "auto":
        most = max(one.rows for one in best if one.length == run.data.max_length)
        wanted = handy(min(AUTO_LARGEST, most)) or 1
    advice = advise(run, best, run.data.max_length, wanted)
    _say(console, run, card, network, precision, source, table, best, advice, budget_text)
    result = {
        "event": "memory",
        "ok": True,
        "task": card.name,
        "model": run.model.name,
        "backend": run.backend,
        "precision": precision.value,
        "source": source,
        "budget_bytes": allowed,
        "table": [
            {
                "recompute": one.recompute,
                "length": one.length,
                "rows": one.rows,
                **one.need._asdict(),
                "total": one.need.total,
            }
            for one in table
        ],
        "largest": [{"recompute": one.recompute, "length": one.length, "rows": one.rows} for one in best],
        "recommended": list(advice.settings),
        "reason": advice.reason,
    }
    console.event(result)
    return result


def vocabulary_size(run: Run) -> int:
    """Return the rows of the word table: the checkpoint's, the preset's, or the vocabulary file's."""
    if run.model.init == "checkpoint" and run.model.checkpoint is not None:
        checkpoint = open_checkpoint(run)
        assert checkpoint is not None
        return checkpoint.vocab_size
    preset = model_preset(run.model.name) if run.model.name in model_presets() else None
    if run.model.vocab != "auto":
        return open_tokenizer(run, None).vocab_size
    return (preset.vocab_size if preset else None) or default_vocab_size()


def _modes(run: Run) -> tuple[str, ...]:
    """Return the recompute modes of the table, the one that the settings name among them."""
    names = modes(run.model.num_layers)
    return names if run.model.recompute in names else (*names, run.model.recompute)


def _budget(text: str | None, device: Device) -> tuple[int, str]:
    """Return the budget in bytes and in words."""
    if text is not None:
        return read_size(text), text
    free = free_bytes(device)
    if free is None:
        raise UsageError("this machine does not say how much memory is free", next_step="give --budget 24GB")
    return free, f"{free / GIB:.1f} GiB, free now on the {device.text}"


def _forecast(
    run: Run, card: Card, network: Network, names: Sequence[str], console: Console, *, only_counted: bool
) -> tuple[Forecast, str]:
    """Return the forecast, and in words where it comes from."""
    if run.backend != "jax" or only_counted:
        return counted(network), "counted from what the kernels keep"
    choices = choose(run)
    tokenizer = open_tokenizer(run, open_checkpoint(run))
    with console.progress(2 * len(names), "compiling") as bar:
        forecast = compiled(run, card, network, choices, tokenizer, names, bar.update)
    return forecast, (
        f"XLA's analysis of steps compiled for 8 and 32 rows of {run.data.max_length} tokens, a line between "
        "them; other lengths in proportion to the count of what the kernels keep"
    )


def _say(
    console: Console,
    run: Run,
    card: Card,
    network: Network,
    precision: Choice,
    source: str,
    table: Sequence[Cell],
    best: Sequence[Best],
    advice: Advice,
    budget: str,
) -> None:
    """Print the table, what fits, and the recommendation."""
    console.say(
        f"{card.name} with {run.model.name}, {run.backend}, {precision.value} ({precision.reason}); "
        f"{network.vocab_size:,} words"
    )
    console.say(f"forecast: {source}")
    columns = ("recompute", "length", "rows", *PARTS, "total")
    longest = run.data.max_length
    console.table(
        (*columns[:3], *(f"{name} MiB" for name in columns[3:])),
        [
            (one.recompute, one.length, one.rows, *(_mib(value) for value in (*one.need, one.need.total)))
            for one in table
        ],
    )
    console.say(f"\nlargest number of rows at once for {budget}:")
    sizes = sorted({one.length for one in best})
    plain = {one.length: one.rows for one in best if one.recompute == "none"}
    console.table(
        ("recompute", *(f"{size} tokens" for size in sizes), f"x none at {longest}"),
        [
            (name, *rows.values(), f"{rows[longest] / plain[longest]:.1f}" if plain[longest] else "")
            for name in dict.fromkeys(one.recompute for one in best)
            if (rows := {one.length: one.rows for one in best if one.recompute == name})
        ],
    )
    arguments = " ".join(f"--set {setting}" for setting in advice.settings)
    console.say(f"\nrecommended: {arguments or 'nothing'}   ({advice.reason})")


def _mib(value: int) -> str:
    """Return bytes in MiB."""
    return f"{value / 2**20:,.0f}"

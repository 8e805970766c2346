"""Watch the average-loss theorem of SGD on a task's records: regret against its bound.

In: argv. Out: a table; runs/<task>/probe/ with curves, a page and a plot.
Knows nothing about the mathematics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", required=True, metavar="NAME|DIR", help="A task with one label per text or pair.")
@click.option(
    "--features",
    default="ngrams",
    show_default=True,
    metavar="ngrams|MODEL",
    help="Character n-grams, or frozen vectors of a model: a preset, a checkpoint folder, a finished run.",
)
@click.option(
    "--pooling",
    metavar="mean|pooler|first|max",
    help="How a model's last layer becomes a text's vector; default: the mean over its tokens.",
)
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    metavar="NAME[:RATE[:FLOOR]]",
    help="constant, inverse-sqrt, optimal, linear, cosine; repeatable. FLOOR: a fraction of RATE.",
)
@click.option("--steps", type=click.IntRange(1), default=2_000, show_default=True, help="T.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Records per step.")
@click.option("--radius", type=float, default=10.0, show_default=True, help="Radius of the ball: D/2.")
@click.option(
    "--seed", type=click.IntRange(0), default=42, show_default=True, help="Seed of the records' order."
)
@click.option("--data", metavar="DIR|FILE|sample", help="A folder, an official zip, or the shipped sample.")
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow", show_default=True)
@click.option(
    "--language", type=click.Choice(["en", "zh"]), help="Language of the page; default: the locale's."
)
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Default: runs/<task>/probe.")
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object per line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Train a convex model by projected SGD and compare its regret with the theorem's bound."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.probe import ProbeRequest, fulfil

    fulfil(ProbeRequest(**options), console)

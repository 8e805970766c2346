"""Train a model on a task, score it on dev, and write the file that the leaderboard takes.

In: argv. Out: a run folder; the result as the last line of ``--json``.
Knows nothing about how training is done; imports it when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", metavar="NAME|DIR", help="A task's name or folder; a run.yaml implies its own.")
@click.option("--model", metavar="NAME|DIR", help="A preset or a checkpoint folder; default: tiny.")
@click.option(
    "--config",
    multiple=True,
    metavar="NAME|FILE",
    help="A recipe (clue config recipes) or a YAML file; repeatable. RUN/run.yaml repeats a run.",
)
@click.option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option("--data", metavar="DIR|FILE|sample", help="A folder, an official zip, or the shipped sample.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder; default: runs/<task>/<model>-<seed>.",
)
@click.option("--name", metavar="TEXT", help="The last part of the default run folder: runs/<task>/TEXT.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Seed of all randomness; default: 42."
)
@click.option(
    "--seeds", type=click.IntRange(1, 100), metavar="N", help="Train with N seeds: mean ± standard deviation."
)
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Default: tensorflow.")
@click.option("--device", metavar="auto|cpu|gpu|gpu:N", help="Where to compute.")
@click.option("--fresh", is_flag=True, help="Start over; an existing run folder is moved aside, not deleted.")
@click.option("--fail-under", type=float, metavar="X", help="Exit 10 if the dev score is lower than X.")
@click.option("--dry-run", is_flag=True, help="Check everything and report what would be done.")
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object per line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, set_: tuple[str, ...], **options: Any) -> None:
    """Train, score on dev, predict test, write the submission. The same command again continues a run."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.train import TrainRequest, fulfil

    fulfil(TrainRequest(set=set_, **options), console)

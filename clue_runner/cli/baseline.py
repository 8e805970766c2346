"""Score a linear model over character n-grams: what a task yields without pre-training.

In: argv. Out: its dev score beside chance and published scores; runs/<task>/linear/.
Knows nothing about the model; imports no backend.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", required=True, metavar="NAME|DIR", help="A task with one label per text or pair.")
@click.option("--data", metavar="DIR|FILE|sample", help="A folder, an official zip, or the shipped sample.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Default: runs/<task>/linear.")
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object per line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Fit a linear model on train and score it on dev: what a network has to beat."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.baselines.baseline import BaselineRequest, fulfil

    fulfil(BaselineRequest(**options), console)

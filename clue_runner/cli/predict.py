"""Answer test, dev or your own file with a finished run, or with several runs together.

In: argv. Out: prediction files and, for test, the official submission files.
Knows nothing about networks; imports what it needs when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", metavar="NAME|DIR", help="A task; a run implies its own.")
@click.option(
    "--run",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A run folder; several: their mean. Default: the newest finished run under runs/.",
)
@click.option("--split", default="test", show_default=True, metavar="test|dev|FILE", help="What to answer.")
@click.option("--data", metavar="DIR|FILE|sample", help="Default: the data that the run was trained on.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write; default: the run's own folder, official names.",
)
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object a line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Predict test (each test file under its official name), dev (with its score), or a file of your own."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.predict import PredictRequest, fulfil

    fulfil(PredictRequest(**options), console)

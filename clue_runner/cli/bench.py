"""Plan, run and collect a whole benchmark: models, tasks, seeds and settings in one file.

In: argv. Out: a plan, run folders, or a table. Knows nothing about how it is done; imports it when a command
runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console
from clue_runner.config.shipped import config_names

HELP = f"""Plan, run and collect a whole benchmark.

Shipped suites: {", ".join(config_names("suites"))}.
"""


@click.group(name="bench", help=HELP)
def command() -> None:
    """Group what is done with a suite."""


SUITE = click.argument("suite", metavar="SUITE")
MODEL = click.option(
    "--model", multiple=True, metavar="NAME|DIR", help="Replaces the suite's models; repeatable."
)
DATA = click.option(
    "--data", metavar="DIR|sample", help="Replaces the suite's data; {task} in it is the task's name."
)
BACKEND = click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Replaces the suite's.")
DEVICE = click.option("--device", metavar="auto|cpu|gpu", help="Replaces the suite's.")
OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of all runs; default: runs/bench/SUITE.",
)
MARKDOWN = click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the table as Markdown.",
)
JUNIT = click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write items as JUnit XML.",
)
JSON = click.option("--json", is_flag=True, help="One JSON object per line on stdout, the result last.")


@command.command()
@SUITE
@MODEL
@DATA
@BACKEND
@DEVICE
@OUTPUT
@JSON
@click.pass_context
def plan(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """List every item: hash, state, memory, time."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.bench.plan import fulfil
    from clue_runner.commands.bench.request import BenchRequest

    fulfil(BenchRequest(**options), console)


@command.command()
@SUITE
@click.option(
    "--executor",
    type=click.Choice(["local", "slurm", "ray"]),
    default="local",
    show_default=True,
    help="What executes the items.",
)
@click.option("--index", type=click.IntRange(0), metavar="N", help="Only the item with this number.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Parallel local processes; default: one per GPU, else one.",
)
@MODEL
@DATA
@BACKEND
@DEVICE
@OUTPUT
@MARKDOWN
@JUNIT
@JSON
@click.pass_context
def run(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Execute what is missing, then collect.

    The same command again continues; a finished suite does nothing.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.bench.request import BenchRequest
    from clue_runner.commands.bench.run import fulfil

    fulfil(BenchRequest(**options), console)


@command.command()
@SUITE
@click.argument("runs", nargs=-1, type=click.Path(), metavar="[RUNS]...")
@MODEL
@DATA
@BACKEND
@DEVICE
@OUTPUT
@MARKDOWN
@JUNIT
@JSON
@click.pass_context
def collect(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Build the table, also from runs elsewhere.

    RUNS are folders with runs of the same items; exit 10 if a gate fails.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.bench.collect import fulfil
    from clue_runner.commands.bench.request import BenchRequest

    fulfil(BenchRequest(**options), console)

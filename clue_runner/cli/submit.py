"""``clue submit check`` and ``clue submit pack``: from prediction files to a zip that the board takes.

In: argv. Out: what ``commands/submit.py`` prints. Knows nothing about files or models; imports no backend.
"""

from __future__ import annotations

from typing import Any

import click

from clue_runner.cli.main import context_console

BENCHMARKS = ("clue1.1", "clue1.0", "cluener", "fewclue")
ALLOWED = ("random", "sample", "incomplete", "mixed")


@click.group(name="submit", help="Check submission files and pack them into one zip.")
def command() -> None:
    """Group the two commands."""


PATHS = click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
BENCHMARK = click.option(
    "--benchmark",
    type=click.Choice(BENCHMARKS),
    default="clue1.1",
    show_default=True,
    help="The leaderboard: its missing files are named, its files are packed.",
)
MODEL = click.option("--model", metavar="NAME", help="Only files of this model's runs.")
DATA = click.option(
    "--data",
    metavar="DIR|FILE|sample",
    help="Where the test files are: one task's folder or zip, or a folder of these.",
)
JSON = click.option("--json", is_flag=True, help="One JSON object per line on stdout.")


@command.command(name="check")
@PATHS
@BENCHMARK
@MODEL
@DATA
@JSON
@click.pass_context
def check(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Check files, folders, runs or zips; without PATH the runs under ./runs."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.submit import SubmitRequest
    from clue_runner.commands.submit import check as check_files

    check_files(SubmitRequest(**options), console)


@command.command(name="pack")
@PATHS
@BENCHMARK
@MODEL
@DATA
@click.option(
    "--allow",
    type=click.Choice(ALLOWED),
    multiple=True,
    help="Take random weights, runs on the sample or on incomplete data, or a mix of models; repeatable.",
)
@JSON
@click.option("--output", type=click.Path(dir_okay=False), help="The zip; default submit.zip.")
@click.pass_context
def pack(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Check, then write one flat zip: the same files give the same bytes."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.submit import SubmitRequest
    from clue_runner.commands.submit import pack as pack_files

    pack_files(SubmitRequest(**options), console)

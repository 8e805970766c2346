"""Compare runs of one task: scores side by side, how sure each difference is.

In: argv. Out: a table; with --json the ids of the records that one run gets right and another wrong.
Knows nothing about statistics; imports no backend.
"""

from __future__ import annotations

from pathlib import Path

import click

from clue_runner.cli.main import context_console


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--data", metavar="DIR|FILE|sample", help="Default: the data that the runs were trained on.")
@click.option("--json", is_flag=True, help="One JSON object on stdout, the records that differ among it.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[Path, ...], data: str | None, json: bool) -> None:
    """Compare runs of one task on the same dev records: intervals, paired bootstrap, records that differ.

    A folder without a run of its own stands for the finished runs in it.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.compare import fulfil

    fulfil(runs, data, console)

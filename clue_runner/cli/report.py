"""Write the page of a run or a suite: mistakes, confusions, curves; or a run's model card.

In: argv. Out: one HTML file that loads nothing, with mistakes.jsonl beside it; with --card a README.md.
Knows nothing about pages; imports no backend.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.argument("paths", nargs=-1, metavar="[RUN|SUITE]...", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page; default: report.html in the folder.",
)
@click.option(
    "--language", type=click.Choice(["zh", "en"]), help="Default: $CLUE_LANG, else that of the locale."
)
@click.option("--no-texts", is_flag=True, help="Leave out all text of the data set; labels stay.")
@click.option("--card", is_flag=True, help="Write a model card (README.md) instead.")
@click.option("--data", metavar="DIR|FILE|sample", help="Default: the data that the run was trained on.")
@click.option("--json", is_flag=True, help="One JSON object on stdout: the files written.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Write the page of each run or suite: one file that loads nothing, mistakes first.

    A folder without a run of its own stands for the finished runs in it. Default: the newest finished run.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.report import ReportRequest, fulfil

    fulfil(ReportRequest(**options), console)

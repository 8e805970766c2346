"""Ask a trained reader one question over your own texts.

In: argv. Out: the answer, and in which text and where it was found.
Knows nothing about networks; imports what it needs when the command runs.
"""

from __future__ import annotations

from pathlib import Path

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A run of webqa or sogouqa. Default: the newest finished run under runs/.",
)
@click.option("--question", required=True, metavar="TEXT", help="What to ask.")
@click.option(
    "--passage",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A text file to search, UTF-8; several: one after the other.",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    run: Path | None,
    question: str,
    passage: tuple[Path, ...],
    more: tuple[Path, ...],
    json: bool,
) -> None:
    """Ask one question over texts: prints the answer, its vote, and where it was found."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.answers.ask import AskRequest, fulfil

    fulfil(AskRequest(question, run, (*passage, *more)), console)

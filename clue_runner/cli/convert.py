"""Convert a checkpoint, or the weights of a finished run, to another layout.

In: argv. Out: a new folder, and what was written and left out.
Knows nothing about tensors or layouts.
"""

from __future__ import annotations

from typing import Literal

import click

from clue_runner.cli.main import context_console


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--to",
    type=click.Choice(["huggingface", "tensorflow"]),
    default="huggingface",
    show_default=True,
    help="Layout of the new folder.",
)
@click.option("--json", is_flag=True, help="One JSON object per line on stdout.")
@click.pass_context
def command(
    ctx: click.Context, source: str, target: str, to: Literal["huggingface", "tensorflow"], json: bool
) -> None:
    """Write the checkpoint SRC (a folder, a run, a name) into the new folder DST, every value compared."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.convert import convert

    console.event({"event": "result", **convert(source, target, to, console)})

"""Pre-train on running text by masked words, and write a checkpoint that clue train takes.

In: argv. Out: a run folder as train's, and a checkpoint folder; the result as the last line of ``--json``.
Knows nothing about how training is done; imports it when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option(
    "--texts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Running text: .txt (one paragraph per line, empty lines between documents) or .jsonl, also as .gz "
    "or .xz; repeatable.",
)
@click.option(
    "--task", metavar="NAME|DIR", help="The texts of a task's train split; may be combined with --texts."
)
@click.option("--data", metavar="DIR|FILE|sample", help="Where that task's files are, as for clue train.")
@click.option(
    "--heldout",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Texts to measure on; repeatable. Default: a fraction of the documents.",
)
@click.option(
    "--heldout-share",
    type=click.FloatRange(0, 0.5, min_open=True),
    metavar="X",
    help="Fraction of the documents to measure on, chosen by hash; default: 0.01.",
)
@click.option("--field", default="text", show_default=True, metavar="NAME", help="Key of the text in .jsonl.")
@click.option(
    "--model", metavar="NAME|DIR", help="A preset (random weights) or a checkpoint to continue from."
)
@click.option("--config", multiple=True, metavar="NAME|FILE", help="A recipe or a YAML file; repeatable.")
@click.option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="One setting; repeatable.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder; default: runs/pretraining/<model>-<seed>.",
)
@click.option("--name", metavar="TEXT", help="The last part of the default run folder.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the checkpoint goes; default: model/ in the run folder.",
)
@click.option(
    "--save-as",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Type of the checkpoint's numbers.",
)
@click.option(
    "--licence", metavar="TEXT", help="Licence of the checkpoint, for its card; see the texts' licences."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes that tokenise, 150 MB each; default: one per core, 4 at most. The tokens are the same.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Seed of all randomness; default: 42."
)
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), help="Default: tensorflow.")
@click.option("--device", metavar="auto|cpu|gpu|gpu:N", help="Where to compute.")
@click.option("--fresh", is_flag=True, help="Start over; an existing run folder is moved aside, not deleted.")
@click.option("--dry-run", is_flag=True, help="Check everything and report what would be done.")
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object per line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, set_: tuple[str, ...], **options: Any) -> None:
    """Pre-train on text files or a task's texts by masked words. The same command again continues a run."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.pretraining.pretrain import PretrainRequest, fulfil

    fulfil(PretrainRequest(set=set_, **options), console)

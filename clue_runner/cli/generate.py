"""Continue a text with a decoder, token by token.

In: argv. Out: the text on stdout while it is written; everything else on stderr.
Knows nothing about networks; imports what it needs when the command runs.
"""

from __future__ import annotations

from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--model", required=True, metavar="NAME|DIR", help="A decoder's checkpoint, such as GPT2-ML's.")
@click.option("--prompt", required=True, metavar="TEXT", help="The text to continue.")
@click.option("--samples", type=click.IntRange(1, 256), default=1, metavar="N", help="Continuations.")
@click.option(
    "--seed", type=click.IntRange(0), default=42, metavar="N", help="The same seed gives the same text."
)
@click.option(
    "--max-length",
    type=click.IntRange(1),
    default=128,
    metavar="N",
    help="Maximum of new tokens. Default: 128.",
)
@click.option("--min-length", type=click.IntRange(1), default=1, metavar="N", help="Minimum of new tokens.")
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=1.0,
    metavar="X",
    help="Below 1: closer to the most probable token; 0 always takes it (greedy).",
)
@click.option("--top-k", type=click.IntRange(1), metavar="K", help="Sample from the K most probable tokens.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Sample from the most probable tokens that together reach probability P; after --top-k.",
)
@click.option(
    "--top-p-rule",
    type=click.Choice(["crossing", "below"]),
    default="crossing",
    help="Keep the token that crosses P (default), or only those before it.",
)
@click.option(
    "--repetition-penalty",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    metavar="X",
    help="Above 1: tokens already written become less probable.",
)
@click.option("--no-repeat", type=click.IntRange(1), metavar="N", help="Never repeat a sequence of N tokens.")
@click.option(
    "--beam",
    type=click.IntRange(1),
    metavar="WIDTH",
    help="Beam search for the most probable text; nothing is sampled.",
)
@click.option(
    "--length-penalty",
    type=float,
    default=1.0,
    metavar="X",
    help="With --beam: scores are divided by the length to this power.",
)
@click.option("--stop", metavar="TEXT", help="A character that ends the text, such as 。 Default: [SEP].")
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow")
@click.option("--device", default="auto", metavar="auto|cpu|gpu|gpu:N")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto")
@click.option("--json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Continue a text, written token by token; several continuations with --samples.

    \b
    clue generate --model DIR --prompt 今天天气 --top-p 0.95 --stop 。
    clue generate --model DIR --prompt 今天天气 --beam 4
    """  # noqa: D301 - click reads the character \b, not two characters
    console = context_console(ctx, json=json)
    from clue_runner.commands.generation.generate import GenerateRequest, fulfil

    fulfil(GenerateRequest(**options), console)

"""Score a prediction file against labelled records.

In: argv. Out: the official score, the chance score beside it, a 95 % interval, a table of the classes.
Knows nothing about models; imports no backend.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.adapters.base import Scores
    from clue_runner.console import Console


@click.command()
@click.option("--task", required=True, metavar="NAME|DIR", help="A task's name or folder.")
@click.option(
    "--predictions",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A submission file, or predictions/<split>.jsonl of a run.",
)
@click.option(
    "--gold", type=click.Path(path_type=Path), metavar="FILE", help="A labelled file in the official layout."
)
@click.option("--data", metavar="DIR|FILE|sample", help="Where dev is looked up if --gold is not given.")
@click.option(
    "--partial", is_flag=True, help="Reading tasks: a question without an answer counts 0, as published."
)
@click.option("--json", is_flag=True, help="One JSON object per line on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    task: str,
    predictions: Path,
    gold: Path | None,
    data: str | None,
    partial: bool,
    json: bool,
) -> None:
    """Score a prediction file: the task's metric, chance, a 95 % interval, each class."""
    console = context_console(ctx, json=json)
    from clue_runner.commands.answers.evaluate import score_file
    from clue_runner.files.text import printable

    scored = score_file(task, predictions, gold=gold, data=data, partial=partial)
    names = printable(f"{predictions} against {scored.gold}")
    console.say(f"{scored.card.name}: {names}, matched by {scored.matched_by}")
    for warning in scored.warnings:
        console.warn(printable(warning))
    if scored.is_sample:
        console.warn(
            "gold is the sample that ships with the card: the score says nothing about the benchmark"
        )
    from clue_runner.adapters.base import load_adapter

    _show(scored.scores, load_adapter(scored.card).label_words, console)
    console.event({"event": "result", **scored.result()})


def _show(scores: Scores, words: Callable[[str], str], console: Console) -> None:
    """Print the main score, the others, and one row a class where there are few; ``words`` names a label."""
    low, high = scores.confidence_interval
    console.result(
        f"{scores.main} {scores.score:.2f}  [{low:.2f}, {high:.2f}] 95 %  chance {scores.chance:.2f}  "
        f"examples {scores.examples:,}"
    )
    for name, value in scores.values.items():
        if name != scores.main and "/" not in name:
            console.say(f"{name} {value:.2f}")
    classes = [name.partition("/")[2] for name in scores.values if name.startswith("f1/")]
    if classes and not console.quiet:
        parts = ("precision", "recall", "f1")
        rows = [
            [words(name), *(f"{scores.values[f'{part}/{name}']:.2f}" for part in parts)] for name in classes
        ]
        console.table(["class", *parts], rows)

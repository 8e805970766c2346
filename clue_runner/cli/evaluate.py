"""Score a prediction file against labelled records.

In: argv. Out: the official score, the chance score beside it, a 95 % interval, a table of the classes.
Knows nothing about models; imports no backend.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.adapters.base import Scores
    from clue_runner.console import Console


@click.command()
@click.option("--task", required=True, metavar="NAME|DIR", help="A task's name or folder.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A submission file, or predictions/<split>.jsonl of a run.",
)
@click.option(
    "--gold", type=click.Path(path_type=Path), metavar="FILE", help="A labelled file in the official layout."
)
@click.option("--data", metavar="DIR|FILE|sample", help="Where to find dev if --gold is not given.")
@click.option(
    "--partial", is_flag=True, help="Reading tasks: a missing answer counts 0, as in the published script."
)
@click.option(
    "--zero-shot", is_flag=True, help="Instead of a file: a decoder (--model) answers dev untrained."
)
@click.option("--model", metavar="NAME|DIR", help="With --zero-shot: the decoder's checkpoint.")
@click.option(
    "--shots", type=click.IntRange(0), default=0, metavar="N", help="Worked examples before each record."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="With --zero-shot: the first N records.")
@click.option("--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow")
@click.option("--json", is_flag=True, help="One JSON object per line on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str,
    predictions: Path | None,
    gold: Path | None,
    data: str | None,
    partial: bool,
    zero_shot: bool,
    model: str | None,
    json: bool,
    **options: Any,
) -> None:
    """Score a prediction file, or a decoder without training: the metric, chance, a 95 % interval."""
    console = context_console(ctx, json=json)
    if zero_shot != (model is not None) or zero_shot == (predictions is not None):
        raise click.UsageError("give --predictions FILE, or --zero-shot with --model")
    if zero_shot:
        if gold is not None or partial:
            raise click.UsageError("--gold and --partial need --predictions")
        _zero_shot(task, str(model), data, options, console)
        return
    assert predictions is not None
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


def _zero_shot(task: str, model: str, data: str | None, options: Any, console: Console) -> None:
    """Let a decoder choose the answers to dev, and print the scores."""
    from clue_runner.adapters.base import load_adapter
    from clue_runner.commands.generation.zero_shot import ZeroShotRequest, fulfil

    card, scores = fulfil(ZeroShotRequest(task, model, data, **options), console)
    _show(scores, load_adapter(card).label_words, console)
    console.event(
        {
            "event": "result",
            "ok": True,
            "task": card.name,
            "metric": scores.main,
            "score": scores.score,
            "chance": scores.chance,
            "examples": scores.examples,
        }
    )


def _show(scores: Scores, words: Callable[[str], str], console: Console) -> None:
    """Print the main score, the others, and one row per class if there are few; ``words`` names a label."""
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

"""Score a prediction file against labelled records.

In: argv. Out: the official score, the chance score beside it, a 95 % interval, a table of the classes.
Knows nothing about models; imports no backend.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.adapters.base import Scores
    from clue_runner.console import Console
    from clue_runner.data.cards import Card
    from clue_runner.data.sources import DataSource


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
@click.option("--json", is_flag=True, help="One JSON object a line on stdout.")
@click.pass_context
def command(
    ctx: click.Context, task: str, predictions: Path, gold: Path | None, data: str | None, json: bool
) -> None:
    """Score a prediction file: the task's metric, chance, a 95 % interval, each class."""
    console = context_console(ctx, json=json)
    from clue_runner.adapters.base import Prediction, load_adapter
    from clue_runner.data.cards import find_card
    from clue_runner.errors import UsageError
    from clue_runner.submission.predictions import align, read_predictions

    if gold is not None and data is not None:
        raise UsageError("--gold and --data both name the gold records", next_step="give one of them")
    card = find_card(task)
    answers = read_predictions(_read(predictions), str(predictions))
    source = _gold_source(card, gold, data)
    adapter = load_adapter(card)
    records = adapter.read(card, source, "dev")
    aligned = align(answers, records, str(predictions))
    _require_known_labels([(given.line, given.answer) for given in aligned.answers], card, str(predictions))
    scores = adapter.score(
        [
            Prediction(record.id, given.answer, given.probability)
            for record, given in zip(records.items, aligned.answers, strict=True)
        ],
        records,
        card,
    )
    console.say(f"{card.name}: {predictions} against {source.label}:{records.file}, matched by {aligned.by}")
    for warning in records.warnings:
        console.warn(warning)
    if source.is_sample:
        console.warn(
            "gold is the sample that ships with the card: the score says nothing about the benchmark"
        )
    _show(scores, console)
    low, high = scores.confidence_interval
    console.event({
        "event": "result",
        "ok": True,
        "task": card.name,
        "metric": scores.main,
        "score": scores.score,
        "scores": dict(scores.values),
        "confidence_interval": [low, high],
        "chance": scores.chance,
        "examples": scores.examples,
        "matched_by": aligned.by,
        "gold": f"{source.label}:{records.file}",
    })  # fmt: skip


def _read(path: Path) -> bytes:
    """Return the prediction file's bytes."""
    from clue_runner.errors import DataError

    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError("cannot read the prediction file", where=str(path), received=error.strerror) from None


def _gold_source(card: Card, gold: Path | None, data: str | None) -> DataSource:
    """Return where dev is: the ``--gold`` file under dev's name, else the task's data."""
    from clue_runner.data.sources import FolderSource, locate
    from clue_runner.errors import DataError

    if gold is None:
        return locate(card, data)
    if not gold.is_file():
        raise DataError("no such gold file", where=str(gold), next_step="name a labelled file, as dev.json")
    # served under dev's name, so that the card's rules for dev apply; the count may differ
    return FolderSource(str(gold), {card.splits["dev"].file: gold})


def _require_known_labels(answers: list[tuple[int, object]], card: Card, name: str) -> None:
    """Refuse answers that the card's label list does not have: they would only look like wrong ones."""
    from clue_runner.errors import DataError, Problem
    from clue_runner.submission.findings import shorten

    if not card.labels:
        return
    known = set(card.label_names)
    problems = [
        Problem("not a label of the task", f"{name}:{line}", shorten(answer))
        for line, answer in answers
        if not isinstance(answer, str) or answer not in known
    ]
    if problems:
        raise DataError(
            f"{len(problems):,} of {len(answers):,} answers are not labels of {card.name}",
            allowed=", ".join(card.label_names[:20]) + (" ..." if len(card.labels) > 20 else ""),
            problems=problems,
            next_step=f"clue tasks show {card.name}; labels are texts, not class indexes",
        )


def _show(scores: Scores, console: Console) -> None:
    """Print the main score, the others, and one row a class where there are few."""
    low, high = scores.confidence_interval
    console.result(
        f"{scores.main} {scores.score:.2f}  [{low:.1f}, {high:.1f}] 95 %  chance {scores.chance:.1f}  "
        f"examples {scores.examples:,}"
    )
    for name, value in scores.values.items():
        if name != scores.main and "/" not in name:
            console.say(f"{name} {value:.2f}")
    classes = [name.partition("/")[2] for name in scores.values if name.startswith("f1/")]
    if classes and not console.quiet:
        parts = ("precision", "recall", "f1")
        rows = [[name, *(f"{scores.values[f'{part}/{name}']:.1f}" for part in parts)] for name in classes]
        console.table(["class", *parts], rows)

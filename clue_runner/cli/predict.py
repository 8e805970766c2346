"""Answer test, dev, your own file or texts with a finished run, or with several runs together.

In: argv. Out: prediction files and, for test, the official submission files.
Knows nothing about networks; imports what it needs when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clue_runner.cli.main import context_console


@click.command()
@click.option("--task", metavar="NAME|DIR", help="A task; a run implies its own.")
@click.option(
    "--run",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A run folder; several: their mean (ensemble). Default: the newest finished run under runs/.",
)
@click.option(
    "--split", metavar="test|dev|FILE|-", help="What to answer; - is standard input. Default: test."
)
@click.option(
    "--text",
    multiple=True,
    metavar="TEXT",
    help="A text to answer, instead of a file; repeatable. The first of a pair; in reading, the passage.",
)
@click.option(
    "--text-pair",
    multiple=True,
    metavar="TEXT",
    help="The second text for each --text, in the same order; in reading, the question.",
)
@click.option("--data", metavar="DIR|FILE|sample", help="Default: the data that the run was trained on.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|-",
    help="Where to write; - prints JSON lines. Default: the run's own folder, official names.",
)
@click.option("--json", is_flag=True, help="Events on stdout, one JSON object per line, the result last.")
@click.pass_context
def command(ctx: click.Context, /, json: bool, **options: Any) -> None:
    """Predict test (each test file under its official name), dev (with its score), or your own texts.

    Your own file, standard input or --text gives rows with texts, answer and all probabilities;
    a file with labels is scored. Its rows go to the run's predictions/NAME-HASH.jsonl; --text is printed.

    \b
    clue predict --text 今天天气好                           tasks of one text, entities
    clue predict --text 花呗怎么还 --text-pair 怎么还花呗    tasks of two texts
    """  # noqa: D301 - click reads the character \b, not two characters
    console = context_console(ctx, json=json)
    from clue_runner.commands.answers.predict import PredictRequest, fulfil

    fulfil(PredictRequest(**options), console)

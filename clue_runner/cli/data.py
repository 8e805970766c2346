"""Get, check, measure and convert the data of a task.

In: a task and where its files are. Out: a verified zip in the cache, findings, figures, or a new folder.
Knows nothing about tokens or models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.console import Console
    from clue_runner.data.cards import Card
    from clue_runner.data.check import Report
    from clue_runner.data.sources import DataSource

SOURCE_OPTION = click.option(
    "--from", "path", metavar="FILE|DIR", help="A folder, an official zip, or sample; default: the cache."
)
JSON_OPTION = click.option("--json", is_flag=True, help="One JSON object on stdout.")


@click.group()
def command() -> None:
    """Get, check, measure and convert the data of a task."""


@command.command()
@click.argument("name")
@click.option(
    "--from", "path", metavar="FILE|DIR", help="Take the official zip from disk, not from the network."
)
@click.option("--offline", is_flag=True, help="Do not connect; also CLUE_OFFLINE=1.")
@JSON_OPTION
@click.pass_context
def get(ctx: click.Context, name: str, path: str | None, offline: bool, json: bool) -> None:
    """Put the official zip into $CLUE_HOME/data/NAME, verified."""
    console = context_console(ctx, json=json)
    from clue_runner.data.cards import find_card
    from clue_runner.data.check import check_source
    from clue_runner.data.download import install
    from clue_runner.data.locate import open_source
    from clue_runner.files.names import user_path

    card = find_card(name)
    zip_path = install(card, user_path(path)) if path else _download(card, console, offline)
    report = check_source(card, open_source(zip_path, card))
    for warning in report.warnings:
        console.warn(warning)
    console.say(f"{card.name}: {zip_path}")
    console.event({"event": "result", "ok": True, "task": card.name, "path": zip_path, **_facts(report)})


def _download(card: Card, console: Console, offline: bool) -> Path:
    """Fetch the zip with a progress display in kilobytes."""
    from clue_runner.data.download import fetch

    with console.progress(None, f"downloading {card.name} (kB)") as progress:

        def show(done: int, total: int | None) -> None:
            """Report whole kilobytes."""
            progress.update(done // 1000, total=f"{total // 1000:,}" if total else None)

        return fetch(card, offline=True if offline else None, on_progress=show, say=console.say)


@command.command()
@click.argument("name")
@SOURCE_OPTION
@JSON_OPTION
@click.pass_context
def check(ctx: click.Context, name: str, path: str | None, json: bool) -> None:
    """Check files, counts, labels, ids, duplicates, overlap and hidden characters."""
    console = context_console(ctx, json=json)
    from clue_runner.data.check import check_source
    from clue_runner.data.readers.common import official
    from clue_runner.errors import DataError

    card, source = _open(name, path)
    report = check_source(card, source)
    keys = list(dict.fromkeys(key for counts in report.counts.values() for key in counts))
    rows = [[split, *(counts.get(key) for key in keys)] for split, counts in report.counts.items()]
    if rows and not console.quiet:
        console.table(["split", *(key.replace("_", " ") for key in keys)], rows)
    for warning in report.warnings:
        console.warn(warning)
    console.event({"event": "result", "task": card.name, **report.as_dict()})
    if not report.ok:
        count = len(report.problems)
        raise DataError(
            f"{count:,} problem{'' if count == 1 else 's'} in the data of {card.name}",
            where=source.label,
            problems=report.problems,
            next_step=f"correct the lines named above{official(card)}",
        )
    complete = "complete" if report.complete else "usable, not complete"
    console.say(f"{card.name}: {complete}, {len(report.warnings)} warnings, from {source.label}")


@command.command()
@click.argument("name")
@SOURCE_OPTION
@JSON_OPTION
@click.pass_context
def stats(ctx: click.Context, name: str, path: str | None, json: bool) -> None:
    """Show lengths, label balance and the chance score."""
    console = context_console(ctx, json=json)
    from clue_runner.data.layouts import read_records
    from clue_runner.data.sources import split_file
    from clue_runner.data.statistics import split_statistics

    card, source = _open(name, path)
    figures = {
        split: split_statistics(read_records(card, source, split))
        for split, declared in card.splits.items()
        if split_file(source, declared) is not None
    }
    console.event(
        {
            "event": "result",
            "ok": True,
            "task": card.name,
            "source": source.label,
            "splits": {split: figure.as_dict() for split, figure in figures.items()},
        }
    )
    if console.json:
        return
    console.table(
        ["split", "records", "usable", "median characters", "95 %", "longest", "chance"],
        [
            [split, figure.records, figure.usable, *figure.lengths.as_tuple()]
            + [None if figure.chance is None else f"{figure.chance:.2f}"]
            for split, figure in figures.items()
        ],
    )
    labelled = {split: figure for split, figure in figures.items() if figure.labels}
    console.say()
    console.table(
        ["label", "meaning", *labelled],
        [
            [
                label.name,
                label.description,
                *(figure.labels.get(label.name, 0) for figure in labelled.values()),
            ]
            for label in card.labels
        ],
    )


@command.command()
@click.argument("name")
@click.option(
    "--from", "path", required=True, metavar="FILE|DIR", help="A file, or a folder with one file per split."
)
@click.option("--output", required=True, metavar="DIR", help="A new folder for the converted files.")
@click.option("--mix", metavar="FILE", help="More questions to train on; those of --from then count twice.")
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True, help="Seed of the split.")
@click.option(
    "--dev-share",
    type=float,
    default=0.2,
    show_default=True,
    help="Fraction of a single file that becomes dev.",
)
@JSON_OPTION
@click.pass_context
def convert(
    ctx: click.Context,
    name: str,
    path: str,
    output: str,
    mix: str | None,
    seed: int,
    dev_share: float,
    json: bool,
) -> None:
    """Convert files of another layout into the one that NAME reads.

    Texts and labels: CSV, TSV, a JSON list, other encodings. Entities: BIO tags, lists of spans. Reading:
    CMRC2018's first layout, single SQuAD records. Idioms: ChID's original layout. Questions with passages:
    WebQA's files. A file whose name says its split (dev.csv) becomes that split; any other is split into
    train and dev. Nothing is overwritten.
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.data_convert import ConvertRequest
    from clue_runner.commands.data_convert import convert as convert_files

    request = ConvertRequest(name, path, output, mix, seed, dev_share)
    console.event({"event": "result", **convert_files(request, console)})


def _open(name: str, path: str | None) -> tuple[Card, DataSource]:
    """Return the card and its data; looking downloads nothing."""
    from clue_runner.data.cards import find_card
    from clue_runner.data.locate import locate

    card = find_card(name)
    return card, locate(card, path, offline=True)


def _facts(report: Report) -> dict[str, object]:
    """Return what ``get`` reports about the data it took."""
    return {"data_complete": report.complete, "counts": report.counts, "data_sha256": report.sha256}

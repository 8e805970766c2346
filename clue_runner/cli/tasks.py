"""List the tasks, show one task's card, or make your own task.

In: a task's name or folder. Out: a table, a card, or a new folder. Knows nothing about records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clue_runner.cli.main import context_console

if TYPE_CHECKING:
    from clue_runner.data.cards import Card


@click.group(invoke_without_command=True)
@click.option("--json", is_flag=True, help="One JSON object per task.")
@click.pass_context
def command(ctx: click.Context, json: bool) -> None:
    """List the tasks, show one task's card, or make your own task."""
    if ctx.invoked_subcommand is not None:
        return
    console = context_console(ctx, json=json)
    from clue_runner.data.cards import all_cards

    cards = all_cards().values()
    for card in cards:
        console.event({"event": "task", **_listed(card)})
    if json:
        console.event({"event": "result", "ok": True, "tasks": len(cards)})
        return
    rows = []
    for card in cards:
        facts = _listed(card)
        counts = [_records(card, name) for name in card.test_splits]
        tests = "/".join("?" if count is None else f"{count:,}" for count in counts)
        rows.append(
            [
                card.name,
                facts["kind"],
                _records(card, "train"),
                _records(card, "dev"),
                tests,
                card.metric,
                facts["data"],
                card.title.zh,
            ]
        )
    console.table(["task", "kind", "train", "dev", "test", "metric", "data", "title"], rows)
    console.say("\none task's card: clue tasks show NAME; its data: clue data get NAME")


@command.command()
@click.argument("name")
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, name: str, json: bool) -> None:
    """Show one task's card."""
    console = context_console(ctx, json=json)
    from clue_runner.data.cards import find_card

    card = find_card(name)
    if not card.ships:  # shipped cards are checked already; this imports numpy
        from clue_runner.adapters.sections import refuse_bad_settings

        refuse_bad_settings(card)
    console.event(
        {
            "event": "result",
            "ok": True,
            **card.model_dump(mode="json"),
            "kind": _kind(card),
            "data": _data_at_hand(card),
        }
    )
    if not json:
        for line in _card_lines(card):
            console.result(line)
        own = "train" in card.splits
        trial = f"clue train --task {name}" if own else f"clue predict --run RUN --task {name}"
        console.say(f"\ntry it: {trial}{' --data sample' if card.sample else ''}")


@command.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="FILE|DIR",
    help="Examples: CSV, TSV, JSON; or one file per split.",
)
@click.option("--text", multiple=True, metavar="COLUMN", help="The text's column; twice for pairs of texts.")
@click.option("--label", metavar="COLUMN", help="The label's column.")
@click.option("--delimiter", metavar="CHAR", help="The separator of a table's cells; tab for tabs.")
@click.option("--header/--no-header", default=None, help="Whether the first row names the columns.")
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True, help="Seed of the split.")
@click.option("--dev-share", type=float, default=0.1, show_default=True, help="Fraction that becomes dev.")
@click.option(
    "--test-share", type=float, default=0.1, show_default=True, help="Fraction that becomes test; may be 0."
)
@click.option("--json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def new(
    ctx: click.Context,
    folder: str,
    source: str,
    text: tuple[str, ...],
    label: str | None,
    delimiter: str | None,
    header: bool | None,
    seed: int,
    dev_share: float,
    test_share: float,
    json: bool,
) -> None:
    """Make your own task from a file of examples.

    Writes a card (task.yaml) and its splits into DIR, ready for clue train --task DIR. Which columns hold
    text and label, the labels, delimiter, encoding (UTF-8, UTF-16, GB18030) and length are detected
    and reported. A single file is split by the seed, stratified by label. Nothing is overwritten.

    Examples: clue tasks new mytask --from reviews.csv, or, for pairs of texts, clue tasks new mytask
    --from pairs.tsv --text question --text answer --label fits; then clue train --task mytask
    """
    console = context_console(ctx, json=json)
    from clue_runner.commands.tasks_new import NewTaskRequest, new_task

    request = NewTaskRequest(
        folder=folder,
        source=source,
        text=text,
        label=label,
        delimiter=_delimiter(delimiter),
        header=header,
        seed=seed,
        dev_share=dev_share,
        test_share=test_share,
    )
    console.event({"event": "result", **new_task(request, console)})


def _delimiter(text: str | None) -> str | None:
    """Return the delimiter named: one character, or tab by its name."""
    if text is None or text.lower() in {"tab", "\\t"}:
        return "\t" if text else None
    if len(text) != 1 or text in '\r\n"':
        raise click.BadParameter("one character, or tab", param_hint="--delimiter")
    return text


def _listed(card: Card) -> dict[str, object]:
    """Return a card's row of the list."""
    return {
        "name": card.name,
        "title": card.title.model_dump(),
        "kind": _kind(card),
        "labels": len(card.labels),
        "records": {name: _records(card, name) for name in card.splits},
        "metric": card.metric,
        "data": _data_at_hand(card),
    }


def _kind(card: Card) -> str:
    """Return the task's kind in words: the adapter, and for texts how many go into one row."""
    if card.layout == "lines" and card.template is not None:
        return "pair" if len(card.template.parts) == 2 else "text"
    return card.adapter


def _records(card: Card, split: str) -> int | None:
    """Return a split's official record count; the first where published copies differ."""
    counts = card.splits[split].records if split in card.splits else []
    return counts[0] if counts else None


def _data_at_hand(card: Card) -> bool:
    """Return whether the data is where it is looked for; its content is not checked."""
    from clue_runner.data.at_hand import data_at_hand

    return data_at_hand(card) is not None


def _card_lines(card: Card) -> list[str]:
    """Return a card as lines for people."""
    names = "  ".join(dict.fromkeys((card.name, card.title.zh, card.title.en)))
    lines = [
        f"{names}  (card version {card.version})",
        f"kind         {_kind(card)} ({card.adapter}), scored by {card.metric}",
        f"max length   {card.max_length} tokens",
    ]
    for name, split in card.splits.items():
        counts = " or ".join(f"{count:,}" for count in split.records)
        unlabelled = "" if split.labelled else ", no labels"
        lines.append(f"{name:<12} {f'{counts} records in ' if counts else ''}{split.file}{unlabelled}")
    if card.labels:
        lines.append(f"labels       {len(card.labels)}, in index order:")
        lines += [
            f"  {index:>3}  {label.name}  {label.description}".rstrip()
            for index, label in enumerate(card.labels)
        ]
    for submission in card.submissions:
        boards = ", ".join(submission.benchmarks) or "no benchmark"
        lines.append(
            f"submission   {submission.file} from {submission.split} for {boards} ({submission.source})"
        )
    for group, values in card.recommended.items():
        settings = ", ".join(f"{group}.{key}={value}" for key, value in values.items())
        source = f" ({card.recommended_source})" if card.recommended_source else ""
        lines.append(f"recommended  {settings}{source}")
    lines += [
        f"published    {entry.score:.2f} {entry.split}: {entry.model} ({entry.source})"
        for entry in card.published
    ]
    if card.licence:
        lines.append(f"licence      {card.licence}")
    if card.paper:
        lines.append(f"paper        {card.paper}")
    if card.sample is not None:
        counts = ", ".join(f"{count:,} {name}" for name, count in card.sample.records.items())
        lines.append(f"sample       {counts} records ship with the card")
    get = f"clue data get {card.name}" if card.download else "give it with --data FOLDER"
    return [
        *lines,
        f"data         {'available' if _data_at_hand(card) else f'not here: {get}'}",
    ]

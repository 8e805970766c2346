"""Turns items and their states into the table: rows, scores by model and task, the average, gates.

In: items of both stages, their standings. Out: ``Collected``.
Dev is never mixed with test: a row's score is of the split that it names, published ones keep theirs.
Knows nothing about folders to search or how a table is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from clue_runner.data.cards import Card
from clue_runner.runs.results import RunResult
from clue_runner.suites.chosen import Pick
from clue_runner.suites.collected import Average, Cell, Collected, Gate, Published, Row
from clue_runner.suites.grid import has_grid, model_label, pairs
from clue_runner.suites.items import Item
from clue_runner.suites.records import Standing
from clue_runner.suites.suite import Entry, Suite, SuiteFile

SAMPLE_NOTE = "trained on the shipped sample: the score means nothing outside this project"
CUT_NOTE = "the data differs from the card's counts"


@dataclass(frozen=True)
class Found:
    """One item with what was found of it.

    Args:
        item: as planned.
        standing: its state.
        folder: of the run; None where there is none.
        elsewhere: the run lies outside the suite's folder.
        sample: it was trained on the shipped sample.
    """

    item: Item
    standing: Standing
    folder: str | None
    elsewhere: bool = False
    sample: bool = False


def build_table(
    file: SuiteFile,
    found: Sequence[Found],
    picked: Mapping[tuple[str, str], Pick],
    cards: Mapping[str, Card],
    *,
    planned: int,
    left_out: Sequence[str] = (),
) -> Collected:
    """Return the table of a suite.

    Args:
        file: the suite.
        found: items of both stages, in order.
        picked: the grid's choice, by model's label and task.
        cards: the suite's name of a task -> its card.
        planned: how many runs each score is made from.
        left_out: run folders that belong to no item, and why.
    """
    suite = file.suite
    rows = [_row(one) for one in found]
    names = {entry.name: cards[entry.name].name for entry in suite.tasks}
    cells = [
        _cell(suite, model, cards[task.name], rows, picked.get((model_label(model), task.name)), planned)
        for model, task in pairs(suite)
    ]
    return Collected(
        suite=file.name,
        title=suite.title,
        models=[model_label(model) for model in suite.models],
        tasks=list(names.values()),
        titles={
            "zh": {card.name: card.title.zh for card in cards.values()},
            "en": {card.name: card.title.en for card in cards.values()},
        },
        sample=any(one.sample for one in found),
        baseline=suite.baseline,
        rows=rows,
        cells=cells,
        averages=_averages(suite, cells, list(names.values())) if suite.average else [],
        gates=_gates(suite, cells, names),
        left_out=list(left_out),
    )


def _row(found: Found) -> Row:
    """Return one item as a row."""
    item, (state, result, reason, code) = found.item, found.standing
    wish = item.wish
    fields: dict[str, object] = {}
    if result is not None:
        notes = [SAMPLE_NOTE] if found.sample else [] if result.data_complete else [CUT_NOTE]
        fields = {
            **result.model_dump(
                include={
                    *("split", "score", "confidence_interval", "scores", "chance", "examples"),
                    *("data_complete", "peak_memory_bytes", "device", "code", "data_sha256"),
                }
            ),
            "seconds": result.seconds.get("total"),
            "step_seconds": _step_seconds(result),
            "notes": notes,
            "weights": result.identity.weights if result.identity else None,
        }
    return Row.model_validate(
        {
            **fields,
            "id": item.id,
            "stage": wish.stage,
            "model": wish.label,
            "task": item.task,
            "seed": wish.seed,
            "fold": wish.fold,
            "settings": dict(wish.point),
            "state": state,
            "reason": reason,
            "exit_code": code,
            "metric": item.metric,
            "backend": item.run.backend,
            "precision": item.facts["precision"],
            "folder": found.folder,
            "elsewhere": found.elsewhere,
        }
    )


def _step_seconds(result: RunResult) -> float | None:
    """Return the time of training by update; None where it was not recorded."""
    train = result.seconds.get("train")
    return train / result.steps if train is not None and result.steps else None


def _cell(
    suite: Suite, model: Entry, card: Card, rows: Sequence[Row], pick: Pick | None, planned: int
) -> Cell:
    """Return one model's scores on one task: those of its stage ``score`` alone."""
    label = model_label(model)
    own = [row for row in rows if (row.model, row.task, row.stage) == (label, card.name, "score")]
    scored = [row for row in own if row.score is not None]
    values = [row.score for row in scored if row.score is not None]
    chances = [row.chance for row in scored if row.chance is not None]
    return Cell(
        model=label,
        task=card.name,
        metric=card.metric,
        seeds=[row.seed for row in scored],
        values=values,
        planned=planned,
        mean=fmean(values) if values else None,
        std=stdev(values) if len(values) > 1 else None,
        chance=chances[0] if chances else None,
        chosen=dict(pick.point) if has_grid(suite) and pick and pick.point is not None else None,
        best_of_grid=pick.score if pick else None,
        published=published_scores(card, model.name),
        refused=next((row.reason for row in own if row.state == "refused"), None),
    )


def published_scores(card: Card, model: str) -> list[Published]:
    """Return the card's published scores: the same model's first, dev before other splits."""
    wanted = _plain(model)
    ordered = sorted(card.published, key=lambda one: (_plain(one.model) != wanted, one.split != "dev"))
    return [Published(**one.model_dump()) for one in ordered]


def same_model(published: Sequence[Published], model: str, split: str) -> Published | None:
    """Return the published score of the same model on the same split."""
    return next((one for one in published if (_plain(one.model), one.split) == (_plain(model), split)), None)


def _plain(model: str) -> str:
    """Return a model's name, normalised for comparison."""
    return "".join(character for character in model.casefold() if character.isalnum())


def _averages(suite: Suite, cells: Sequence[Cell], tasks: Sequence[str]) -> list[Average]:
    """Return the mean over all tasks of every model that is for all of them."""
    averages = []
    for model in suite.models:
        if model.tasks is not None:
            continue
        label = model_label(model)
        own = {cell.task: cell for cell in cells if cell.model == label}
        missing = [task for task in tasks if not own[task].complete]
        means = [own[task].mean for task in tasks]
        whole = [mean for mean in means if mean is not None]
        averages.append(
            Average(model=label, mean=None if missing else fmean(whole), tasks=list(tasks), missing=missing)
        )
    return averages


def _gates(suite: Suite, cells: Sequence[Cell], names: Mapping[str, str]) -> list[Gate]:
    """Return every gate for every model that is for its task; an incomplete score does not pass."""
    return [
        Gate(
            model=cell.model,
            task=cell.task,
            minimum=minimum,
            mean=cell.mean,
            passed=cell.complete and cell.mean is not None and cell.mean >= minimum,
        )
        for task, minimum in suite.gates.items()
        for cell in cells
        if cell.task == names[task]
    ]

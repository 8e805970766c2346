"""``Collected``: the one table of a suite, and the content of ``collected.json`` (``bench collect --json``).

In: rows, one per item. Out: a frozen type as plain data: rows, scores by model and task, averages, gates.
Knows nothing about run folders, planning or how a table is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clue_runner.errors import DataError
from clue_runner.files.reading import DamagedFileError, read_object
from clue_runner.runs.results import Pair, describe

SCHEMA: Final = 1
FILE = "collected.json"
Setting = str | int | float | bool | None


class Part(BaseModel):
    """Base of all parts: frozen, finite numbers; keys of a later version are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Row(Part):
    """One item and its outcome.

    Args:
        id: hash of everything its result depends on.
        stage: ``grid``: one of a grid of settings, never reported as a score; ``score``: what is reported.
        model, task, seed: as the suite names them.
        fold: ``1/5``: trained without the first of five parts of train; None: with all of it.
        settings: dotted key -> value of the grid's point; {} where there is no grid.
        state: ``ok``, ``failed``, ``missing``: not run yet, or not finished; ``refused``: its task or network
            cannot use a setting of it.
        reason: why there is no score, one line.
        exit_code: of the last attempt that failed; minus the signal's number where it was killed.
        split: what the score is of.
        score, confidence_interval, chance: in percent; the interval at 95 %.
        scores: every metric, in percent.
        notes: remarks for the reader, one sentence each: limited data, a sample, another version.
        folder: of the run, as it was found; None where there is none.
        elsewhere: trained outside the suite's own folder.
        step_seconds: of training, by update.
        code: version and hash of the program that trained it.
        data_sha256: split -> hash of its file.
        weights: hash of the pre-trained weights, or ``random``.
    """

    id: str
    stage: Literal["grid", "score"]
    model: str
    task: str
    seed: int
    fold: str | None = None
    settings: dict[str, Setting] = {}
    state: Literal["ok", "failed", "missing", "refused"]
    reason: str | None = None
    exit_code: int | None = None
    split: str = "dev"
    metric: str | None = None
    score: float | None = None
    confidence_interval: Pair | None = None
    scores: dict[str, float] = {}
    chance: float | None = None
    examples: int | None = None
    data_complete: bool | None = None
    notes: list[str] = []
    seconds: float | None = None
    step_seconds: float | None = None
    peak_memory_bytes: int | None = None
    backend: str
    device: str | None = None
    precision: str
    folder: str | None = None
    elsewhere: bool = False
    code: str | None = None
    data_sha256: dict[str, str] = {}
    weights: str | None = None


class Published(Part):
    """A score that others have published, in percent: with the model, the split and the source."""

    model: str
    split: str
    score: float
    source: str


class Cell(Part):
    """One model on one task: what the table shows, and its sources.

    Args:
        seeds, values: the finished rows of the stage ``score``, in the order of the suite.
        planned: how many there should be.
        mean, std: of ``values``; the deviation (n - 1) of one value is None.
        chance: the score of the most frequent answer.
        chosen: the grid's point that was run again on fresh seeds; None where there is no grid.
        best_of_grid: the mean score that made it the chosen one: biased upwards, so never the score.
        published: what others report for this task: the same model's first, dev before test.
        refused: why the task or its network cannot use the model's settings; None: it can.
    """

    model: str
    task: str
    metric: str | None
    split: str = "dev"
    seeds: list[int] = []
    values: list[float] = []
    planned: int
    mean: float | None
    std: float | None
    chance: float | None
    chosen: dict[str, Setting] | None = None
    best_of_grid: float | None = None
    published: list[Published] = []
    refused: str | None = None

    @property
    def complete(self) -> bool:
        """Return whether every planned seed has a score."""
        return self.planned > 0 and len(self.values) == self.planned


class Average(Part):
    """The mean over a benchmark's tasks; None while a task or a seed of one is missing."""

    model: str
    mean: float | None
    tasks: list[str]
    missing: list[str] = []


class Gate(Part):
    """A minimum that a suite asks for; ``passed`` is False too where there is no score yet."""

    model: str
    task: str
    minimum: float
    mean: float | None
    passed: bool


class Comparison(Part):
    """Two models on the same dev records, by paired bootstrap over these; it does not cover other seeds.

    Args:
        first, second: models.
        tasks: one; or all that both have completed, with equal weight.
        difference: of the means over seeds, second minus first, in points.
        interval: at 95 %.
        p: two-sided.
        seeds_std: standard deviation (n - 1) of the difference over seeds; None: fewer than two in both.
        step_cost: time of an update, second over first: medians over seeds, as the machine was then.
        reason: why there are no numbers, one line.
    """

    first: str
    second: str
    tasks: list[str]
    difference: float | None = None
    interval: Pair | None = None
    p: float | None = None
    seeds_std: float | None = None
    step_cost: float | None = None
    reason: str | None = None


class Collected(Part):
    """The complete results of a suite; equal runs give equal tables, except times and folders.

    Args:
        suite: its name; ``title`` in words.
        tasks: in order, ``titles`` as people read them (language -> task -> title).
        sample: trained on the shipped sample: scores mean nothing outside this project.
        baseline: label of the model that all others are compared with; None: each is with each.
        pairs: two models by task, then over all tasks that both have completed.
        left_out: run folders that were offered and belong to no item, and why, one line each.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = SCHEMA
    suite: str
    title: str
    models: list[str]
    tasks: list[str]
    titles: dict[str, dict[str, str]] = {}
    sample: bool = False
    baseline: str | None = None
    rows: list[Row]
    cells: list[Cell]
    averages: list[Average] = []
    gates: list[Gate] = []
    pairs: list[Comparison] = []
    left_out: list[str] = []

    @property
    def failed(self) -> list[Row]:
        """Return the rows that ended without a score."""
        return [row for row in self.rows if row.state == "failed"]

    @property
    def refused(self) -> list[Row]:
        """Return the rows whose settings their task or network cannot use."""
        return [row for row in self.rows if row.state == "refused"]

    @property
    def missing(self) -> list[Row]:
        """Return the rows that have not finished."""
        return [row for row in self.rows if row.state == "missing"]

    def cell(self, model: str, task: str) -> Cell | None:
        """Return one model's scores on one task; None where the suite does not plan them."""
        return next((cell for cell in self.cells if (cell.model, cell.task) == (model, task)), None)

    def against_baseline(self, cell: Cell) -> Comparison | None:
        """Return how a cell differs from the baseline's of the same task; None where that is not known."""
        wanted = (cell.model, [cell.task])
        return next((pair for pair in self.pairs if (pair.second, pair.tasks) == wanted), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain data with every field, as the file holds it."""
        return self.model_dump(mode="json", by_alias=True)


def parse_collected(content: Mapping[str, Any]) -> Collected:
    """Return a table from plain data.

    Raises:
        DamagedFileError: it is not one.
    """
    if content.get("schema") != SCHEMA:
        raise DamagedFileError(f"has schema {content.get('schema')!r}; this version reads {SCHEMA}")
    try:
        return Collected.model_validate(content)
    except ValidationError as error:
        raise DamagedFileError(f"cannot be used: {describe(error)}") from None


def read_collected(path: Path) -> Collected:
    """Return the table in a ``collected.json``.

    Raises:
        DataError: missing or damaged.
        StorageError: it cannot be read now.
    """
    try:
        return parse_collected(read_object(path))
    except FileNotFoundError:
        raise DataError(
            "no table of a suite found", where=str(path), next_step="make one: clue bench collect SUITE"
        ) from None
    except DamagedFileError as error:
        raise DataError(
            f"the table {error}", where=str(path), next_step="make it again: clue bench collect SUITE"
        ) from None

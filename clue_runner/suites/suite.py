"""A suite's file as a type: models, tasks, seeds, settings, a grid, gates, and where to run.

In: a name in ``configs/suites`` or a YAML file. Out: a frozen ``Suite`` and the line of each of its keys, or
every problem of the file at once. Whether models, tasks and settings exist is for planning to say.
Knows nothing about runs, executors or tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clue_runner.config.describe import shown
from clue_runner.config.shipped import config_names, find_config_file, shown_config
from clue_runner.config.yaml_reader import Document, KeyPath, read_yaml
from clue_runner.errors import Problem, UsageError, suggest
from clue_runner.files.names import name_fault
from clue_runner.suites.collected import Setting

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(gt=0)]
BRANCHES = {"str", "int", "float", "bool", "none", "dict[str,str]"}  # what pydantic calls types in a path


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused, exact types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Entry(Part):
    """A model or a task of the suite, where a name alone does not say enough.

    Args:
        name: what ``--model`` or ``--task`` takes.
        label: what tables and folders call a model; the name where it is not given.
        tasks: of a model: the tasks that it is for; None: all of the suite's.
        settings: on top of the suite's, by dotted key.
    """

    name: Annotated[str, Field(min_length=1)]
    label: str | None = None
    tasks: list[str] | None = None
    settings: dict[str, Setting] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """Take a name alone for an entry that says no more."""
        return {"name": value} if isinstance(value, str) else value


class SlurmSettings(Part):
    """How jobs are handed to SLURM: ``cluster: local`` starts processes here, for tests of the same path."""

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    minutes: Positive = 240
    gpus: Annotated[int, Field(ge=0)] = 1
    cpus: Positive = 4
    memory_gb: Positive = 16
    parallel: Positive = 16
    requeues: Annotated[int, Field(ge=0)] = 20
    more: dict[str, Setting] = {}


class RaySettings(Part):
    """Which Ray cluster works, and what one item takes of it."""

    address: str = "auto"
    gpus: Annotated[float, Field(ge=0)] = 1
    cpus: Annotated[float, Field(gt=0)] = 4
    retries: Annotated[int, Field(ge=0)] = 3


class Suite(Part):
    """One whole benchmark.

    Args:
        title: what it is for, in words.
        models, tasks: what is crossed with what.
        seeds: of every model on every task; with a grid: of every point.
        fresh_seeds: with a grid: the seeds of the runs that are reported; by default as many as ``seeds``.
        config: recipes or files of settings, as ``--config`` takes them.
        settings: dotted key -> value, on top of those.
        grid: dotted key -> the values to try.
        gates: task -> the least mean score of every model.
        average: report the mean over all tasks, once all are there.
        folds: train that many times, each time without another part of train.
        data: what ``--data`` takes, ``{task}`` in it being the task; or task -> that; None: the usual places.
    """

    title: str
    models: Annotated[list[Entry], Field(min_length=1)]
    tasks: Annotated[list[Entry], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    fresh_seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    config: list[str] = []
    settings: dict[str, Setting] = {}
    grid: Annotated[dict[str, Annotated[list[Setting], Field(min_length=1)]], Field(min_length=1)] | None = (
        None
    )
    gates: dict[str, float] = {}
    average: bool = False
    folds: Annotated[int, Field(ge=2)] | None = None
    data: str | dict[str, str] | None = None
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    slurm: SlurmSettings = SlurmSettings()
    ray: RaySettings = RaySettings()


@dataclass(frozen=True)
class SuiteFile:
    """A suite, its name, and where each of its keys is."""

    name: str
    suite: Suite
    document: Document

    def where(self, *path: str | int) -> str:
        """Return ``file:line`` of a key."""
        return self.document.where(path)


def suite_names() -> tuple[str, ...]:
    """Return the names of the shipped suites, sorted."""
    return config_names("suites")


def find_suite(text: str) -> Path:
    """Return the file that a command means: a shipped suite's name first, then a path.

    Raises:
        UsageError: no suite has this name.
        DataError: it is written as a path, and nothing is there.
    """
    return find_config_file(text, "suites", kind="suite", what="suite", list_command="clue bench --help")


def read_suite(text: str) -> SuiteFile:
    """Return the suite that a command means.

    Raises:
        UsageError: with every problem of the file.
        DataError: no such file.
    """
    path = find_suite(text)
    document = read_yaml(path, shown_config(path))
    try:
        suite = Suite.model_validate(document.values)
    except ValidationError as error:
        problems = [_problem(found["loc"], found, document) for found in error.errors(include_url=False)]
    else:
        problems = list(_cross_checks(suite, document))
        if not problems:
            return SuiteFile(path.stem, suite, document)
    listed = list(dict.fromkeys(problems))
    raise UsageError(f"the suite {document.name} cannot be used", problems=listed)


def _problem(place: KeyPath, found: Mapping[str, Any], document: Document) -> Problem:
    """Return one finding of pydantic in the user's words."""
    where = document.where(place)
    while place and place[-1] in BRANCHES:  # where one of several types did not fit
        place = place[:-1]
    key = ".".join(map(str, place))
    if found["loc"] != place:
        return Problem(f"{key} has an invalid value", where, shown(found["input"]))
    if found["type"] == "extra_forbidden":
        known = _keys_at(place)
        guess = suggest(str(place[-1]), known)
        hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
        return Problem(f"{key}: no such key of a suite, {hint}", where)
    if found["type"] == "missing":
        return Problem(f"{key} is missing", where)
    if found["type"] == "too_short":
        return Problem(f"{key} is empty", where)
    return Problem(f"{key}: {found['msg'][:1].lower()}{found['msg'][1:]}", where, shown(found["input"]))


def _keys_at(place: KeyPath) -> tuple[str, ...]:
    """Return the keys that may appear beside the last one of a path."""
    kinds: dict[str | int, type[Part]] = {
        "models": Entry,
        "tasks": Entry,
        "slurm": SlurmSettings,
        "ray": RaySettings,
    }
    kind = kinds.get(place[0], Suite) if len(place) > 1 else Suite
    return tuple(kind.model_fields)


def _cross_checks(suite: Suite, document: Document) -> list[Problem]:
    """Return what is wrong with keys that are each allowed."""
    problems = []
    labels = [entry.label or Path(entry.name).name for entry in suite.models]
    for index, (label, entry) in enumerate(zip(labels, suite.models, strict=True)):
        where = document.where(("models", index))
        if fault := name_fault(label):
            problems.append(Problem(f"a model's label becomes a folder: {fault}", where, label))
        if label in labels[:index]:
            problems.append(
                Problem(f"two models are called {label}, so that they would share a folder", where)
            )
        problems += _unknown_tasks(suite, document, ("models", index, "tasks"), entry.tasks or ())
    names = [entry.name for entry in suite.tasks]
    problems += [
        Problem(f"the task {name} appears twice", document.where(("tasks", index)))
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    problems += [
        Problem(f"no model of this suite is for the task {name}", document.where(("tasks", index)))
        for index, name in enumerate(names)
        if not any(entry.tasks is None or name in entry.tasks for entry in suite.models)
    ]
    problems += _unknown_tasks(suite, document, ("gates",), suite.gates)
    problems += _unknown_tasks(suite, document, ("data",), suite.data if isinstance(suite.data, dict) else ())
    for key in ("seeds", "fresh_seeds"):
        seeds = getattr(suite, key) or []
        problems += [
            Problem(f"the seed {seed} appears twice, so that two runs would share a folder", where)
            for index, seed in enumerate(seeds)
            if seed in seeds[:index] and (where := document.where((key, index)))
        ]
    return problems + _grid_problems(suite, document)


def _grid_problems(suite: Suite, document: Document) -> list[Problem]:
    """Return what is wrong with a grid and with what only a grid can have."""
    problems = []
    for key, values in (suite.grid or {}).items():
        problems += [
            Problem(f"{key}: {value!r} appears twice", document.where(("grid", key, index)))
            for index, value in enumerate(values)
            if value in values[:index]
        ]
        if key in suite.settings:
            problems.append(Problem(f"{key} is also given in settings", document.where(("grid", key))))
    if suite.fresh_seeds is not None:
        where = document.where(("fresh_seeds",))
        if suite.grid is None:
            problems.append(Problem("fresh_seeds are for suites with a grid", where))
        elif again := sorted({*suite.fresh_seeds} & {*suite.seeds}):
            problems.append(Problem("the grid has already seen these seeds", where, str(again)))
    return problems


def _unknown_tasks(
    suite: Suite, document: Document, place: KeyPath, names: Mapping[str, Any] | list[str] | tuple[str, ...]
) -> list[Problem]:
    """Return one finding for each name that is no task of the suite."""
    known = [entry.name for entry in suite.tasks]
    problems = []
    for index, name in enumerate(names):
        if name not in known:
            guess = suggest(name, known)
            hint = f", did you mean {guess}?" if guess else ""
            where = document.where((*place, name if isinstance(names, Mapping) else index))
            problems.append(Problem(f"{name} is no task of this suite{hint}", where))
    return problems

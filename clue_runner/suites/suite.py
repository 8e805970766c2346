"""A suite's file as a type: models, tasks, seeds, settings, a grid, gates, and where to run.

In: plain data. Out: a frozen ``Suite``, and the line of each of its keys.
Knows nothing about files, runs, executors or tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clue_runner.config.yaml_reader import Document
from clue_runner.suites.collected import Setting

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(gt=0)]


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused, exact types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Entry(Part):
    """A model or a task of the suite, if a name alone is not enough.

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
        """Accept a bare name as an entry."""
        return {"name": value} if isinstance(value, str) else value


class SlurmSettings(Part):
    """How jobs are submitted to SLURM: ``cluster: local`` starts processes here, for tests."""

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
    """Which Ray cluster to use, and the resources of one item."""

    address: str = "auto"
    gpus: Annotated[float, Field(ge=0)] = 1
    cpus: Annotated[float, Field(gt=0)] = 4
    retries: Annotated[int, Field(ge=0)] = 3


class Suite(Part):
    """One whole benchmark.

    Args:
        title: what it is for, in words.
        models, tasks: every model is combined with every task.
        seeds: of every model on every task; with a grid: of every point.
        fresh_seeds: with a grid: the seeds of the runs that are reported; by default as many as ``seeds``.
        config: recipes or files of settings, as ``--config`` takes them.
        settings: dotted key -> value, on top of those.
        grid: dotted key -> the values to try.
        gates: task -> minimum mean score of every model.
        baseline: label of the model that every other is compared with; None: each with each.
        average: report the mean over all tasks, once all are complete.
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
    baseline: str | None = None
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

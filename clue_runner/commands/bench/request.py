"""The request of every ``clue bench`` command: a suite, and what the command line replaces in it.

In: the options as plain values. Out: the effective suite, and the folder of its runs.
Knows nothing about planning or executors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clue_runner.commands.bench.planning import mistakes
from clue_runner.config.shipped import absolute_path
from clue_runner.errors import UsageError
from clue_runner.suites.grid import compared_labels, variant_label
from clue_runner.suites.reading import cannot_be_used, examine_suite
from clue_runner.suites.suite import Entry, SuiteFile

ROOT = Path("runs") / "bench"


@dataclass(frozen=True)
class BenchRequest:
    """The options of ``clue bench``, named as on the command line.

    Args:
        suite: a name in configs/suites, or a file.
        runs: ``collect``: run folders from elsewhere.
        model: replaces the suite's models, apart from those for single tasks.
        data: replaces the suite's.
        backend, device: replace the suite's.
        output: the folder of all runs; None: ``runs/bench/<suite>``.
        executor, index, workers: ``run``: what executes, which item, in how many processes.
        json: ``collect``, ``plan``: the answer as data.
        markdown, junit: ``collect`` and ``run``: files to write.
    """

    suite: str
    runs: Sequence[str | Path] = ()
    model: Sequence[str] = ()
    data: str | None = None
    backend: str | None = None
    device: str | None = None
    output: Path | None = None
    executor: str = "local"
    index: int | None = None
    workers: int | None = None
    markdown: Path | None = None
    junit: Path | None = None

    def open(self) -> tuple[SuiteFile, Path]:
        """Return the effective suite, and the absolute folder of its runs.

        Raises:
            UsageError: with every problem of the suite's file, and every mistake in what it names; a baseline
                that is lost where the command line names other models.
            DataError: no such file.
        """
        found, problems = examine_suite(self.suite)
        file = None if found is None else self._as_it_counts(found)
        if file is None or problems:
            more = mistakes(file) if file is not None else []
            raise cannot_be_used(self.suite, [*problems, *more])
        return file, absolute_path(self.output or ROOT / file.name)

    def _as_it_counts(self, file: SuiteFile) -> SuiteFile:
        """Return the suite with what the command line says in place of what it says."""
        suite = file.suite
        if self.model:
            suite = suite.model_copy(update={"models": _replaced(suite.models, self.model)})
        given = {"data": self.data, "backend": self.backend, "device": self.device}
        suite = suite.model_copy(update={key: value for key, value in given.items() if value is not None})
        if self.model and suite.baseline is not None and not compared_labels(suite):
            raise UsageError(
                "these models are not variants of each other, so none is the baseline",
                where="--model",
                received=", ".join(self.model),
                next_step=f"write a suite of them; this one compares with {suite.baseline}",
            )
        return replace(file, suite=suite)


def _replaced(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """Return other models in place of a suite's, each with every setting that the suite compares.

    Models for single tasks stay: a model named on the command line need not suit these tasks.
    """
    general = [entry for entry in entries if entry.tasks is None]
    variants = list({repr((one.settings, one.label)): one for one in general if one.settings}.values())
    found = []
    for name in names:
        labels = [variant_label(name, variant.label or Path(name).name) for variant in variants]
        found += [
            Entry(name=name, label=label, settings=variant.settings)
            for label, variant in zip(labels, variants, strict=True)
        ] or [Entry(name=name)]
    return [*found, *(entry for entry in entries if entry.tasks is not None)]

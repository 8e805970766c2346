"""The facts of a run's folder about its submission files: model, seed, score, data, and flaws.

In: folders of runs and ensembles. Out: ``RunFacts``. Knows nothing about the files' content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from clue_runner.config.resolved import values_hash
from clue_runner.errors import CheckpointError, DataError, StorageError
from clue_runner.files.text import printable
from clue_runner.runs.ensembles import Ensemble, member_folder, read_ensemble
from clue_runner.runs.events import remembered_data
from clue_runner.runs.folder import RunFolder

Flaw = Literal["random", "sample", "incomplete"]
ReadT = TypeVar("ReadT")


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run's folder about the files that the run made; None: unknown.

    Args:
        task: a shipped name, or the folder of a user's card.
        weights: hash of the pre-trained weights.
        settings: hashes of all settings but the seed, and of the data: runs that share them differ in their
            seed alone.
        score: dev score of ``metric`` in percent; None: the run has not finished with one.
        data: ``--data`` of the run; None: the task's default.
        flaws: why its answers should not go to the leaderboard, each with its reason in words.
    """

    folder: Path
    task: str | None = None
    model: str | None = None
    weights: str | None = None
    seed: int | None = None
    settings: str | None = None
    metric: str | None = None
    score: float | None = None
    data: str | None = None
    flaws: tuple[tuple[Flaw, str], ...] = ()


def facts_of(folder: Path) -> RunFacts | None:
    """Return the run whose ``submission`` folder this is, of its own task or of one that it lends a head."""
    if folder.name != RunFolder.SUBMISSION:
        return None
    return run_facts(folder.parent) or run_facts(folder.parent.parent)


def run_facts(folder: Path) -> RunFacts | None:
    """Return the facts of the run or ensemble in ``folder``; None if there is none.

    The only place where submissions read a run folder. What cannot be read is a flaw, not an error.
    """
    broken: list[str] = []
    ensemble = _attempt(lambda: read_ensemble(folder), broken)
    if broken:
        return RunFacts(folder, flaws=(("incomplete", printable(broken[0])),))
    return _single_facts(folder) if ensemble is None else _ensemble_facts(folder, ensemble)


def _single_facts(folder: Path) -> RunFacts | None:
    """Return the facts of one run; None if there is no run."""
    place = RunFolder(folder)
    if not (place.settings.exists() or place.metrics.exists()):
        return None
    broken: list[str] = []
    run, result = _attempt(place.values, broken), _attempt(place.result, broken)
    data = _attempt(lambda: remembered_data(folder), broken)
    init = run["model.init"] if run else result.init if result else None
    flaws: list[tuple[Flaw, str]] = [("incomplete", printable(reason)) for reason in broken]
    if init == "random":
        flaws.append(("random", "random weights, not a pre-trained model"))
    if data == "sample":
        flaws.append(("sample", "trained on the sample records that ship with the card"))
    elif result and result.data_complete is False:
        flaws.append(("incomplete", "trained on limited data, or on data other than the card's"))
    if not broken and (result is None or not result.ok):
        flaws.append(("incomplete", "the run has failed" if result else "the run has not finished"))
    hashes = [result.data_sha256.get(split, "") for split in ("train", "dev")] if result else []
    named = str(run["model.name"]) if run else result.model if result else None
    return RunFacts(
        folder,
        task=str(run["task.name"]) if run else None,
        model=named,
        weights=result.checkpoint.sha256 if result and result.checkpoint else None,
        seed=result.seed if result else None,
        settings=" ".join([values_hash({**run, "seed": 0}), *hashes]) if run else None,
        metric=result.metric if result else None,
        score=result.score if result else None,
        data=data,
        flaws=tuple(flaws),
    )


def _ensemble_facts(folder: Path, ensemble: Ensemble) -> RunFacts:
    """Return the facts of an ensemble: its members' together, and every flaw that one of them has."""
    flaws: list[tuple[Flaw, str]] = []
    members: list[RunFacts] = []
    for one in ensemble.members:
        place = member_folder(folder, one)
        facts = _single_facts(place)  # an ensemble may not contain ensembles; one of itself would never end
        if facts is None:
            flaws.append(("incomplete", printable(f"{one.run}, a member of the ensemble, does not exist")))
            continue
        members.append(facts)
        flaws += [
            (kind, printable(f"{one.run}, a member of the ensemble: {why}")) for kind, why in facts.flaws
        ]
    models = _each_once(facts.model for facts in members)
    weights = _each_once(facts.weights for facts in members)
    data, tasks = (_each_once(values) for values in ((f.data for f in members), (f.task for f in members)))
    return RunFacts(
        folder,
        task=tasks[0] if tasks else None,
        model=f"ensemble of {len(ensemble.members)}: {' + '.join(models) or 'unknown models'}",
        weights=hashlib.sha256(" ".join(weights).encode()).hexdigest() if weights else None,
        metric=ensemble.dev.metric if ensemble.dev else None,
        score=ensemble.dev.score if ensemble.dev else None,
        data=", ".join(data) or None,
        flaws=tuple(flaws),
    )


def _each_once(values: Iterable[str | None]) -> list[str]:
    """Return the known values, each once, sorted."""
    return sorted({value for value in values if value is not None})


def _attempt(read: Callable[[], ReadT], broken: list[str]) -> ReadT | None:
    try:
        return read()
    except (CheckpointError, DataError, StorageError) as error:
        broken.append(f"the run cannot be read: {error.headline}")
        return None

"""A work item: one run of a suite, named by a hash of everything that its result depends on.

In: settings, what the weights depend on besides, the program, the precision. Out: a short hash, the same on
every machine; and ``Work``, what an executor needs to know. Knows nothing about suites' files or executors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clue_runner.config.resolved import flat, values_hash
from clue_runner.config.schema import Run
from clue_runner.config.sections import Schema
from clue_runner.errors import ClueError
from clue_runner.runs.identity import Identity
from clue_runner.runs.opening import FREE_SETTINGS
from clue_runner.suites.grid import Wish

LENGTH = 16  # hexadecimal digits of an item's name
# Where a run computes does not decide its result; the task is identified by its card's content.
NOT_OF_THE_RESULT = FREE_SETTINGS | {"device", "task.name"}


def item_facts(run: Run, task: str, identity: Identity, *, code: str, precision: str) -> dict[str, Any]:
    """Return everything that an item's result depends on, as plain data.

    Args:
        run: the resolved settings.
        task: the card's name.
        identity: data, vocabulary, pre-trained weights and card.
        code: version and hash of the program.
        precision: what is computed in, ``auto`` resolved.
    """
    # A path is not content: the identity covers what lies there.
    left_out = {*NOT_OF_THE_RESULT, *Schema(type(run)).paths}
    settings = {key: value for key, value in flat(run).items() if key not in left_out}
    return {
        "settings": {**settings, "train.precision": precision},
        "task": task,
        "identity": identity.model_dump(mode="json"),
        "code": code,
        "backend": run.backend,
        "precision": precision,
    }


def item_id(facts: Mapping[str, Any]) -> str:
    """Return the hash of the facts."""
    return values_hash(facts)[:LENGTH]


@dataclass(frozen=True)
class Item:
    """One planned run.

    Args:
        id: hash of ``facts``.
        wish: the suite's request.
        task: the card's name.
        facts: see ``item_facts``; what is known of them where ``problem`` is not None.
        arguments: those of ``clue train``, without ``--output``.
        folder: of the run.
        run: the resolved settings.
        metric: the card's main one.
        problem: why it cannot be run: missing data, a missing checkpoint, a setting that the task refuses.
    """

    id: str
    wish: Wish
    task: str
    facts: Mapping[str, Any]
    arguments: Sequence[str]
    folder: Path
    run: Run
    metric: str
    problem: ClueError | None = None

    @property
    def words(self) -> str:
        """Return the item as people call it."""
        wish = self.wish
        point = "".join(f", {key} {value}" for key, value in wish.point.items())
        fold = f", fold {wish.fold}" if wish.fold else ""
        return f"{self.task}, {wish.label}, seed {wish.seed}{fold}{point}"

    def work(self, root: Path) -> Work:
        """Return what an executor needs to know; ``root``: the suite's folder."""
        return Work(self.id, self.words, tuple(self.arguments), str(self.folder), str(root), self.code)

    @property
    def code(self) -> str:
        """Return the version and hash of the program that the item is for."""
        return str(self.facts["code"])


@dataclass(frozen=True)
class Work:
    """An executor's description of an item: plain text, so that it can be sent anywhere.

    Args:
        id: of the item.
        words: the item as people call it.
        arguments: those of ``clue train``, without ``--output``.
        folder: of the run; ``root``: of the suite. Absolute, on a disk that every machine sees.
        code: version and hash of the program that the item is for.
        environment: variables on top of the process's own.
    """

    id: str
    words: str
    arguments: tuple[str, ...]
    folder: str
    root: str
    code: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """Return the folder of the item's record, log and claim."""
        return Path(self.root) / "items" / self.id


def run_folder(root: Path, task: str, wish: Wish, name: str) -> Path:
    """Return where an item's run lies: readable, and of no other item's."""
    fold = f"-fold{wish.fold.partition('/')[0]}" if wish.fold else ""
    return root / task / f"{wish.label}-{wish.seed}{fold}-{name[:8]}"

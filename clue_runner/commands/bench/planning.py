"""Turns a suite into items: settings resolved as ``clue train`` does, files hashed, nothing run.

In: a suite, its wishes. Out: items with their identity, or every mistake in the suite at once. What is
missing on this machine (data, a checkpoint) or refused by a task makes an item that cannot be run; it does
not stop the others. No backend is loaded. Knows nothing about executors or tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import load_adapter
from clue_runner.adapters.fitting import require_droppable
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.commands.bench.mistakes import find_mistakes, refuse_mistakes
from clue_runner.commands.train import TrainRequest, resolve
from clue_runner.config.model_choice import require_checkpoint
from clue_runner.config.presets import model_presets
from clue_runner.config.recipes import recipe_names
from clue_runner.config.resolved import flat, values_hash
from clue_runner.config.scalars import format_scalar, parse_scalar
from clue_runner.config.schema import Run
from clue_runner.config.shipped import absolute_path, as_given, remembered_path
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate
from clue_runner.errors import ClueError, Problem, RefusedSettingError, UsageError
from clue_runner.memory.guess import guess_choices
from clue_runner.runs.code import code_version
from clue_runner.runs.identity import Identity
from clue_runner.suites.collected import Setting
from clue_runner.suites.grid import Wish, first_stage, pairs
from clue_runner.suites.items import Item, item_facts, item_id, run_folder
from clue_runner.suites.reading import examine_suite
from clue_runner.suites.suite import SuiteFile
from clue_runner.tokens.rows import Rows
from clue_runner.training.network import open_tokenizer
from clue_runner.training.prepare import SplitData, read_splits
from clue_runner.training.pretrained.opening import open_checkpoint
from clue_runner.training.setup import Inputs


@dataclass
class Planner:
    """Makes the items of one suite; what was read for one is not read again for the next."""

    file: SuiteFile
    root: Path
    _identities: dict[str, Identity | ClueError] = field(default_factory=dict)
    _resolved: dict[str, tuple[Card, Run]] = field(default_factory=dict)
    _checkpoints: dict[str, Checkpoint | None] = field(default_factory=dict)
    _records: tuple[str, SplitData] | None = None
    _rows: tuple[str, Mapping[str, Rows]] | None = None

    def first(self) -> list[Item]:
        """Return the items of the first stage, in the suite's order.

        Raises:
            UsageError: with every mistake in the suite's models, tasks and settings.
        """
        if not pairs(self.file.suite):
            raise UsageError(
                "the suite has no run: none of its models is for any of its tasks", where=self.file.where()
            )
        items = self.items(list(first_stage(self.file.suite)))
        known = {entry.name: find_card(entry.name).name for entry in self.file.suite.tasks}
        names = list(known.values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"two tasks are called {', '.join(twice)}", where=self.file.where("tasks"))
        return items

    def items(self, wishes: Sequence[Wish]) -> list[Item]:
        """Return one item for each wish, in their order.

        Raises:
            UsageError: with every mistake in their settings; or two of them are the same run.
        """
        refuse_mistakes(self.file, wishes, self.resolve)
        order = sorted(
            range(len(wishes)), key=lambda index: wishes[index].task.name
        )  # so that each task is read once
        made = {index: self._item(wishes[index]) for index in order}
        self._records = None
        items = [made[index] for index in range(len(wishes))]
        seen: dict[str, Item] = {}
        for item in items:
            if item.id in seen and item.problem is None:
                raise UsageError(
                    "two items are the same run and would share a folder",
                    where=self.file.document.name,
                    received=f"{seen[item.id].words}; and {item.words}",
                    next_step="leave one of them out",
                )
            seen[item.id] = item
        return items

    def inputs(self, item: Item) -> Inputs:
        """Return what a run is made from: files read and checked.

        Raises:
            ClueError: they are missing or cannot be used.
        """
        card, _ = self.resolve(item.wish)
        return self._read(card, item.run, self.data_of(item.wish))

    def rows(self, item: Item) -> Mapping[str, Rows]:
        """Return an item's rows; encoded once for all items with the same rows.

        Raises:
            ClueError: as ``inputs``; or records that cannot be encoded.
        """
        inputs = self.inputs(item)
        settings = inputs.adapter.row_settings(inputs.tokenizer)
        key = values_hash({"data": inputs.data.sha256, "task": item.task, "settings": settings})
        if self._rows is None or self._rows[0] != key:
            self._rows = key, inputs.encode(lambda text: None)
        return self._rows[1]

    def data_of(self, wish: Wish) -> str | None:
        """Return the ``--data`` value of a run."""
        data = self.file.suite.data
        text = data.get(wish.task.name) if isinstance(data, dict) else data
        if text is None or text == "sample":
            return text
        return str(remembered_path(text.replace("{task}", Path(wish.task.name).name)))

    def _item(self, wish: Wish) -> Item:
        """Return the item of a wish whose settings are right."""
        card, run = self.resolve(wish)
        run = run.model_copy(update={"seed": wish.seed})
        identity = self._identity(card, run, wish)
        problem = identity if isinstance(identity, ClueError) else _unfitting(card, run)
        facts = item_facts(
            run,
            card.name,
            Identity() if isinstance(identity, ClueError) else identity,
            code=code_version(),
            precision=run.train.precision,
        )
        name = item_id(facts)
        return Item(
            id=name,
            wish=wish,
            task=card.name,
            facts=facts,
            arguments=self._arguments(wish, run),
            folder=run_folder(self.root, card.name, wish, name),
            run=run,
            metric=card.metric,
            problem=problem,
        )

    def resolve(self, wish: Wish) -> tuple[Card, Run]:
        """Return card and settings of a wish, for any seed; the precision is decided.

        Raises:
            UsageError: a mistake in the suite.
        """
        key = repr((wish.model, wish.task, wish.fold, sorted(wish.point.items())))
        if key not in self._resolved:
            request = TrainRequest(
                task=wish.task.name,
                model=wish.model.name,
                config=self.file.suite.config,
                set=[f"{name}={argument(value)}" for name, value in self._settings(wish).items()],
                backend=self.file.suite.backend,
                device=self.file.suite.device,
            )
            card, run = resolve(request, weights_needed=False, fitting_needed=False)
            if run.train.batch_size == "auto":
                raise UsageError(
                    "a suite needs a fixed batch size: auto differs from machine to machine",
                    where="--set train.batch_size",
                    received="auto",
                )
            train = run.train.model_copy(update={"precision": guess_choices(run).precision.value})
            self._resolved[key] = card, run.model_copy(update={"train": train})
        return self._resolved[key]

    def _settings(self, wish: Wish) -> dict[str, Setting]:
        """Return what the suite sets for a wish, its precision among it."""
        settings = wish.settings(self.file.suite)
        return {"train.precision": self.file.suite.precision, **settings}

    def _identity(self, card: Card, run: Run, wish: Wish) -> Identity | ClueError:
        """Return what the weights depend on, or why that cannot be known here."""
        data = self.data_of(wish)
        groups = ("task.", "data.", "model.")
        read = {key: value for key, value in flat(run).items() if key.startswith(groups)}
        key = values_hash({"data": data, "read": read})
        if key not in self._identities:
            try:
                inputs = self._read(card, run, data)
                self._identities[key] = inputs.identity
                if inputs.checkpoint is not None:
                    inputs.checkpoint.weights.release()  # read for the hash, and not needed here
            except ClueError as error:
                self._identities[key] = error
        return self._identities[key]

    def _read(self, card: Card, run: Run, data: str | None) -> Inputs:
        """Return files read and checked; the newest records are kept for the next model."""
        require_checkpoint(run)
        adapter = load_adapter(card, run)
        source = locate(card, data if data in (None, "sample") else str(as_given(data)))
        read = {key: value for key, value in flat(run).items() if key.startswith(("task.", "data."))}
        key = values_hash({"data": data, "read": read})
        if self._records is None or self._records[0] != key:
            self._records = key, read_splits(adapter, source)
        records = self._records[1]
        where = values_hash(
            {"path": run.model.checkpoint, "init": run.model.init, "ignore": run.model.ignore}
        )
        if where not in self._checkpoints:
            self._checkpoints[where] = open_checkpoint(run)
        checkpoint = self._checkpoints[where]
        tokenizer = adapter.own_tokenizer(records.records) or open_tokenizer(run, checkpoint)
        return Inputs(run, card, adapter, source, records, checkpoint, tokenizer)

    def _arguments(self, wish: Wish, run: Run) -> list[str]:
        """Return the command line of ``clue train`` that makes this run, from any folder."""
        model, task = wish.model.name, wish.task.name
        if model not in model_presets():
            model = str(run.model.checkpoint or model)
        if Path(run.task.name).is_absolute():
            task = run.task.name
        words = ["--task", task, "--model", model, "--seed", str(wish.seed)]
        for name in self.file.suite.config:
            words += ["--config", name if name in recipe_names() else str(absolute_path(name))]
        settings = {**self._settings(wish), "train.precision": run.train.precision}
        for key, value in settings.items():
            words += ["--set", f"{key}={argument(value)}"]
        data = self.data_of(wish)
        words += ["--data", data] if data is not None else []
        return [*words, "--backend", run.backend, "--device", run.device]


def _unfitting(card: Card, run: Run) -> ClueError | None:
    """Return why a task cannot use a run's settings; None: it can, or its network alone knows."""
    try:
        require_droppable(card, run)
    except RefusedSettingError as error:
        return error
    return None


def argument(value: Any) -> str:
    """Return a value as ``--set`` reads it back: text that could be read as another type is quoted."""
    if isinstance(value, str):
        return value if parse_scalar(value) == value and value.strip() == value else f"'{value}'"
    return format_scalar(value)


def suite_problems(path: Path) -> list[Problem]:
    """Return every mistake in a suite's file; data and checkpoints are not looked for."""
    try:
        file, problems = examine_suite(str(path.absolute()))
    except ClueError as error:
        return list(error.problems) or [error.headline]
    return [*problems, *(mistakes(file) if file is not None else ())]


def mistakes(file: SuiteFile) -> list[Problem]:
    """Return every mistake in a suite's models, tasks and settings."""
    return find_mistakes(file, list(first_stage(file.suite)), Planner(file, Path()).resolve)[0]

"""From all layers of settings to one frozen ``Run``, or to one message with every problem.

In: a task's name and card settings, a model, config files, overrides, flags.
Out: a ``Run``, and where each value came from.
Layers, later ones win: default.yaml, card, model preset, checkpoint, ``--config`` in order, ``--set``, flags.
Knows nothing about cards, tensors or run folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.config.anywhere import adapter_or_any, check_anywhere
from clue_runner.config.defaults import default_layer
from clue_runner.config.layers import (
    Layer,
    check_layer,
    count,
    layer_from_flags,
    layer_from_mapping,
    layers_from_overrides,
)
from clue_runner.config.model_choice import HUB, find_model, require_checkpoint
from clue_runner.config.pairs import pair_problem
from clue_runner.config.presets import Preset, model_preset, model_presets, read_preset
from clue_runner.config.recipes import find_config, misspelt_task, recipe_layers
from clue_runner.config.recompute import recompute_problems
from clue_runner.config.resolved import config_hash, difference, dump_run, flat, load_resolved
from clue_runner.config.scalars import list_problems
from clue_runner.config.schema import Run
from clue_runner.config.sections import OPEN_GROUPS, Schema, Sections
from clue_runner.config.shipped import absolute_path, remembered_path, user_path
from clue_runner.errors import Problem, UsageError

__all__ = [
    "Preset",
    "Resolved",
    "config_hash",
    "difference",
    "dump_run",
    "find_model",
    "flat",
    "load_resolved",
    "model_preset",
    "model_presets",
    "read_preset",
    "require_checkpoint",
    "resolve_run",
]

CheckpointReader = Callable[[Path], Mapping[str, object]]


@dataclass(frozen=True)
class Resolved:
    """A run, its schema, and the layer that each of its values came from."""

    run: Run
    schema: Schema
    origins: Mapping[str, str]


def resolve_run(
    *,
    task: str,
    sections: Sections,
    card_settings: Mapping[str, Any] | None = None,
    adapter: str | None = None,
    model: str | None = None,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    checkpoint_reader: CheckpointReader | None = None,
) -> Resolved:
    """Merge all layers and check them.

    Args:
        task: name or folder of the card; becomes ``run.task.name``.
        sections: the settings specific to kinds of tasks and to families of models.
        card_settings: nested settings recommended by the card.
        adapter: the card's kind of task; None: looked up in ``sections``.
        model: ``--model``; None: ``model.name`` of the highest layer that has it.
        configs: ``--config`` values: a recipe's name or a file.
        overrides: ``--set`` values.
        flags: dotted key -> value of other flags; None values were not given.
        checkpoint_reader: gives a checkpoint folder's own ``model`` settings (unprefixed names); they are
            above the preset and below the config files.

    Raises:
        UsageError: with all problems of all layers.
        CheckpointError: the model is a Hugging Face id or a file.
        DataError: a file or folder does not exist.
    """
    problems: list[Problem] = []
    card = layer_from_mapping(f"card of {task}", card_settings or {}, problems)
    upper = [layer for text in configs for layer in _recipe(text, task, sections, problems)]
    upper.append(layers_from_overrides(overrides, problems))
    upper.append(layer_from_flags(flags or {}))
    name = _model_name(model, [default_layer(), card, *upper])
    *lower, fixed = _model_layers(name, upper, problems, checkpoint_reader)
    if model is not None:
        fixed.title = "command line"
    kind = adapter if adapter is not None else sections.adapter_of(task)
    schema, merged = _merge([card, *lower, *upper, fixed], sections, task, kind, problems)
    if not problems:
        problems += cross_checks(schema, merged.values, merged.origins, merged.ranks)
    if problems:
        raise UsageError(
            f"the settings have {count(problems)}",
            problems=problems,
            next_step="every setting, explained: clue config show --explain",
        )
    return Resolved(schema.validate(merged.values), schema, merged.origins)


def _merge(
    layers: Sequence[Layer], sections: Sections, task: str, kind: str, problems: list[Problem]
) -> tuple[Schema, _Merged]:
    """Return the settings that the run has and their values; each layer's problems are appended."""
    default = default_layer()
    _, *others = OPEN_GROUPS.values()
    chosen = [str([one.values[key] for one in (default, *layers) if key in one.values][-1]) for key in others]
    schema = sections.schema(kind, *chosen)
    # A task has no default: placeholders let the layers be checked before it is set at the end.
    base = {**default.values, **schema.defaults, "task.name": task}
    base |= dict(zip(OPEN_GROUPS.values(), (kind, *chosen), strict=True))
    owners = sections.owners()
    for layer in layers:
        check_layer(layer, schema, base, problems, owners=owners)
    merged = _Merged(dict(base), dict.fromkeys(base, default.title), {})
    merged.lay(layers, schema.paths)
    for key, wanted in (("task.name", task), ("task.adapter", kind)):
        if merged.values[key] != wanted:
            place, received = merged.origins[key], str(merged.values[key])
            problems.append(Problem(f"{key} contradicts --task", place, received, wanted))
        merged.origins[key] = "command line"
    return schema, merged


NO_PATHS = ("auto", "simplified")  # values of settings that otherwise name a file


@dataclass
class _Merged:
    """Values of all layers so far, the title of the layer each came from, and that layer's rank."""

    values: dict[str, Any]
    origins: dict[str, str]
    ranks: dict[str, int]

    def lay(self, layers: Sequence[Layer], paths: Sequence[str]) -> None:
        """Put layers on top, in order; paths become absolute, whichever layer gave them.

        The same command in another folder would otherwise mean another file.
        """
        for rank, layer in enumerate(layers):
            for key, value in layer.values.items():
                self.values[key], self.origins[key], self.ranks[key] = value, layer.title, rank
        for key in paths:
            value = self.values[key]
            if isinstance(value, str) and value not in NO_PATHS and not value.startswith(HUB):
                self.values[key] = str(remembered_path(value))


def _recipe(text: str, task: str, sections: Sections, problems: list[Problem]) -> list[Layer]:
    """Return the layers of one ``--config`` for a task; its problems join the others.

    Entries for other tasks are checked too: a misspelt key there would wait for a later run.
    """
    try:
        layers = recipe_layers(find_config(text), problems)
    except UsageError as error:
        # A file that cannot be parsed is one finding among others; a missing one (exit 3) stops at once.
        problems += error.problems or [
            Problem(f"{error.headline.what}; {error.next_step}", "--config", allowed=error.headline.allowed)
        ]
        return []
    current = Path(task).name
    for name, layer in layers:
        if name is not None and name != current:
            if misspelt := misspelt_task(name, current, layer.place):
                problems.append(misspelt)
            check_anywhere(layer, sections, problems, adapter=adapter_or_any(sections, name))
    return [layer for name, layer in layers if name is None or name == current]


def _model_name(model: str | None, layers: Sequence[Layer]) -> str:
    """Return the model of the highest layer that names one; ``--model`` is the highest."""
    if model is not None:
        return model
    named = [str(layer.values["model.name"]) for layer in layers if "model.name" in layer.values]
    asked = _asked_checkpoints(layers)
    # A run.yaml given as --config has the name of a checkpoint folder, and beside it the folder's path.
    return asked[-1] if asked and named[-1] not in model_presets() else named[-1]


def _asked_checkpoints(layers: Sequence[Layer]) -> list[str]:
    """Return the checkpoint folders that layers name, the one that counts last."""
    return [str(value) for layer in layers if (value := layer.values.get("model.checkpoint"))]


def _model_layers(
    name: str, upper: Sequence[Layer], problems: list[Problem], reader: CheckpointReader | None
) -> Iterator[Layer]:
    """Yield the preset's layer, the checkpoint's, and last the layer that fixes the model's name."""
    try:
        found: Preset | Path | None = find_model(name)
    except UsageError as error:
        problems += error.problems or [
            Problem(f"{error.headline.what}; {error.next_step}", "model.name", allowed=error.headline.allowed)
        ]
        found = None
    folder = found if isinstance(found, Path) else None
    if isinstance(found, Preset):
        yield found.layer
        if found.kind != "random" and found.local_folder.is_dir():
            folder = found.local_folder
    layer = Layer("checkpoint")
    asked = _asked_checkpoints(upper)
    if folder is not None:
        layer.put("model.checkpoint", str(folder), str(folder))
        if isinstance(found, Path):
            layer.put("model.init", "checkpoint", str(folder))
    source = user_path(asked[-1]) if asked else folder
    if source is not None and reader is not None:
        for key, value in reader(source).items():
            layer.put(f"model.{key}", value, str(source))
    yield layer
    fixed = Layer("model.name")
    own = absolute_path(folder).name if isinstance(found, Path) and folder else name
    fixed.put("model.name", own.partition("@")[0] if name.startswith(HUB) else own, "--model")
    yield fixed


def cross_checks(
    schema: Schema, values: Mapping[str, Any], origins: Mapping[str, str], ranks: Mapping[str, int]
) -> Iterator[Problem]:
    """Yield the problems with values that are valid on their own but not together."""

    def together(first: str, second: str, rule: str) -> Problem:
        return pair_problem(rule, first, second, values, origins)

    for section in schema.own:
        yield from section.cross_checks(values, origins)
    yield from recompute_problems(values, origins)
    yield from list_problems(values, origins)
    if values["data.max_length"] < 8:
        yield Problem(
            "too short for two texts and their special tokens",
            f"data.max_length ({origins['data.max_length']})",
            str(values["data.max_length"]),
            "8 or more",
        )
    if fold := values["data.fold"]:
        part, count = map(int, fold.split("/"))
        if not part < count or count < 2:
            place = f"data.fold ({origins['data.fold']})"
            yield Problem(
                "no such part", place, fold, f"0/{max(count, 2)} to {max(count, 2) - 1}/{max(count, 2)}"
            )
    batch_size = values["train.batch_size"]
    if batch_size != "auto" and values["train.accumulate"] > batch_size:
        yield together("train.accumulate", "train.batch_size", "more micro-batches than examples")
    for key in ("train.token_budget", "train.evaluate_tokens"):
        if values[key] < values["data.max_length"]:
            rule = f"the budget must hold one row: --set {key}={values['data.max_length']}"
            yield together(key, "data.max_length", rule)
    if (
        values["model.checkpoint"]
        and values["model.init"] == "random"
        and ranks.get("model.checkpoint", -1) > ranks.get("model.init", -1)
    ):
        yield together(
            "model.checkpoint",
            "model.init",
            "a checkpoint is named but the weights are random: pass it as --model DIR",
        )

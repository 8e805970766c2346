"""One layer of settings: where each value came from, and every problem in it.

In: nested mappings with line numbers, ``key.path=value`` arguments, flags. Out: ``Layer``s of dotted keys,
checked one by one against a schema, so that a mistake is reported even where a later layer would hide it.
Knows nothing about which layers exist or in which order they apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from clue_runner.config.describe import settings, shown
from clue_runner.config.scalars import parse_scalar
from clue_runner.config.sections import Schema, common_schema
from clue_runner.config.yaml_reader import Document, KeyPath
from clue_runner.errors import Problem, suggest


@dataclass
class Layer:
    """Values of one source by dotted key, and the place of each, and of the whole, for messages."""

    title: str
    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    place: str = ""

    def put(self, key: str, value: object, place: str) -> None:
        """Set one value."""
        self.values[key] = value
        self.places[key] = place


def layer_from_mapping(
    title: str,
    values: Mapping[str, Any],
    problems: list[Problem],
    *,
    document: Document | None = None,
    prefix: KeyPath = (),
    only: Iterable[str] | None = None,
) -> Layer:
    """Flatten a nested mapping of settings; ``check_layer`` finds unknown keys.

    Args:
        title: the layer's name in messages where ``document`` is None.
        values: settings by group, as in a YAML file.
        problems: unknown groups and misplaced values are appended here.
        document: gives the line of each key.
        prefix: the path of ``values`` inside ``document``.
        only: the root keys allowed here; None allows every setting.
    """
    layer = Layer(title)
    common = common_schema()
    roots = tuple(only) if only is not None else tuple(common.run.model_fields)
    known = tuple(key for key in common.keys if key.partition(".")[0] in roots)
    for name, value in values.items():
        place = document.where((*prefix, name)) if document else title
        if name not in roots:
            problems.append(unknown_key(str(name), known, place, groups=roots))
        elif name == "task" and isinstance(value, str):  # the form in run.yaml before tasks had settings
            layer.put("task.name", value, place)
        elif name not in common.groups:
            layer.put(name, value, place)
        elif isinstance(value, Mapping):
            for leaf, inner in value.items():
                inner_place = document.where((*prefix, name, leaf)) if document else title
                layer.put(f"{name}.{leaf}", inner, inner_place)
        elif value is not None:  # `train:` with every line under it commented out is an empty group
            problems.append(Problem(f"{name} must contain settings", place, shown(value), "a mapping"))
    return layer


def layers_from_overrides(overrides: Sequence[str], problems: list[Problem]) -> Layer:
    """Read ``--set key.path=value`` arguments; values are YAML scalars, so ``1e-5`` is a number."""
    layer = Layer("--set")
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key or not value.strip():
            problems.append(
                Problem("needs key.path=value (null unsets)", "--set", repr(text), "e.g. train.epochs=5")
            )
        elif key == "task":
            layer.put("task.name", value.strip(), "--set task")
        elif key in common_schema().groups:
            problems.append(Problem(f"{key} is a group: set one of its keys", "--set", repr(text)))
        else:
            layer.put(key, _argument(value.strip()), f"--set {key}")
    return layer


def layer_from_flags(flags: Mapping[str, object]) -> Layer:
    """Return the layer of flags that were given (not None), by the dotted key they set."""
    layer = Layer("command line")
    for key, value in flags.items():
        if key not in common_schema().fields:
            raise ValueError(f"a flag sets the unknown key {key}")
        if value is not None:
            layer.put(key, value, f"--{key.rpartition('.')[2].replace('_', '-')}")
    return layer


def check_layer(
    layer: Layer,
    schema: Schema,
    defaults: Mapping[str, object],
    problems: list[Problem],
    *,
    owners: Mapping[str, str] | None = None,
) -> None:
    """Replace earlier spellings of keys, then append the problems of the layer's keys and values.

    Args:
        layer: changed in place: earlier spellings become today's keys.
        schema: the settings that the run has.
        defaults: valid values for the settings that the layer lacks.
        problems: appended to.
        owners: for a key that this run does not have: what it belongs to.
    """
    for key in list(layer.values):
        current = schema.former.get(key, key)
        if current != key:
            value, place = layer.values.pop(key), layer.places.pop(key)
            if current in layer.values:
                problems.append(Problem(f"{key} is the earlier name of {current}: give one of them", place))
            else:
                layer.put(current, value, place)
        elif key not in schema.fields:
            place = layer.places[key].removesuffix(f" {key}")
            del layer.values[key], layer.places[key]
            owner = (owners or {}).get(key)
            problems.append(
                Problem(f"{key}: not a setting of this run, but of {owner}", place)
                if owner
                else unknown_key(key, schema.keys, place)
            )
    _check_types(layer, schema, defaults, problems)


def _check_types(
    layer: Layer, schema: Schema, defaults: Mapping[str, object], problems: list[Problem]
) -> None:
    try:
        schema.validate({**defaults, **layer.values})
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False):
            key = ".".join(map(str, found["loc"][: 2 if found["loc"][0] in schema.groups else 1]))
            place = layer.places.get(key, layer.title)
            what = f"{key} is missing" if found["type"] == "missing" else f"{key} has an invalid value"
            if found["type"] == "value_error":  # the setting's own check, which gives the reason
                what += f": {found['msg'].removeprefix('Value error, ')}"
            received = None if found["type"] == "missing" else shown(layer.values.get(key, found["input"]))
            problem = Problem(what, place, received, settings(schema)[key].allowed)
            if problem not in problems:
                problems.append(problem)


def count(problems: list[Problem]) -> str:
    """Return ``1 problem`` or ``3 problems``."""
    return f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"


def unknown_key(key: str, known: Sequence[str], place: str, *, groups: Sequence[str] = ()) -> Problem:
    """Return the problem of a key that does not exist, with the full path of the one probably meant."""
    guess = _guess(key, known, groups)
    hint = f", did you mean {guess}?" if guess else f", known here: {', '.join(groups)}" if groups else ""
    return Problem(f"{key}: no such setting{hint}", place)


def _guess(key: str, known: Sequence[str], groups: Sequence[str]) -> str | None:
    """Return the closest key: same group first, then the same name in another group, then anything near."""
    section, _, leaf = key.rpartition(".")
    leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == section}
    if section:
        near = suggest(leaf, siblings)
        if near:
            return siblings[near]
    else:
        near = suggest(leaf, groups)
        if near:
            return near
    if leaf in leaves:
        return leaves[leaf]
    near = suggest(key, known)
    if near:
        return near
    near = suggest(leaf, leaves)
    return leaves[near] if near else None


def _argument(text: str) -> object:
    """Return the value of a ``--set`` argument; quotes turn a number into text."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return parse_scalar(text)

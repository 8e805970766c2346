"""Converts a run's settings to a family's shape, and a shape to the header of saved weights and back.

In: ``run.model``, or a header. Out: a shape, or a network of it. Knows nothing about single families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError, create_model

from clue_runner.architectures.base import (
    Architecture,
    BaseShape,
    architecture_names,
    architecture_of,
    load_architecture,
    nameless_family,
)
from clue_runner.config.schema import ModelSettings, Section
from clue_runner.errors import CheckpointError, Problem
from clue_runner.models.shape import Policy


class Recompute(Section):
    """Settings of every family's network that are not part of its shape."""

    recompute: str = "none"
    recompute_policy: Policy = "nothing"


def shape_of(model: ModelSettings) -> Any:
    """Return the shape that a run's settings describe, with ``recompute`` and ``recompute_policy``."""
    shape = load_architecture(model.family).shape
    if isinstance(model, shape):
        return model
    names = _with_recompute(shape).model_fields
    return make_shape(model.family, **{name: getattr(model, name) for name in names})


def make_shape(family: str, **values: Any) -> Any:
    """Return a family's shape with ``recompute`` and ``recompute_policy``; the rest has its defaults."""
    return _with_recompute(load_architecture(family).shape).model_validate(values)


@cache
def _with_recompute(shape: type[BaseShape]) -> type[BaseShape]:
    """Return the class of a family's shapes that say what is recomputed."""
    bases: tuple[type[Any], ...] = (shape, Recompute)
    return create_model("Shape", __base__=bases)


def build_backbone(
    model: ModelSettings, vocab_size: int, *, precision: str, seed: int, pooler: bool = True, **own: Any
) -> Any:
    """Return the network of a run's settings; arguments as in ``Architecture.build``."""
    build = load_architecture(model.family).build
    return build(shape_of(model), vocab_size, precision=precision, seed=seed, pooler=pooler, **own)


@dataclass(frozen=True)
class Saved:
    """What saved weights say about the network that they belong to."""

    architecture: Architecture
    shape: BaseShape
    vocab_size: int
    lowercase: bool


def header(shape: BaseShape, vocab_size: int, *, lowercase: bool) -> dict[str, Any]:
    """Return what a file of weights says about its network; ``from_header`` reads it back."""
    architecture = architecture_of(shape)
    fields = sorted(architecture.shape.model_fields.keys() - architecture.shape.WAYS)
    settings = shape.model_dump(mode="json", include=set(fields))
    model = {name: settings[name] for name in fields} | {"lowercase": lowercase}
    return {"family": architecture.name, "model": model, "vocab_size": vocab_size}


def from_header(meta: Mapping[str, Any], where: str) -> Saved:
    """Return what ``header`` of this version or of an earlier one was given.

    Raises:
        CheckpointError: it does not say which network the weights belong to, or not one of ours.
    """
    family = meta.get("family", nameless_family())
    if family not in architecture_names():
        raise CheckpointError(
            "the weights belong to a model family unknown to this version",
            where=where,
            received=repr(family),
            allowed=", ".join(architecture_names()),
            next_step="read them with the version that wrote them",
        )
    architecture = load_architecture(family)
    kind = architecture.shape
    stored = meta.get("model")
    values = dict(stored) if isinstance(stored, dict) else {}
    lowercase, vocab_size = values.pop("lowercase", None), meta.get("vocab_size")
    wanted = kind.model_fields.keys() - kind.WAYS
    problems = [
        Problem("missing or of the wrong type", f"model.{name}", "nothing")
        for name in sorted(wanted - kind.LATER - values.keys())
    ]
    if type(lowercase) is not bool:
        problems.append(Problem("missing or of the wrong type", "model.lowercase", repr(lowercase), "bool"))
    if type(vocab_size) is not int or vocab_size < 1:
        problems.append(Problem("missing or of the wrong type", "vocab_size", repr(vocab_size), "int"))
    shape = None
    try:
        shape = kind.model_validate(values)
    except ValidationError as error:
        problems += [
            Problem(
                f"missing or of the wrong type ({one['msg']})",
                f"model.{'.'.join(map(str, one['loc']))}",
                repr(one["input"]),
            )
            for one in error.errors()
        ]
    if problems or shape is None or not isinstance(vocab_size, int):
        raise CheckpointError(
            "the weights do not name their model",
            where=where,
            problems=problems,
            next_step="name the folder of one of this program's runs",
        )
    return Saved(architecture.table_of(shape), shape, vocab_size, bool(lowercase))

"""Families of networks and how they are found: a folder beside this file with three modules.

    shape.py     Shape: sizes and options, ``from_config``, ``axes``          imports no Keras
    names.py     NAMES: the table of tensors                                  imports no Keras
    network.py   build(shape, vocab_size, *, precision, seed, pooler)

In: a family's name. Out: its ``Architecture``. Knows nothing about single families.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from clue_runner import architectures
from clue_runner.architectures.name_table import Axes, NameTable
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive, Section
from clue_runner.errors import unknown_name


@dataclass(frozen=True)
class Lookup:
    """A table that rows are looked up in.

    Args:
        column: of the rows' tokens that holds the ids; None: the place of a token in its row.
        size: ids from 0 to below it have a row of their own.
        setting: that decides the size.
        next_step: what to do where an id is outside.
    """

    column: str | None
    size: int
    setting: str
    next_step: str


class BaseShape(Section):
    """The sizes and options of a family; its fields are settings of ``model:``.

    Attributes:
        num_layers: how often the repeated groups of the name table occur.
        SIZES: fields that the weights decide; another value makes them meaningless.
        WAYS: fields that say how to compute and leave the result as it is; not stored with weights.
        LATER: fields that weights of earlier versions do not mention; those did what the default says.
        NAMELESS: configs and saved weights that name no family are of this one.
        WRITES: tokens see none that come later, so that the network can go on with a text.
        MODEL_TYPES: what configs call the family; empty: by the name of its folder.
        OWN_VOCABULARY: its ids are not those of word pieces; the adapter that uses it reads its vocabulary.
        MASKED: the token table of families that are pre-trained to find masked words; None: another way.
    """

    SIZES: ClassVar[frozenset[str]] = frozenset()
    WAYS: ClassVar[frozenset[str]] = frozenset()
    LATER: ClassVar[frozenset[str]] = frozenset()
    NAMELESS: ClassVar[bool] = False
    WRITES: ClassVar[bool] = False
    MODEL_TYPES: ClassVar[tuple[str, ...]] = ()
    OWN_VOCABULARY: ClassVar[bool] = False
    MASKED: ClassVar[str | None] = None

    num_layers: Positive

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Return the shape that a checkpoint's config describes; only what it says is set.

        Raises:
            CheckpointError: another network, or missing or impossible values; all of them at once.
        """
        raise NotImplementedError

    def to_config(self) -> dict[str, Any] | None:
        """Return the config from which ``from_config`` makes this shape; None: no publisher has one."""
        return None

    @classmethod
    def claims(cls, raw: Mapping[str, Any]) -> bool:
        """Return whether a config that names no family is one of this family's: by keys that no other has."""
        return False

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        raise NotImplementedError

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the groups of the name table that a network of this shape does not have."""
        return frozenset()

    @property
    def position_limit(self) -> int:
        """Return the longest row that the positions reach."""
        raise NotImplementedError

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables whose ids must be inside them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Architecture:
    """One family.

    Args:
        name: of its folder.
        shape: its class of shapes.
        names: its table of tensors; all that the family knows, or those of one shape (``table_of``).
    """

    name: str
    shape: type[BaseShape]
    names: NameTable

    @property
    def model_types(self) -> tuple[str, ...]:
        """Return what configs call the family (``model_type``)."""
        return self.shape.MODEL_TYPES or (self.name,)

    def table_of(self, shape: BaseShape) -> Architecture:
        """Return the family with the tensors that a network of this shape has."""
        return replace(self, names=self.names.without(shape.absent_groups))

    def build(
        self,
        shape: Any,
        vocab_size: int,
        *,
        precision: str,
        seed: int,
        pooler: bool = True,
        **own: Any,
    ) -> Any:
        """Return a network with random weights that are a function of ``seed`` alone; Keras is loaded here.

        Args:
            shape: the family's shape, with ``recompute`` and ``recompute_policy``; see ``shape_of``.
            vocab_size: rows of the token embeddings.
            precision: ``float32``, or ``bfloat16`` (compute type; weights stay float32).
            seed: source of the initial weights.
            pooler: build dense + tanh on the first token, where the family has it.
            own: what only this family takes.
        """
        network = importlib.import_module(f"{architectures.__name__}.{self.name}.network")
        return network.build(shape, vocab_size, precision=precision, seed=seed, pooler=pooler, **own)


def architecture_names() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(architectures.__path__) if found.ispkg))


def load_architecture(name: str) -> Architecture:
    """Return a family by its name.

    Raises:
        UsageError: there is no such family.
    """
    if name not in architecture_names():
        raise unknown_name("model family", name, architecture_names(), list_command="clue models")
    shape = importlib.import_module(f"{architectures.__name__}.{name}.shape").Shape
    names = _names(name)
    traits = [_names(other).trait for other in architecture_names() if other != name]
    strangers = (*names.strangers, *(trait for trait in traits if trait is not None))
    return Architecture(name, shape, replace(names, strangers=strangers))


def _names(family: str) -> NameTable:
    """Return a family's table as its file has it."""
    names: NameTable = importlib.import_module(f"{architectures.__name__}.{family}.names").NAMES
    return names


def family_of(raw: Mapping[str, Any], named: str | None) -> str | None:
    """Return the family that a config describes; None: one that is not here.

    Args:
        raw: the config. What it says as ``model_type`` decides; without that, keys that one family alone has,
            since several publishers kept the first one's file name; without those, the file's name; else it
            is of the family whose configs name none.
        named: what the file's name says, or None.
    """
    published = [load_architecture(name) for name in architecture_names()]
    published = [one for one in published if one.names.published]
    said = raw.get("model_type")
    if said is None:
        claimed = [one.name for one in published if one.shape.claims(raw)]
        if claimed:
            return claimed[0]
        said = named
    if said is None:
        return nameless_family()
    return next((one.name for one in published if said in one.model_types), None)


def published_types() -> tuple[str, ...]:
    """Return what the configs of all families that others publish say as ``model_type``."""
    known = [load_architecture(name) for name in architecture_names()]
    return tuple(said for one in known if one.names.published for said in one.model_types)


def nameless_family() -> str:
    """Return the family of configs and weights that name none."""
    return next(name for name in architecture_names() if load_architecture(name).shape.NAMELESS)


def architecture_of(shape: BaseShape) -> Architecture:
    """Return the family that a shape, or settings made from one, belongs to."""
    for kind in type(shape).__mro__:
        package, _, module = kind.__module__.rpartition(".")
        parent, _, name = package.rpartition(".")
        if (parent, module) == (architectures.__name__, "shape"):
            return load_architecture(name).table_of(shape)
    raise TypeError(f"{type(shape).__name__} is no family's shape")


def parameter_count(shape: BaseShape, vocab_size: int, *, pooler: bool = True) -> int:
    """Return the trainable numbers of a network without a task's head, from the table of its tensors."""
    names = architecture_of(shape).names
    return names.count(shape.num_layers, shape.axes(vocab_size), pooler=pooler)

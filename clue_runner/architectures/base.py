"""Families of networks and how they are found: each is a folder next to this file with three modules.

    shape.py     Shape: sizes and options, ``from_config``, ``axes``          imports no Keras
    names.py     NAMES: the table of tensors                                  imports no Keras
    network.py   build(shape, vocab_size, *, precision, seed, pooler)

In: a family's name. Out: its ``Architecture``. Knows nothing about individual families.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from clue_runner import architectures
from clue_runner.architectures.name_table import Axes, NameTable
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.schema import Positive, Section
from clue_runner.errors import unknown_name


@dataclass(frozen=True)
class Lookup:
    """A table in which ids are looked up.

    Args:
        column: of the rows, with the ids; None: the position of a token in its row.
        size: number of rows; valid ids are 0 to size - 1.
        setting: the one that determines the size.
        next_step: what to do if an id is outside.
    """

    column: str | None
    size: int
    setting: str
    next_step: str


class BaseShape(Section):
    """The sizes and options of a family; its fields are settings of ``model:``.

    Attributes:
        num_layers: how often the repeated groups of the name table occur.
        SIZES: fields that the weights determine; another value makes the weights meaningless.
        WAYS: fields that affect how to compute, not the result; not stored with weights.
        LATER: fields missing from weights of earlier versions, which behaved as the default.
        UNPUBLISHED: fields that no published config holds; others must survive ``to_config``.
        NAMELESS: configs and saved weights that name no family belong to this one.
        WRITES: tokens do not attend to later ones, so that the network can continue a text.
        MODEL_TYPES: what configs call the family; empty: by the name of its folder.
        OWN_VOCABULARY: its ids are not word pieces; the adapter that uses it reads its vocabulary.
        MASKED: the token embeddings of families pre-trained with masked language modelling; None: others.
    """

    SIZES: ClassVar[frozenset[str]] = frozenset()
    WAYS: ClassVar[frozenset[str]] = frozenset()
    LATER: ClassVar[frozenset[str]] = frozenset()
    UNPUBLISHED: ClassVar[frozenset[str]] = frozenset()
    NAMELESS: ClassVar[bool] = False
    WRITES: ClassVar[bool] = False
    MODEL_TYPES: ClassVar[tuple[str, ...]] = ()
    OWN_VOCABULARY: ClassVar[bool] = False
    MASKED: ClassVar[str | None] = None

    num_layers: Positive

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Return the shape that a checkpoint's config describes; only values given in the config are set.

        Raises:
            CheckpointError: another network, or missing or invalid values; all of them at once.
        """
        raise NotImplementedError

    def to_config(self) -> dict[str, Any] | None:
        """Return the config that ``from_config`` turns into this shape; None: no publisher has one."""
        return None

    @classmethod
    def claims(cls, raw: Mapping[str, Any]) -> bool:
        """Return whether a config that names no family is of this family: by keys that no other has."""
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
        """Return the maximum row length that the positions allow."""
        raise NotImplementedError

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables that must contain the ids."""
        raise NotImplementedError


@dataclass(frozen=True)
class Architecture:
    """One family.

    Args:
        name: of its folder.
        shape: its shape class.
        names: its table of tensors; all of the family, or those of one shape (``table_of``).
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
            own: arguments of this family only.
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
    """Return the table in a family's file."""
    names: NameTable = importlib.import_module(f"{architectures.__name__}.{family}.names").NAMES
    return names


def family_of(raw: Mapping[str, Any], named: str | None) -> str | None:
    """Return the family that a config describes; None: an unknown one.

    Args:
        raw: the config. Its ``model_type`` decides; without that, keys that only one family has,
            since several publishers kept the first one's file name; without those, the file's name; else it
            belongs to the family whose configs name none.
        named: the family according to the file's name, or None.
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
    """Return the ``model_type`` of the configs of all families that others publish."""
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
    raise TypeError(f"{type(shape).__name__} is not the shape of a family")


def parameter_count(shape: BaseShape, vocab_size: int, *, pooler: bool = True) -> int:
    """Return the trainable parameters of a network without a task's head, from its table of tensors."""
    names = architecture_of(shape).names
    return names.count(shape.num_layers, shape.axes(vocab_size), pooler=pooler)


def weight_shapes(shape: BaseShape, vocab_size: int, *, pooler: bool = True) -> Iterator[tuple[int, ...]]:
    """Yield the shape of each weight that ``parameter_count`` counts."""
    names = architecture_of(shape).names
    yield from names.shapes(shape.num_layers, shape.axes(vocab_size), pooler=pooler)

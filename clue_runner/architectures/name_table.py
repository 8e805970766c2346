"""The one table of a family's tensors: our name, Google's, Hugging Face's, the axes; and what is left out.

In: rows as a family's ``names.py`` writes them. Out: entries for a number of blocks, shapes, a count.
Nothing is matched by suffix. Knows nothing about files, values or libraries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Layout = Literal["google", "huggingface", "native"]
# ours, Google's, Hugging Face's (empty: that layout has no such tensor), axes
Row = tuple[str, str, str, tuple[str, ...]]
Axes = Mapping[str, int]

# Hugging Face files of 2019 spell the parts of a layer norm as TensorFlow does.
OLD_NORM = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
ON_DEMAND = ("head", "optional")  # parts of a network that are there only where they are asked for


@dataclass(frozen=True)
class Entry:
    """One tensor under its names, the block's number filled in.

    Args:
        ours: name in our states, stable forever.
        google: name in a TensorFlow checkpoint.
        hugging_face: name without the family's prefix.
        axes: axes in our order, which is Google's too: a kernel is (in, out).
        group: name of the group that it stands in.
    """

    ours: str
    google: str
    hugging_face: str
    axes: tuple[str, ...]
    group: str

    def transposed(self, layout: Layout) -> bool:
        """Return whether ``layout`` keeps this tensor with its two axes swapped: Hugging Face's kernels."""
        return layout == "huggingface" and self.ours.endswith("/kernel")

    def spellings(self, layout: Layout, prefix: str = "") -> list[str]:
        """Return the names under which ``layout`` may store the tensor, today's first; none: it does not."""
        if layout == "native":
            return [self.ours]
        if layout == "google":
            return [self.google] if self.google else []
        if not self.hugging_face:
            return []
        old = [
            self.hugging_face.replace(new, old) for new, old in OLD_NORM.items() if new in self.hugging_face
        ]
        return [prefix + name for name in (self.hugging_face, *old)]

    def shape(self, axes: Axes) -> tuple[int, ...]:
        """Return the shape in our layout."""
        return tuple(axes[axis] for axis in self.axes)

    def shape_beside(self, axes: Axes, stored: Sequence[int]) -> tuple[int, ...]:
        """Return the shape in our layout; an axis that the network's shape does not decide is as stored."""
        return self.shape({**dict(zip(self.axes, stored, strict=False)), **axes})


@dataclass(frozen=True)
class Group:
    """Tensors that are there together or not at all.

    Args:
        name: e.g. ``blocks``.
        rows: of the table.
        prefixes: before the names of each row; ``{i}`` is the block's number, ``{i:02}`` it in two digits.
        part: ``network``: always there; ``pooler``: a checkpoint may lack it as a whole; ``head``: a head of
            pre-training, which is taken when it is asked for and left out by a rule when it is not;
            ``optional``: there where a run brings what it is for, and as large as that.
        outside_prefix: Hugging Face stores it beside the prefix of the family, not below it.
    """

    name: str
    rows: Sequence[Row]
    prefixes: tuple[str, str, str] = ("", "", "")
    part: Literal["network", "pooler", "head", "optional"] = "network"
    outside_prefix: bool = False

    @property
    def repeated(self) -> bool:
        """Return whether it occurs once per block."""
        return "{i}" in self.prefixes[0]

    def entries(self, num_layers: int) -> Iterator[Entry]:
        """Yield its entries, block by block."""
        for block in range(num_layers) if self.repeated else (0,):
            ours, google, face = (
                prefix.replace("{i}", str(block)).replace("{i:02}", f"{block:02}") for prefix in self.prefixes
            )
            for row in self.rows:
                yield Entry(
                    ours + row[0],
                    row[1] and google + row[1],
                    row[2] and face + row[2],
                    row[3],
                    self.name,
                )


@dataclass(frozen=True)
class Rule:
    """Tensors left out on purpose: exact names, or every name below a trailing ``/`` or ``.``.

    ``{i}`` in a name stands for the number of any block.

    Args:
        name: of the rule, as reports say it.
        why: what the tensors are.
        google: names in TensorFlow checkpoints.
        hugging_face: names in Hugging Face files, the family's prefix included.
        head: the group whose tensors these are; where it is asked for, the rule does not hold.
        same_as: our name of the tensor that these repeat; where that is used, their values are compared.
    """

    name: str
    why: str
    google: Sequence[str] = ()
    hugging_face: Sequence[str] = ()
    head: str | None = None
    same_as: str | None = None

    def covers(self, name: str, layout: Layout) -> bool:
        """Return whether the rule leaves ``name`` out."""
        if layout == "native":
            return False
        patterns = self.google if layout == "google" else self.hugging_face
        return any(below(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Stranger:
    """Parts of names that only another network's tensors have, and what that network is.

    Args:
        what: it is, as a message says it.
        marks: the parts.
        family: what its configs call it, where it is one of ours.
    """

    what: str
    marks: Sequence[str]
    family: str | None = None


@dataclass(frozen=True)
class NameTable:
    """All tensors of a family.

    Args:
        groups: in the order of the network.
        prefix: before Hugging Face's names where the encoder lies inside a larger model.
        rules: what is left out on purpose.
        strangers: networks that are often taken for this one; the other families' traits are added to them.
        trait: what this family's own names have that no other's have.
        config_keys: axis of a table's rows -> the key of a config that says it, for messages.
    """

    groups: Sequence[Group]
    prefix: str = ""
    rules: Sequence[Rule] = ()
    strangers: Sequence[Stranger] = ()
    trait: Stranger | None = None
    config_keys: Mapping[str, str] = field(default_factory=dict)

    def entries(self, num_layers: int, *, heads: Sequence[str] = ()) -> list[Entry]:
        """Return every entry of a network with ``num_layers`` blocks, and of the heads that are asked for.

        ``heads`` names optional groups too.

        Raises:
            ValueError: the family has no such head.
        """
        known = {group.name for group in self.groups if group.part in ON_DEMAND}
        if unknown := set(heads) - known:
            raise ValueError(f"no such head: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        return [
            entry
            for group in self.groups
            if group.part not in ON_DEMAND or group.name in heads
            for entry in group.entries(num_layers)
        ]

    def without(self, absent: Collection[str]) -> NameTable:
        """Return the table of a network that lacks some groups."""
        groups = [group for group in self.groups if group.name not in absent]
        return replace(self, groups=groups)

    @property
    def published(self) -> bool:
        """Return whether other programs store such networks."""
        return any(row[1] or row[2] for group in self.groups for row in group.rows)

    def group(self, name: str) -> Group:
        """Return a group by its name."""
        return next(group for group in self.groups if group.name == name)

    def count(self, num_layers: int, axes: Axes, *, pooler: bool) -> int:
        """Return the numbers in all tensors of a network without heads."""
        return sum(map(math.prod, self.shapes(num_layers, axes, pooler=pooler)))

    def shapes(self, num_layers: int, axes: Axes, *, pooler: bool) -> Iterator[tuple[int, ...]]:
        """Yield the shape of every tensor of a network without heads."""
        for entry in self.entries(num_layers):
            if pooler or self.group(entry.group).part != "pooler":
                yield entry.shape(axes)


def below(name: str, pattern: str) -> bool:
    """Return whether ``name`` is ``pattern``, or lies below it where that ends with ``/`` or ``.``.

    ``{i}`` in the pattern stands for a number.
    """
    if "{i}" in pattern:
        expression = re.escape(pattern).replace(r"\{i\}", r"\d+")
        expression += ".*" if pattern[-1] in {"/", "."} else ""
        return re.fullmatch(expression, name) is not None
    return name == pattern or (pattern[-1:] in {"/", "."} and name.startswith(pattern))

"""Account for every tensor: used as one of ours, left out by a named rule, or a problem.

In: the names and shapes that a checkpoint holds, and the sizes that its config promises.
Out: a plan with a report of all tensors and all problems at once, before a single value is read.
Knows nothing about files or libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clue_runner.checkpoints.names import (
    NO_POOLER_RULE,
    OPTIMIZER_RULE,
    Entry,
    Layout,
    entries,
    pooler_entries,
    rule_for,
    slot_variable,
)
from clue_runner.errors import Problem, suggest

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """The number of blocks and the length of each axis of the name table."""

    num_layers: int
    vocabulary: int
    positions: int
    segments: int
    hidden: int
    intermediate: int

    def shape(self, entry: Entry) -> Shape:
        """Return the shape of ``entry`` in our layout."""
        return tuple(int(getattr(self, axis)) for axis in entry.axes)


@dataclass(frozen=True)
class TensorUse:
    """What became of one tensor: ``used_as`` our name, or left out by ``rule``."""

    name: str
    shape: Shape
    used_as: str | None = None
    rule: str | None = None


@dataclass(frozen=True)
class Source:
    """Where one of our tensors comes from: its name there, and whether its axes must be swapped."""

    name: str
    transposed: bool


@dataclass(frozen=True)
class Plan:
    """The answer for a whole checkpoint; usable only where ``problems`` is empty."""

    sources: Mapping[str, Source]
    report: tuple[TensorUse, ...]
    problems: tuple[Problem, ...]
    has_pooler: bool


def make_plan(found: Mapping[str, Shape], sizes: Sizes, layout: Layout) -> Plan:
    """Match ``found`` against the name table.

    Args:
        found: names and shapes in the checkpoint.
        sizes: what its config promises.
        layout: whose names they are.

    Returns:
        The plan; a missing, unmapped or mis-shaped tensor is a problem that names it.
    """
    # Hugging Face stores a bare encoder without the prefix, and one inside a larger model with it.
    prefix = "bert." if layout == "huggingface" and any(name.startswith("bert.") for name in found) else ""
    table = list(entries(sizes.num_layers))
    known = {name: entry for entry in table for name in entry.spellings(layout, prefix)}
    present = {entry.ours: name for name, entry in known.items() if name in found}
    pooler = {entry.ours for entry in pooler_entries()}
    has_pooler = any(name in present for name in pooler)

    report: list[TensorUse] = []
    problems: list[Problem] = []
    missing: list[str] = []
    for entry in table:
        name = entry.spellings(layout, prefix)[0]
        if entry.ours in present:
            problems += _check_entry(entry, found, sizes, layout, prefix)
        elif entry.ours in pooler and not has_pooler:
            report.append(TensorUse(name, (), rule=NO_POOLER_RULE))
        else:
            missing.append(name)
    problems += [Problem("missing tensor", name) for name in missing]
    for name, shape in sorted(found.items()):
        if name in known:
            report.append(TensorUse(name, shape, used_as=known[name].ours))
        elif rule := _rule(name, known, layout):
            report.append(TensorUse(name, shape, rule=rule))
        else:
            guess = suggest(name, missing)
            hint = f"; is it {guess}, which is missing?" if guess else ""
            what = f"unmapped tensor: not in the name table and no rule leaves it out{hint}"
            problems.append(Problem(what, name, f"shape {list(shape)}"))
    sources = {ours: Source(name, known[name].transposed(layout)) for ours, name in present.items()}
    return Plan(sources, tuple(report), tuple(problems), has_pooler)


def _check_entry(
    entry: Entry, found: Mapping[str, Shape], sizes: Sizes, layout: Layout, prefix: str
) -> list[Problem]:
    """Return what is wrong with a tensor that is there: its shape, or that it is there twice."""
    names = [name for name in entry.spellings(layout, prefix) if name in found]
    expected = sizes.shape(entry)
    expected = expected[::-1] if entry.transposed(layout) else expected
    problems = [
        Problem("wrong shape", name, str(list(found[name])), str(list(expected)))
        for name in names
        if found[name] != expected
    ]
    if len(names) > 1:
        problems.append(Problem("one tensor is stored under two names", received=" and ".join(names)))
    return problems


def _rule(name: str, known: Mapping[str, Entry], layout: Layout) -> str | None:
    """Return the rule that leaves ``name`` out, or None."""
    variable = slot_variable(name) if layout == "google" else None
    # A slot of an unknown variable is as unknown as the variable.
    if variable is not None and (variable in known or rule_for(variable, layout)):
        return OPTIMIZER_RULE
    return rule_for(name, layout)

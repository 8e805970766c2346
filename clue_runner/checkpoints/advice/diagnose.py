"""Explains why a checkpoint does not fit, and what helps: each cause has its own advice.

In: the tensors found, the plan with its problems, what was wanted. Out: a headline and a next step.
Knows nothing about files, libraries or single families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clue_runner.architectures.base import family_of, load_architecture, published_types
from clue_runner.architectures.name_table import Layout
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.checkpoints.plan import (
    Plan,
    Shape,
    Wanted,
    foreign_prefixes,
    make_plan,
    match,
    match_without,
)
from clue_runner.errors import CheckpointError, Problem

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
OBJECT_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"
MORE_BLOCKS = 200  # how many blocks beyond those of the config are looked for
SHOWN = 3


@dataclass(frozen=True)
class Case:
    """A checkpoint that does not fit.

    Args:
        found: names and shapes in it.
        plan: with problems.
        wanted: the family's table, and what the config promises.
        layout: whose names they are.
        family: its name.
        config: the file that promises it.
        raw: what that file says.
    """

    found: Mapping[str, Shape]
    plan: Plan
    wanted: Wanted
    layout: Layout
    family: str
    config: str
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def separator(self) -> str:
        """Return the separator between the parts of a name."""
        return "." if self.layout == "huggingface" else "/"

    def unmapped(self) -> list[str]:
        """Return the tensors that nothing accounts for."""
        told = {use.name for use in self.plan.report}
        return [name for name in sorted(self.found) if name not in told]


@dataclass(frozen=True)
class Finding:
    """What is wrong with a checkpoint.

    Args:
        what: the headline.
        next_step: what helps.
        problems: to be listed.
    """

    what: str
    next_step: str
    problems: tuple[Problem, ...]


def diagnose(case: Case) -> Finding:
    """Return the most specific explanation of the problems."""
    looks = (_object_graph, _other_family, _stranger, _prefix, _blocks, _table, _nothing, _foreign_head)
    for look in looks:
        finding = look(case)
        if finding is not None:
            return finding
    count = len(case.plan.problems)
    return Finding(
        f"the checkpoint does not fit its {case.config}: {count} problem{'s' * (count > 1)}",
        f"use the {case.config} that belongs to these weights, or download the checkpoint again",
        case.plan.problems,
    )


def _object_graph(case: Case) -> Finding | None:
    """A checkpoint of Keras objects: its names are attributes of a program."""
    if OBJECT_GRAPH not in case.found and not any(name.endswith(OBJECT_VALUE) for name in case.found):
        return None
    example = next((entry.google for entry in case.wanted.entries() if entry.google), "the publisher's")
    return Finding(
        "this is a checkpoint of Keras objects (save_weights, tf.train.Checkpoint), "
        "whose names are attributes of a program's objects",
        f"use the publisher's checkpoint, with names such as {example}, or save the model with "
        "transformers' save_pretrained",
        case.plan.problems[:SHOWN],
    )


def _other_family(case: Case) -> Finding | None:
    """Every tensor fits other families, which the config does not name: several publish under one's names."""
    if not case.raw or case.layout == "native":
        return None
    own = case.raw.get("model_type", case.family)
    fitting = [said for said in published_types() if said != own and _fits(case, said)]
    if not fitting:
        return None
    return Finding(
        f"these are the tensors of {' or '.join(fitting)}, but {case.config} does not say so",
        f"name the family in {case.config}: {' or '.join(_model_type(said) for said in fitting)}",
        case.plan.problems[:SHOWN],
    )


def _model_type(said: str) -> str:
    """Return the line of a config that names a family."""
    return f'"model_type": "{said}"'


def _fits(case: Case, said: str) -> bool:
    """Return whether the tensors are all those of the family that configs call ``said``, and no more."""
    raw = {**case.raw, "model_type": said}
    family = family_of(raw, None)
    if family is None:
        return False
    architecture, config = load_architecture(family), RawConfig(raw, case.config)
    try:
        shape = architecture.shape.from_config(config)
    except CheckpointError:  # it describes no such network
        return False
    names, axes = architecture.table_of(shape).names, shape.axes(config.vocab_size)
    return not make_plan(case.found, Wanted(names, shape.num_layers, axes), case.layout).problems


def _stranger(case: Case) -> Finding | None:
    """Tensors that another network has and this one lacks."""
    for stranger in case.wanted.names.strangers:
        marked = [name for name in case.unmapped() if any(mark in name for mark in stranger.marks)]
        if marked:
            return Finding(
                f"these tensors are not {case.family}'s: {stranger.what}",
                f"if it is one, {case.config} must say so: {_model_type(stranger.family)}"
                if stranger.family
                else "use a checkpoint without them, or one of a supported family",
                case.plan.problems,
            )
    return None


def _prefix(case: Case) -> Finding | None:
    """All names below one foreign word, and more that does not fit."""
    for prefix in foreign_prefixes(case.found, case.separator):
        stripped = match_without(prefix, case.found, case.wanted, case.layout)
        if stripped is not None and len(stripped.problems) * 2 < len(case.plan.problems) and stripped.sources:
            names = {name.removeprefix(prefix): shape for name, shape in case.found.items()}
            plan = match(names, case.wanted, case.layout)
            inner = replace(case, found=names, plan=plan)
            further = diagnose(inner)
            return Finding(
                f"the names begin with {prefix}; without it: {further.what}",
                further.next_step,
                further.problems,
            )
    return None


def _blocks(case: Case) -> Finding | None:
    """More or fewer blocks than the config says, and nothing else."""
    names, promised = case.wanted.names, case.wanted.num_layers
    repeated = {group.name for group in names.groups if group.repeated}
    if not repeated or any("wrong shape" in problem.what for problem in case.plan.problems):
        return None
    prefix = names.prefix if any(name.startswith(names.prefix) for name in case.found) else ""
    homes: dict[str, int] = {}
    for group in names.groups:
        if group.repeated:
            per_block = len(group.rows)
            for number, entry in enumerate(group.entries(promised + MORE_BLOCKS)):
                for name in entry.spellings(case.layout, prefix):
                    homes[name] = number // per_block
    held = {homes[name] for name in case.found if name in homes}
    unexplained = [problem for problem in case.plan.problems if homes.get(problem.where or "") is None]
    count = max(held, default=-1) + 1
    if unexplained or count == promised or held != set(range(count)):
        return None
    return Finding(
        f"the weights have {count} blocks, but {case.config} says {promised}",
        f"use the {case.config} that belongs to these weights",
        case.plan.problems[:SHOWN],
    )


def _table(case: Case) -> Finding | None:
    """Tables of vectors with another number of rows than the config says, and nothing else."""
    keys = case.wanted.names.config_keys
    entries = {entry.ours: entry for entry in case.wanted.entries()}
    said = []
    for ours, source in case.plan.sources.items():
        entry, stored = entries[ours], case.found[source.name]
        expected = entry.shape_beside(case.wanted.axes, stored)
        if entry.axes[0] in keys and stored != expected and stored[1:] == expected[1:]:
            said.append((keys[entry.axes[0]], source.name, stored[0], expected[0]))
    if not said or len(said) != len(case.plan.problems):
        return None
    key, name, rows, promised = said[0]
    return Finding(
        f"{name} has {rows:,} rows, but {case.config} says {key} {promised:,}",
        f"use the {case.config} that belongs to these weights; if this is the right one, "
        f"correct {key} in it to {rows}",
        case.plan.problems,
    )


def _nothing(case: Case) -> Finding | None:
    """Not one tensor of the family's."""
    if case.plan.sources:
        return None
    examples = ", ".join(sorted(case.found)[:SHOWN])
    if not case.found:
        return Finding(
            "the weights hold no tensor at all",
            "copy or download the checkpoint again",
            case.plan.problems[:SHOWN],
        )
    return Finding(
        f"none of the {len(case.found)} tensors has a name of {case.family}; they are {examples}, ...",
        f"name a checkpoint of {case.family}, or one whose {case.config} gives its model_type",
        case.plan.problems[:SHOWN],
    )


def _foreign_head(case: Case) -> Finding | None:
    """The network is whole, and there are further tensors beside it."""
    unmapped = case.unmapped()
    if not unmapped or len(unmapped) != len(case.plan.problems):
        return None
    taken = [use.name for use in case.plan.report if use.used_as]
    patterns = dict.fromkeys(_outside(name, taken, case.separator) for name in unmapped)
    listed = ",".join(patterns)
    count = f"{len(unmapped)} tensor{'s' * (len(unmapped) > 1)}"
    return Finding(
        f"the network is complete, but {count} beside it are unknown",
        f"if they are the head of another task, leave them out: --set model.ignore={listed}",
        case.plan.problems,
    )


def _outside(name: str, taken: list[str], separator: str) -> str:
    """Return the shortest prefix of a name that no tensor of the network has, else the name."""
    parts = name.split(separator)
    for count in range(1, len(parts)):
        pattern = separator.join(parts[:count]) + separator
        if not any(other.startswith(pattern) for other in taken):
            return pattern
    return name

"""Account for every tensor: used as one of ours, left out by a named rule, or a problem.

In: the names and shapes that a checkpoint holds, a family's table, and the sizes that the config promises.
Out: a plan with a report of all tensors and all problems at once, before a single value is read.
Knows nothing about files, libraries or single families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clue_runner.architectures.name_table import Axes, Entry, Layout, NameTable, Rule
from clue_runner.errors import Problem, suggest

Shape = tuple[int, ...]

# TensorFlow optimizers keep their slots below a variable's own name; only below a name that is itself known.
OPTIMIZER_SLOTS = ("adam_m", "adam_v", "AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1")
OPTIMIZER_RULE = "optimizer-slot"
COMMON_RULES = (Rule("step-counter", "step counter of an earlier training", google=("global_step",)),)
OWN_HEAD, OWN_HEAD_RULE = "head/", "task-head"  # our own files hold the task's head beside the network


@dataclass(frozen=True)
class Wanted:
    """What a checkpoint must hold.

    Args:
        names: the family's table.
        num_layers: blocks that the config promises.
        axes: lengths of the axes that it promises.
        heads: groups of pre-training that are taken too.
    """

    names: NameTable
    num_layers: int
    axes: Axes
    heads: Sequence[str] = ()

    def entries(self) -> list[Entry]:
        """Return every tensor of ours."""
        return self.names.entries(self.num_layers, heads=self.heads)

    def rules(self) -> list[Rule]:
        """Return the rules that hold: those of heads that are taken do not."""
        return [*COMMON_RULES, *(rule for rule in self.names.rules if rule.head not in self.heads)]


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
    """The answer for a whole checkpoint; usable only where ``problems`` is empty.

    Args:
        sources: our names -> where each tensor comes from.
        report: what became of each tensor.
        problems: what does not fit.
        absent: groups that may be missing as a whole (a pooler, heads that were asked for), and are.
    """

    sources: Mapping[str, Source]
    report: tuple[TensorUse, ...]
    problems: tuple[Problem, ...]
    absent: frozenset[str]


def make_plan(found: Mapping[str, Shape], wanted: Wanted, layout: Layout) -> Plan:
    """Match ``found`` against a family's table.

    Args:
        found: names and shapes in the checkpoint.
        wanted: the table, and what the config promises.
        layout: whose names they are.

    Returns:
        The plan; a missing, unmapped or mis-shaped tensor is a problem that names it.
    """
    # Hugging Face stores a bare encoder without the prefix, and one inside a larger model with it.
    prefix = wanted.names.prefix
    if layout != "huggingface" or not any(name.startswith(prefix) for name in found):
        prefix = ""
    table = wanted.entries()
    spelled = {entry.ours: _spellings(entry, wanted.names, layout, prefix) for entry in table}
    known = {name: entry for entry in table for name in spelled[entry.ours]}
    present = {entry.ours: name for name, entry in known.items() if name in found}
    absent = _absent_groups(table, present, wanted.names)

    report: list[TensorUse] = []
    problems: list[Problem] = []
    missing: list[str] = []
    for entry in table:
        names = spelled[entry.ours]
        if entry.ours in present:
            problems += _check_entry(entry, names, found, wanted.axes, layout)
        elif entry.group in absent:
            report.append(TensorUse(names[0], (), rule=f"no-{entry.group}"))
        else:
            missing.append(names[0] if names else entry.ours)
    problems += [Problem("missing tensor", name) for name in missing]
    rules = wanted.rules()
    for name, shape in sorted(found.items()):
        if name in known:
            report.append(TensorUse(name, shape, used_as=known[name].ours))
        elif rule := rule_for(name, known, rules, layout):
            report.append(TensorUse(name, shape, rule=rule))
        else:
            guess = suggest(name, missing)
            hint = f"; is it {guess}, which is missing?" if guess else ""
            what = f"unmapped tensor: not in the name table and no rule leaves it out{hint}"
            problems.append(Problem(what, name, f"shape {list(shape)}"))
    sources = {ours: Source(name, known[name].transposed(layout)) for ours, name in present.items()}
    return Plan(sources, tuple(report), tuple(problems), absent)


def _spellings(entry: Entry, names: NameTable, layout: Layout, prefix: str) -> list[str]:
    """Return the names under which a tensor may be stored, the prefix before those that have it."""
    return entry.spellings(layout, "" if names.group(entry.group).outside_prefix else prefix)


def _absent_groups(table: Sequence[Entry], present: Mapping[str, str], names: NameTable) -> frozenset[str]:
    """Return the groups that may be missing as a whole, and are."""
    optional = frozenset(entry.group for entry in table if names.group(entry.group).part != "network")
    return optional - {entry.group for entry in table if entry.ours in present}


def _check_entry(
    entry: Entry, names: Sequence[str], found: Mapping[str, Shape], axes: Axes, layout: Layout
) -> list[Problem]:
    """Return what is wrong with a tensor that is there: its shape, or that it is there twice."""
    there = [name for name in names if name in found]
    expected = entry.shape(axes)
    expected = expected[::-1] if entry.transposed(layout) else expected
    problems = [
        Problem("wrong shape", name, str(list(found[name])), str(list(expected)))
        for name in there
        if found[name] != expected
    ]
    if len(there) > 1:
        problems.append(Problem("one tensor is stored under two names", received=" and ".join(there)))
    return problems


def rule_for(name: str, known: Mapping[str, Entry], rules: Sequence[Rule], layout: Layout) -> str | None:
    """Return the name of the rule that leaves ``name`` out, or None.

    Args:
        name: of a tensor that is not in the table.
        known: names of the table.
        rules: those that hold.
        layout: whose name it is.
    """
    if layout == "native":
        return OWN_HEAD_RULE if name.startswith(OWN_HEAD) else None
    variable, _, slot = name.rpartition("/")
    # A slot of an unknown variable is as unknown as the variable.
    if layout == "google" and slot in OPTIMIZER_SLOTS:
        return OPTIMIZER_RULE if variable in known or rule_for(variable, known, rules, layout) else None
    return next((rule.name for rule in rules if rule.covers(name, layout)), None)

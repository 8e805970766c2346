"""Account for every tensor: used as one of ours, left out by a named rule, or a problem.

In: the names and shapes in a checkpoint, a family's table, and the sizes in the config.
Out: a plan with a report of all tensors and all problems at once, before a single value is read.
Knows nothing about files, libraries or single families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from clue_runner.architectures.name_table import Axes, Entry, Layout, NameTable, Rule, below
from clue_runner.checkpoints.rules import rule_for
from clue_runner.errors import Problem, suggest

Shape = tuple[int, ...]
FEW = 10  # with more unmapped tensors, no similar name among the missing ones is looked for


@dataclass(frozen=True)
class Wanted:
    """What a checkpoint must contain.

    Args:
        names: the family's table.
        num_layers: blocks according to the config.
        axes: lengths of the axes according to it.
        heads: pre-training heads that are used too.
        ignore: ``model.ignore``: names, or prefixes that end with ``.`` or ``/``, to leave out.
    """

    names: NameTable
    num_layers: int
    axes: Axes
    heads: Sequence[str] = ()
    ignore: Sequence[str] = ()

    def entries(self) -> list[Entry]:
        """Return every tensor of ours."""
        return self.names.entries(self.num_layers, heads=self.heads)

    def rules(self) -> list[Rule]:
        """Return the rules that apply: those of heads in use do not."""
        return [rule for rule in self.names.rules if rule.head is None or rule.head not in self.heads]


@dataclass(frozen=True)
class TensorUse:
    """The use of one tensor: ``used_as`` our name, or left out by ``rule``."""

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
        report: the use of each tensor.
        problems: the mismatches.
        absent: groups that may be missing as a whole (a pooler, heads that were asked for), and are.
        prefix: the prefix of all names that was stripped.
    """

    sources: Mapping[str, Source]
    report: tuple[TensorUse, ...]
    problems: tuple[Problem, ...]
    absent: frozenset[str]
    prefix: str = ""


def make_plan(found: Mapping[str, Shape], wanted: Wanted, layout: Layout) -> Plan:
    """Match ``found`` against a family's table, without a foreign prefix if that makes all names match.

    Args:
        found: names and shapes in the checkpoint.
        wanted: the table, and the sizes in the config.
        layout: whose names they are.

    Returns:
        The plan; a missing, unmapped or mis-shaped tensor is a problem that names it.
    """
    plan = match(found, wanted, layout)
    if plan.problems and layout != "native":
        for prefix in foreign_prefixes(found, "/" if layout == "google" else "."):
            stripped = match_without(prefix, found, wanted, layout)
            if stripped is not None and not stripped.problems:
                return stripped
    return plan


def foreign_prefixes(names: Collection[str], separator: str) -> Iterator[str]:
    """Yield common prefixes of most names: their first part, their first two, their first three."""
    prefix = ""
    for _ in range(3):
        rests = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        parts = Counter(rest.partition(separator)[0] for rest in rests if separator in rest)
        if not parts:
            return
        prefix += parts.most_common(1)[0][0] + separator
        yield prefix


def match_without(prefix: str, found: Mapping[str, Shape], wanted: Wanted, layout: Layout) -> Plan | None:
    """Return the plan for names without a prefix; None where not all tensors of the network have it.

    A single tensor without the prefix is never assumed to belong to those with it.
    """
    stored = {name.removeprefix(prefix): name for name in found}
    if len(stored) != len(found):
        return None
    ignore = [*wanted.ignore, *(pattern.removeprefix(prefix) for pattern in wanted.ignore)]
    plan = match(
        {plain: found[name] for plain, name in stored.items()}, replace(wanted, ignore=ignore), layout
    )
    if not all(stored[source.name].startswith(prefix) for source in plan.sources.values()):
        return None
    return Plan(
        {ours: replace(source, name=stored[source.name]) for ours, source in plan.sources.items()},
        tuple(replace(use, name=stored.get(use.name, use.name)) for use in plan.report),
        plan.problems,
        plan.absent,
        prefix,
    )


def match(found: Mapping[str, Shape], wanted: Wanted, layout: Layout) -> Plan:
    """Match names as they are; arguments as in ``make_plan``."""
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
            report.append(TensorUse(names[0] if names else entry.ours, (), rule=f"no-{entry.group}"))
        else:
            missing.append(names[0] if names else entry.ours)
    problems += [Problem("missing tensor", name) for name in missing]
    rules = wanted.rules()
    unmapped = []
    for name, shape in sorted(found.items()):
        if name in known:
            report.append(TensorUse(name, shape, used_as=known[name].ours))
            if any(below(name, pattern) for pattern in wanted.ignore):
                problems.append(Problem("model.ignore leaves out a tensor of the network", name))
        elif rule := rule_for(name, known, rules, layout, wanted.ignore):
            report.append(TensorUse(name, shape, rule=rule))
        else:
            unmapped.append(name)
    for name in unmapped:
        # many names are not typing mistakes, and comparing all with all takes long
        guess = suggest(name, missing) if len(unmapped) <= FEW else None
        hint = f"; is it {guess}, which is missing?" if guess else ""
        what = f"unmapped tensor: not in the name table and no rule leaves it out{hint}"
        problems.append(Problem(what, name, f"shape {list(found[name])}"))
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
    """Return the problems of a tensor: its shape, or that it is stored twice."""
    there = [name for name in names if name in found]
    turned = entry.transposed(layout)
    stored = found[there[0]]
    expected = entry.shape_beside(axes, stored[::-1] if turned else stored)
    expected = expected[::-1] if turned else expected
    problems = [
        Problem("wrong shape", name, str(list(found[name])), str(list(expected)))
        for name in there
        if found[name] != expected
    ]
    if len(there) > 1:
        problems.append(Problem("one tensor is stored under two names", received=" and ".join(there)))
    return problems

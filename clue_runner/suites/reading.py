"""Reads a suite's file: returns the suite, or every problem of the file at once.

In: a name in ``configs/suites`` or a YAML file. Out: a ``SuiteFile``; where the file is wrong, what can be
understood of it, so that planning can say what else is wrong. Whether models, tasks and settings exist is for
planning to say. Knows nothing about runs, executors or tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clue_runner.config.describe import shown
from clue_runner.config.shipped import config_names, find_config_file, shown_config
from clue_runner.config.yaml_reader import Document, KeyPath, read_yaml
from clue_runner.errors import Problem, UsageError, suggest
from clue_runner.files.names import name_fault
from clue_runner.suites.grid import has_grid
from clue_runner.suites.suite import Entry, Part, RaySettings, SlurmSettings, Suite, SuiteFile

BRANCHES = {"str", "int", "float", "bool", "none", "dict[str,str]"}  # what pydantic calls types in a path
STAND_INS: Mapping[str, Any] = {"title": "?", "seeds": [0]}  # for keys that are missing or cannot be used
MOST = 1000  # mistakes that are worked around


def suite_names() -> tuple[str, ...]:
    """Return the names of the shipped suites, sorted."""
    return config_names("suites")


def find_suite(text: str) -> Path:
    """Return the file that a command means: a shipped suite's name first, then a path.

    Raises:
        UsageError: no suite has this name.
        DataError: it is written as a path, and nothing is there.
    """
    return find_config_file(text, "suites", kind="suite", what="suite", list_command="clue bench --help")


def read_suite(text: str) -> SuiteFile:
    """Return the suite that a command means.

    Raises:
        UsageError: with every problem of the file.
        DataError: no such file.
    """
    file, problems = examine_suite(text)
    if file is None or problems:
        raise cannot_be_used(text, problems)
    return file


def cannot_be_used(text: str, problems: list[Problem]) -> UsageError:
    """Return the error for a suite's file with these problems."""
    name = shown_config(find_suite(text))
    return UsageError(f"the suite {name} cannot be used", problems=list(dict.fromkeys(problems)))


def examine_suite(text: str) -> tuple[SuiteFile | None, list[Problem]]:
    """Return what can be understood of a suite's file, None where that is nothing, and its problems.

    Raises:
        UsageError: no suite has this name, or the file is not YAML.
        DataError: no such file.
    """
    path = find_suite(text)
    document = read_yaml(path, shown_config(path))
    try:
        suite = Suite.model_validate(document.values)
    except ValidationError as error:
        listed = [_problem(found["loc"], found, document) for found in error.errors(include_url=False)]
        problems = list(dict.fromkeys(listed))  # one for each type that a value could have had
        understood = _understood(document)
        if understood is None:
            return None, problems
        suite, document = understood
    else:
        problems = []
    return SuiteFile(path.stem, suite, document), [*problems, *_cross_checks(suite, document)]


def _understood(document: Document) -> tuple[Suite, Document] | None:
    """Return the suite without what cannot be used, with placeholders for required parts."""
    values, lines = deepcopy(document.values), dict(document.lines)
    for _ in range(MOST):
        try:
            return Suite.model_validate(values), Document(document.name, values, lines)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
        place = found["loc"]
        while place and place[-1] in BRANCHES:
            place = place[:-1]
        if found["type"] == "missing" and len(place) > 1:
            place = place[:-1]  # an entry without its name
        if not _take_out(values, lines, place):
            return None
    return None


def _take_out(values: dict[str, Any], lines: dict[KeyPath, int], place: KeyPath) -> bool:
    """Take a value out of plain data and its lines; return whether that can be done."""
    if not place:
        return False
    if len(place) == 1 and place[0] in STAND_INS:
        values[str(place[0])] = deepcopy(STAND_INS[str(place[0])])
        return True
    holder: Any = values
    for key in place[:-1]:
        holder = holder[key]
    if isinstance(holder, list):
        _close_gap(lines, place)
    elif not isinstance(holder, dict) or place[-1] not in holder:
        return False
    del holder[place[-1]]
    return True


def _close_gap(lines: dict[KeyPath, int], place: KeyPath) -> None:
    """Let the items of a list behind one that was taken out move up."""
    depth, index = len(place) - 1, int(place[-1])
    behind = {
        (*key[:depth], int(key[depth]) - 1, *key[depth + 1 :]): line
        for key, line in lines.items()
        if len(key) > depth and key[:depth] == place[:-1] and int(key[depth]) > index
    }
    for key in [key for key in lines if len(key) > depth and key[:depth] == place[:-1]]:
        if int(key[depth]) >= index:
            del lines[key]
    lines.update(behind)


def _problem(place: KeyPath, found: Mapping[str, Any], document: Document) -> Problem:
    """Return one finding of pydantic in the user's words."""
    where = document.where(place)
    while place and place[-1] in BRANCHES:  # where one of several types did not fit
        place = place[:-1]
    key = ".".join(map(str, place))
    if found["loc"] != place:
        return Problem(f"{key} has an invalid value", where, shown(found["input"]))
    if found["type"] == "extra_forbidden":
        known = _keys_at(place)
        guess = suggest(str(place[-1]), known)
        hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
        return Problem(f"{key}: no such key of a suite, {hint}", where)
    if found["type"] == "missing":
        return Problem(f"{key} is missing", where)
    if found["type"] == "too_short":
        return Problem(f"{key} is empty", where)
    return Problem(f"{key}: {found['msg'][:1].lower()}{found['msg'][1:]}", where, shown(found["input"]))


def _keys_at(place: KeyPath) -> tuple[str, ...]:
    """Return the keys that may appear beside the last one of a path."""
    kinds: dict[str | int, type[Part]] = {
        "models": Entry,
        "tasks": Entry,
        "slurm": SlurmSettings,
        "ray": RaySettings,
    }
    kind = kinds.get(place[0], Suite) if len(place) > 1 else Suite
    return tuple(kind.model_fields)


def _cross_checks(suite: Suite, document: Document) -> list[Problem]:
    """Return contradictions between keys that are valid on their own."""
    problems = []
    labels = [entry.label or Path(entry.name).name for entry in suite.models]
    for index, (label, entry) in enumerate(zip(labels, suite.models, strict=True)):
        where = document.where(("models", index))
        if fault := name_fault(label):
            problems.append(Problem(f"a model's label becomes a folder: {fault}", where, label))
        if label in labels[:index]:
            problems.append(Problem(f"two models are called {label} and would share a folder", where))
        problems += _unknown_tasks(suite, document, ("models", index, "tasks"), entry.tasks or ())
    names = [entry.name for entry in suite.tasks]
    problems += [
        Problem(f"the task {name} appears twice", document.where(("tasks", index)))
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    problems += [
        Problem(f"no model of this suite is for the task {name}", document.where(("tasks", index)))
        for index, name in enumerate(names)
        if not any(entry.tasks is None or name in entry.tasks for entry in suite.models)
    ]
    problems += _unknown_tasks(suite, document, ("gates",), suite.gates)
    problems += _unknown_tasks(suite, document, ("data",), suite.data if isinstance(suite.data, dict) else ())
    if suite.baseline is not None and suite.baseline not in labels:
        guess = suggest(suite.baseline, labels)
        hint = f", did you mean {guess}?" if guess else ""
        where = document.where(("baseline",))
        problems.append(Problem(f"no model of this suite is called {suite.baseline}{hint}", where))
    for key in ("seeds", "fresh_seeds"):
        seeds = getattr(suite, key) or []
        problems += [
            Problem(f"the seed {seed} appears twice, so two runs would share a folder", where)
            for index, seed in enumerate(seeds)
            if seed in seeds[:index] and (where := document.where((key, index)))
        ]
    return problems + _grid_problems(suite, document)


def _grid_problems(suite: Suite, document: Document) -> list[Problem]:
    """Return the problems of a grid and of the keys that need one."""
    problems = []
    for key, values in (suite.grid or {}).items():
        problems += [
            Problem(f"{key}: {value!r} appears twice", document.where(("grid", key, index)))
            for index, value in enumerate(values)
            if value in values[:index]
        ]
        if key in suite.settings:
            problems.append(Problem(f"{key} is also given in settings", document.where(("grid", key))))
    if suite.fresh_seeds is not None:
        where = document.where(("fresh_seeds",))
        if not has_grid(suite):
            problems.append(Problem("fresh_seeds are for suites with a grid of several points", where))
        elif again := sorted({*suite.fresh_seeds} & {*suite.seeds}):
            problems.append(Problem("the grid has already seen these seeds", where, str(again)))
    return problems


def _unknown_tasks(
    suite: Suite, document: Document, place: KeyPath, names: Mapping[str, Any] | list[str] | tuple[str, ...]
) -> list[Problem]:
    """Return one finding for each name that is not a task of the suite."""
    known = [entry.name for entry in suite.tasks]
    problems = []
    for index, name in enumerate(names):
        if name not in known:
            guess = suggest(name, known)
            hint = f", did you mean {guess}?" if guess else ""
            where = document.where((*place, name if isinstance(names, Mapping) else index))
            problems.append(Problem(f"{name} is not a task of this suite{hint}", where))
    return problems

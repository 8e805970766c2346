"""Every mistake in a suite's models, tasks and settings at once, each with its line in the suite's file.

In: a suite, its wishes, what resolves one. Out: nothing, or one error with all findings.
Knows nothing about files of data, items or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from clue_runner.config.model_choice import find_model
from clue_runner.data.cards import find_card
from clue_runner.errors import ClueError, Problem, UsageError
from clue_runner.suites.grid import Wish
from clue_runner.suites.suite import SuiteFile


def refuse_mistakes(file: SuiteFile, wishes: Sequence[Wish], resolve: Callable[[Wish], object]) -> None:
    """Refuse a suite with mistakes.

    Raises:
        UsageError: with every mistake.
    """
    problems, steps = find_mistakes(file, wishes, resolve)
    if problems:
        raise UsageError(
            f"the suite {file.name} cannot be run",
            problems=problems,
            next_step=steps[0] if steps else "every setting, explained: clue config show --explain",
        )


def find_mistakes(
    file: SuiteFile, wishes: Sequence[Wish], resolve: Callable[[Wish], object]
) -> tuple[list[Problem], list[str]]:
    """Return every mistake in models, tasks and settings, and what to do next.

    Args:
        file: the suite.
        wishes: its runs.
        resolve: merges the settings of one; raises where they cannot be used.
    """
    problems: list[Problem] = []
    steps: list[str] = []
    unknown: set[str] = set()  # an unknown name is one mistake, however many runs use it
    for wish in wishes:
        names = ((wish.model.name, find_model, _model_line), (wish.task.name, find_card, _task_line))
        for name, find, line in names:
            if name in unknown:
                continue
            error = _mistake(partial(find, name))
            if error is not None:
                unknown.add(name)
                problems += [replace(found, where=line(file, wish)) for found in _findings(error)]
                steps += [error.next_step] if error.next_step else []
        if unknown & {wish.task.name, wish.model.name}:
            continue
        error = _mistake(partial(resolve, wish))
        if error is not None:
            problems += [_placed(found, file, wish) for found in _findings(error)]
            steps += [error.next_step] if error.next_step and not error.problems else []
    return list(dict.fromkeys(problems)), steps


def _mistake(check: Callable[[], object]) -> ClueError | None:
    """Return the mistake in the suite that a check finds."""
    try:
        check()
    except ClueError as error:
        return error
    return None


def _findings(error: ClueError) -> tuple[Problem, ...]:
    """Return an error's findings; its headline where it has none."""
    return error.problems or (error.headline,)


def _model_line(file: SuiteFile, wish: Wish) -> str:
    """Return the line of a model; one from the command line has none."""
    if wish.model.name in str(file.document.values["models"]):
        return file.where("models", file.suite.models.index(wish.model))
    return "--model"


def _task_line(file: SuiteFile, wish: Wish) -> str:
    """Return the line of a task."""
    return file.where("tasks", file.suite.tasks.index(wish.task))


def _placed(problem: Problem, file: SuiteFile, wish: Wish) -> Problem:
    """Return a finding with the line of the suite's file that it is about."""
    where = problem.where or ""
    if where in {"--model", "model.name"}:
        return replace(problem, where=_model_line(file, wish))
    if where == "--task":
        return replace(problem, where=_task_line(file, wish))
    for key in ("train.precision", *wish.settings(file.suite)):
        if key in where.split() or problem.what.startswith(f"{key}:"):
            return replace(problem, where=_setting_line(file, wish, key))
    if where.startswith("--"):
        return replace(problem, where=file.where(where.removeprefix("--").split()[0]))
    return problem if where else replace(problem, where=file.document.name)


def _setting_line(file: SuiteFile, wish: Wish, key: str) -> str:
    """Return the line that gave a setting its value."""
    suite = file.suite
    if key in wish.point:
        return file.where("grid", key, (suite.grid or {})[key].index(wish.point[key]))
    places = (
        ("tasks", suite.tasks.index(wish.task), "settings", key),
        ("models", suite.models.index(wish.model), "settings", key),
        ("settings", key),
        (key.rpartition(".")[2],),
    )
    return next((file.where(*place) for place in places if place in file.document.lines), file.document.name)

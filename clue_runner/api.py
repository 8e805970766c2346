"""The commands as Python functions, with the same names and options.

In: plain values. Out: results as dictionaries.
Knows nothing about argv or how the work is done. Every heavy import waits for the call.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from clue_runner.errors import Problem, UsageError

Request = TypeVar("Request")


def train(task: str | Path, *, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Do what ``clue train`` does.

    Args:
        task: a task's name or folder.
        quiet: print warnings only.
        options: those of the command, by name: ``model``, ``config`` and ``set`` (lists of text), ``data``,
            ``output``, ``seed``, ``seeds``, ``backend``, ``device``, ``fresh``, ``fail_under``, ``dry_run``.

    Returns:
        What metrics.json holds; with ``seeds`` what summary.json holds.

    Raises:
        ClueError: every user mistake, as the message that the command prints.
    """
    from clue_runner.commands.train import TrainRequest, fulfil
    from clue_runner.console import Console

    request = _request(TrainRequest, {**options, "task": str(task)}, lists=("config", "set"))
    return fulfil(request, Console(quiet=quiet))


def pretrain(*, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Do what ``clue pretrain`` does.

    Args:
        quiet: print warnings only.
        options: those of the command, by name: ``texts`` and ``heldout`` (files), ``heldout_share``,
            ``field``, ``task``, ``data``, ``model``, ``config`` and ``set`` (lists of text), ``output``,
            ``checkpoint``, ``save_as``, ``licence``, ``processes``, ``seed``, ``backend``, ``device``,
            ``fresh``, ``dry_run``.

    Returns:
        What metrics.json holds, and under ``folder`` the checkpoint that ``train(model=...)`` takes.

    Raises:
        ClueError: every user mistake, as the message that the command prints.
    """
    from clue_runner.commands.pretraining.pretrain import PretrainRequest, fulfil
    from clue_runner.console import Console

    request = _request(PretrainRequest, options, lists=("texts", "heldout", "config", "set"))
    request = replace(
        request,
        texts=[Path(path) for path in request.texts],
        heldout=[Path(path) for path in request.heldout],
        checkpoint=None if request.checkpoint is None else Path(request.checkpoint),
    )
    return fulfil(request, Console(quiet=quiet))


def predict(*, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Do what ``clue predict`` does.

    Args:
        quiet: print warnings only.
        options: those of the command, by name: ``task``, ``run`` (folders), ``split``, ``text``,
            ``text_pair``, ``data``, ``output``.

    Returns:
        The result event: the answers and the files written.

    Raises:
        ClueError: every user mistake.
    """
    from clue_runner.commands.answers.predict import PredictRequest, fulfil
    from clue_runner.console import Console

    request = _request(PredictRequest, options, lists=("run", "text", "text_pair"))
    folders = [Path(folder) for folder in request.run]
    return fulfil(replace(request, run=folders), Console(quiet=quiet))


def evaluate(
    task: str | Path,
    predictions: str | Path,
    *,
    gold: str | Path | None = None,
    data: str | Path | None = None,
    partial: bool = False,
) -> dict[str, Any]:
    """Do what ``clue evaluate`` does: score a prediction file against dev, or against the file ``gold``.

    Raises:
        ClueError: every user mistake.
    """
    from clue_runner.commands.answers.evaluate import score_file

    scored = score_file(
        str(task),
        Path(predictions),
        gold=None if gold is None else Path(gold),
        data=None if data is None else str(data),
        partial=partial,
    )
    return scored.result()


def generate(*, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Do what ``clue generate`` does, once; ``load_decoder`` keeps the model for further texts.

    Args:
        quiet: show nothing but warnings; the generated text is returned in any case.
        options: those of the command, by name: ``model``, ``prompt``, ``samples``, ``seed``, ``max_length``,
            ``temperature``, ``top_k``, ``top_p``, ``beam``, ``backend``, ``precision`` and the rest.

    Returns:
        The result event: ``samples`` are the continuations, ``tokens`` and ``seconds`` their cost.

    Raises:
        ClueError: every user mistake.
    """
    from clue_runner.commands.generation.generate import GenerateRequest, fulfil
    from clue_runner.console import Console
    from clue_runner.engines.devices import current_backend

    for name in ("model", "prompt"):
        if name not in options:
            raise UsageError("an option is missing", where=name, next_step=f"give {name}=...")
    options = {"backend": current_backend(), **options, "model": str(options["model"])}
    return fulfil(_request(GenerateRequest, options, lists=()), Console(quiet=quiet), show=not quiet)


def bench(
    command: Literal["plan", "run", "collect"], suite: str | Path, *, quiet: bool = False, **options: Any
) -> dict[str, Any]:
    """Do what ``clue bench plan``, ``clue bench run`` or ``clue bench collect`` does.

    Args:
        command: which of them.
        suite: a suite's name or file.
        quiet: print warnings only.
        options: those of the command, by name: ``model`` (a list), ``data``, ``output``; ``executor``,
            ``index``, ``workers`` of ``run``; ``runs`` (folders) of ``collect``; ``markdown``, ``junit``.

    Returns:
        The plan, or what collected.json holds; with ``index`` the outcome of the item.

    Raises:
        ClueError: every user mistake; failed items and failed gates, after everything is written.
    """
    from importlib import import_module

    from clue_runner.commands.bench.request import BenchRequest
    from clue_runner.console import Console

    if command not in {"plan", "run", "collect"}:
        raise UsageError("bench has no such command", received=command, allowed="plan, run, collect")
    request = _request(BenchRequest, {**options, "suite": str(suite)}, lists=("model", "runs"))
    request = replace(request, model=[str(name) for name in request.model])
    done: dict[str, Any] = import_module(f"clue_runner.commands.bench.{command}").fulfil(
        request, Console(quiet=quiet)
    )
    return done


def _request(kind: type[Request], options: dict[str, Any], *, lists: tuple[str, ...]) -> Request:
    """Return a command's request; one text or path in place of a list is a list of one.

    Raises:
        UsageError: an option that the command does not have, or something other than text in a list.
    """
    allowed = [field.name for field in fields(cast(Any, kind))]
    found = dict(options)
    problems = [
        Problem("no such option", name, allowed=", ".join(allowed)) for name in options if name not in allowed
    ]
    for name in lists:
        values = options.get(name, ())
        found[name] = [values] if isinstance(values, str | Path) else list(values)
        problems += [
            Problem("not text", name, repr(value))
            for value in found[name]
            if not isinstance(value, str | Path)
        ]
    if problems:
        raise UsageError(
            "these options cannot be used",
            problems=problems,
            next_step='settings are given as set=["model.recompute=block"]',
        )
    if found.get("output") is not None:
        found["output"] = Path(found["output"])
    if isinstance(found.get("data"), Path):
        found["data"] = str(found["data"])
    return kind(**found)

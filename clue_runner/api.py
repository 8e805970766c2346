"""The commands as Python functions, with the same names and options.

In: plain values. Out: results as dictionaries, an encoder on numpy arrays, a tokenizer.
Knows nothing about argv or how the work is done. Every heavy import waits for the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from clue_runner.errors import Problem, UsageError

if TYPE_CHECKING:
    from clue_runner.checkpoints.checkpoint import Checkpoint
    from clue_runner.checkpoints.encoder import LoadedBackbone
    from clue_runner.config.schema import ModelSettings, Run
    from clue_runner.tokens.tokenizer import Tokenizer

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


def load_backbone(
    path: str | Path,
    *,
    backend: Literal["tensorflow", "jax"] | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    ignore: Sequence[str] = (),
    **options: Any,
) -> LoadedBackbone:
    """Load the encoder of a checkpoint folder or of a finished run.

    Args:
        path: a Google or Hugging Face checkpoint's folder, a TensorFlow prefix, or a run folder.
        backend: None: the one that is loaded, else $KERAS_BACKEND, else TensorFlow.
        precision: the type of its computation; weights stay float32.
        ignore: tensors of another head to leave out: names, or prefixes that end with ``.`` or ``/``.
        options: ``model.*`` settings that leave the weights alone, e.g. ``activation="gelu_tanh"``, or
            ``positions="hierarchical"`` for rows longer than the position table.

    Raises:
        CheckpointError: as ``read_checkpoint``.
        UsageError: an unknown or impossible option, or a backend that is not installed.
    """
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.checkpoints.encoder import LoadedBackbone
    from clue_runner.checkpoints.importer import read_checkpoint
    from clue_runner.checkpoints.load import load_into
    from clue_runner.engines.attention import require_attention
    from clue_runner.engines.devices import current_backend, set_backend

    checkpoint = read_checkpoint(path, ignore=ignore)
    settings = _settings(checkpoint, options)
    keras_backend = backend or current_backend()
    set_backend(keras_backend)
    from clue_runner.models.naming import named_variables
    from clue_runner.models.shape import BlockShape

    if isinstance(settings, BlockShape):
        require_attention(settings, keras_backend, precision)
    layer = build_backbone(
        settings, checkpoint.vocab_size, precision=precision, seed=0, pooler=checkpoint.has_pooler
    )
    load_into(named_variables(layer), checkpoint)
    return LoadedBackbone(checkpoint, settings, layer)


def load_run(path: str | Path) -> Run:
    """Return the settings of the run in a folder.

    Raises:
        DataError: no such folder.
        CheckpointError: no run in it, or damaged settings.
    """
    from clue_runner.adapters.sections import SECTIONS
    from clue_runner.runs.find import load_run

    return load_run(path, SECTIONS)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer that belongs to a checkpoint folder or a finished run.

    Raises:
        CheckpointError: no vocabulary, or one that cannot be used.
    """
    from clue_runner.checkpoints.importer import find_vocab
    from clue_runner.tokens.tokenizer import Tokenizer

    vocab, lowercase = find_vocab(path)
    return Tokenizer(vocab, lowercase)


def _settings(checkpoint: Checkpoint, options: dict[str, Any]) -> ModelSettings:
    """Return the checkpoint's settings with ``options`` on top, the rest from configs/default.yaml."""
    from pydantic import ValidationError

    from clue_runner.config.defaults import default_layer
    from clue_runner.config.schema import ModelSettings, Section
    from clue_runner.config.sections import schema_of

    kind = schema_of(Section, checkpoint.architecture.shape).groups["model"]
    own = {**checkpoint.config, "name": checkpoint.name, "checkpoint": str(checkpoint.folder)}
    fixed = {*checkpoint.architecture.shape.SIZES, "family", "checkpoint"}
    problems = [
        Problem("unknown option", name, allowed=", ".join(kind.model_fields))
        for name in sorted(options.keys() - kind.model_fields.keys())
    ]
    problems += [
        Problem("the checkpoint decides this", name, repr(options[name]), repr(own[name]))
        for name in sorted(options.keys() & own.keys() & fixed)
        if options[name] != own[name]
    ]
    if problems:
        raise UsageError(
            "the options do not fit the checkpoint", where=str(checkpoint.folder), problems=problems
        )
    default = default_layer().values
    base = {name: default[f"model.{name}"] for name in ModelSettings.model_fields}
    try:
        settings = kind.model_validate({**base, **own, **options})
    except ValidationError as error:
        problems = [
            Problem(entry["msg"], ".".join(map(str, entry["loc"])), repr(entry["input"]))
            for entry in error.errors()
        ]
        raise UsageError("the options cannot be used", problems=problems) from error
    if not isinstance(settings, ModelSettings):
        raise TypeError("a family's settings are model settings")
    return settings


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

"""What checkpoints and runs hold, as Python objects: an encoder, a tokenizer, a run's settings.

In: a folder, options. Out: an encoder on numpy arrays, a tokenizer, settings.
Knows nothing about argv or commands. Every heavy import waits for the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clue_runner.errors import Problem, UsageError

if TYPE_CHECKING:
    from clue_runner.checkpoints.checkpoint import Checkpoint
    from clue_runner.checkpoints.encoder import LoadedBackbone
    from clue_runner.checkpoints.texts import LoadedTokenizer
    from clue_runner.config.schema import ModelSettings, Run


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
        path: a Google or Hugging Face checkpoint's folder, a TensorFlow prefix, a run folder, or the name of
            a preset whose checkpoint is on this machine.
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

    checkpoint = read_checkpoint(_place(path), ignore=ignore)
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


def load_tokenizer(path: str | Path) -> LoadedTokenizer:
    """Load the tokenizer that belongs to a checkpoint folder or a finished run.

    Called with texts, it returns the arrays that ``load_backbone``'s encoder takes.

    Raises:
        CheckpointError: no vocabulary, or one that cannot be used.
    """
    from clue_runner.checkpoints.importer import find_vocab
    from clue_runner.checkpoints.texts import LoadedTokenizer

    vocab, lowercase = find_vocab(_place(path))
    return LoadedTokenizer(vocab, lowercase)


def _place(path: str | Path) -> str | Path:
    """Return where the checkpoint is that a preset's name stands for; any other path as it is."""
    from clue_runner.config.presets import model_preset, model_presets

    return model_preset(path).local_folder if isinstance(path, str) and path in model_presets() else path


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

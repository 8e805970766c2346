"""The program as Python calls, with the names of the commands: a checkpoint's encoder and its tokenizer.

In: paths and options. Out: callables on numpy arrays. Every import of a backend waits for the call.
Knows nothing about argv; ``clue_runner.train`` and its sisters come from the rooms that do the work.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clue_runner.checkpoints.importer import find_vocab, load_into, read_checkpoint
from clue_runner.errors import Problem, UsageError

if TYPE_CHECKING:
    from clue_runner.checkpoints.checkpoint import Checkpoint
    from clue_runner.config.schema import ModelSettings
    from clue_runner.tokens.tokenizer import Tokenizer

Floats = NDArray[np.float32]

# Settings that another value would make meaningless for these weights.
SHAPE = {
    "num_layers",
    "hidden_dim",
    "num_heads",
    "intermediate_dim",
    "max_positions",
    "num_segments",
    "checkpoint",
}


@dataclass(frozen=True)
class LoadedBackbone:
    """An encoder with its checkpoint's weights, for inference.

    Args:
        checkpoint: where the weights come from; its ``report`` says what became of every tensor.
        settings: shape and options.
        layer: the Keras layer, for those who want to train it themselves.
    """

    checkpoint: Checkpoint
    settings: ModelSettings
    layer: Any

    def __call__(
        self, token_ids: ArrayLike, segment_ids: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Floats, Floats | None]:
        """Encode a padded batch.

        Args:
            token_ids: (rows, length) integers.
            segment_ids: (rows, length) integers; None: all 0.
            lengths: (rows,) integers, tokens before the padding; None: no row is padded.

        Returns:
            sequence (rows, length, hidden) and pooled (rows, hidden), float32; pooled is None where the
            checkpoint has no pooler. What stands at padded places has no meaning.

        Raises:
            UsageError: an array of the wrong shape or type, or a number outside its table.
        """
        ids = np.asarray(token_ids)
        rows, length = ids.shape if ids.ndim == 2 else (0, 0)
        segments = np.zeros_like(ids) if segment_ids is None else np.asarray(segment_ids)
        sizes = np.full((rows,), length) if lengths is None else np.asarray(lengths)
        self._check(ids, segments, sizes)
        import keras

        # Plain tensors stand in for the variables: TensorFlow refuses variables inside hand-written gradients
        # outside a graph.
        values = [(weight, keras.ops.stop_gradient(weight.value)) for weight in self.layer.weights]
        with keras.StatelessScope(state_mapping=values):
            sequence, pooled = self.layer(*(array.astype(np.int32) for array in (ids, segments, sizes)))
        return _floats(sequence), None if pooled is None else _floats(pooled)

    def _check(self, ids: NDArray[Any], segments: NDArray[Any], sizes: NDArray[Any]) -> None:
        """Refuse what the tables would answer with another row's vector, or not at all."""
        problems: list[Problem] = []
        rows, length = ids.shape if ids.ndim == 2 else (0, 0)
        arrays = (
            ("token_ids", ids, (rows, length), self.checkpoint.vocab_size),
            ("segment_ids", segments, (rows, length), self.settings.num_segments),
            ("lengths", sizes, (rows,), length + 1),
        )
        for name, array, shape, end in arrays:
            if array.shape != shape or not array.size:
                wanted = "(rows, length)" if name == "token_ids" else str(shape)
                problems.append(Problem("wrong shape", name, str(array.shape), f"{wanted}, not empty"))
            elif array.dtype.kind not in "iu":
                problems.append(Problem("not integers", name, str(array.dtype)))
            elif not 0 <= array.min() <= array.max() < end:
                problems.append(
                    Problem("out of range", name, f"{array.min()} to {array.max()}", f"0 to {end - 1}")
                )
        if length > self.settings.max_positions:
            limit = f"up to {self.settings.max_positions}"
            problems.append(
                Problem("rows are longer than the position table", "token_ids", str(length), limit)
            )
        if problems:
            raise UsageError("the batch cannot be encoded", problems=problems)


def load_backbone(
    path: str | Path,
    *,
    backend: Literal["tensorflow", "jax"] | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    **options: Any,
) -> LoadedBackbone:
    """Load the encoder of a checkpoint folder or of a finished run.

    Args:
        path: a Google or Hugging Face checkpoint folder, or a run folder.
        backend: None takes the one that is loaded, else $KERAS_BACKEND, else TensorFlow.
        precision: type that it computes in; weights stay float32.
        options: ``model.*`` settings that leave the weights alone, e.g. ``activation="gelu_tanh"``.

    Raises:
        CheckpointError: as ``read_checkpoint``.
        UsageError: an unknown or impossible option, or a backend that is not there.
    """
    checkpoint = read_checkpoint(path)
    settings = _settings(checkpoint, options)
    from clue_runner.training.devices import set_backend

    set_backend(backend or _current_backend())
    from clue_runner.models.build import build_backbone
    from clue_runner.models.naming import named_variables

    layer = build_backbone(
        settings, checkpoint.vocab_size, dtype_policy=precision, seed=0, pooler=checkpoint.has_pooler
    )
    load_into(named_variables(layer), checkpoint)
    return LoadedBackbone(checkpoint, settings, layer)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer that belongs to a checkpoint folder or a finished run.

    Raises:
        CheckpointError: no vocabulary, or one that cannot be used.
    """
    from clue_runner.tokens.tokenizer import Tokenizer

    vocab, lowercase = find_vocab(path)
    return Tokenizer(vocab, lowercase)


def _settings(checkpoint: Checkpoint, options: dict[str, Any]) -> ModelSettings:
    """Return the checkpoint's settings with ``options`` on top, the rest from configs/default.yaml."""
    from pydantic import ValidationError

    from clue_runner.config.loader import default_layer
    from clue_runner.config.schema import ModelSettings

    own = {**checkpoint.config, "name": checkpoint.folder.name, "checkpoint": str(checkpoint.folder)}
    problems = [
        Problem("unknown option", name, allowed=", ".join(ModelSettings.model_fields))
        for name in sorted(options.keys() - ModelSettings.model_fields.keys())
    ]
    problems += [
        Problem("the checkpoint decides this", name, repr(options[name]), repr(own[name]))
        for name in sorted(options.keys() & own.keys() & SHAPE)
        if options[name] != own[name]
    ]
    if problems:
        raise UsageError("the options do not fit", where=str(checkpoint.folder), problems=problems)
    default = default_layer().values
    base = {name: default[f"model.{name}"] for name in ModelSettings.model_fields}
    try:
        return ModelSettings.model_validate({**base, **own, **options})
    except ValidationError as error:
        problems = [
            Problem(entry["msg"], ".".join(map(str, entry["loc"])), repr(entry["input"]))
            for entry in error.errors()
        ]
        raise UsageError("the options cannot be used", problems=problems) from error


def _current_backend() -> Literal["tensorflow", "jax"]:
    """Return the backend that this process has, wants, or gets by default."""
    if "keras" in sys.modules:
        name = sys.modules["keras"].config.backend()
    else:
        name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in {"tensorflow", "jax"}:
        raise UsageError("backend is not supported", received=name, allowed="tensorflow, jax")
    return cast(Literal["tensorflow", "jax"], name)


def _floats(tensor: Any) -> Floats:
    """Return a backend's tensor as float32 numpy."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))

"""Read a TensorFlow checkpoint of the BERT release: bert_config.json, vocab.txt, *.ckpt.index, *.ckpt.data-*.

In: a folder. Out: names, shapes and values under Google's names. Variable checkpoints are data, not
programs; graphs (``.meta``, SavedModel) are never opened. TensorFlow is imported when a folder is opened.
Knows nothing about our names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.errors import CheckpointError

CONFIG = "bert_config.json"
INDEX = "*.index"


class GoogleReader:
    """The one TensorFlow checkpoint in a folder.

    Args:
        folder: holds exactly one ``<prefix>.index`` and its ``<prefix>.data-*`` files.

    Raises:
        CheckpointError: none or several, unreadable, or TensorFlow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        """Find the checkpoint and read its index."""
        self.prefix = _find_prefix(folder)
        data = sorted(folder.glob(f"{_escape(self.prefix.name)}.data-*"))
        if not data:
            raise CheckpointError(
                f"the values are missing: no {self.prefix.name}.data-* beside {self.prefix.name}.index",
                where=str(folder),
                next_step="copy all files of the checkpoint into the folder",
            )
        self.files = (self.prefix.with_name(f"{self.prefix.name}.index"), *data)
        self._reader = _open(self.prefix)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name: tuple(shape) for name, shape in self._reader.get_variable_to_shape_map().items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values.

        Raises:
            CheckpointError: the data file is cut short or its checksum differs.
        """
        # TensorFlow reports damage with errors of its own (DataLossError, OutOfRangeError, ...), which
        # share no base below Exception that can be named without importing it here.
        try:
            value: NDArray[Any] = self._reader.get_tensor(name)
        except Exception as error:
            raise _unreadable(self.prefix, error) from error
        return value


def index_shapes(prefix: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in ``<prefix>.index``; the values need not be there."""
    return {name: tuple(shape) for name, shape in _open(prefix).get_variable_to_shape_map().items()}


def _find_prefix(folder: Path) -> Path:
    """Return the path of the folder's one checkpoint without its ``.index``."""
    found = sorted(folder.glob(INDEX))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CheckpointError(
            "a folder must hold exactly one TensorFlow checkpoint",
            where=str(folder),
            received=names,
            allowed="one *.index file with its *.data-* files",
            next_step="move one into a folder of its own, with bert_config.json and vocab.txt",
        )
    return found[0].with_name(found[0].name.removesuffix(".index"))


def _open(prefix: Path) -> Any:
    """Return TensorFlow's reader of a checkpoint."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CheckpointError(
            "a Google TensorFlow checkpoint needs TensorFlow, which is not installed here",
            where=f"{prefix}.index",
            next_step=(
                "install tensorflow, or take the model as a Hugging Face folder (config.json, vocab.txt, "
                "model.safetensors)"
            ),
        ) from error
    try:
        return tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise _unreadable(prefix, error) from error


def _unreadable(prefix: Path, error: Exception) -> CheckpointError:
    """Return the error for a checkpoint that TensorFlow cannot read."""
    reason = str(error).partition("\n")[0]
    return CheckpointError(
        f"the TensorFlow checkpoint cannot be read: {reason}",
        where=f"{prefix}.index",
        next_step="copy or download the checkpoint again",
    )


def _escape(name: str) -> str:
    """Return ``name`` with glob's own characters taken literally."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)

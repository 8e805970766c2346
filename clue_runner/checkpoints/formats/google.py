"""Read and write a TensorFlow checkpoint of variables: <prefix>.index and its <prefix>.data-* files.

In: the path of an index. Out: names, shapes and values under the publisher's names; and back. Variable
checkpoints are data, not programs; graphs (``.meta``, SavedModel) are never opened. TensorFlow is imported
when a checkpoint is opened or written. Knows nothing about our names.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.checkpoints.files import digest_of, require_file
from clue_runner.errors import CheckpointError
from clue_runner.files.litter import entries

INDEX = ".index"
SHARD = re.compile(r"\.data-(\d{5})-of-(\d{5})")
# TensorFlow treats a path as a pattern.
PATTERN = frozenset("*?[]\\{}")


def write_google(prefix: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a TensorFlow checkpoint of variables.

    Raises:
        CheckpointError: TensorFlow is not installed.
    """
    tf = _tensorflow(
        "writing a TensorFlow checkpoint needs TensorFlow, which is not installed",
        prefix,
        "install tensorflow, or write a Hugging Face folder: --to huggingface",
    )
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=os.fsencode(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )


class GoogleReader:
    """One TensorFlow checkpoint.

    Args:
        index: ``<prefix>.index``; the ``<prefix>.data-*`` files lie beside it.

    Raises:
        CheckpointError: files are missing, not regular or unreadable, or TensorFlow is not installed.
    """

    def __init__(self, index: Path) -> None:
        """Read the index."""
        self.prefix = index.with_name(index.name.removesuffix(INDEX))
        self.files = (index, *_shards(self.prefix))
        for file in self.files:
            require_file(file)
        self._links, literal = _literal(self.prefix, self.files)
        self._reader = _open(self.prefix, literal)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name: tuple(shape) for name, shape in self._reader.get_variable_to_shape_map().items()}

    def types(self) -> Mapping[str, str]:
        """Return name -> type of every tensor stored."""
        return {name: kind.name for name, kind in self._reader.get_variable_to_dtype_map().items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values.

        Raises:
            CheckpointError: the data file is truncated or its checksum differs.
        """
        # TensorFlow reports damage with its own errors (DataLossError, OutOfRangeError, ...), which
        # share no base below Exception that can be named without importing it here.
        try:
            value: NDArray[Any] = self._reader.get_tensor(name)
        except Exception as error:
            raise _unreadable(self.prefix, error) from error
        return value

    def digests(self) -> Mapping[Path, str]:
        """Return the sha256 of each of its files."""
        return {path: digest_of(path) for path in self.files}

    def release(self) -> None:
        """Do nothing: no value is kept."""


def _shards(prefix: Path) -> list[Path]:
    """Return the files with the values, as many as their names announce."""
    found = {}
    for path in entries(prefix.parent):
        shard = (
            SHARD.fullmatch(path.name.removeprefix(prefix.name))
            if path.name.startswith(prefix.name)
            else None
        )
        if shard:
            found[path] = int(shard.group(2))
    count = max(found.values(), default=1)
    missing = count - sum(total == count for total in found.values())
    if missing:
        raise CheckpointError(
            f"data files are missing: {missing} of {count} {prefix.name}.data-* beside {prefix.name}{INDEX}",
            where=str(prefix.parent),
            next_step="copy all files of the checkpoint into the folder",
        )
    return sorted(found)


def _literal(prefix: Path, files: tuple[Path, ...]) -> tuple[Any, bytes]:
    """Return a path to the checkpoint in which TensorFlow sees no pattern, and what must live as long.

    Such a path is the checkpoint's own, or one of links in a temporary folder.
    """
    own = os.fsencode(prefix)
    if not PATTERN & set(str(prefix)):
        return None, own
    links = tempfile.TemporaryDirectory(prefix="clue-checkpoint-")
    for file in files:
        Path(links.name, f"weights{file.name.removeprefix(prefix.name)}").symlink_to(file.absolute())
    return links, os.fsencode(Path(links.name, "weights"))


def _open(prefix: Path, literal: bytes) -> Any:
    """Return TensorFlow's reader of a checkpoint."""
    tf = _tensorflow(
        "a Google TensorFlow checkpoint needs TensorFlow, which is not installed",
        prefix,
        "install tensorflow, or use the model as a Hugging Face folder (config.json, vocab.txt, "
        "model.safetensors)",
    )
    # A damaged index raises IndexError, OpError, ... : whatever it is, it is the file's fault.
    try:
        return tf.train.load_checkpoint(literal)
    except Exception as error:
        raise _unreadable(prefix, error) from error


def _tensorflow(what: str, prefix: Path, next_step: str) -> Any:
    """Return the library, or the user's error where it is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CheckpointError(what, where=f"{prefix}{INDEX}", next_step=next_step) from error
    return tf


def _unreadable(prefix: Path, error: Exception) -> CheckpointError:
    """Return the error for a checkpoint that TensorFlow cannot read."""
    reason = str(error).partition("\n")[0]
    return CheckpointError(
        f"the TensorFlow checkpoint cannot be read: {reason}",
        where=f"{prefix}{INDEX}",
        next_step="copy or download the checkpoint again",
    )

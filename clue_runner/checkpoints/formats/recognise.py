"""Which files of a folder hold weights, and who reads them: told from the names.

In: names. Out: the weights in the order in which they are preferred, or an opened reader.
Knows nothing about configs, tensors or single families.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clue_runner.checkpoints.files import TensorReader
from clue_runner.checkpoints.formats.google import INDEX, GoogleReader
from clue_runner.checkpoints.formats.safetensors_files import SHARD_INDEX, SINGLE, SafetensorsReader

# The same weights in several formats lie beside one another on the hub; the first that is there is taken.
PREFERRED = (SINGLE, SHARD_INDEX)


def face_weights(names: Sequence[str]) -> list[str]:
    """Return the file with weights under Hugging Face's names; several: nobody knows which."""
    return [name for name in PREFERRED if name in names][:1]


def is_face_file(name: str) -> bool:
    """Return whether a file of this name holds weights under Hugging Face's names."""
    return name in PREFERRED


def open_weights(path: Path) -> TensorReader:
    """Return the reader of a file of weights, or of the index of several; no value is read.

    Raises:
        CheckpointError: the file cannot be used.
        RefusedFileError: it is malformed, or carries code.
    """
    if path.name.endswith(INDEX):
        return GoogleReader(path)
    return SafetensorsReader(path)

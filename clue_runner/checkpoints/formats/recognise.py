"""Which files of a folder hold weights, and which reader they need, by their names.

In: names. Out: the weights in the order in which they are preferred, or an opened reader.
Knows nothing about configs, tensors or single families.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clue_runner.checkpoints.files import TensorReader
from clue_runner.checkpoints.formats import keras_h5
from clue_runner.checkpoints.formats.google import INDEX, GoogleReader
from clue_runner.checkpoints.formats.safetensors_files import SHARD_INDEX, SINGLE, SafetensorsReader
from clue_runner.checkpoints.formats.torch_files import reader as torch
from clue_runner.checkpoints.formats.torch_files.reader import TorchReader

# On the hub the same weights exist in several formats side by side; the first one found is used.
PREFERRED = (SINGLE, SHARD_INDEX, torch.SINGLE, torch.SHARD_INDEX, keras_h5.FILE)
# Other files with these names are weights only if there is no file with a name above.
FREE = (".pt", ".pth")
H5 = ".h5"


def face_weights(names: Sequence[str]) -> list[str]:
    """Return the file with weights under Hugging Face's names; several: ambiguous."""
    preferred = [name for name in PREFERRED if name in names][:1]
    return preferred or [name for name in names if name.endswith(FREE)]


def is_face_file(name: str) -> bool:
    """Return whether a file of this name holds weights under Hugging Face's names."""
    return name in PREFERRED or name.endswith((*torch.SUFFIXES, H5))


def open_weights(path: Path) -> TensorReader:
    """Return the reader of a file of weights, or of the index of several; no value is read.

    Raises:
        CheckpointError: the file cannot be used.
        RefusedFileError: it is malformed, or carries code.
    """
    if path.name.endswith(INDEX):
        return GoogleReader(path)
    if path.name.endswith((torch.SHARD_INDEX, *torch.SUFFIXES)):
        return TorchReader(path)
    if path.name.endswith(H5):
        return keras_h5.KerasReader(path)
    return SafetensorsReader(path)

"""Weights that one of our runs saved: settings from its run.yaml, values from the best saved state.

In: a ``checkpoints/step-<n>`` folder of a run. Out: names, shapes and values under our own names; averaged
weights where the run kept them, since those were scored. Knows nothing about other layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.checkpoints.native import NativeReader
from clue_runner.config.loader import load_resolved
from clue_runner.config.schema import ModelSettings
from clue_runner.config.shipped import shipped_folder
from clue_runner.errors import CheckpointError

WEIGHTS = "weights.safetensors"
AVERAGED = "ema.safetensors"
AVERAGED_PREFIX = "ema/"
# What another run would otherwise decide for itself does not travel with the weights.
SHAPE_FIELDS = (
    "lowercase",
    "num_layers",
    "hidden_dim",
    "num_heads",
    "intermediate_dim",
    "max_positions",
    "num_segments",
    "activation",
    "layer_norm_epsilon",
    "dropout",
    "attention_dropout",
)


class RunReader:
    """The weights of one saved state, heads included."""

    def __init__(self, folder: Path) -> None:
        """Read the header."""
        averaged = folder / AVERAGED
        self._prefix = AVERAGED_PREFIX if averaged.exists() else ""
        self._reader = NativeReader(averaged if averaged.exists() else folder / WEIGHTS)
        self.files = self._reader.files

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name.removeprefix(self._prefix): shape for name, shape in self._reader.shapes().items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        return self._reader.read(self._prefix + name)


def run_config(folder: Path) -> Path:
    """Return the run.yaml of the run that a saved state belongs to.

    Raises:
        CheckpointError: it is not there.
    """
    path = folder.parent.parent / "run.yaml"
    if not path.is_file():
        raise CheckpointError(
            "the weights do not lie in a run folder: no run.yaml says which model they belong to",
            where=str(folder),
            received=f"no {path}",
            next_step="name the run folder (the one with run.yaml and checkpoints/)",
        )
    return path


def run_settings(path: Path) -> tuple[dict[str, Any], Path]:
    """Return the shape settings of a run, and the vocabulary that it used."""
    model = load_resolved(path).model
    return {name: getattr(model, name) for name in SHAPE_FIELDS}, _vocabulary(model)


def _vocabulary(model: ModelSettings) -> Path:
    """Return the vocabulary named, else the checkpoint's, else the shipped one."""
    if model.vocab != "auto":
        return Path(model.vocab).expanduser()
    if model.checkpoint is not None:
        return Path(model.checkpoint).expanduser() / "vocab.txt"
    return shipped_folder("configs") / "models" / "vocab" / "zh.txt"

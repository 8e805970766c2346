"""Weights that one of our runs saved, as a checkpoint that another run can begin from.

In: a saved state's folder (weights.safetensors with a header, vocab.txt, perhaps ema.safetensors). Out: its
settings, and names, shapes and values under our own names; averaged weights where the run kept them, since
those were scored. Knows nothing about other layouts or about what else lies in the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.config.resolved import BEFORE
from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.reading import DamagedFileError
from clue_runner.files.tensors import NativeReader
from clue_runner.runs.states import signed_names

WEIGHTS = "weights.safetensors"
AVERAGED = "ema.safetensors"
AVERAGED_PREFIX = "ema/"
# The settings that belong to weights; everything else another run decides for itself.
FIELDS: dict[str, type] = {
    "num_layers": int,
    "hidden_dim": int,
    "num_heads": int,
    "intermediate_dim": int,
    "max_positions": int,
    "num_segments": int,
    "activation": str,
    "layer_norm_epsilon": float,
    "dropout": float,
    "attention_dropout": float,
    "lowercase": bool,
}
# Settings that weights of older versions say nothing about, and what those versions did.
LATER_FIELDS = {name: BEFORE[f"model.{name}"] for name in ("positions", "positions_alpha")}


class RunReader:
    """The weights of one saved state, its head included.

    Raises:
        CheckpointError: the header does not say which model they belong to.
        RefusedFileError: a malformed file.
    """

    def __init__(self, folder: Path) -> None:
        """Read the headers."""
        weights, averaged = NativeReader(folder / WEIGHTS), folder / AVERAGED
        kept = _has_average(folder)
        self.settings, self.vocab_size = _parse(folder / WEIGHTS, weights.meta)
        self._prefix = AVERAGED_PREFIX if kept else ""
        self._reader = NativeReader(averaged) if kept else weights
        # The header is part of what decides the result, so both files count.
        self.files: tuple[Path, ...] = tuple(dict.fromkeys((*weights.files, *self._reader.files)))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return name -> shape of every tensor stored."""
        return {name.removeprefix(self._prefix): shape for name, shape in self._reader.shapes().items()}

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor's values."""
        return self._reader.read(self._prefix + name)


def _has_average(folder: Path) -> bool:
    """Return whether averaged weights belong to the state: a file that its manifest does not sign is none."""
    try:
        signed = signed_names(folder)
    except DamagedFileError as error:
        raise CheckpointError(
            f"the saved state is damaged: {error}",
            where=str(folder),
            next_step="put a copy of it back where there is one, or train it again",
        ) from error
    return (folder / AVERAGED).exists() if signed is None else AVERAGED in signed


def _parse(path: Path, meta: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the settings and the vocabulary size in a header."""
    model, vocab_size = meta.get("model"), meta.get("vocab_size")
    found = {**LATER_FIELDS, **(model if isinstance(model, dict) else {})}
    kinds = FIELDS | {name: type(value) for name, value in LATER_FIELDS.items()}
    problems = [
        Problem("missing or of the wrong type", f"model.{name}", repr(found.get(name)), kind.__name__)
        for name, kind in kinds.items()
        if type(found.get(name)) is not kind
    ]
    if type(vocab_size) is not int:
        problems.append(Problem("missing or of the wrong type", "vocab_size", repr(vocab_size), "int"))
    if problems or not isinstance(vocab_size, int):
        raise CheckpointError(
            "the weights do not say which model they belong to",
            where=str(path),
            problems=problems,
            next_step="name the folder of a run of this program",
        )
    return {name: found[name] for name in kinds}, vocab_size

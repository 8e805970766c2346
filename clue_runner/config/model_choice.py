"""What ``--model`` means: a preset, a checkpoint folder, or an error with advice.

In: the argument, or a resolved run. Out: a ``Preset`` or a folder.
Knows nothing about tensors: a checkpoint's own config is read by ``checkpoints/``.
"""

from __future__ import annotations

from pathlib import Path

from clue_runner.config.presets import Preset, model_preset, model_presets
from clue_runner.config.schema import Run
from clue_runner.config.shipped import clue_home, user_path
from clue_runner.errors import CheckpointError, DataError, Problem, UsageError, unknown_name

HUB = "hf:"  # before the name of a model on the Hugging Face hub
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".index")  # names of files that hold weights


def find_model(text: str) -> Preset | Path:
    """Return what ``--model`` means: a preset, or a checkpoint's folder, file, TensorFlow prefix or hub name.

    A preset's name wins over a folder of the same name; ``./name`` means the folder.

    Raises:
        UsageError: neither a preset nor a folder has this name.
        DataError: it is written as a path that does not exist.
        CheckpointError: it is a file without weights.
    """
    if text.startswith(HUB):
        return Path(text)
    if text in model_presets():
        return model_preset(text)
    path = user_path(text)
    if path.is_dir():
        return path
    if path.name and path.with_name(f"{path.name}.index").is_file():
        return path  # the prefix of a TensorFlow checkpoint
    if path.suffix in WEIGHTS and path.is_file():
        return path  # one file of weights in a folder of several
    if path.exists():
        raise CheckpointError(f"{path} is a file", next_step="pass the folder that holds the checkpoint")
    own = clue_home() / "models" / text
    if Path(text).name == text and own.is_dir():
        return own
    if "/" in text or "\\" in text or text.startswith((".", "~")):
        raise DataError(
            f"there is no checkpoint folder at {text}",
            next_step="pass an existing folder, or a name from: clue models",
        )
    error = unknown_name("model", text, model_presets(), list_command="clue models")
    raise UsageError(
        error.headline.what,
        allowed=f"{error.headline.allowed}, a checkpoint's folder, or hf:OWNER/NAME",
        next_step=f"{error.next_step}; there is no folder {text} either",
    )


def require_checkpoint(run: Run) -> None:
    """Refuse a run that asks for pre-trained weights and has none; there is no fallback to random ones.

    Raises:
        CheckpointError: with the ways to get the checkpoint.
    """
    if run.model.init == "random" or run.model.checkpoint is not None:
        return
    name = run.model.name
    ways = model_preset(name).ways_to_get() if name in model_presets() else ()
    raise CheckpointError(
        f"{name} has no checkpoint on this machine",
        problems=[Problem(way) for way in ways]
        or [Problem("pass a checkpoint folder: --model DIR"), Problem("or --set model.init=random")],
    )

"""Tell from the files of a folder whose checkpoint it is, so that nobody has to say it.

In: a path. Out: the folder with the weights and its layout. Only names are looked at; no file is opened
except the one-line ``best`` of a run folder. Knows nothing about tensors.
"""

from __future__ import annotations

from pathlib import Path

from clue_runner.architectures.name_table import Layout
from clue_runner.checkpoints.google import CONFIG as GOOGLE_CONFIG
from clue_runner.checkpoints.run_weights import WEIGHTS as NATIVE_WEIGHTS
from clue_runner.errors import CheckpointError
from clue_runner.files.names import user_path
from clue_runner.runs.folder import RunFolder

FACE_CONFIG = "config.json"
FACE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5", ".keras", ".npy", ".npz")

ACCEPTED = (
    f"{GOOGLE_CONFIG} + vocab.txt + one *.index with *.data-* (Google TensorFlow); "
    f"{FACE_CONFIG} + vocab.txt + {FACE_WEIGHTS[0]} (Hugging Face); a finished run of this program"
)
CONVERT = (
    "convert it once, on a machine where you trust the file: BertModel.from_pretrained('FOLDER')"
    ".save_pretrained('NEW_FOLDER') with transformers writes model.safetensors; then copy vocab.txt beside it"
)
ALBERT = "take a BERT-shaped checkpoint: BERT, RoBERTa-wwm, MacBERT, LERT, RBT"


def find_layout(path: str | Path) -> tuple[Path, Layout]:
    """Return the folder with the weights and its layout.

    Raises:
        CheckpointError: nothing there, nothing known, two checkpoints at once, or only files that can
            carry code (left unread).
    """
    if str(path).startswith("hf:"):
        raise CheckpointError(
            "loading from the Hugging Face hub is not supported yet",
            received=str(path),
            next_step="download config.json, vocab.txt and model.safetensors into a folder and name that",
        )
    folder = user_path(path)
    if folder.is_file():
        raise _file_given(folder)
    if not folder.is_dir():
        raise CheckpointError(
            "no such checkpoint folder", where=str(folder), allowed=ACCEPTED, next_step="check the path"
        )
    folder = _best_of_run(folder)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise CheckpointError(f"folder cannot be read: {error.strerror}", where=str(folder)) from error
    layouts: list[Layout] = []
    if GOOGLE_CONFIG in names and any(name.endswith(".index") for name in names):
        layouts.append("google")
    if FACE_CONFIG in names and any(name in names for name in FACE_WEIGHTS):
        layouts.append("huggingface")
    if NATIVE_WEIGHTS in names:
        layouts.append("native")
    if not layouts:
        raise _nothing_known(folder, names)
    if len(layouts) > 1:
        raise CheckpointError(
            "the folder holds two checkpoints",
            where=str(folder),
            received=" and ".join(layouts),
            next_step="move the one you want into a folder of its own",
        )
    return folder, layouts[0]


def _best_of_run(folder: Path) -> Path:
    """Return the best checkpoint of a run folder; any other folder as it is."""
    return RunFolder(folder).best_state() or folder


def _file_given(path: Path) -> CheckpointError:
    """Return the error for a file where a folder is expected."""
    if path.suffix in PICKLES:
        return _unread(path, [path.name])
    return CheckpointError(
        "a checkpoint is a folder, not a file",
        where=str(path),
        allowed=ACCEPTED,
        next_step=f"name the folder: {path.parent}",
    )


def _nothing_known(folder: Path, names: list[str]) -> CheckpointError:
    """Return the error for a folder without a known layout: what was found, what is accepted."""
    if any(name.startswith("albert_config") for name in names):
        return CheckpointError("ALBERT is not supported yet", where=str(folder), next_step=ALBERT)
    unread = [name for name in names if Path(name).suffix in PICKLES]
    if unread and not any(name.endswith((".index", ".safetensors")) for name in names):
        return _unread(folder, unread)
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return CheckpointError(
        "the folder holds no checkpoint of a known layout",
        where=str(folder),
        received=shown or "an empty folder",
        allowed=ACCEPTED,
        next_step="copy the missing files into it",
    )


def _unread(path: Path, names: list[str]) -> CheckpointError:
    """Return the error for weights in a format that can run code, or that only its own program reads."""
    return CheckpointError(
        f"left unread: {', '.join(names)}; a file of this kind can carry code",
        where=str(path),
        allowed=ACCEPTED,
        next_step=CONVERT,
    )

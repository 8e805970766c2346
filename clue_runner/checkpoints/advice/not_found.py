"""The errors for a path at which no checkpoint can be read: each cause has its own advice.

In: what was found by name. Out: the error. Knows nothing about file contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clue_runner.checkpoints.formats.google import INDEX, SHARD
from clue_runner.checkpoints.formats.recognise import face_weights
from clue_runner.checkpoints.formats.safetensors_files import SHARD_INDEX, SINGLE
from clue_runner.errors import CheckpointError

UNREAD = (".ckpt", ".pkl", ".pickle", ".msgpack", ".keras", ".npy", ".npz")
ACCEPTED = (
    f"bert_config.json + vocab.txt + one *{INDEX} with *.data-* (Google TensorFlow); "
    f"config.json + vocab.txt or tokenizer.json + {SINGLE} or pytorch_model.bin, whole or in shards, "
    "or tf_model.h5 (Hugging Face); "
    "a finished run of this program"
)
CONVERT = (
    "convert it once, on a machine where you trust the file: BertModel.from_pretrained('FOLDER')"
    f".save_pretrained('NEW_FOLDER') with transformers writes {SINGLE}; then copy vocab.txt beside it"
)


OF_KERAS = (".keras", ".npy", ".npz")  # no program turns these into a checkpoint by itself
ORIGINAL = (
    "take the folder that the model was published as; of one that you trained elsewhere, write its weights "
    "as a TensorFlow checkpoint with the program that made it"
)


def nothing_there(path: Path) -> CheckpointError:
    """Return the error for a path that does not exist."""
    return CheckpointError(
        "no such checkpoint folder", where=str(path), allowed=ACCEPTED, next_step="check the path"
    )


def file_given(path: Path) -> CheckpointError:
    """Return the error for a file where a folder is expected."""
    if path.suffix in UNREAD:
        return _unread(path, [path.name])
    return CheckpointError(
        "a checkpoint is a folder, not a file",
        where=str(path),
        allowed=ACCEPTED,
        next_step=f"name the folder: {path.parent}",
    )


def two_checkpoints(folder: Path, layouts: Sequence[str]) -> CheckpointError:
    """Return the error for a folder with checkpoints of two layouts."""
    return CheckpointError(
        "the folder contains two checkpoints",
        where=str(folder),
        received=" and ".join(layouts),
        next_step="move the one you want into a separate folder",
    )


def several_files(folder: Path, names: Sequence[str]) -> CheckpointError:
    """Return the error for a folder with several TensorFlow checkpoints, or several of PyTorch's."""
    first = names[0].removesuffix(INDEX)
    if first == names[0]:
        return CheckpointError(
            "the folder contains several files of weights",
            where=str(folder),
            received=_listed(names),
            next_step=f"name the one you want: {folder / first}",
        )
    return CheckpointError(
        "the folder contains several TensorFlow checkpoints",
        where=str(folder),
        received=", ".join(names),
        allowed=f"exactly one *{INDEX} file with its *.data-* files",
        next_step=f"name the one you want by its prefix: {folder / first}",
    )


def several_inside(folder: Path, inside: Sequence[Path]) -> CheckpointError:
    """Return the error for a folder with several folders that contain a checkpoint."""
    return CheckpointError(
        "several folders in this one contain a checkpoint",
        where=str(folder),
        received=", ".join(path.name for path in inside),
        next_step=f"name the one you want: {inside[0]}",
    )


def index_missing(folder: Path, prefix: str) -> CheckpointError:
    """Return the error for a TensorFlow checkpoint without the file that lists its tensors."""
    return CheckpointError(
        f"the list of tensors is missing: no {prefix}{INDEX} beside {prefix}.data-*",
        where=str(folder),
        next_step=f"copy {prefix}{INDEX} of the same checkpoint into the folder",
    )


def config_missing(folder: Path, usual: Sequence[str]) -> CheckpointError:
    """Return the error for weights without a config."""
    return CheckpointError(
        "there are weights, but no config for them",
        where=str(folder),
        allowed=", ".join(usual),
        next_step=f"copy the publisher's config into the folder, as {usual[0]}",
    )


def nothing_known(folder: Path, names: Sequence[str]) -> CheckpointError:
    """Return the error for a folder without a checkpoint: what is missing of which layout."""
    indexes = [name for name in names if name.endswith(INDEX)]
    shards = [name for name in names if SHARD.search(name)]
    tensors = [name for name in names if name.endswith(".safetensors")]
    configs = [name for name in names if "config" in name and name.endswith(".json")]
    unread = [name for name in names if Path(name).suffix in UNREAD]
    if indexes:
        return config_missing(folder, ["bert_config.json"])
    if shards:
        prefix = shards[0][: shards[0].rindex(".data-")]
        return index_missing(folder, prefix)
    if face_weights(names):
        return config_missing(folder, ["config.json"])
    if tensors:
        return CheckpointError(
            f"no {SINGLE} and no {SHARD_INDEX}, which would list the content of the shards",
            where=str(folder),
            received=_listed(tensors),
            next_step=f"copy {SHARD_INDEX} into the folder; rename a single file to {SINGLE}",
        )
    if unread:
        return _unread(folder, unread)
    if configs:
        return CheckpointError(
            "there is a config, but no weights",
            where=str(folder),
            received=_listed(names),
            allowed=f"{SINGLE}, or *{INDEX} with *.data-*",
            next_step="copy the weights into the folder; a clone of a hub repository needs git lfs pull",
        )
    return CheckpointError(
        "the folder contains no checkpoint",
        where=str(folder),
        received=_listed(names) or "an empty folder",
        allowed=ACCEPTED,
        next_step="name the folder with the config and the weights",
    )


def _unread(path: Path, names: Sequence[str]) -> CheckpointError:
    """Return the error for weights in a format that can execute code, or that only its own program reads."""
    return CheckpointError(
        f"left unread: {', '.join(names)}; files of this kind can execute code",
        where=str(path),
        allowed=ACCEPTED,
        next_step=ORIGINAL if all(name.endswith(OF_KERAS) for name in names) else CONVERT,
    )


def _listed(names: Sequence[str]) -> str:
    """Return names, 20 at most."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")

"""Write a checkpoint in a published layout, and verify that the written values equal those read.

In: a path, a new folder, a layout. Out: the folder, with config, weights and vocabulary, all or nothing.
Values keep the type that they are stored in. Knows nothing about single families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from clue_runner.architectures.name_table import Layout
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.files import read_json
from clue_runner.checkpoints.formats.google import write_google
from clue_runner.checkpoints.formats.safetensors_files import SINGLE
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.checkpoints.load import compare_repeated
from clue_runner.checkpoints.locate import CONFIG, locate
from clue_runner.checkpoints.tokenizer_files import (
    CLASSES,
    DECISIVE_FILES,
    TOKENIZER_CONFIG,
    VOCABULARY,
)
from clue_runner.data.new_folder import write_new_folder
from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.atomic import json_bytes
from clue_runner.tokens.tokenizer_json import TOKENIZER_JSON
from clue_runner.tokens.vocabulary import read_vocabulary_file

Target = Literal["huggingface", "tensorflow"]
NumberType = Literal["float32", "bfloat16"]
_TYPES: Mapping[NumberType, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
LAYOUTS: Mapping[Target, Layout] = {"huggingface": "huggingface", "tensorflow": "google"}
PREFIX = "model.ckpt"  # of a TensorFlow checkpoint, as usual for published ones
# Keys of transformers' configs about programs, not about the network.
OF_PROGRAMS = ("architectures", "transformers_version", "dtype", "torch_dtype", "auto_map")
ABSENT = "no-"  # a rule whose name begins so states that a part is absent
OWN_POOLER = "task-pooler"  # the rule for a layer that only the tasks of this program put on such a family


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        checkpoint: the one that was read.
        folder: the new folder.
        tensors: how many, and ``parameters``: how many numbers.
        left_out: rule -> tensors that were not written.
        notices: messages for the user.
    """

    checkpoint: Checkpoint
    folder: Path
    tensors: int
    parameters: int
    left_out: Mapping[str, int]
    notices: tuple[str, ...]


def export(
    source: str | Path,
    folder: Path,
    to: Target,
    option: str,
    *,
    number_type: NumberType | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Exported:
    """Write the checkpoint at a path into a new folder.

    Args:
        source: as ``read_checkpoint`` takes it.
        folder: new, or empty.
        to: the layout.
        option: the option that names the folder.
        number_type: type of the written tensors; None: as stored.
        beside: further files of the folder, such as a card.

    Raises:
        CheckpointError: the source cannot be used or written in this layout, or TensorFlow is missing.
        UsageError: the folder is not empty.
        StorageError: it cannot be written; nothing is left behind.
    """
    checkpoint = open_whole(source)
    layout, kept = LAYOUTS[to], _kept(checkpoint)
    tensors = _tensors(checkpoint, kept, layout, number_type)
    files = _config(checkpoint, source, layout) | _tokenizer(checkpoint, layout) | dict(beside or {})

    def write(site: Path) -> None:
        if layout == "google":
            write_google(site / PREFIX, tensors)
        else:
            save_file(tensors, site / SINGLE, metadata={"format": "pt"})
        _prove(checkpoint, kept, site, number_type)

    write_new_folder(folder, files, option, prove=write)
    rules = (use.rule for use in checkpoint.report if use.rule and not use.rule.startswith(ABSENT))
    left_out = Counter((*rules, *[OWN_POOLER] * len(checkpoint.weights.keys() - kept)))
    return Exported(
        checkpoint,
        folder,
        len(tensors),
        sum(value.size for value in tensors.values()),
        dict(sorted(left_out.items())),
        tuple(_notices(checkpoint)),
    )


def open_whole(path: str | Path) -> Checkpoint:
    """Open a checkpoint with its pre-training heads.

    Raises:
        CheckpointError: as ``read_checkpoint``; or such a head has an output layer of its own, which no
            layout can hold beside the token embeddings.
    """
    names = read_checkpoint(path).architecture.names
    heads = [group.name for group in names.groups if group.part == "head"]
    checkpoint = read_checkpoint(path, heads=heads)
    compare_repeated(checkpoint, list(checkpoint.weights))
    return checkpoint


def _tensors(
    checkpoint: Checkpoint, kept: frozenset[str], layout: Layout, number_type: NumberType | None
) -> dict[str, NDArray[Any]]:
    """Return every tensor by its name in a layout, with axes as the layout has them."""
    names = checkpoint.architecture.names
    entries = [entry for entry in checkpoint.entries() if entry.ours in kept]
    inside = any(names.group(entry.group).outside_prefix for entry in entries)
    written: dict[str, NDArray[Any]] = {}
    nameless = []
    for entry in entries:
        prefix = names.prefix if inside and not names.group(entry.group).outside_prefix else ""
        spellings = entry.spellings(layout, prefix)
        if not spellings:
            nameless.append(Problem("this layout has no name for it", entry.ours))
            continue
        value = _exact(checkpoint, entry.ours, number_type)
        written[spellings[0]] = np.asarray(value.T if entry.transposed(layout) else value, order="C")
    if nameless:
        raise CheckpointError(
            "the checkpoint cannot be written in this layout",
            where=str(checkpoint.folder),
            problems=nameless,
            next_step=f"use the other one: --to {'huggingface' if layout == 'google' else 'tensorflow'}",
        )
    return written


def _kept(checkpoint: Checkpoint) -> frozenset[str]:
    """Return our names of the weights to write: all but a pooler that no publisher of the family stores.

    Raises:
        CheckpointError: no publisher stores any network of the family.
    """
    names = checkpoint.architecture.names
    if not names.published:
        raise CheckpointError(
            f"networks of {checkpoint.architecture.name} have no published layout to be written in",
            where=str(checkpoint.folder),
            next_step="use the run itself: --model RUN, --run RUN",
        )
    own = {
        entry.ours
        for entry in checkpoint.entries()
        if names.group(entry.group).part == "pooler" and not (entry.google or entry.hugging_face)
    }
    return frozenset(checkpoint.weights) - own


def _config(checkpoint: Checkpoint, source: str | Path, layout: Layout) -> dict[str, bytes]:
    """Return the config's file: the source's own with what the layout adds, or one made of a run's shape."""
    family, path = checkpoint.architecture.name, locate(source).config
    raw = read_json(path) if path is not None else checkpoint.shape.to_config()
    if raw is None:
        raise TypeError(f"{family} has published names of tensors, but no config")
    called = (*checkpoint.architecture.shape.MODEL_TYPES, family)[0]
    raw = {"model_type": called, **raw, "vocab_size": checkpoint.vocab_size}
    if layout == "huggingface":
        return {CONFIG: json_bytes(raw, indent=2)}
    kept = {key: value for key, value in raw.items() if key not in OF_PROGRAMS}
    return {f"{family}_{CONFIG}": json_bytes(kept, indent=2)}


def _tokenizer(checkpoint: Checkpoint, layout: Layout) -> dict[str, bytes]:
    """Return the tokenizer's files."""
    if checkpoint.vocab is None:
        return {}
    files: dict[str, bytes] = {}
    if layout == checkpoint.layout == "huggingface":
        names = (*DECISIVE_FILES, TOKENIZER_JSON)
        paths = [checkpoint.folder / name for name in names if (checkpoint.folder / name).exists()]
        files = {path.name: path.read_bytes() for path in paths}
    said = {"do_lower_case": checkpoint.lowercase, "tokenizer_class": CLASSES[0]}
    files.setdefault(TOKENIZER_CONFIG, json_bytes(said, indent=2))
    files[VOCABULARY] = read_vocabulary_file(checkpoint.vocab)
    return files


def _exact(checkpoint: Checkpoint, name: str, number_type: NumberType | None) -> NDArray[Any]:
    """Return a tensor as it is to be stored."""
    value = checkpoint.weights.exact(name)
    return value if number_type is None else value.astype(_TYPES[number_type])


def _prove(
    checkpoint: Checkpoint, kept: frozenset[str], folder: Path, number_type: NumberType | None
) -> None:
    """Read what was written, and compare every value with what was to be written, bit for bit."""
    written = open_whole(folder)
    different = [
        name
        for name in sorted(kept)
        if name not in written.weights
        or _exact(checkpoint, name, number_type).tobytes() != written.weights.exact(name).tobytes()
    ]
    if different or set(written.weights) != kept or not _alike(checkpoint, written):
        raise CheckpointError(
            "the written values differ from those read; nothing was kept",
            where=str(checkpoint.folder),
            problems=[Problem("it differs", name) for name in different],
            next_step="check the disk, then run the same command again",
        )


def _alike(first: Checkpoint, second: Checkpoint) -> bool:
    """Return whether two networks have the same sizes and options, as far as configs hold them."""
    own = set(first.shape.UNPUBLISHED | first.shape.WAYS)
    ours, theirs = (one.shape.model_dump(exclude=own) for one in (first, second))
    # a field that is None follows from another one, which configs write out
    said = [name for name in ours if ours[name] is not None and theirs.get(name) is not None]
    axes = [one.shape.axes(one.vocab_size) for one in (first, second)]
    return axes[0] == axes[1] and all(ours[name] == theirs[name] for name in said)


def _notices(checkpoint: Checkpoint) -> list[str]:
    """Return what the new folder does not hold."""
    notices = list(checkpoint.notices)
    if checkpoint.vocab is None:
        notices.append(f"the checkpoint has no vocabulary: put its {VOCABULARY} into the new folder")
    kind = type(checkpoint.shape)
    unsaid = checkpoint.shape.model_dump(include=set(kind.UNPUBLISHED))
    if any(value != kind.model_fields[name].default for name, value in unsaid.items()):
        notices.append(
            "published configs cannot hold these settings, give them again where it is used: "
            + ", ".join(f"model.{name}={value}" for name, value in sorted(unsaid.items()))
        )
    return notices

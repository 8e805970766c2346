"""Open a checkpoint of any known layout and account for every tensor in it before one is used.

In: a folder, whose layout is told from its files. Out: a ``Checkpoint``, or all problems at once; and a
network's weights with the backbone's replaced. Knows nothing about how networks are built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.architectures.base import (
    Architecture,
    BaseShape,
    architecture_names,
    load_architecture,
    nameless_family,
)
from clue_runner.architectures.name_table import Layout
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.checkpoints import google, huggingface, run_weights
from clue_runner.checkpoints.checkpoint import Checkpoint, Weights, no_vocab
from clue_runner.checkpoints.detect import find_layout
from clue_runner.checkpoints.files import TensorReader, read_json
from clue_runner.checkpoints.huggingface import TOKENIZER_CONFIG, read_lowercase
from clue_runner.checkpoints.plan import Plan, Wanted, make_plan
from clue_runner.errors import CheckpointError, Problem
from clue_runner.tokens.vocabulary import parse_vocabulary, read_vocabulary_file

VOCABULARY = "vocab.txt"
NAMED_CONFIG = re.compile(r"([a-z0-9]+)_config")
CAPITAL = re.compile("(##)?[A-Z]")
NO_POOLER_NOTICE = "the checkpoint has no pooler: with pooling 'pooler' a new one starts from random weights"


@dataclass(frozen=True)
class _Opened:
    """What a layout says before its tensors are matched."""

    reader: TensorReader
    config_path: Path
    architecture: Architecture
    shape: BaseShape
    vocab_size: int
    lowercase: bool | None = None


def read_checkpoint(path: str | Path, *, heads: Sequence[str] = ()) -> Checkpoint:
    """Open a checkpoint folder: Google's, Hugging Face's, or the best weights of one of our runs.

    Args:
        path: the folder.
        heads: groups of pre-training in the family's table that are taken too, where they are there.

    Raises:
        CheckpointError: no such folder, no known layout, an unsupported architecture, or any tensor that
            is unmapped, missing or of the wrong shape (all named at once).
        RefusedFileError: a malformed file.
    """
    folder, layout = find_layout(path)
    opened = _OPENERS[layout](folder)
    shape = opened.shape
    wanted = Wanted(opened.architecture.names, shape.num_layers, shape.axes(opened.vocab_size), heads)
    plan = make_plan(opened.reader.shapes(), wanted, layout)
    _refuse(plan, folder, opened)
    notices = [NO_POOLER_NOTICE] if "pooler" in plan.absent else []
    lowercase, said = opened.lowercase, opened.lowercase is not None
    if lowercase is None:
        lowercase, said = read_lowercase(folder)
    vocab = folder / VOCABULARY if (folder / VOCABULARY).exists() else None
    if vocab:
        notices += _check_vocab(vocab, opened.vocab_size, said)
    files = dict.fromkeys(
        (*opened.reader.files, opened.config_path, folder / TOKENIZER_CONFIG, folder / VOCABULARY)
    )
    return Checkpoint(
        folder=folder,
        layout=layout,
        architecture=opened.architecture,
        shape=shape,
        config=_settings(opened.architecture, shape, lowercase),
        vocab_size=opened.vocab_size,
        vocab=vocab,
        lowercase=lowercase,
        weights=Weights(opened.reader, plan.sources, folder),
        report=plan.report,
        absent=plan.absent,
        notices=tuple(notices),
        files=tuple(file for file in files if file.exists()),
        heads=tuple(heads),
    )


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the ``ModelSettings`` fields that a checkpoint fixes; opens no weights, needs no TensorFlow.

    Raises:
        CheckpointError: as ``read_checkpoint``, except for what only the weights can show.
    """
    folder, layout = find_layout(path)
    if layout == "native":
        saved = run_weights.RunReader(folder).saved
        return _settings(saved.architecture, saved.shape, saved.lowercase)
    config = folder / (google.CONFIG if layout == "google" else huggingface.CONFIG)
    architecture, shape, _ = read_config(config)
    return _settings(architecture, shape, read_lowercase(folder)[0])


def read_config(path: Path) -> tuple[Architecture, BaseShape, int]:
    """Return the family, the shape and the vocabulary size that a config file describes.

    Raises:
        CheckpointError: a family that is not there, an option that it does not have, or impossible values.
    """
    raw = read_json(path)
    family = raw.get("model_type") or _family_in_name(path) or nameless_family()
    if family not in architecture_names():
        raise CheckpointError(
            "this family of models is not supported",
            where=str(path),
            received=f"model_type {family!r}",
            allowed=", ".join(architecture_names()),
            next_step="take a checkpoint of a family that is",
        )
    architecture = load_architecture(family)
    config = RawConfig(raw, str(path))
    return architecture, architecture.shape.from_config(config), config.vocab_size


def _family_in_name(path: Path) -> str | None:
    """Return the family that a config's file name begins with: ``bert_config.json``."""
    named = NAMED_CONFIG.match(path.name)
    return named.group(1) if named else None


def _settings(architecture: Architecture, shape: BaseShape, lowercase: bool) -> dict[str, Any]:
    """Return the settings that a checkpoint fixes."""
    said = shape.model_fields_set - shape.WAYS
    return {"family": architecture.name, **shape.model_dump(include=set(said)), "lowercase": lowercase}


def find_vocab(path: str | Path) -> tuple[Path, bool]:
    """Return the vocabulary of a checkpoint and whether its texts are lower-cased; opens no weights.

    Raises:
        CheckpointError: it has none.
    """
    folder, layout = find_layout(path)
    vocab = folder / VOCABULARY
    if not vocab.exists():
        raise no_vocab(folder)
    if layout == "native":
        return vocab, run_weights.RunReader(folder).saved.lowercase
    return vocab, read_lowercase(folder)[0]


def load_into(variables: Mapping[str, Any], checkpoint: Checkpoint) -> list[str]:
    """Assign a checkpoint's weights to a network's variables (anything with ``shape`` and ``assign``).

    Returns:
        Names that keep their first values: the pooler's, where the checkpoint has none.

    Raises:
        CheckpointError: network and checkpoint are not of one shape; nothing is assigned then.
    """
    names, new = _match({name: variable.shape for name, variable in variables.items()}, checkpoint)
    for name in names:
        variables[name].assign(checkpoint.weights[name])
    return new


def _match(shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    """Return which weights to load and which are new; all differences at once."""
    names = checkpoint.architecture.names
    groups = {entry.ours: entry.group for entry in checkpoint.entries()}
    roots = tuple(
        {
            f"{ours.partition('/')[0]}/"
            for ours, group in groups.items()
            if names.group(group).part == "network"
        }
    )
    wanted = {
        name: tuple(shape) for name, shape in shapes.items() if name in groups or name.startswith(roots)
    }
    optional = {ours for ours, group in groups.items() if names.group(group).part != "network"}
    # A network that pools another way has no use for the pooler.
    stored = {name for name in checkpoint.weights if name in wanted or name not in optional}
    new = sorted(set(wanted) - stored)
    problems = [Problem("the model has no such tensor", name) for name in sorted(stored - set(wanted))]
    problems += [
        Problem("the checkpoint has no such tensor", name)
        for name in new
        if groups.get(name) not in checkpoint.absent
    ]
    loaded = sorted(stored & set(wanted))
    problems += [
        Problem("wrong shape", name, str(list(checkpoint.weights.shape(name))), str(list(wanted[name])))
        for name in loaded
        if checkpoint.weights.shape(name) != wanted[name]
    ]
    if problems:
        raise CheckpointError(
            "checkpoint and model differ",
            where=str(checkpoint.folder),
            problems=problems,
            next_step="leave the model's shape to the checkpoint: remove model.* sizes from config and --set",
        )
    return loaded, new


def _open_google(folder: Path) -> _Opened:
    """Open a TensorFlow checkpoint of the BERT release."""
    path = folder / google.CONFIG
    found = read_config(path)
    return _Opened(google.GoogleReader(folder), path, *found)


def _open_hugging_face(folder: Path) -> _Opened:
    """Open a Hugging Face folder."""
    path = folder / huggingface.CONFIG
    found = read_config(path)
    return _Opened(huggingface.HuggingFaceReader(folder), path, *found)


def _open_native(folder: Path) -> _Opened:
    """Open the weights of a saved state of one of our runs."""
    reader = run_weights.RunReader(folder)
    saved = reader.saved
    path = folder / run_weights.WEIGHTS
    return _Opened(reader, path, saved.architecture, saved.shape, saved.vocab_size, saved.lowercase)


_OPENERS: dict[Layout, Callable[[Path], _Opened]] = {
    "google": _open_google,
    "huggingface": _open_hugging_face,
    "native": _open_native,
}


def _refuse(plan: Plan, folder: Path, opened: _Opened) -> None:
    """Stop at a checkpoint with problems, all of them named."""
    if not plan.problems:
        return
    for stranger in opened.architecture.names.strangers:
        if any(mark in name for name in opened.reader.shapes() for mark in stranger.marks):
            raise CheckpointError(
                f"these tensors are not {opened.architecture.name}'s: {stranger.what}",
                where=str(folder),
                problems=plan.problems,
                next_step="take a checkpoint of a family that is supported: "
                + ", ".join(architecture_names()),
            )
    count = len(plan.problems)
    raise CheckpointError(
        f"the checkpoint does not fit its {opened.config_path.name}: {count} problem{'s' * (count > 1)}",
        where=str(folder),
        problems=plan.problems,
        next_step="take the config that belongs to these weights, or download the checkpoint again",
    )


def _check_vocab(path: Path, vocab_size: int, case_said: bool) -> list[str]:
    """Compare the vocabulary with the word table and with how case is treated; return notices."""
    vocabulary = parse_vocabulary(read_vocabulary_file(path), path)
    if len(vocabulary) > vocab_size:
        raise CheckpointError(
            "the vocabulary is longer than the word table",
            where=str(path),
            received=f"{len(vocabulary)} lines",
            allowed=f"up to {vocab_size}",
            next_step="use the vocab.txt that belongs to the checkpoint",
        )
    notices = []
    if len(vocabulary) < vocab_size:
        notices.append(
            f"vocab.txt has {len(vocabulary)} lines, the word table {vocab_size} rows: the last go unused"
        )
    # Lower-cased vocabularies hold no capital outside [PAD] and its like; a cased one would be read wrongly.
    if not case_said and any(CAPITAL.match(piece) for piece in vocabulary):
        notices.append(
            "vocab.txt holds capital letters, yet texts are lower-cased, BERT's default: "
            f'for a cased model write {{"do_lower_case": false}} into {TOKENIZER_CONFIG}'
        )
    return notices

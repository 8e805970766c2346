"""Open a checkpoint of any known layout and account for every tensor in it before one is used.

In: a folder, whose layout is told from its files. Out: a ``Checkpoint``, or all problems at once; and a
network's weights with the backbone's replaced. Knows nothing about how networks are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clue_runner.checkpoints import google, huggingface, run_weights
from clue_runner.checkpoints.bert_config import bert_settings
from clue_runner.checkpoints.checkpoint import Checkpoint, Weights
from clue_runner.checkpoints.detect import ALBERT, find_layout
from clue_runner.checkpoints.files import TensorReader, read_json
from clue_runner.checkpoints.names import Layout, is_albert, pooler_entries
from clue_runner.checkpoints.plan import Plan, Sizes, make_plan
from clue_runner.checkpoints.tokenizer_files import DECISIVE_FILES, VOCABULARY, read_lowercase
from clue_runner.checkpoints.vocabularies import no_vocab, vocabulary_notices
from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.tensors import State

NO_POOLER_NOTICE = "the checkpoint has no pooler: with pooling 'pooler' a new one starts from random weights"


@dataclass(frozen=True)
class _Opened:
    """What a layout says before its tensors are matched."""

    reader: TensorReader
    config_path: Path
    settings: dict[str, Any]
    vocab_size: int


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder: Google's, Hugging Face's, or the best weights of one of our runs.

    Raises:
        CheckpointError: no such folder, no known layout, an unsupported architecture, or any tensor that
            is unmapped, missing or of the wrong shape (all named at once).
        RefusedFileError: a malformed file.
    """
    folder, layout = find_layout(path)
    opened = _OPENERS[layout](folder)
    shapes = opened.reader.shapes()
    if is_albert(shapes):
        raise CheckpointError("ALBERT is not supported yet", where=str(folder), next_step=ALBERT)
    plan = make_plan(shapes, _sizes(opened), layout)
    _refuse(plan, folder, opened.config_path)
    notices = [] if plan.has_pooler else [NO_POOLER_NOTICE]
    settings = dict(opened.settings)
    if "lowercase" not in settings:
        settings["lowercase"], _ = read_lowercase(folder)
    vocab = folder / VOCABULARY if (folder / VOCABULARY).exists() else None
    if vocab:
        notices += vocabulary_notices(vocab, opened.vocab_size)
    own = (folder / name for name in DECISIVE_FILES)
    files = dict.fromkeys((*opened.reader.files, opened.config_path, *own))
    return Checkpoint(
        folder=folder,
        layout=layout,
        config=settings,
        vocab_size=opened.vocab_size,
        vocab=vocab,
        lowercase=settings["lowercase"],
        weights=Weights(opened.reader, plan.sources, folder),
        report=plan.report,
        has_pooler=plan.has_pooler,
        notices=tuple(notices),
        files=tuple(file for file in files if file.exists()),
    )


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the ``ModelSettings`` fields that a checkpoint fixes; opens no weights, needs no TensorFlow.

    Raises:
        CheckpointError: as ``read_checkpoint``, except for what only the weights can show.
    """
    folder, layout = find_layout(path)
    if layout == "native":
        return run_weights.RunReader(folder).settings
    config = folder / (google.CONFIG if layout == "google" else huggingface.CONFIG)
    settings, _ = bert_settings(read_json(config), config)
    return {**settings, "lowercase": read_lowercase(folder)[0]}


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
        return vocab, bool(run_weights.RunReader(folder).settings["lowercase"])
    return vocab, read_lowercase(folder)[0]


def initial_weights(current: Mapping[str, NDArray[Any]], checkpoint: Checkpoint) -> tuple[State, list[str]]:
    """Return a network's weights with its backbone's taken from a checkpoint.

    Args:
        current: the network's weights by name; heads and all else outside ``backbone/`` are kept.
        checkpoint: where the backbone comes from.

    Returns:
        The weights, and the backbone names that stay ``current``: a pooler that the checkpoint lacks.

    Raises:
        CheckpointError: network and checkpoint are not of one shape.
    """
    names, new = _match({name: value.shape for name, value in current.items()}, checkpoint)
    return {**current, **{name: checkpoint.weights[name] for name in names}}, new


def load_into(variables: Mapping[str, Any], checkpoint: Checkpoint) -> list[str]:
    """Assign a checkpoint's weights to backbone variables (anything with ``shape`` and ``assign``).

    Returns:
        Backbone names that keep their first values: the pooler's, where the checkpoint has none.

    Raises:
        CheckpointError: network and checkpoint are not of one shape; nothing is assigned then.
    """
    names, new = _match({name: variable.shape for name, variable in variables.items()}, checkpoint)
    for name in names:
        variables[name].assign(checkpoint.weights[name])
    return new


def _match(shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    """Return which backbone weights to load and which are new; all differences at once."""
    wanted = {name: tuple(shape) for name, shape in shapes.items() if name.startswith("backbone/")}
    poolers = {entry.ours for entry in pooler_entries()}
    # A network that pools another way has no use for the pooler.
    stored = {name for name in checkpoint.weights if name in wanted or name not in poolers}
    new = sorted(set(wanted) - stored)
    problems = [Problem("the model has no such tensor", name) for name in sorted(stored - set(wanted))]
    problems += [
        Problem("the checkpoint has no such tensor", name)
        for name in new
        if checkpoint.has_pooler or name not in poolers
    ]
    names = sorted(stored & set(wanted))
    problems += [
        Problem("wrong shape", name, str(list(checkpoint.weights.shape(name))), str(list(wanted[name])))
        for name in names
        if checkpoint.weights.shape(name) != wanted[name]
    ]
    if problems:
        raise CheckpointError(
            "checkpoint and model differ",
            where=str(checkpoint.folder),
            problems=problems,
            next_step="leave the model's shape to the checkpoint: remove model.* sizes from config and --set",
        )
    return names, new


def _open_google(folder: Path) -> _Opened:
    """Open a TensorFlow checkpoint of the BERT release."""
    path = folder / google.CONFIG
    settings, vocab_size = bert_settings(read_json(path), path)
    return _Opened(google.GoogleReader(folder), path, settings, vocab_size)


def _open_hugging_face(folder: Path) -> _Opened:
    """Open a Hugging Face folder."""
    path = folder / huggingface.CONFIG
    settings, vocab_size = bert_settings(read_json(path), path)
    return _Opened(huggingface.HuggingFaceReader(folder), path, settings, vocab_size)


def _open_native(folder: Path) -> _Opened:
    """Open the weights of a saved state of one of our runs."""
    reader = run_weights.RunReader(folder)
    return _Opened(reader, folder / run_weights.WEIGHTS, reader.settings, reader.vocab_size)


_OPENERS: dict[Layout, Callable[[Path], _Opened]] = {
    "google": _open_google,
    "huggingface": _open_hugging_face,
    "native": _open_native,
}


def _sizes(opened: _Opened) -> Sizes:
    """Return the lengths of all axes."""
    settings = opened.settings
    return Sizes(
        num_layers=settings["num_layers"],
        vocabulary=opened.vocab_size,
        positions=settings["max_positions"],
        segments=settings["num_segments"],
        hidden=settings["hidden_dim"],
        intermediate=settings["intermediate_dim"],
    )


def _refuse(plan: Plan, folder: Path, config_path: Path) -> None:
    """Stop at a checkpoint with problems, all of them named."""
    if plan.problems:
        count = len(plan.problems)
        raise CheckpointError(
            f"the checkpoint does not fit its {config_path.name}: {count} problem{'s' * (count > 1)}",
            where=str(folder),
            problems=plan.problems,
            next_step="take the config that belongs to these weights, or download the checkpoint again",
        )

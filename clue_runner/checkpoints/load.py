"""Put a checkpoint's weights into a network.

In: the network's variables by name, an opened checkpoint. Out: the variables with its values, or all
differences at once and nothing changed. Knows nothing about how networks are built or files are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.errors import CheckpointError, Problem
from clue_runner.models.initial import first_values


def load_into(variables: Mapping[str, Any], checkpoint: Checkpoint) -> list[str]:
    """Assign a checkpoint's weights to a network's variables (with ``shape``, ``dtype``, ``assign``).

    Returns:
        Names that keep their initial values: the pooler's, if the checkpoint has none.

    Raises:
        CheckpointError: network and checkpoint differ in shape, or the files have changed; nothing is
            assigned then.
    """
    names, new = _match({name: variable.shape for name, variable in variables.items()}, checkpoint)
    checkpoint.require_unchanged()
    compare_repeated(checkpoint, names)
    for name in names:
        # cast here: a backend would hold the tensor in both types, in memory that it never releases
        variables[name].assign(checkpoint.weights.typed(name, variables[name].dtype))
    checkpoint.weights.release()
    checkpoint.require_unchanged()
    return new


@contextmanager
def first_values_of(checkpoint: Checkpoint) -> Iterator[None]:
    """Initialise the networks that are built inside from a checkpoint, each weight read and placed once.

    ``require_whole`` checks afterwards that network and checkpoint match.

    Raises:
        CheckpointError: the files have changed.
    """

    def value(name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any] | None:
        weights = checkpoint.weights
        return weights.typed(name, kind) if name in weights and weights.shape(name) == shape else None

    checkpoint.require_unchanged()
    with first_values(value):
        yield
    checkpoint.weights.release()
    checkpoint.require_unchanged()


def require_whole(variables: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse a network unless all of its weights are in a checkpoint.

    Raises:
        CheckpointError: network and checkpoint do not match; all differences at once.
    """
    _match({name: tuple(variable.shape) for name, variable in variables.items()}, checkpoint)


def _match(shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    """Return which weights to load and which are new; all differences at once."""
    table = checkpoint.architecture.names
    groups = {entry.ours: entry.group for entry in checkpoint.entries()}
    network = {ours for ours, group in groups.items() if table.group(group).part == "network"}
    roots = tuple({f"{ours.partition('/')[0]}/" for ours in network})
    wanted = {
        name: tuple(shape) for name, shape in shapes.items() if name in groups or name.startswith(roots)
    }
    # A network with another pooling does not need the pooler.
    stored = {name for name in checkpoint.weights if name in wanted or name in network}
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
            next_step="let the checkpoint set the model's shape: remove model.* sizes from config and --set",
        )
    return loaded, new


def compare_repeated(checkpoint: Checkpoint, loaded: list[str]) -> None:
    """Refuse a tensor that was left out as equal to another, but is not."""
    same_as = {rule.name: rule.same_as for rule in checkpoint.architecture.names.rules if rule.same_as}
    repeated = {use.name: same_as[use.rule] for use in checkpoint.report if use.rule in same_as}
    problems = [
        Problem(f"it differs from {ours}, which it should repeat", name)
        for name, ours in repeated.items()
        if checkpoint.heads
        and ours in loaded
        and not np.array_equal(checkpoint.weights.stored(name), checkpoint.weights[ours])
    ]
    if problems:
        raise CheckpointError(
            "the output layer of the pre-training head is not tied to the embeddings",
            where=str(checkpoint.folder),
            problems=problems,
            next_step="such a head cannot be trained further; its encoder can be fine-tuned",
        )

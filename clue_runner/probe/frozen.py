"""Frozen features: the vector that an encoder gives each text, computed once, without dropout or training.

In: settings of a run, its adapter's records. Out: one vector per record, and what they are.
A linear model on them is convex, however the network came by its weights. Knows nothing about schedules,
the ball or the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Adapter
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.load import load_into
from clue_runner.data.records import Records
from clue_runner.engines import compiled
from clue_runner.errors import CheckpointError, NotFiniteError
from clue_runner.runs.identity import RANDOM
from clue_runner.tokens.batches import batch_arrays, choose_buckets, evaluation_plan, split_batch
from clue_runner.training.network import Choices, choose, network_builder, open_tokenizer
from clue_runner.training.prepare import encode_records
from clue_runner.training.pretrained.opening import open_checkpoint

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Frozen:
    """What an encoder says of records.

    Args:
        vectors: (records, width), in the order of the records.
        facts: what they are of, for ``probe.json``.
    """

    vectors: Vectors
    facts: dict[str, Any]


def frozen_features(
    adapter: Adapter,
    records: Records[Any],
    warn: Callable[[str], None],
    show: Callable[[int], None] = lambda done: None,
) -> Frozen:
    """Return the vectors of texts as the task's head would read them: ``model.pooling`` of the last layer.

    Args:
        adapter: bound to the card and to settings that name the model.
        records: one row each.
        warn: told what encoding lost.
        show: told how many records are done.

    Raises:
        CheckpointError: the checkpoint cannot be used, or has no pooler where one is asked for.
        NotFiniteError: a vector has a number that is none.
    """
    run = adapter.run
    checkpoint = open_checkpoint(run)
    tokenizer = open_tokenizer(run, checkpoint)
    adapter.tokenizer = tokenizer
    rows = encode_records(adapter, records, tokenizer, cache=run.data.cache, warn=warn)
    choices = choose(run)
    size = checkpoint.vocab_size if checkpoint else tokenizer.vocab_size
    answer = _encoder(adapter, choices, checkpoint, size)
    buckets = choose_buckets(rows.lengths, run.data.max_length)
    vectors, done = np.empty((len(records), 0), np.float32), 0
    for indices in evaluation_plan(rows, tokens=run.train.evaluate_tokens, buckets=buckets):
        batch = batch_arrays(rows, indices, tokens=run.train.evaluate_tokens, buckets=buckets)
        found = answer(split_batch(batch, rows.host_columns)[0])[: len(indices)]
        if not np.isfinite(found).all():
            raise NotFiniteError("a frozen feature is not a number", where=records.shown)
        if not vectors.shape[1]:
            vectors = np.empty((len(records), found.shape[1]), np.float32)
        vectors[rows.record[indices]] = found
        done += len(indices)
        show(done)
    return Frozen(
        vectors,
        {
            "kind": "frozen",
            "model": run.model.name,
            "weights": checkpoint.sha256 if checkpoint else RANDOM,
            "pooling": run.model.pooling,
            "max_length": run.data.max_length,
            "precision": choices.precision.value,
            "notes": dict(rows.notes),
        },
    )


def _encoder(
    adapter: Adapter, choices: Choices, checkpoint: Checkpoint | None, vocab_size: int
) -> Callable[[Any], Vectors]:
    """Return the function of a batch that gives its vectors."""
    from keras import ops

    from clue_runner.models.naming import named_variables

    network = network_builder(adapter, choices, vocab_size=vocab_size)()
    begun = [] if checkpoint is None else load_into(named_variables(network), checkpoint)
    if begun:
        raise CheckpointError(
            "the checkpoint has no pooler, and vectors of a random one are not its own",
            where="--pooling",
            received=adapter.run.model.pooling,
            allowed="mean, max, first",
        )

    def vectors(batch: Any) -> Any:
        return ops.cast(network.vectors(batch, None), "float32")

    graph = compiled(adapter.run.backend, network, vectors)

    def answer(batch: Any) -> Vectors:
        tensors = {name: ops.convert_to_tensor(values) for name, values in batch.items()}
        return np.asarray(ops.convert_to_numpy(graph(tensors)), np.float32)

    return answer

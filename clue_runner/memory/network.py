"""The facts about a run's network that determine its memory: its sizes, its head, its rule, its techniques.

In: a run's settings, what the task's head adds. Out: a ``Network``. No backend is loaded.
Knows nothing about bytes of a step or about budgets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clue_runner.adapters.base import MemoryFacts
from clue_runner.architectures.base import parameter_count, weight_shapes
from clue_runner.architectures.settings import shape_of
from clue_runner.config.schema import ModelSettings, Run
from clue_runner.engines.rules import make_rule
from clue_runner.engines.rules.base import UpdateRule
from clue_runner.engines.techniques import make_techniques
from clue_runner.engines.techniques.base import Extra
from clue_runner.errors import UsageError
from clue_runner.models.shape import EncoderShape

FLOAT = 4
HALF = 2


@dataclass(frozen=True)
class Network:
    """The facts about a task's network that determine its memory.

    Args:
        model: shape and options.
        weights: trainable parameters, including those of a classification head.
        beside: numbers kept for the weights between steps: the rule's, averages, slow weights.
        vocab_size: rows of the token embeddings.
        labels: number of labels of the task.
        head: what the task's head adds.
        precision: ``float32`` or ``bfloat16``.
        backend: ``tensorflow`` or ``jax``.
        sparse: the gradient of the token embeddings has only the rows in use.
        copied: the copy of a state that is being saved is in the same memory; on a GPU it is not.
        extra: what the techniques add.
    """

    model: EncoderShape
    weights: int
    beside: int
    vocab_size: int
    labels: int
    head: MemoryFacts
    precision: str
    backend: str
    sparse: bool
    copied: bool = True
    extra: Extra = Extra()

    @property
    def size(self) -> int:
        """Return the bytes of one number of the compute type."""
        return HALF if self.precision == "bfloat16" else FLOAT


def is_encoder(run: Run) -> bool:
    """Return whether the memory of the network can be forecast."""
    return isinstance(run.model, EncoderShape)


def require_encoder(run: Run) -> EncoderShape:
    """Return the shape of a transformer encoder; refuse networks whose memory cannot be forecast.

    Raises:
        UsageError: the model is not a transformer encoder.
    """
    if isinstance(run.model, EncoderShape):
        return run.model
    raise UsageError(
        "memory is forecast only for transformer encoders",
        where="model.family",
        received=run.model.family,
        next_step="train.token_budget limits what is computed at once; train.batch_size takes a number",
    )


def network_of(
    run: Run, head: MemoryFacts, *, vocab_size: int, labels: int, precision: str, on_gpu: bool = False
) -> Network:
    """Return the facts about a run's network.

    Args:
        run: the settings.
        head: what the task's head adds.
        vocab_size: rows of the token embeddings.
        labels: of the card; spans and choices count as one.
        precision: as resolved.
        on_gpu: whether it computes on a GPU.
    """
    train, jit = run.train, run.backend == "jax" or run.train.jit == "on"
    if jit and not on_gpu:  # XLA computes bfloat16 in float32 there
        precision = "float32"
    model, labels = require_encoder(run), max(1, labels)
    rule = make_rule(train.optimizer, train.model_dump(), weight_decay=train.weight_decay)
    weights = count_weights(run.model, vocab_size, labels)
    copies = (train.ema is not None) + (train.lookahead is not None)
    extra = Extra()
    for technique in reversed(make_techniques(train.model_dump())):
        extra = technique.extra(recomputed=model.recompute != "none").around(extra)
    return Network(
        model,
        weights,
        _slots(rule, run.model, vocab_size, labels) + copies * weights,
        vocab_size,
        labels,
        head,
        precision,
        run.backend,
        # words are scored by their own embeddings, and rules that need norms of whole tables read all rows
        not jit and rule.skips_unused_rows and not head.scores_words,
        not on_gpu,
        extra,
    )


def count_weights(model: ModelSettings, vocab_size: int, labels: int) -> int:
    """Return the trainable parameters of a backbone with a classification head; ``labels`` 0: without it."""
    shape = shape_of(model)
    backbone = parameter_count(shape, vocab_size, pooler=model.pooling == "pooler")
    return backbone + (int(shape.hidden_dim) + 1) * labels


def _slots(rule: UpdateRule, model: ModelSettings, vocab_size: int, labels: int) -> int:
    """Return how many numbers an update rule keeps for the weights that ``count_weights`` counts."""
    shape = shape_of(model)
    own = [(int(shape.hidden_dim), labels), (labels,)]
    shapes = [*weight_shapes(shape, vocab_size, pooler=model.pooling == "pooler"), *own]
    return sum(math.prod(slot) for one in shapes for slot in rule.slots(one).values())

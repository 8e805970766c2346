"""The memory of a training step, counted from shapes: no backend, no weights, no step.

In: a model's settings, rows, length. Out: bytes by purpose. Knows nothing about devices or tables.

What the kernels in ``models/`` keep for the backward pass is counted tensor by tensor: ``Kept``. Added to
it is what a block needs while it is computed; those few factors (``PASSING``) were fitted to measured
peaks (``scripts/bench_memory.py --predict`` repeats the comparison) and are not derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clue_runner.adapters.base import MemoryFacts
from clue_runner.architectures.base import parameter_count
from clue_runner.architectures.settings import shape_of
from clue_runner.config.attention import CHUNK, LONGEST_WHOLE
from clue_runner.config.recompute import segment_size
from clue_runner.config.schema import ModelSettings, Run
from clue_runner.errors import UsageError
from clue_runner.models.shape import EncoderShape

FLOAT = 4
HALF = 2


class Need(NamedTuple):
    """Bytes of a step at its peak, by purpose; ``copy``: of the state, from which a thread writes it."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    temporary: int
    copy: int = 0

    @property
    def state(self) -> int:
        """Return the bytes in use between steps."""
        return self.parameters + self.optimizer

    @property
    def step(self) -> int:
        """Return the bytes that a step adds."""
        return self.gradients + self.activations + self.temporary

    @property
    def total(self) -> int:
        """Return the peak."""
        return self.state + self.step + self.copy

    def with_copy(self, network: Network) -> Need:
        """Return this with the copy of the state, where a network's copies are in the same memory."""
        return self._replace(copy=self.state if network.copied else 0)


class Kept(NamedTuple):
    """Bytes that the two halves of a block keep for the backward pass, including their inputs."""

    attention: int
    feed_forward: int

    @property
    def whole(self) -> int:
        """Return the sum of both."""
        return self.attention + self.feed_forward


class Passing(NamedTuple):
    """What exists only while a block is computed: multiples of its scores and its inner layer."""

    scores: float
    inner: float


# Fitted, in numbers of the compute type: while a whole block is computed, or half of one.
PASSING = {
    ("tensorflow", "float32"): Passing(3.6, 1.7),
    ("tensorflow", "bfloat16"): Passing(8.0, 0.0),
    ("jax", "float32"): Passing(3.0, 2.0),
    ("jax", "bfloat16"): Passing(6.0, 0.0),
}
PASSING_HALF = {
    ("tensorflow", "float32"): Passing(2.1, 0.4),
    ("tensorflow", "bfloat16"): Passing(4.3, 0.0),
    ("jax", "float32"): Passing(3.3, 1.5),
    ("jax", "bfloat16"): Passing(4.3, 0.0),
}
# Loss to fragmentation between pieces of two sizes, as a factor on what a block keeps; fitted too.
_WASTE = {
    ("tensorflow", "float32"): 1.0,
    ("tensorflow", "bfloat16"): 1.1,
    ("jax", "float32"): 1.13,
    ("jax", "bfloat16"): 1.1,
}
_SPAN_SCORES = 4  # tables of span scores that live at once: scores, their exponents, their gradient, a mask
_WORD_SCORES = 3  # tables of word scores that live at once: scores, their exponents, their gradient


@dataclass(frozen=True)
class Network:
    """The facts about a task's network that determine its memory.

    Args:
        model: shape and options.
        weights: trainable parameters, including those of a classification head.
        vocab_size: rows of the token embeddings.
        labels: number of labels of the task.
        every_token: the head reads all tokens, so the last block computes them all.
        span_tables: (length x length) tables of scores that the head computes for a row.
        word_scores: fraction of the tokens that the head scores over the whole vocabulary.
        precision: ``float32`` or ``bfloat16``.
        backend: ``tensorflow`` or ``jax``.
        averaged: averaged weights are kept.
        sparse: the gradient of the token embeddings has only the rows in use.
        copied: the copy of a state that is being saved is in the same memory; on a GPU it is not.
    """

    model: EncoderShape
    weights: int
    vocab_size: int
    labels: int
    every_token: bool
    span_tables: int
    precision: str
    backend: str
    averaged: bool
    sparse: bool
    word_scores: float = 0.0
    copied: bool = True

    @property
    def size(self) -> int:
        """Return the bytes of one number of the compute type."""
        return HALF if self.precision == "bfloat16" else FLOAT


def is_encoder(run: Run) -> bool:
    """Return whether the memory of the network can be forecast."""
    return isinstance(run.model, EncoderShape) and not run.model.ADDS_SCORES


def require_encoder(run: Run) -> EncoderShape:
    """Return the shape of a transformer encoder; refuse networks whose memory cannot be forecast.

    Raises:
        UsageError: the model is not a transformer encoder, or its positions add scores in every layer.
    """
    if isinstance(run.model, EncoderShape) and not run.model.ADDS_SCORES:
        return run.model
    scores = isinstance(run.model, EncoderShape)
    raise UsageError(
        "memory is not forecast if positions add scores in every layer: their memory was not measured"
        if scores
        else "memory is forecast only for transformer encoders",
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
    jit = run.backend == "jax" or run.train.jit == "on"
    if jit and not on_gpu:  # XLA computes bfloat16 in float32 there
        precision = "float32"
    return Network(
        require_encoder(run),
        count_weights(run.model, vocab_size, max(1, labels)),
        vocab_size,
        max(1, labels),
        head.every_token,
        head.span_tables,
        precision,
        run.backend,
        run.train.ema is not None,
        not jit,
        head.word_scores,
        not on_gpu,
    )


def count_weights(model: ModelSettings, vocab_size: int, labels: int) -> int:
    """Return the trainable parameters of a backbone with a classification head; ``labels`` 0: without it."""
    shape = shape_of(model)
    backbone = parameter_count(shape, vocab_size, pooler=model.pooling == "pooler")
    return backbone + (int(shape.hidden_dim) + 1) * labels


def kept_by_block(network: Network, rows: int, length: int) -> Kept:
    """Return what one block keeps for the backward pass if nothing is recomputed."""
    model, size = network.model, network.size
    tokens = rows * length * model.hidden_dim
    inner = rows * length * model.intermediate_dim
    dropped = model.dropout > 0
    # tokens; query, key, value; the context of each head and of all; the normed sum, always float32; a mask
    attention = tokens * ((6 + dropped) * size + FLOAT)
    if _in_chunks(model, length):
        attention += tokens * size  # the output, from which the gradient of the softmax is computed
    else:
        scores = rows * model.num_heads * length * length
        attention += scores * size * (3 if model.attention_dropout > 0 else 1)
        attention += tokens * size * (model.attention_dropout > 0)
    # tokens, a mask, the normed sum; the inner layer and its activation's slope
    feed_forward = tokens * ((1 + dropped) * size + FLOAT) + 2 * inner * size
    if size != FLOAT:
        attention += tokens * FLOAT  # the context again, which the gradient of the softmax needs in float32
    waste = _WASTE[network.backend, network.precision]
    return Kept(round(waste * attention), round(waste * feed_forward))


def step_need(network: Network, rows: int, length: int, recompute: str) -> Need:
    """Return what a step of one micro-batch needs at its peak.

    The backward pass goes through the parts (blocks, or what is recomputed at once) from last to first. In
    each, memory holds what the parts before it keep, everything inside it, and the weight gradients of the
    parts after it. The peak is the highest of these moments, or the update itself.
    """
    weights = network.weights
    table = 0 if not network.sparse else network.vocab_size * network.model.embedding_dim
    parameters, gradients = weights * FLOAT, (weights - table) * FLOAT
    optimizer = parameters * (2 + network.averaged)
    parts = _parts(network, rows, length, recompute)
    below = _embeddings(network, rows, length) + _head(network, rows, length)
    kept_before = [below + sum(part.kept for part in parts[:number]) for number in range(len(parts))]
    moments = [
        Need(
            parameters,
            gradients * (len(parts) - 1 - number) // len(parts),
            optimizer,
            kept_before[number] + part.inside,
            part.passing,
        )
        for number, part in enumerate(parts)
    ]
    moments.append(Need(parameters, gradients, optimizer, below, 0))
    return max(moments, key=lambda need: need.total).with_copy(network)


class _Part(NamedTuple):
    """Bytes of one part: kept until its turn, inside it at its turn, and temporary."""

    kept: int
    inside: int
    passing: int


def _parts(network: Network, rows: int, length: int, recompute: str) -> list[_Part]:
    """Return the parts in the order of the forward pass."""
    model = network.model
    full, last = kept_by_block(network, rows, length), _last_block(network, rows, length)
    blocks = [full] * (model.num_layers - 1) + [last]
    whole = _passing(network, rows, length, PASSING[network.backend, network.precision])
    # what a policy keeps is not counted separately: with one, nearly everything is kept
    if recompute == "none" or model.recompute_policy != "nothing":
        return [_Part(block.whole, block.whole, whole if block == full else 0) for block in blocks]
    edge = rows * length * model.hidden_dim * FLOAT  # parts are cut at the residual sums, which are float32
    if recompute == "sublayer":
        half = _passing(network, rows, length, PASSING_HALF[network.backend, network.precision])
        return [
            _Part(edge, edge + inside, half if block == full else 0) for block in blocks for inside in block
        ]
    size = min(segment_size(recompute) or 1, model.num_layers)
    groups = [blocks[start : start + size] for start in range(0, model.num_layers, size)]
    return [
        _Part(edge, edge + sum(block.whole for block in group), whole if full in group else 0)
        for group in groups
    ]


def _last_block(network: Network, rows: int, length: int) -> Kept:
    """Return what the last block keeps: keys and values, if the head reads only the first token."""
    if network.every_token:
        return kept_by_block(network, rows, length)
    tokens = rows * length * network.model.hidden_dim
    return Kept(3 * tokens * network.size + tokens * FLOAT, 0)


def _passing(network: Network, rows: int, length: int, factors: Passing) -> int:
    """Return the bytes that exist only while a block is computed."""
    model = network.model
    queries = min(length, CHUNK) if _in_chunks(model, length) else length
    scores = rows * model.num_heads * queries * length
    inner = rows * length * model.intermediate_dim
    return round(network.size * (factors.scores * scores + factors.inner * inner))


def _in_chunks(model: EncoderShape, length: int) -> bool:
    """Return whether no (length x length) table of scores is ever complete."""
    if model.attention == "auto":
        return length > LONGEST_WHOLE
    return model.attention in {"chunked", "fused"}


def _embeddings(network: Network, rows: int, length: int) -> int:
    """Return what the embeddings keep: the normed sum and a mask."""
    tokens = rows * length * network.model.hidden_dim
    return tokens * (FLOAT + network.size * (network.model.dropout > 0))


def _head(network: Network, rows: int, length: int) -> int:
    """Return what a head that scores spans or the vocabulary keeps; others keep almost nothing."""
    spans = _SPAN_SCORES * network.span_tables * length * length
    words = _WORD_SCORES * network.word_scores * length * network.vocab_size
    return round(rows * (spans + words) * FLOAT)

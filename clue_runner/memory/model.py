"""The memory of a training step, counted from shapes: no backend, no weights, no step.

In: a model's settings, rows, length. Out: bytes by purpose. Knows nothing about devices or tables.

What the kernels in ``models/`` keep for the backward pass is counted tensor by tensor: ``Kept``. Added to
it is what a block needs while it is computed; those few factors (``PASSING``) were fitted to measured
peaks (``scripts/bench_memory.py --predict`` repeats the comparison) and are not derived.
"""

from __future__ import annotations

from typing import NamedTuple

from clue_runner.config.attention import CHUNK, LONGEST_WHOLE
from clue_runner.config.recompute import segment_size
from clue_runner.memory.network import FLOAT, Network
from clue_runner.models.shape import EncoderShape


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


class Added(NamedTuple):
    """Copies that live at once of the scores that positions add, and of what those are made from."""

    scores: float
    products: float


# Fitted too; bfloat16 was not measured. What is float32 in any precision counts twice there.
_ADDED = {
    ("tensorflow", "float32"): Added(0.5, 2.4),
    ("tensorflow", "bfloat16"): Added(1.0, 2.4),
    ("jax", "float32"): Added(0.0, 4.65),
    ("jax", "bfloat16"): Added(0.0, 4.65),
}
_SPAN_SCORES = 4  # tables of span scores that live at once: scores, their exponents, their gradient, a mask
_WORD_SCORES = 3  # tables of word scores that live at once: scores, their exponents, their gradient
_CACHES = 2  # of keys and values while beams are put in order: before and after


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
    tables = model.score_tables(rows, length)
    attention += tables.kept * size + (tables.added * FLOAT if _in_chunks(model, length) else 0)
    times = _WASTE[network.backend, network.precision] * network.extra.passes
    return Kept(round(times * attention), round(times * feed_forward))


def step_need(network: Network, rows: int, length: int, recompute: str) -> Need:
    """Return what a step of one micro-batch needs at its peak.

    The backward pass goes through the parts (blocks, or what is recomputed at once) from last to first. In
    each, memory holds what the parts before it keep, everything inside it, and the weight gradients of the
    parts after it. The peak is the highest of these moments, or the update itself.
    """
    weights, head = network.weights, network.head
    table = network.vocab_size * network.model.embedding_dim
    parameters = weights * FLOAT
    gradients = (weights - (table if network.sparse else 0)) * FLOAT
    # the head's gradient for the words it scored, from the first moment on, and what techniques hold
    held = (table * FLOAT if head.scores_words else 0) + network.extra.gradients * gradients
    optimizer = network.beside * FLOAT
    parts = _parts(network, rows, length, recompute)
    below = _embeddings(network, rows, length) + _head(network, rows, length)
    kept_before = [below + sum(part.kept for part in parts[:number]) for number in range(len(parts))]
    moments = [
        Need(
            parameters,
            held + gradients * (len(parts) - 1 - number) // len(parts),
            optimizer,
            kept_before[number] + part.inside,
            part.passing,
        )
        for number, part in enumerate(parts)
    ]
    moments.append(Need(parameters, max(gradients, held), optimizer, below, 0))
    moments.append(_writing(network, parameters, optimizer, rows, length))
    return max(moments, key=lambda need: need.total).with_copy(network)


def _writing(network: Network, parameters: int, optimizer: int, rows: int, length: int) -> Need:
    """Return what the answers of as many rows need while they are written; nothing is kept for gradients."""
    model, head = network.model, network.head
    sequences, tokens = rows * head.beams, length + head.word_places
    cache = 2 * model.num_layers * sequences * tokens * model.hidden_dim * network.size
    scores = _WORD_SCORES * sequences * network.vocab_size * FLOAT
    return Need(parameters, 0, optimizer, cache, (_CACHES - 1) * cache + scores)


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
    # parts are cut at the residual sums, which are float32
    edge = round(network.extra.passes * rows * length * model.hidden_dim * FLOAT)
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
    if network.head.every_token:
        return kept_by_block(network, rows, length)
    tokens = rows * length * network.model.hidden_dim
    return Kept(round(network.extra.passes * tokens * (3 * network.size + FLOAT)), 0)


def _passing(network: Network, rows: int, length: int, factors: Passing) -> int:
    """Return the bytes that exist only while a block is computed."""
    model, kind = network.model, (network.backend, network.precision)
    queries = min(length, CHUNK) if _in_chunks(model, length) else length
    scores = rows * model.num_heads * queries * length
    inner = rows * length * model.intermediate_dim
    tables, added = model.score_tables(rows, length), _ADDED[kind]
    own = factors.scores * scores + factors.inner * inner + added.scores * tables.added
    return round(network.size * max(own, added.products * tables.products))


def _in_chunks(model: EncoderShape, length: int) -> bool:
    """Return whether no (length x length) table of scores is ever complete."""
    if model.attention == "auto":
        return length > LONGEST_WHOLE
    return model.attention in {"chunked", "fused"}


def _embeddings(network: Network, rows: int, length: int) -> int:
    """Return what the embeddings keep: the normed sum, a mask, noise, what all blocks share."""
    tokens, model, extra = rows * length, network.model, network.extra
    kept = model.hidden_dim * (FLOAT + network.size * (model.dropout > 0))
    shared = model.score_tables(rows, length).shared * network.size
    return round(shared + tokens * (extra.passes * kept + extra.noises * model.embedding_dim * FLOAT))


def _head(network: Network, rows: int, length: int) -> int:
    """Return what a head that scores spans or the vocabulary keeps; others keep almost nothing."""
    head = network.head
    spans = _SPAN_SCORES * head.span_tables * length * length
    places = head.word_scores * length + head.word_places
    return round(network.extra.scores * rows * (spans + _WORD_SCORES * places * network.vocab_size) * FLOAT)

"""BERT's shape: its sizes and options, read from settings or from a config of the release or of Hugging Face.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
Defaults of ``from_config`` are those of BertConfig in the BERT release and in Hugging Face, which agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field

from clue_runner.architectures.base import BaseShape, Lookup
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.attention import attention_problems
from clue_runner.config.lengths import length_problems
from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import Positive, Share, position_limit
from clue_runner.errors import Problem
from clue_runner.models.shape import Activation, AttentionForm

# The files say "gelu" for the erf form, as the first BERT release computed it and Hugging Face still does.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
# Their key -> our field, and the largest value believed: a stranger's config must not exhaust memory.
COUNTS = {
    "num_hidden_layers": ("num_layers", 1_000),
    "hidden_size": ("hidden_dim", 65_536),
    "num_attention_heads": ("num_heads", 1_024),
    "intermediate_size": ("intermediate_dim", 262_144),
    "max_position_embeddings": ("max_positions", 1_048_576),
    "type_vocab_size": ("num_segments", 1_024),
}
SMALLEST_EPSILON = 1e-45  # a float32 above 0
DEFAULT_COUNTS = {"type_vocab_size": 2}
HALF_MARGIN = 1e-3  # nearer to 0.5 than this, two places differ by less than bfloat16 can hold
ADVICE = "take a BERT-shaped checkpoint: BERT, RoBERTa-wwm, MacBERT, LERT, RBT"


def _not_half(value: float) -> float:
    """Refuse 0.5, at which two places share one vector."""
    if abs(value - 0.5) < HALF_MARGIN:
        raise ValueError("at 0.5 the positions (i, j) and (j, i) are the same")
    return value


class Shape(BaseShape):
    """Sizes and options of BERT's encoder."""

    NAMELESS: ClassVar[bool] = True
    MASKED: ClassVar[str | None] = "backbone/embeddings/word"
    SIZES: ClassVar[frozenset[str]] = frozenset(ours for ours, _ in COUNTS.values())
    WAYS: ClassVar[frozenset[str]] = frozenset({"attention"})
    LATER: ClassVar[frozenset[str]] = frozenset({"positions", "positions_alpha"})

    num_layers: Positive = Field(default=4, description="transformer blocks")
    hidden_dim: Positive = Field(default=312, description="width of a token's vector")
    num_heads: Positive = Field(default=12, description="attention heads; must divide hidden_dim")
    intermediate_dim: Positive = Field(default=1248, description="width of the feed-forward layer")
    max_positions: Positive = Field(default=512, description="rows of the learned position table")
    num_segments: Positive = Field(default=2, description="rows of the segment table")
    activation: Activation = Field(
        default="gelu", description="feed-forward activation; gelu is the erf form"
    )
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = Field(
        default=1e-12, description="added to the variance in layer norm"
    )
    dropout: Share = Field(default=0.1, description="dropout after embeddings, attention and feed-forward")
    attention_dropout: Share = Field(default=0.1, description="dropout on attention probabilities")
    positions: Literal["learned", "hierarchical"] = Field(
        default="learned",
        description="learned: one vector a position; hierarchical: n vectors make n*n positions",
    )
    positions_alpha: Annotated[float, Field(gt=0, lt=1), AfterValidator(_not_half)] = Field(
        default=0.4,
        description="hierarchical positions: share of the part that counts blocks; not 0.5",
        json_schema_extra={"not": {"const": 0.5}},
    )
    attention: AttentionForm = Field(
        default="auto",
        description="how attention is computed: whole scores, a few queries at a time, or one GPU kernel",
    )

    @property
    def position_limit(self) -> int:
        """Return the longest row that the positions reach."""
        return position_limit(self.positions, self.max_positions)

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens."""
        return self.hidden_dim

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Return the shape in a bert_config.json or config.json; see ``BaseShape``."""
        config.require("position_embedding_type", ("absolute",))
        config.require("is_decoder", (False,))
        config.require("add_cross_attention", (False,))
        config.require("pruned_heads", ({}, []))
        config.require("quantization_config", ())
        config.require("ln_type", ("postln",))
        factorised = "not supported yet: the embedding is factorised, as in ALBERT"
        config.require("embedding_size", (config.raw.get("hidden_size"),), factorised)
        counts: dict[str, Any] = {
            ours: config.count(key, largest, DEFAULT_COUNTS.get(key))
            for key, (ours, largest) in COUNTS.items()
        }
        shape = cls(
            **counts,
            activation=config.choice("hidden_act", ACTIVATIONS, "gelu"),
            dropout=config.number("hidden_dropout_prob", 1.0, 0.1),
            attention_dropout=config.number("attention_probs_dropout_prob", 1.0, 0.1),
            layer_norm_epsilon=config.number("layer_norm_eps", 0.1, 1e-12, least=SMALLEST_EPSILON),
        )
        if not config.problems and shape.hidden_dim % shape.num_heads:
            what = f"hidden_size {shape.hidden_dim} is not a multiple of it"
            config.problems.append(Problem(what, "num_attention_heads", str(shape.num_heads)))
        config.finish(advice=ADVICE)
        return shape

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {
            "vocabulary": vocab_size,
            "positions": self.max_positions,
            "segments": self.num_segments,
            "embedding": self.embedding_dim,
            "hidden": self.hidden_dim,
            "intermediate": self.intermediate_dim,
        }

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables whose ids must be inside them."""
        shorter = "shorten the rows with --set data.max_length=N, or --set model.positions=hierarchical"
        return (
            Lookup("token_ids", vocab_size, "model.vocab", "use the vocab.txt that belongs to the weights"),
            Lookup(
                "segment_ids",
                self.num_segments,
                "model.num_segments",
                "--set model.segments=zero gives every token segment 0",
            ),
            Lookup("position_ids", self.position_limit, "model.max_positions", shorter),
            Lookup(None, self.position_limit, "model.max_positions", shorter),
        )

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield what is wrong between sizes, positions and forms of attention."""
        width, heads = "model.hidden_dim", "model.num_heads"
        if values[width] % values[heads]:
            yield pair_problem("heads must divide the width", width, heads, values, origins)
        yield from length_problems(values, origins)
        yield from attention_problems(values)

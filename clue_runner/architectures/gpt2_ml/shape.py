"""GPT2-ML's shape: its sizes and options, read from settings or from a config of the release.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
Defaults are those of the release's configs (github.com/imcaspar/gpt2-ml, configs/mega.json); the epsilon
is found in its code alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from clue_runner.architectures.base import BaseShape, Lookup
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.attention import attention_problems
from clue_runner.config.lengths import length_problems
from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import Positive, Share, position_limit
from clue_runner.errors import Problem
from clue_runner.models.shape import Activation, AttentionForm

# Their key -> our field, and the largest value believed: a stranger's config must not exhaust memory.
COUNTS = {
    "num_hidden_layers": ("num_layers", 1_000),
    "hidden_size": ("hidden_dim", 65_536),
    "num_attention_heads": ("num_heads", 1_024),
    "intermediate_size": ("intermediate_dim", 262_144),
    "max_position_embeddings": ("max_positions", 1_048_576),
}
ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu"}
EPSILON = 1e-5
# What a first token has seen is itself alone, so that a text cannot be judged by it.
POOLINGS = ("mean", "max")


class Shape(BaseShape):
    """Sizes and options of the decoder."""

    WRITES: ClassVar[bool] = True
    SIZES: ClassVar[frozenset[str]] = frozenset(ours for ours, _ in COUNTS.values())
    WAYS: ClassVar[frozenset[str]] = frozenset({"attention"})
    UNPUBLISHED: ClassVar[frozenset[str]] = frozenset({"attention_dropout", "layer_norm_epsilon"})

    num_layers: Positive = Field(default=48, description="transformer blocks")
    hidden_dim: Positive = Field(default=1536, description="width of a token's vector")
    num_heads: Positive = Field(default=24, description="attention heads; must divide hidden_dim")
    intermediate_dim: Positive = Field(default=6144, description="width of the feed-forward layer")
    max_positions: Positive = Field(default=1024, description="rows of the learned position table")
    activation: Activation = Field(
        default="gelu", description="feed-forward activation; gelu is the erf form"
    )
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = Field(
        default=EPSILON, description="added to the variance in layer norm"
    )
    dropout: Share = Field(default=0.1, description="dropout after attention and feed-forward")
    attention_dropout: Share = Field(default=0.0, description="dropout on attention probabilities")
    positions: Literal["learned"] = Field(default="learned", description="one vector per position")
    attention: AttentionForm = Field(
        default="auto",
        description="how attention is computed: whole scores, or a few queries at a time",
    )

    @property
    def position_limit(self) -> int:
        """Return the longest row that the positions reach."""
        return position_limit(self.positions, self.max_positions)

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens."""
        return self.hidden_dim

    @property
    def num_segments(self) -> int:
        """Return 1: the network reads no segments, so that all tokens are of one."""
        return 1

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Return the shape in a config of the release; see ``BaseShape``."""
        counts: dict[str, Any] = {ours: config.count(key, largest) for key, (ours, largest) in COUNTS.items()}
        shape = cls(
            **counts,
            activation=config.choice("hidden_act", ACTIVATIONS, "gelu"),
            dropout=config.number("hidden_dropout_prob", 1.0, 0.1),
        )
        if not config.problems and shape.hidden_dim % shape.num_heads:
            what = f"hidden_size {shape.hidden_dim} is not a multiple of it"
            config.problems.append(Problem(what, "num_attention_heads", str(shape.num_heads)))
        config.finish(advice="use the config that came with the weights (configs/mega.json of the release)")
        return shape

    def to_config(self) -> dict[str, Any] | None:
        """Return the config of this shape; see ``BaseShape``."""
        values = self.model_dump(include={ours for ours, _ in COUNTS.values()})
        return {
            **{theirs: values[ours] for theirs, (ours, _) in COUNTS.items()},
            "hidden_act": self.activation,
            "hidden_dropout_prob": self.dropout,
        }

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {
            "vocabulary": vocab_size,
            "positions": self.max_positions,
            "hidden": self.hidden_dim,
            "intermediate": self.intermediate_dim,
        }

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables whose ids must be inside them."""
        shorter = "shorten the rows with --set data.max_length=N"
        return (
            Lookup("token_ids", vocab_size, "model.vocab", "use the vocab.txt that belongs to the weights"),
            Lookup("position_ids", self.position_limit, "model.max_positions", shorter),
            Lookup(None, self.position_limit, "model.max_positions", shorter),
        )

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield what is wrong between sizes, positions, forms of attention and pooling."""
        width, heads = "model.hidden_dim", "model.num_heads"
        if values[width] % values[heads]:
            yield pair_problem("heads must divide the width", width, heads, values, origins)
        yield from length_problems(values, origins)
        yield from attention_problems(values)
        if values["model.attention"] == "fused":
            yield Problem(
                "the fused kernel supports padding but no causal mask",
                "model.attention",
                "fused",
                "auto, einsum, chunked",
                "--set model.attention=auto",
            )
        if values["model.pooling"] not in POOLINGS:
            yield Problem(
                "the first token of a decoder sees only itself",
                "model.pooling",
                str(values["model.pooling"]),
                ", ".join(POOLINGS),
                "--set model.pooling=mean",
            )

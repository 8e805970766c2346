"""What the shapes of all encoders have in common: sizes, rates, how they are read from a config and checked.

In: values. Out: frozen shapes; a family's ``shape.py`` extends the closest one.
Knows nothing about individual families or tensors; imports no Keras.
Defaults of ``read`` are those of BertConfig in the BERT release and in Hugging Face, which agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field

from clue_runner.architectures.base import BaseShape, Lookup
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig
from clue_runner.config.attention import attention_problems
from clue_runner.config.lengths import length_problems
from clue_runner.config.pairs import pair_problem
from clue_runner.config.schema import Positive, Share, position_limit
from clue_runner.errors import Problem
from clue_runner.models.shape import Activation, AttentionForm, ScoreTables

# The files say "gelu" for the erf form, as the first BERT release computed it and Hugging Face still does.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
# Their key -> our field, and the largest value accepted: an untrusted config must not exhaust memory.
COUNTS = {
    "num_hidden_layers": ("num_layers", 1_000),
    "hidden_size": ("hidden_dim", 65_536),
    "num_attention_heads": ("num_heads", 1_024),
    "intermediate_size": ("intermediate_dim", 262_144),
}
TABLES = {
    "max_position_embeddings": ("max_positions", 1_048_576),
    "type_vocab_size": ("num_segments", 1_024),
}
LARGEST_WIDTH = COUNTS["hidden_size"][1]
SMALLEST_EPSILON = 1e-45  # a float32 above 0
DEFAULT_COUNTS = {"type_vocab_size": 2}
HALF_MARGIN = 1e-3  # closer to 0.5, two positions differ by less than bfloat16 can represent
ENDLESS = 2**31 - 1  # tokens: computed positions allow rows of any length


def _not_half(value: float) -> float:
    """Refuse 0.5, at which two positions share one vector."""
    if abs(value - 0.5) < HALF_MARGIN:
        raise ValueError("at 0.5 the positions (i, j) and (j, i) are the same")
    return value


def _no_table(value: Any) -> Any:
    """Refuse to extend what is not a table, with the reason."""
    if value == "hierarchical":
        raise ValueError("this family has no position table to extend: its rows may be of any length")
    return value


NoTable = BeforeValidator(_no_table)


class EncoderSizes(BaseShape):
    """Sizes and options of a stack of blocks; families differ in their positions.

    Attributes:
        ADVICE: what to use if a config asks for another network.
        REFUSED: key of a config -> the values that do not mean another network.
        EPSILON: of layer norm, if a config does not specify it.
        ADDS_SCORES: positions work inside attention in a way that the fused kernel cannot.
        FEWEST_SEGMENTS: 0 if a network may have no segment table.
    """

    MASKED: ClassVar[str | None] = "backbone/embeddings/word"
    SIZES: ClassVar[frozenset[str]] = frozenset(ours for ours, _ in (*COUNTS.values(), *TABLES.values()))
    WAYS: ClassVar[frozenset[str]] = frozenset({"attention"})
    ADVICE: ClassVar[str] = "use a checkpoint whose config does not require this"
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "pruned_heads": ({}, []),
        "quantization_config": (),
    }
    EPSILON: ClassVar[float] = 1e-12
    FEWEST_SEGMENTS: ClassVar[int] = 1
    ADDS_SCORES: ClassVar[bool] = False

    num_layers: Positive = Field(default=4, description="transformer blocks")
    hidden_dim: Positive = Field(default=312, description="width of a token's vector")
    num_heads: Positive = Field(default=12, description="attention heads; must divide hidden_dim")
    intermediate_dim: Positive = Field(default=1248, description="width of the feed-forward layer")
    num_segments: Positive = Field(default=2, description="rows of the segment table")
    activation: Activation = Field(
        default="gelu", description="feed-forward activation; gelu is the erf form"
    )
    layer_norm_epsilon: Annotated[float, Field(gt=0)] = Field(
        default=1e-12, description="added to the variance in layer norm"
    )
    dropout: Share = Field(default=0.1, description="dropout after embeddings, attention and feed-forward")
    attention_dropout: Share = Field(default=0.1, description="dropout on attention probabilities")
    attention: AttentionForm = Field(
        default="auto",
        description="how attention is computed: whole scores, a few queries at a time, or one GPU kernel",
    )

    @property
    def embedding_dim(self) -> int:
        """Return the width of the embedded tokens."""
        return self.hidden_dim

    @property
    def position_limit(self) -> int:
        """Return the maximum row length that the positions allow."""
        return ENDLESS

    def score_tables(self, rows: int, length: int) -> ScoreTables:
        """Return what positions inside attention add to the memory of a block: here nothing."""
        return ScoreTables()

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return the values of this family's own fields in a config; refuse unsupported ones."""
        return {}

    @classmethod
    def from_config(cls, config: RawConfig) -> Self:
        """Return the shape in a config of the publisher or of Hugging Face; see ``BaseShape``."""
        for key, allowed in cls.REFUSED.items():
            config.require(key, allowed)
        tables = {key: said for key, said in TABLES.items() if said[0] in cls.model_fields}
        counts: dict[str, Any] = {
            ours: config.count(
                key,
                largest,
                DEFAULT_COUNTS.get(key),
                least=cls.FEWEST_SEGMENTS if key == "type_vocab_size" else 1,
            )
            for key, (ours, largest) in (COUNTS | tables).items()
        }
        values = {
            "activation": config.choice("hidden_act", ACTIVATIONS, "gelu"),
            "dropout": config.number("hidden_dropout_prob", 1.0, 0.1),
            "attention_dropout": config.number("attention_probs_dropout_prob", 1.0, 0.1),
            "layer_norm_epsilon": config.number("layer_norm_eps", 0.1, cls.EPSILON, least=SMALLEST_EPSILON),
        }
        own = cls.own_values(config)
        width, heads = counts["hidden_dim"], counts["num_heads"]
        if not config.problems and width % heads:
            config.problems.append(
                Problem(f"hidden_size {width} is not a multiple of it", "num_attention_heads", str(heads))
            )
        config.finish(advice=cls.ADVICE)
        return cls.model_validate({**counts, **values, **own})

    def own_config(self) -> dict[str, Any]:
        """Return the keys of a config that ``own_values`` turns into the values of this family's fields."""
        return {}

    def to_config(self) -> dict[str, Any] | None:
        """Return the config of this shape; see ``BaseShape``."""
        fields = type(self).model_fields
        counts = {theirs: ours for theirs, (ours, _) in (COUNTS | TABLES).items() if ours in fields}
        values = self.model_dump(include=set(counts.values()))
        names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
        return {
            **{theirs: values[ours] for theirs, ours in counts.items()},
            "hidden_act": names[self.activation],
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
            "layer_norm_eps": self.layer_norm_epsilon,
            "initializer_range": 0.02,
            **self.own_config(),
        }

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {
            "vocabulary": vocab_size,
            "segments": self.num_segments,
            "embedding": self.embedding_dim,
            "hidden": self.hidden_dim,
            "intermediate": self.intermediate_dim,
        }

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables that must contain the ids."""
        found = [
            Lookup("token_ids", vocab_size, "model.vocab", "use the vocab.txt that belongs to the weights"),
        ]
        if self.num_segments:  # without a segment table, segment ids are not read
            zero = "--set model.segments=zero gives every token segment 0"
            found.append(Lookup("segment_ids", self.num_segments, "model.num_segments", zero))
        return found

    @classmethod
    def cross_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield the contradictions between sizes and attention forms."""
        width, heads = "model.hidden_dim", "model.num_heads"
        if values[width] % values[heads]:
            yield pair_problem("heads must divide the width", width, heads, values, origins)
        yield from cls.length_checks(values, origins)
        yield from attention_problems(values, adds_scores=cls.ADDS_SCORES)

    @classmethod
    def length_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield why rows cannot be as long as ``data.max_length``; computed positions allow any length."""
        yield from ()


class LearnedSizes(EncoderSizes):
    """Sizes of an encoder with a position table, one vector per position, that can be extended."""

    LATER: ClassVar[frozenset[str]] = frozenset({"positions", "positions_alpha"})
    UNPUBLISHED: ClassVar[frozenset[str]] = LATER

    max_positions: Positive = Field(default=512, description="rows of the learned position table")
    positions: Literal["learned", "hierarchical"] = Field(
        default="learned",
        description="learned: one vector per position; hierarchical: n vectors make n*n positions",
    )
    positions_alpha: Annotated[float, Field(gt=0, lt=1), AfterValidator(_not_half)] = Field(
        default=0.4,
        description="hierarchical positions: weight of the block's vector; not 0.5",
        json_schema_extra={"not": {"const": 0.5}},
    )

    @property
    def stretch(self) -> float | None:
        """Return the weight with which the table is extended, or None."""
        return self.positions_alpha if self.positions == "hierarchical" else None

    @property
    def position_limit(self) -> int:
        """Return the maximum row length that the positions allow."""
        return position_limit(self.positions, self.max_positions)

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {**super().axes(vocab_size), "positions": self.max_positions}

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables that must contain the ids."""
        shorter = "shorten the rows with --set data.max_length=N, or --set model.positions=hierarchical"
        limit, setting = self.position_limit, "model.max_positions"
        return (
            *super().lookups(vocab_size),
            Lookup("position_ids", limit, setting, shorter),
            Lookup(None, limit, setting, shorter),
        )

    @classmethod
    def length_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield the contradictions between the position table and ``data.max_length``."""
        yield from length_problems(values, origins)

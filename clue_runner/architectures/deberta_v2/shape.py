"""DeBERTa-v2's shape: BERT's sizes, how distances are counted, and what they are multiplied with.

In: values. Out: a frozen ``Shape``. Knows nothing about tensors; imports no Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from clue_runner.architectures.base import Lookup
from clue_runner.architectures.encoder_shape import ENDLESS, EncoderSizes, LearnedSizes
from clue_runner.architectures.name_table import Axes
from clue_runner.architectures.raw_config import RawConfig, shown
from clue_runner.config.schema import Positive
from clue_runner.errors import Problem
from clue_runner.models.shape import ScoreTables

LARGEST_TABLE = 65_536
Count = Annotated[int, Field(ge=0)]
PRODUCTS = {"c2p": "query", "p2c": "key"}  # their name of a product with distances -> what is multiplied
NO_TABLE = "this model has no position table to extend: its rows may be of any length"


class Shape(LearnedSizes):
    """Sizes and options of DeBERTa-v2's encoder."""

    MODEL_TYPES: ClassVar[tuple[str, ...]] = ("deberta-v2",)
    EPSILON: ClassVar[float] = 1e-7
    FEWEST_SEGMENTS: ClassVar[int] = 0
    ADDS_SCORES: ClassVar[bool] = True
    SIZES: ClassVar[frozenset[str]] = EncoderSizes.SIZES | {
        "absolute",
        "max_distance",
        "buckets",
        "shared_projections",
        "distance_norm",
        "position_terms",
    }
    REFUSED: ClassVar[Mapping[str, Sequence[Any]]] = {
        **EncoderSizes.REFUSED,
        "relative_attention": (True,),
        "conv_kernel_size": (0,),
        "attention_head_size": (),
    }

    num_segments: Count = Field(default=0, description="rows of the segment table; 0: none")
    absolute: bool = Field(default=False, description="add a position table to the embedding too")
    max_distance: Positive = Field(default=512, description="distance beyond which all count as equal")
    buckets: Count = Field(
        default=256, description="rows per side of the distance table, far ones shared; 0: one per distance"
    )
    shared_projections: bool = Field(
        default=True, description="project distances with the projections of query and key"
    )
    distance_norm: bool = Field(default=True, description="layer norm on the distance table")
    position_terms: Literal["both", "query", "key"] = Field(
        default="both", description="what is multiplied with distances: query (c2p), key (p2c), or both"
    )

    @property
    def span(self) -> int:
        """Return the rows of the distance table on each side of 0."""
        return self.buckets or self.max_distance

    @property
    def position_limit(self) -> int:
        """Return the maximum row length that the positions allow."""
        return super().position_limit if self.absolute else ENDLESS

    def score_tables(self, rows: int, length: int) -> ScoreTables:
        """Return the scores chosen from the products with all distances, and the table of distances."""
        terms, distances = 2 if self.position_terms == "both" else 1, 2 * self.span
        queries = rows * self.num_heads * length
        return ScoreTables(
            added=queries * length,
            products=terms * queries * distances,
            # normed, a mask, dropped, and projected for each term
            kept=(3 + terms) * distances * self.hidden_dim,
        )

    @property
    def absent_groups(self) -> frozenset[str]:
        """Return the groups that this network does not have."""
        there = {
            "positions": self.absolute,
            "segments": self.num_segments > 0,
            "distance_norm": self.distance_norm,
            "distance_keys": not self.shared_projections and self.position_terms != "key",
            "distance_queries": not self.shared_projections and self.position_terms != "query",
        }
        return frozenset(name for name, present in there.items() if not present)

    @classmethod
    def own_values(cls, config: RawConfig) -> dict[str, Any]:
        """Return how distances are counted and used."""
        width = (config.raw.get("hidden_size"),)
        config.require("embedding_size", width, "not supported yet: an embedding of another width")
        if "relative_attention" not in config.raw:
            what = "not supported: without it this is not disentangled attention"
            config.unsupported.append(Problem(what, "relative_attention", "nothing", "True"))
        given = {key: config.raw.get(key) for key in ("max_relative_positions", "position_buckets")}
        farthest = "max_relative_positions"
        if given[farthest] in {None, -1, 0}:
            farthest = "max_position_embeddings"
        buckets = given["position_buckets"]
        return {
            "absolute": config.flag("position_biased_input", default=True),
            "max_distance": config.count(farthest, LARGEST_TABLE),
            "buckets": 0 if buckets in {None, -1, 0} else config.count("position_buckets", LARGEST_TABLE),
            "shared_projections": config.flag("share_att_key", default=False),
            "distance_norm": "layer_norm" in str(config.raw.get("norm_rel_ebd", "none")).lower(),
            "position_terms": _terms(config),
        }

    def own_config(self) -> dict[str, Any]:
        """Return how distances are counted and used under their published keys."""
        return {
            "relative_attention": True,
            "position_biased_input": self.absolute,
            "max_relative_positions": self.max_distance,
            "position_buckets": self.buckets or -1,
            "share_att_key": self.shared_projections,
            "norm_rel_ebd": "layer_norm" if self.distance_norm else "none",
            "pos_att_type": [
                said for said, term in PRODUCTS.items() if self.position_terms in {"both", term}
            ],
        }

    def axes(self, vocab_size: int) -> Axes:
        """Return the length of each axis of the name table."""
        return {**super().axes(vocab_size), "distances": 2 * self.span}

    def lookups(self, vocab_size: int) -> Sequence[Lookup]:
        """Return the tables that must contain the ids."""
        return super().lookups(vocab_size) if self.absolute else EncoderSizes.lookups(self, vocab_size)

    @classmethod
    def length_checks(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
        """Yield the problems of the position table; without it, rows may be of any length."""
        if values["model.absolute"]:
            yield from super().length_checks(values, origins)
        elif values["model.positions"] == "hierarchical":
            yield Problem(NO_TABLE, "model.positions", "hierarchical", "learned", "remove model.positions")


def _terms(config: RawConfig) -> Any:
    """Return which products a config asks for."""
    said = config.raw.get("pos_att_type")
    parts = said.lower().split("|") if isinstance(said, str) else said
    names = {part.strip() for part in parts if isinstance(part, str)} if isinstance(parts, list) else set()
    known = {frozenset(PRODUCTS): "both", **{frozenset({name}): term for name, term in PRODUCTS.items()}}
    if frozenset(names) not in known:
        problem = Problem("not supported", "pos_att_type", shown(said), "c2p, p2c or both")
        config.unsupported.append(problem)
    return known.get(frozenset(names), "both")

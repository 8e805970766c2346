"""DropToken: a training row loses a random fraction of its tokens; the others keep their positions.

In: a batch of padded rows, the share, the dropout key. Out: the same batch with shorter rows, and position
ids. Knows nothing about heads or networks.

How many tokens of a row stay is a function of its length, and how long the rows of a batch are afterwards is
that function of the padded length: shapes follow from the padded length alone, and a row loses the same share
whatever it is batched with. [CLS] and [SEP] always stay. Position ids differ from row to row, so the rows
attend as in the whole network with the dropped columns masked in every layer.

Source: kexue.fm/archives/8770.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from clue_runner.models import dropout
from clue_runner.models.heads.base import NOISE

SHORTEST = 8  # tokens under which no row is cut: [CLS], [SEP] and a few others must fit
_PARTS = 1 << 12  # the share as an integer, so that every backend counts the same
_WORDS = 1 << 16  # random words to order tokens by


def kept_length(length: Any, share: float) -> Any:
    """Return how many of ``length`` tokens stay; whole numbers or int32 tensors, never decreasing."""
    dropped = length * round(share * _PARTS) // _PARTS
    if isinstance(length, int):
        return max(length - dropped, min(length, SHORTEST))
    return ops.maximum(length - dropped, ops.minimum(length, SHORTEST))


def drop_tokens(batch: Mapping[str, Any], share: float, key: Any | None) -> Mapping[str, Any]:
    """Return ``batch`` without a random fraction of each row's tokens.

    Args:
        batch: ``token_ids`` and ``segment_ids`` (rows, length) int32, ``lengths`` (rows,) int32, perhaps
            ``position_ids``; other entries are kept as they are. A row's last token is its [SEP], and every
            token like it stays, as the first does.
        share: fraction of a row's tokens to drop; 0 changes nothing.
        key: (2,) int32 of this micro-batch; None: inference, nothing changes.
    """
    if key is None or not share:
        return batch
    kept, lengths = choose_tokens(batch["token_ids"], batch["lengths"], share, key)
    positions = batch.get("position_ids")
    cut = {name: ops.take_along_axis(batch[name], kept, axis=1) for name in ("token_ids", "segment_ids")}
    cut["position_ids"] = kept if positions is None else ops.take_along_axis(positions, kept, axis=1)
    if NOISE in batch:
        cut[NOISE] = ops.take_along_axis(batch[NOISE], kept[:, :, None], axis=1)
    return {**batch, **cut, "lengths": lengths}


def choose_tokens(token_ids: Any, lengths: Any, share: float, key: Any) -> tuple[Any, Any]:
    """Return which places stay, (rows, kept length) int32 in rising order, and how many of them are tokens.

    Behind a row's tokens are places that fill it up; they are padding to the network.
    """
    rows, length = ops.shape(token_ids)[0], ops.shape(token_ids)[1]
    size = kept_length(length, share)
    places = ops.broadcast_to(ops.arange(length, dtype="int32")[None, :], (rows, length))
    inside = places < lengths[:, None]
    last = ops.take_along_axis(token_ids, ops.maximum(lengths - 1, 0)[:, None], axis=1)
    fixed = ops.logical_and(inside, ops.logical_or(places == 0, token_ids == last))
    words = ops.cast(dropout.random_words(dropout.fold(key, "drop_tokens"), (rows, length)), "int32")
    # fixed tokens first, then the others by lot, then padding; equal lots stay in the row's order
    rank = ops.where(fixed, -1, ops.where(inside, words, _WORDS))
    chosen = ops.cast(ops.argsort(rank, axis=-1), "int32")[:, :size]
    count = ops.maximum(kept_length(lengths, share), ops.sum(ops.cast(fixed, "int32"), axis=-1))
    count = ops.minimum(count, size)
    fill = ops.arange(size, dtype="int32")[None, :] >= count[:, None]
    # fillers sort behind every token, and the remainder brings them back to places of the row
    ordered = ops.sort(ops.where(fill, chosen + length, chosen), axis=-1)
    return ordered % length, count

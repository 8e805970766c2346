"""The interface of heads: a loss to train on and answers to predict with.

In: a batch of tensors. Out: the loss as (sum, weight), or named answers. The two are separate methods: what
a loss reads (scores of all spans) and what leaves the device (the best few) differ.
Knows nothing about backends' steps, records or metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from clue_runner.models.backbone import Encoded
from clue_runner.models.kernels import padding_mask
from clue_runner.models.part import Part

NOISE = "noise"  # batch entry: what a technique adds to the embedded tokens, (rows, length, width) float32


class Head(Part):
    """A trainable network: a backbone and the task's layers as one Keras layer.

    Attributes:
        every_token: the head reads all tokens, so the last block computes all of them.
        span_tables: number of (length x length) float32 score tables per row.
        writes: it generates a target token by token, as ``WritingHead`` does.
    """

    every_token: bool = True
    span_tables: int = 0
    writes: bool = False

    backbone: Any = None  # what embeds the tokens; None: a network of its own kind

    @property
    def noise_width(self) -> int | None:
        """Return the width of ``NOISE``; None where the network takes none."""
        return None if self.backbone is None else int(self.backbone.embedding_width)

    def reason_against(self, technique: str) -> str | None:
        """Return why the network cannot use a technique that needs its scores; None: it can."""
        return "its loss is opaque to techniques"

    def loss(self, batch: Mapping[str, Any], key: Any | None = None) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), both float32 scalars.

        Args:
            batch: tensors of one micro-batch; with an entry ``NOISE`` the embedded tokens are moved by it.
            key: (2,) int32 dropout key of this micro-batch; None: no dropout, as for the loss of a dev split.
        """
        raise NotImplementedError

    def answer(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return named output tensors of one batch, without dropout."""
        raise NotImplementedError


def encoded(
    backbone: Any,
    batch: Mapping[str, Any],
    key: Any | None,
    *,
    first_only: bool = False,
    mask: Any | None = None,
) -> tuple[Any, Any | None]:
    """Return (sequence, pooled) of a batch: the only place where a head calls its backbone.

    ``mask`` is as in ``Backbone``; None: all tokens attend to all before the padding.
    """
    seen = padding_mask(batch["lengths"], ops.shape(batch["token_ids"])[1]) if mask is None else mask
    result: Encoded = backbone(
        batch,
        mask=seen,
        key=key,
        positions=batch.get("position_ids"),
        first_only=first_only,
        noise=batch.get(NOISE),
    )
    return result.sequence, result.pooled

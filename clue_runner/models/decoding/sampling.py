"""Chooses the next token: the most probable, or a sample from those that top-k and top-p leave.

In: logits of one place, what was written before. Out: probabilities, a token. Numpy alone, so that a seed
gives the same draws on both backends; what may still differ is the last bits of the logits.
Knows nothing about networks or text.

Two rules of top-p are in use. ``crossing`` keeps the token at which the sum of probabilities reaches p
(bert4keras, Hugging Face); ``below`` keeps those whose sum with all before them stays below p, and the first
in any case (the demo of gpt2-ml). Top-k comes first, and top-p looks at what it left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TopPRule = Literal["crossing", "below"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How a token is sampled.

    Args:
        temperature: logits are divided by it; 0 takes the most probable token.
        top_k: only so many of the most probable; None: all.
        top_p: only the most probable up to this sum; None: all.
        top_p_rule: whether the token that crosses the sum is kept.
        repetition_penalty: logits of tokens written before are divided by it where positive and multiplied
            where negative (CTRL); 1: none.
        no_repeat: no sequence of this many tokens is written twice; None: off.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    top_p_rule: TopPRule = "crossing"
    repetition_penalty: float = 1.0
    no_repeat: int | None = None

    def limited(self, logits: NDArray[np.floating], written: Sequence[int]) -> Floats:
        """Return logits after the limits on repetition.

        Args:
            logits: (vocabulary,).
            written: tokens so far, including the prompt's.
        """
        found = np.array(logits, np.float64)
        if self.repetition_penalty != 1 and written:
            seen = np.unique(np.asarray(written))
            values = found[seen]
            factor = self.repetition_penalty
            found[seen] = np.where(values > 0, values / factor, values * factor)
        if self.no_repeat is not None:
            found[repeating(written, self.no_repeat)] = -np.inf
        return found

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        """Return the probabilities that a token is drawn by; a temperature of 0 gives one token all."""
        found = np.asarray(logits, np.float64)
        if self.temperature == 0:
            return np.asarray(np.arange(len(found)) == found.argmax(), np.float64)
        chances = softmax(found / self.temperature)
        if self.top_k is not None and self.top_k < len(chances):
            chances = _only(chances, by_rank(chances)[: self.top_k])
        if self.top_p is not None:
            order = by_rank(chances)
            chances = _only(chances, order[: kept_by_top_p(chances[order], self.top_p, self.top_p_rule)])
        return chances

    def draw(
        self, logits: NDArray[np.floating], written: Sequence[int], generator: np.random.Generator
    ) -> int:
        """Return the next token; arguments as in ``limited``."""
        chances = self.probabilities(self.limited(logits, written))
        if self.temperature == 0:
            return int(chances.argmax())
        # one draw per token, whatever the settings: the stream of a seed is the same for all of them
        place = np.searchsorted(np.cumsum(chances), generator.random(), side="right")
        return int(min(place, np.flatnonzero(chances)[-1]))


def softmax(logits: Floats) -> Floats:
    """Return probabilities of logits, some of which may be minus infinity."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def by_rank(chances: Floats) -> NDArray[np.intp]:
    """Return places by falling probability, the first among equals."""
    return np.argsort(-chances, kind="stable")


def kept_by_top_p(falling: Floats, limit: float, rule: TopPRule) -> int:
    """Return how many of the probabilities, in falling order, top-p keeps; at least one."""
    sums = np.cumsum(falling)
    if rule == "below":
        return max(1, int((sums < limit).sum()))
    return min(len(falling), int((sums < limit).sum()) + 1)


def repeating(written: Sequence[int], size: int) -> list[int]:
    """Return the tokens that would end a run of ``size`` tokens which was written before."""
    if len(written) < size:
        return []
    end = tuple(written[len(written) - size + 1 :])
    return sorted(
        {
            written[start + size - 1]
            for start in range(len(written) - size + 1)
            if tuple(written[start : start + size - 1]) == end
        }
    )


def generator_of(seed: int, sample: int) -> np.random.Generator:
    """Return the source of one sample's draws: the same whatever other samples are asked for."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, sample))))


def _only(chances: Floats, places: NDArray[np.intp]) -> Floats:
    """Return the probabilities at some places, with 1 as their sum, and 0 elsewhere."""
    found = np.zeros_like(chances)
    found[places] = chances[places]
    return np.asarray(found / found.sum())

"""Beam search for all rows of a batch at once, inside a compiled graph.

In: log-probabilities of the first token, and a step that gives those of the next one. Out: the best token
sequences of each row with their scores, best first. Knows nothing about networks or text.

A sequence ends with the end token, or where there is no room for more. Its score is the sum of its
log-probabilities divided by its number of tokens, including the end token, to the power ``alpha``: 0 is the
plain sum, 1 the mean. Width 1 takes the most probable token each time (greedy).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from clue_runner.models.kernels import NEGATIVE

# (tokens (rows * width,) int32, their place () int32, state) -> (logits (rows * width, vocabulary), state)
Step = Callable[[Any, Any, tuple[Any, ...]], tuple[Any, tuple[Any, ...]]]
# (state, parents (rows * width,) int32) -> the state with the rows of the parents
Reorder = Callable[[tuple[Any, ...], Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Beam:
    """The settings of the search.

    Args:
        width: sequences kept per row; 1: greedy.
        length: most tokens of a sequence, including the end token.
        end: the token that ends a sequence.
        alpha: power of the length that scores are divided by.
        shortest: fewest tokens of a sequence, including the end token.
    """

    width: int
    length: int
    end: int
    alpha: float = 1.0
    shortest: int = 1

    def search(self, first: Any, state: tuple[Any, ...], step: Step, reorder: Reorder) -> tuple[Any, Any]:
        """Return (sequences (rows, width, length) int32, ``end`` behind their end; scores (rows, width)).

        Args:
            first: (rows, vocabulary) float32 logits of the first token, ``NEGATIVE`` where not allowed.
            state: tensors of ``rows * width`` rows, the beams of a row side by side.
            step: gives the logits after a token; the state has one token more then.
            reorder: takes the rows of some beams.
        """
        rows, vocabulary = ops.shape(first)[0], first.shape[1]
        width, length = self.width, self.length
        logits = ops.repeat(first, width, axis=0)
        # at first all beams of a row are the same: the others must not win
        alive = ops.where(ops.arange(width)[None, :] == 0, 0.0, NEGATIVE) + ops.zeros((rows, 1))
        empty = ops.zeros((rows, width, length), "int32") + self.end
        done_scores = ops.zeros((rows, width)) + NEGATIVE

        def going(index: Any, logits: Any, alive: Any, tokens: Any, scores: Any, *rest: Any) -> Any:
            # no sequence that continues can get a better score than this; sums of logarithms only fall
            best = ops.max(alive, axis=1) / self._divisor(length)
            return (index < length) & ops.any(best > ops.min(scores, axis=1))

        def body(index: Any, logits: Any, alive: Any, tokens: Any, scores: Any, *rest: Any) -> Any:
            done, *carried = rest
            chances = ops.log_softmax(logits, axis=-1)
            short = ops.where(index + 1 < self.shortest, NEGATIVE, 0.0)
            ends = ops.cast(ops.arange(vocabulary) == self.end, "float32")
            sums = ops.reshape(alive, (-1, 1)) + chances + ends[None, :] * short
            count = 1 if width == 1 else 2 * width
            values, places = ops.top_k(ops.reshape(sums, (rows, width * vocabulary)), count)
            parents, chosen = places // vocabulary, ops.cast(places % vocabulary, "int32")
            longer = _with(ops.take_along_axis(tokens, parents[:, :, None], axis=1), chosen, index, length)
            over = (chosen == self.end) | (index + 1 >= length)
            ended = ops.where(over, values / self._divisor(index + 1), NEGATIVE)
            scores, order = ops.top_k(ops.concatenate([scores, ended], axis=1), width)
            done = ops.take_along_axis(ops.concatenate([done, longer], axis=1), order[:, :, None], axis=1)
            alive, order = ops.top_k(ops.where(over, 2 * NEGATIVE, values), width)
            tokens = ops.take_along_axis(longer, order[:, :, None], axis=1)
            parents = ops.take_along_axis(parents, order, axis=1)
            rows_of = ops.arange(rows)[:, None] * width + ops.cast(parents, "int32")
            last = ops.reshape(ops.take_along_axis(chosen, order, axis=1), (-1,))
            state = reorder(tuple(carried), ops.reshape(rows_of, (-1,)))
            logits, state = step(last, index, state)
            return (index + 1, logits, alive, tokens, scores, done, *state)

        start = (ops.zeros((), "int32"), logits, alive, empty, done_scores, empty, *state)
        found = ops.while_loop(going, body, start)
        return found[5], found[4]

    def _divisor(self, length: Any) -> Any:
        """Return what the sum of a sequence's log-probabilities is divided by."""
        return ops.power(ops.cast(length, "float32"), self.alpha)


def _with(tokens: Any, chosen: Any, index: Any, length: int) -> Any:
    """Return sequences (rows, beams, length) with a token (rows, beams) at place ``index``."""
    here = (ops.arange(length, dtype="int32") == index)[None, None, :]
    return ops.where(here, chosen[:, :, None], tokens)

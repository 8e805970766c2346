"""Which tokens of a row are masked, and what replaces them.

In: padded rows with marks where words begin. Out: the rows as the network reads them, the masked places, and
what stood there. Everything is drawn from (seed, epoch, row). Knows nothing about texts or networks.

A row masks a fixed share of its tokens, rounded, so that every full row has as many masked places and the
scores over the vocabulary are computed for these alone. Units are drawn by lot and taken while they fit:
words, runs of words, or single tokens. [CLS], [SEP], [UNK] and padding are never masked.

Sources: BERT, arXiv 1810.04805 (15 %, of these 80 % [MASK], 10 % another token, 10 % as they are); whole
words, arXiv 1906.08101; runs of up to four words at 40, 30, 20 and 10 %, arXiv 2004.13922.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clue_runner.tokens.corpus.lots import lots
from clue_runner.tokens.rows import Array

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
UNITS, FATES, OTHERS, RUNS = range(4)  # streams of lots
ROUNDS = 4  # times that units are looked for which still fit
PLACES, TARGETS = "places", "targets"
NO_TARGET = -1


class Split(NamedTuple):
    """Of the masked tokens: share that becomes [MASK], stays, becomes any ordinary token; they sum to 1."""

    mask: float
    keep: float
    other: float


@dataclass(frozen=True)
class Masking:
    """How tokens are masked.

    Args:
        rate: share of a row's tokens.
        split: what becomes of them; not asked where ``dropped``.
        words: units are words; False: single tokens.
        longest: units in a row that are masked together, at most.
        dropped: masked tokens are taken out of the row, as in MAE; the others keep their positions.
        mask_id: of [MASK].
        ordinary: (vocabulary,) which ids may be masked, and be put in another's place.
    """

    rate: float
    split: Split
    words: bool
    longest: int
    dropped: bool
    mask_id: int
    ordinary: Bools = field(repr=False, compare=False)

    def most(self, length: int) -> int:
        """Return the masked places of a row of ``length`` tokens."""
        return int(_budgets(np.array([length]), self.rate)[0])


@dataclass(frozen=True)
class Draw:
    """The masks of one epoch, over padded rows as ``tokens.padding`` lays them out.

    Args:
        masking: how.
        seed: of the run.
        epoch: of the loop.
    """

    masking: Masking
    seed: int
    epoch: int

    def __call__(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return the arrays of a batch with masks drawn.

        Args:
            arrays: ``token_ids``, ``word_starts`` (rows, length), ``lengths``, ``row`` (-1: padding).

        Returns:
            The same without ``word_starts``: ``token_ids`` and ``segment_ids`` int32; ``places`` (rows, most)
            int32, rising, and ``targets`` (rows, most) int32, -1 where nothing is asked. Where masked tokens
            are dropped, shorter rows, their ``lengths`` and ``position_ids``.
        """
        masking = self.masking
        ids = np.asarray(arrays["token_ids"], np.int32)
        lengths, rows = np.asarray(arrays["lengths"], np.int64), np.asarray(arrays["row"], np.int64)
        inside = (np.arange(ids.shape[1])[None, :] < lengths[:, None]) & (rows >= 0)[:, None]
        maskable = masking.ordinary[ids] & inside
        budgets = np.where(rows >= 0, _budgets(lengths, masking.rate), 0)
        chosen = self._chosen(np.asarray(arrays["word_starts"]) != 0, maskable, budgets, rows)
        most = masking.most(ids.shape[1])
        places = np.argsort(~chosen, axis=1, kind="stable")[:, :most].astype(np.int32)
        asked = np.take_along_axis(chosen, places.astype(np.int64), axis=1)
        targets = np.where(asked, np.take_along_axis(ids, places.astype(np.int64), axis=1), NO_TARGET)
        made = {name: values for name, values in arrays.items() if name != "word_starts"}
        made |= {PLACES: np.where(asked, places, 0), TARGETS: targets.astype(np.int32)}
        if masking.dropped:
            made |= self._without(ids, chosen, maskable, inside, lengths, budgets, most)
        else:
            made["token_ids"] = self._replaced(ids, chosen, rows)
        made["segment_ids"] = np.zeros_like(made["token_ids"])
        return made

    # ------------------------------------------------------------------------ which

    def _chosen(self, starts: Bools, maskable: Bools, budgets: Ints, rows: Ints) -> Bools:
        """Return (rows, length): the tokens that are masked."""
        units = self._units(starts, maskable, rows)
        count = int(units.max(initial=0)) + 1
        flat = units + np.arange(len(units), dtype=np.int64)[:, None] * count
        sizes = np.bincount(flat[maskable], minlength=len(units) * count).reshape(len(units), count)
        order = np.argsort(lots(self.seed, self.epoch, rows, UNITS, count), axis=1, kind="stable")
        ordered = np.take_along_axis(sizes, order, axis=1)
        taken = np.zeros_like(ordered, np.bool_)
        left = budgets
        for _ in range(ROUNDS):
            open_ = ~taken & (ordered > 0) & (ordered <= left[:, None])
            more = open_ & (np.cumsum(np.where(open_, ordered, 0), axis=1) <= left[:, None])
            taken |= more
            left = left - np.where(more, ordered, 0).sum(axis=1)
        by_unit = np.zeros_like(taken)
        np.put_along_axis(by_unit, order, taken, axis=1)
        return np.asarray(np.take_along_axis(by_unit, units, axis=1) & maskable, np.bool_)

    def _units(self, starts: Bools, maskable: Bools, rows: Ints) -> NDArray[np.int64]:
        """Return (rows, length): the number of the unit that each token belongs to, rising from 0 or 1."""
        begins = starts | ~maskable if self.masking.words else np.ones_like(starts)
        # what may not be masked ends a word
        begins[:, 1:] |= ~maskable[:, :-1]
        longest = self.masking.longest
        if longest > 1:
            begins &= self._run_starts(begins, maskable, rows)
        return np.asarray(np.cumsum(begins, axis=1) - begins[:, :1], np.int64)

    def _run_starts(self, begins: Bools, maskable: Bools, rows: Ints) -> Bools:
        """Return where runs of units begin; their lengths are drawn, shorter ones more often."""
        longest = self.masking.longest
        weights = np.arange(longest, 0, -1, dtype=np.float64)
        drawn = lots(self.seed, self.epoch, rows, RUNS, begins.shape[1])
        lengths = 1 + np.searchsorted(np.cumsum(weights / weights.sum())[:-1], drawn, side="right")
        left, found = np.zeros(len(begins), np.int64), np.zeros_like(begins)
        for place in range(begins.shape[1]):
            begin = begins[:, place]
            border = ~maskable[:, place] if place == 0 else ~(maskable[:, place] & maskable[:, place - 1])
            fresh = begin & ((left == 0) | border)
            found[:, place] = fresh
            left = np.where(fresh, lengths[:, place] - 1, left - (begin & ~fresh))
        return found

    # ------------------------------------------------------------------------ what becomes of them

    def _replaced(self, ids: NDArray[np.int32], chosen: Bools, rows: Ints) -> NDArray[np.int32]:
        """Return the tokens with [MASK], another token or the same at the chosen places."""
        masking, length = self.masking, ids.shape[1]
        fate = lots(self.seed, self.epoch, rows, FATES, length)
        pool = np.flatnonzero(masking.ordinary).astype(np.int32)
        drawn = lots(self.seed, self.epoch, rows, OTHERS, length)
        others = pool[np.minimum((drawn * len(pool)).astype(np.int64), len(pool) - 1)]
        made = np.where(chosen & (fate < masking.split.mask), np.int32(masking.mask_id), ids)
        kept = masking.split.mask + masking.split.keep
        return np.where(chosen & (fate >= kept) & (masking.split.other > 0), others, made).astype(np.int32)

    def _without(
        self,
        ids: NDArray[np.int32],
        chosen: Bools,
        maskable: Bools,
        inside: Bools,
        lengths: Ints,
        budgets: Ints,
        most: int,
    ) -> dict[str, Array]:
        """Return rows without as many tokens as their budgets say: the masked ones, then any that are left.

        All rows of a padded length stay equally wide, so that shapes follow from it alone.
        """
        rank = np.where(chosen, 0, np.where(maskable, 1, np.where(inside, 2, 3)))
        rank[:, 0] = 3  # [CLS]
        order = np.argsort(rank, axis=1, kind="stable")
        gone = np.zeros_like(chosen)
        first = np.arange(ids.shape[1])[None, :] < budgets[:, None]
        np.put_along_axis(gone, order, first & (np.take_along_axis(rank, order, axis=1) < 3), axis=1)
        kept = np.argsort(gone | ~inside, axis=1, kind="stable")[:, : ids.shape[1] - most]
        count = np.maximum(lengths - gone.sum(axis=1), 1)
        token_ids = np.take_along_axis(ids, kept, axis=1)
        return {
            "token_ids": np.where(np.arange(kept.shape[1])[None, :] < count[:, None], token_ids, 0).astype(
                np.int32
            ),
            "position_ids": kept.astype(np.int32),
            "lengths": count.astype(np.int32),
        }


def _budgets(lengths: Ints, rate: float) -> NDArray[np.int64]:
    """Return how many tokens of rows with [CLS] and [SEP] are masked: one at least."""
    masked: Ints = np.maximum(1, np.floor((lengths - 2) * rate + 0.5)).astype(np.int64)
    return masked

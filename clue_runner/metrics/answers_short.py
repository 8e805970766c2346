"""Exact and fuzzy scores of short answers against a record's own references, without a gold file.

In: answers and their references. Out: scores in percent, chance, intervals.
Knows nothing about files. The rules are those of the SogouQA tool without its punctuation list: full width
becomes half, letters become lower case, white space and everything that Unicode calls punctuation is dropped.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clue_runner.metrics.confidence import Summed, summed_mean
from clue_runner.metrics.sogou import character_overlap, to_half_width


@dataclass(frozen=True)
class ShortScores:
    """Scores of a split.

    Args:
        exact: (answers,) 0 or 1.
        fuzzy: (answers,) best character F1, 0 to 1.
        chance: percent of questions with the most frequent first reference.
    """

    exact: NDArray[np.float64]
    fuzzy: NDArray[np.float64]
    chance: float

    @property
    def values(self) -> Mapping[str, float]:
        """Return ``exact``, ``fuzzy`` and their ``mean`` in percent."""
        exact, fuzzy = 100 * float(self.exact.mean()), 100 * float(self.fuzzy.mean())
        return {"exact": exact, "fuzzy": fuzzy, "mean": (exact + fuzzy) / 2}

    def interval(self, name: str) -> tuple[float, float]:
        """Return the 95% interval of one of the scores, in percent."""
        return self.summed(name).interval

    def summed(self, name: str) -> Summed:
        """Return one of the scores, in percent, as a function of sums over questions."""
        each = {"exact": self.exact, "fuzzy": self.fuzzy, "mean": (self.exact + self.fuzzy) / 2}[name]
        return summed_mean(100 * each)


def normalised(text: str) -> str:
    """Return half-width, lower-case text without spaces, nor punctuation unless nothing else is left."""
    half = to_half_width(text).lower()
    kept = "".join(char for char in half if not char.isspace() and unicodedata.category(char)[0] != "P")
    return kept or "".join(half.split())


def score_short_answers(answers: Sequence[str], references: Sequence[Sequence[str]]) -> ShortScores:
    """Return the scores of answers, each against its best reference; an empty answer scores 0."""
    exact, fuzzy = np.zeros(len(answers)), np.zeros(len(answers))
    for place, (answer, accepted) in enumerate(zip(answers, references, strict=True)):
        given = normalised(answer)
        known = [normalised(reference) for reference in accepted]
        exact[place] = bool(given) and given in known
        overlaps = (character_overlap(given, reference)[0] for reference in known) if given else ()
        fuzzy[place] = max(overlaps, default=0.0)
    firsts = Counter(normalised(accepted[0]) for accepted in references if accepted)
    most = firsts.most_common(1)[0][1] if firsts else 0
    return ShortScores(exact, fuzzy, 100 * most / max(1, len(answers)))

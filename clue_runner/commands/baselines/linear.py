"""A linear model over character n-grams: what a task yields without any pre-training.

In: texts or pairs of texts with labels. Out: labels for other texts. scikit-learn is imported on the first
call, not before. Knows nothing about cards, files or scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NGRAMS: Final = (1, 3)
STRENGTHS: Final = (
    0.01,
    0.1,
    0.3,
)  # LinearSVC's C: the best on a tenth of train is used, not the best on dev
USUAL: Final = 0.3  # where train is too small to choose
SEED: Final = 42
FEW = 1_000  # with fewer texts, n-grams that occur once are kept too

Texts = Sequence[tuple[str, ...]]


class Ngrams:
    """TF-IDF of character n-grams.

    Each text of a pair has its own n-grams; further features are those that both have, those that only
    one has, and a few numbers for how much the two overlap.
    """

    def __init__(self) -> None:
        """Start without any text."""
        self._vectorizer: Any = None

    def fit(self, texts: Texts) -> Any:
        """Learn the n-grams of texts with one or two parts each; return the texts' features."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(
            analyzer="char",
            ngram_range=NGRAMS,
            min_df=2 if len(texts) >= FEW else 1,
            sublinear_tf=True,
            dtype=np.float32,
        )
        self._vectorizer.fit(part for parts in texts for part in parts)
        return self.features(texts)

    def features(self, texts: Texts) -> Any:
        """Return a sparse (texts, features) table."""
        from scipy import sparse

        parts = [self._vectorizer.transform(part) for part in zip(*texts, strict=True)]
        if len(parts) == 1:
            return parts[0]
        first, second = parts
        overlaps = np.array([overlap(*pair) for pair in texts], np.float32)
        cosine = np.asarray(first.multiply(second).sum(axis=1), np.float32)
        dense = sparse.csr_matrix(np.hstack([overlaps, cosine]))
        return sparse.hstack(
            [first, second, first.minimum(second), abs(first - second), dense], format="csr", dtype=np.float32
        )


class LinearModel:
    """Character n-grams, then one linear classifier per label."""

    def __init__(self) -> None:
        """Start untrained."""
        self._ngrams = Ngrams()
        self._model: Any = None
        self.strength = USUAL

    def fit(self, texts: Texts, labels: Sequence[str]) -> None:
        """Learn from labelled texts, all with the same number of parts, one or two."""
        from sklearn.svm import LinearSVC

        features, wanted = self._ngrams.fit(texts), np.asarray(labels)
        if len(texts) >= FEW:
            self.strength = _best_strength(features, wanted)
        self._model = LinearSVC(C=self.strength, random_state=SEED).fit(features, wanted)

    def predict(self, texts: Texts) -> list[str]:
        """Return one label per text."""
        return [str(label) for label in self._model.predict(self._ngrams.features(texts))]

    @property
    def settings(self) -> dict[str, object]:
        """Return the settings of the fitted model."""
        features = int(self._model.n_features_in_)
        return {
            "model": "LinearSVC",
            "C": self.strength,
            "ngrams": list(NGRAMS),
            "features": features,
            "seed": SEED,
        }


def _best_strength(features: Any, labels: NDArray[np.str_]) -> float:
    """Return the C with the most right answers on a tenth of train, the smallest among equals."""
    from sklearn.svm import LinearSVC

    order = np.random.default_rng(SEED).permutation(len(labels))
    held, rest = np.split(order, [len(order) // 10])
    scores = [
        LinearSVC(C=strength, random_state=SEED)
        .fit(features[rest], labels[rest])
        .score(features[held], labels[held])
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]


def overlap(first: str, second: str) -> list[float]:
    """Return how much two texts share: Jaccard index and containment of n-grams, lengths, equality."""
    found: list[float] = []
    for size in (1, 2, 3):
        one, other = _ngrams(first, size), _ngrams(second, size)
        both = len(one & other)
        found += [both / max(len(one | other), 1), both / max(min(len(one), len(other)), 1)]
    longer = max(len(first), len(second), 1)
    return [*found, min(len(first), len(second)) / longer, float(first == second)]


def _ngrams(text: str, size: int) -> set[str]:
    """Return the distinct substrings of ``size`` characters."""
    return {text[start : start + size] for start in range(len(text) - size + 1)}

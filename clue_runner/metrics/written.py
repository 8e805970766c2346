"""Scores of generated texts: Rouge-1, Rouge-2, Rouge-L and BLEU over characters.

In: generated texts and their targets. Out: percent. The libraries are imported when they are
needed. Knows nothing about tasks.

Source: ``rouge-chinese`` (F of each measure, characters as words) and ``sacrebleu`` (corpus BLEU, ``zh``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MEASURES = {"rouge_1": "rouge-1", "rouge_2": "rouge-2", "rouge_l": "rouge-l"}
Floats = NDArray[np.float64]


def rouge(written: Sequence[str], wanted: Sequence[str]) -> dict[str, Floats]:
    """Return each measure's F in percent, one a text; an empty text has 0."""
    from rouge_chinese import Rouge

    found = {name: np.zeros(len(written)) for name in MEASURES}
    scorer = Rouge(metrics=list(MEASURES.values()))
    for place, (text, reference) in enumerate(zip(written, wanted, strict=True)):
        words = (" ".join("".join(text.split())), " ".join("".join(reference.split())))
        if not all(words):
            continue
        (scores,) = scorer.get_scores(*words)
        for name, theirs in MEASURES.items():
            found[name][place] = 100 * scores[theirs]["f"]
    return found


def bleu(written: Sequence[str], wanted: Sequence[str]) -> float:
    """Return corpus BLEU in percent, Chinese split into characters."""
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU(tokenize="zh").corpus_score(list(written), [list(wanted)]).score)

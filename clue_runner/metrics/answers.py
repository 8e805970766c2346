"""Exact match and F1 of extracted answers, as the published CMRC2018 script counts them.

In: question id -> answer text, and question id -> reference texts.
Out: EM and F1 in percent, overall and per question, unanswered questions, confidence intervals.
Knows nothing about contexts, tokens or models. DRCD is scored by the same rules.

The script's quirks are kept, because the leaderboard runs it:

* Its 33 punctuation entries include "……" as one entry of two characters; as texts are compared character
  by character, the ellipsis is never removed. "‘", and ASCII ``. , ! ? ; " ' ( ) [ ] %`` are not in the set.
* Punctuation is skipped without ending a run of non-ideographs: ``2010-2011`` is one token, ``20102011``.
* The overlap is the longest common contiguous run of tokens, neither a bag nor a subsequence.
* A question without an answer counts as 0 and stays in the denominator.

Other runs go through nltk's word tokeniser. The published script calls it in the form that first
splits sentences, which needs a downloaded model (Punkt); here each run is one sentence (nltk's
``preserve_line=True``). The two differ only where a run holds a full stop that ends a sentence inside the
run: ``ok. fine`` gives ``ok.`` ``fine`` here and ``ok`` ``.`` ``fine`` there. A full stop at the end of the
run is split off in both. Of the 9,657 references in CMRC2018's dev file, 9 hold a full stop and a space
inside a run; only their F1 can differ.
EM does not depend on the tokeniser at all.

Source: cmrc2018_evaluate.py (CMRC2018 repository; CLUE uses the same rules).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import Any

import numpy as np

from clue_runner.metrics.confidence import mean_interval

# "……" is an entry of the script's list, kept to show that it can never equal a single character.
PUNCTUATION = frozenset([*"-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』", "……"])
FIRST_IDEOGRAPH, LAST_IDEOGRAPH = "\u4e00", "\u9fa5"


@dataclass(frozen=True)
class AnswerScores:
    """Scores in percent.

    Args:
        exact_match: percentage of all questions whose answer equals a reference.
        f1: mean F1 over all questions.
        by_question: id -> (exact match 0 or 1, F1 from 0 to 1) of every question, including unanswered ones.
        unanswered: ids without a prediction; each counts as 0.
        exact_match_interval: 95% bootstrap interval over questions.
        f1_interval: 95% bootstrap interval over questions.
    """

    exact_match: float
    f1: float
    by_question: Mapping[str, tuple[float, float]]
    unanswered: tuple[str, ...]
    exact_match_interval: tuple[float, float]
    f1_interval: tuple[float, float]

    @property
    def average(self) -> float:
        """Return the mean of EM and F1, which the script prints first."""
        return (self.exact_match + self.f1) / 2


def score_answers(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> AnswerScores:
    """Return EM and F1 of answers against references.

    Args:
        predictions: question id -> answer text; ids without references are ignored.
        references: question id -> the texts that count as correct; its keys define the questions.
    """
    by_question = {
        name: (
            exact_match(predictions[name], texts),
            overlap_f1(predictions[name], texts),
        )
        if name in predictions
        else (0.0, 0.0)
        for name, texts in references.items()
    }
    table = np.array(list(by_question.values()), dtype=np.float64).reshape(-1, 2) * 100
    means = table.mean(axis=0) if len(table) else np.zeros(2)
    return AnswerScores(
        exact_match=float(means[0]),
        f1=float(means[1]),
        by_question=by_question,
        unanswered=tuple(name for name in references if name not in predictions),
        exact_match_interval=mean_interval(table[:, 0]),
        f1_interval=mean_interval(table[:, 1]),
    )


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Return 1.0 if a reference equals the prediction without the set's punctuation, else 0.0."""
    bare = without_punctuation(prediction)
    return float(any(without_punctuation(reference) == bare for reference in references))


def overlap_f1(prediction: str, references: Sequence[str]) -> float:
    """Return the best F1 over references, from 0 to 1; overlap is the longest common run of tokens."""
    return max((_run_f1(segment(prediction), segment(reference)) for reference in references), default=0.0)


def without_punctuation(text: str) -> str:
    """Return the text in lower case, ends stripped, characters of the set removed; inner spaces stay."""
    return "".join(character for character in text.lower().strip() if character not in PUNCTUATION)


@lru_cache(maxsize=65536)
def segment(text: str) -> tuple[str, ...]:
    """Return the script's mixed tokens: one per ideograph, nltk's words for every other run."""
    tokens: list[str] = []
    run = ""
    for character in text.lower().strip():
        if character in PUNCTUATION:
            continue  # the run continues: the script's own behaviour
        if FIRST_IDEOGRAPH <= character <= LAST_IDEOGRAPH:
            tokens += _words(run)
            tokens.append(character)
            run = ""
        else:
            run += character
    return (*tokens, *_words(run))


def random_answers(contexts: Mapping[str, str], *, longest: int = 30, seed: int = 42) -> dict[str, str]:
    """Return one random span of each context: what a model that knows nothing would answer.

    Args:
        contexts: question id -> context.
        longest: spans have 1 to this many characters, each length equally likely.
        seed: of the draws; the same contexts always give the same spans.
    """
    generator = np.random.default_rng(seed)
    spans = {}
    for name, context in contexts.items():
        length = int(generator.integers(1, max(1, min(longest, len(context))) + 1))
        start = int(generator.integers(0, max(0, len(context) - length) + 1))
        spans[name] = context[start : start + length]
    return spans


def _run_f1(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """Return the F1 of two token lists by their longest common contiguous run."""
    matcher = SequenceMatcher(None, reference, prediction, autojunk=False)
    run = matcher.find_longest_match().size
    if run == 0:
        return 0.0
    precision, recall = run / len(prediction), run / len(reference)
    return 2 * precision * recall / (precision + recall)


def _words(run: str) -> list[str]:
    """Return nltk's words of a run without ideographs."""
    return list(_tokenizer().tokenize(run)) if run else []


@cache
def _tokenizer() -> Any:
    """Return nltk's word tokeniser; imported here because nltk takes more than a second to load."""
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()

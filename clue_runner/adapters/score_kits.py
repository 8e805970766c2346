"""Official scoring kits whose gold is no file of records: SogouQA's tool, WebQA's evaluation kit.

In: a prediction file, and the kit's own gold, which is research data and never ships. Out: scores, or None
where the gold is no such thing. Knows nothing about argv or printing.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from clue_runner.adapters.base import Scores
from clue_runner.data.cards import Card
from clue_runner.errors import DataError
from clue_runner.metrics.confidence import bootstrap_interval, mean_interval
from clue_runner.metrics.sogou import read_gold, score_answers
from clue_runner.metrics.webqa import GZIP, KitScore, TaggedEvidence, read_kit, score_evidences, score_votes
from clue_runner.metrics.webqa_fuzzy import SYNONYMS, FuzzyLists, read_lists, same_answer
from clue_runner.submission.predictions import read_predictions
from clue_runner.submission.tables import read_table

SOGOU_GOLD = "qid_answer_expand"
KIT_MARK = b'"evidence_tokens"'
LOOKED_AT = 65_536  # bytes of a gold file in which the kit's mark must stand


def score_kit(card: Card, predictions: Path, gold: Path | None) -> Scores | None:
    """Return the official scores where ``gold`` belongs to a kit.

    Args:
        card: the task.
        predictions: a table of id and answer, a run's JSON lines, or WebQA's tags, one a line.
        gold: the Sogou tool's folder, or the question file of WebQA's kit. Where WebQA's lists (synsets.py
            and the others) lie beside it or one folder up, the fuzzy scores use them; else only the kit's
            rules apply, and the scores are named so.

    Raises:
        DataError: files that are missing, broken or do not fit.
    """
    if gold is None:
        return None
    if (gold / SOGOU_GOLD).is_file():
        return _score_sogou(predictions, gold)
    return _score_webqa(predictions, gold) if gold.is_file() and KIT_MARK in _begin(gold) else None


def _score_sogou(predictions: Path, gold: Path) -> Scores:
    """Return the Sogou tool's scores of the answers handed in."""
    raw = _bytes(predictions)
    if raw.lstrip()[:1] == b"{":
        answers = [(str(one.id), str(one.answer)) for one in read_predictions(raw, str(predictions))]
    else:
        answers = read_table(raw, str(predictions))
    values, lines = score_answers(answers, read_gold(gold))
    interval = mean_interval([50 * (line.exact + line.f1) for line in lines])
    return Scores("mean", values, 0.0, interval, len(lines))


def _score_webqa(predictions: Path, gold: Path) -> Scores:
    """Return the kit's F1 scores over evidences and votes, in percent."""
    questions = read_kit(gold, predictions)
    folder = next((one for one in (gold.parent, gold.parent.parent) if (one / SYNONYMS).is_file()), None)
    lists = FuzzyLists() if folder is None else read_lists(folder)
    fuzzy = "fuzzy" if folder else "fuzzy by rules alone"
    found: dict[str, KitScore] = {
        "strict": score_evidences(questions),
        fuzzy: score_evidences(questions, lambda one, other: same_answer(one, other, lists)),
        "voted strict": score_votes(questions),
        f"voted {fuzzy}": score_votes(questions, lambda one, other: same_answer(one, other, lists)),
    }
    values = {name: 100 * score.f1 for name, score in found.items()}
    strict = found["strict"]
    values |= {"strict precision": 100 * strict.precision, "strict recall": 100 * strict.recall}
    return Scores("strict", values, 0.0, _interval(questions), strict.true)


def _interval(questions: list[list[TaggedEvidence]]) -> tuple[float, float]:
    """Return the interval of strict F1, whole questions drawn again."""
    each = [score_evidences([evidences]) for evidences in questions]
    counts = np.array([(one.true, one.predicted, one.correct) for one in each], np.float64)
    return bootstrap_interval(counts, lambda sums: 200 * sums[:, 2] / np.maximum(sums[:, 0] + sums[:, 1], 1))


def _begin(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked where it is a gzip."""
    try:
        with path.open("rb") as stream:
            head = stream.read(LOOKED_AT)
        if not head.startswith(GZIP):
            return head
        with gzip.open(path) as packed:
            return packed.read(LOOKED_AT)
    except (OSError, EOFError) as error:
        raise DataError("cannot read the gold file", where=str(path), received=str(error)) from None


def _bytes(path: Path) -> bytes:
    """Return the prediction file's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError("cannot read the prediction file", where=str(path), received=error.strerror) from None

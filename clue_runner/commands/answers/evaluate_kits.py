"""Official scoring kits whose gold is not a file of records: SogouQA's tool, WebQA's evaluation kit.

In: a prediction file, and the kit's own gold, which is research data and never ships. Out: scores, or None
where the gold is of another kind. Knows nothing about argv or printing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clue_runner.adapters.base import Scores
from clue_runner.data.cards import Card
from clue_runner.files.names import read_regular
from clue_runner.files.text import unpack
from clue_runner.metrics.confidence import bootstrap_interval, mean_interval
from clue_runner.metrics.sogou import GOLD, SogouGold, read_gold, score_answers
from clue_runner.metrics.webqa import KitScore, TaggedEvidence, read_kit, score_evidences, score_votes
from clue_runner.metrics.webqa_fuzzy import SYNONYMS, FuzzyLists, read_lists, same_answer
from clue_runner.submission.answers import read_predictions, refuse
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer, Form
from clue_runner.submission.ids import note_repeats
from clue_runner.submission.values import check_texts

KIT_MARK = b'"evidence_tokens"'
LOOKED_AT = 65_536  # bytes of a gold file in which the kit's signature must appear


@dataclass(frozen=True)
class KitResult:
    """A kit's scores, and warnings about them."""

    scores: Scores
    warnings: tuple[str, ...] = ()


def score_kit(card: Card, predictions: Path, gold: Path) -> KitResult | None:
    """Return the official scores where ``gold`` belongs to a kit.

    Args:
        card: the task.
        predictions: a table of id and answer, a run's JSON lines, or WebQA's tags, one per line.
        gold: the Sogou tool's folder, or the question file of WebQA's kit. Where WebQA's lists (synsets.py
            and the others) lie beside it or one folder up, the fuzzy scores use them; else only the kit's
            rules apply, and the scores' names say so.

    Raises:
        DataError: files that are missing, broken or do not fit.
    """
    if (gold / GOLD).is_file():
        return _score_sogou(predictions, gold)
    if card.layout != "passages" or not gold.is_file():
        return None
    head = unpack(read_regular(gold), str(gold), limit=LOOKED_AT)
    return _score_webqa(predictions, gold) if KIT_MARK in head else None


def _score_sogou(predictions: Path, folder: Path) -> KitResult:
    """Return the Sogou tool's scores of the answers given."""
    gold = read_gold(folder)
    answers = _sogou_answers(predictions)
    given = [(str(answer.id), str(answer.value)) for answer in answers]
    values, lines = score_answers(given, gold)
    interval = mean_interval([50 * (line.exact + line.f1) for line in lines])
    return KitResult(Scores("mean", values, 0.0, interval, len(lines)), _unanswered(given, gold))


def _sogou_answers(predictions: Path) -> list[Answer]:
    """Return the answers of a table or of JSON lines.

    Raises:
        DataError: an answer that is not a string, or a duplicate id, which would count twice.
    """
    answers = read_predictions(read_regular(predictions), str(predictions), Form(may_be_table=True))
    findings = Findings(str(predictions))
    check_texts(answers, findings)
    note_repeats(answers, [str(answer.id) for answer in answers], findings)
    refuse(findings, "these answers cannot be scored")
    return answers


def _unanswered(given: list[tuple[str, str]], gold: SogouGold) -> tuple[str, ...]:
    """Return the warning for questions without an answer, which the tool leaves out of its means."""
    count = len(gold.canonical.keys() - {name for name, _ in given})
    if not count:
        return ()
    total = f"{count:,} of {len(gold.canonical):,} questions"
    return (f"{total} have no answer: the tool's scores are means over the answers given",)


def _score_webqa(predictions: Path, gold: Path) -> KitResult:
    """Return the kit's F1 scores over evidences and votes, in percent."""
    questions = read_kit(gold, predictions)
    folders = (gold.parent, gold.parent.parent)
    folder = next((folder for folder in folders if (folder / SYNONYMS).is_file()), None)
    lists = FuzzyLists() if folder is None else read_lists(folder)
    fuzzy = "fuzzy" if folder else "fuzzy by rules alone"

    def same(reference: str, answer: str) -> bool:
        return same_answer(reference, answer, lists)

    scored: dict[str, KitScore] = {
        "strict": score_evidences(questions),
        fuzzy: score_evidences(questions, same),
        "voted strict": score_votes(questions),
        f"voted {fuzzy}": score_votes(questions, same),
    }
    values = {name: 100 * score.f1 for name, score in scored.items()}
    strict = scored["strict"]
    values |= {"strict precision": 100 * strict.precision, "strict recall": 100 * strict.recall}
    return KitResult(Scores("strict", values, 0.0, _interval(questions), strict.true))


def _interval(questions: list[list[TaggedEvidence]]) -> tuple[float, float]:
    """Return the bootstrap interval of strict F1; whole questions are resampled."""
    each = [score_evidences([evidences]) for evidences in questions]
    counts = np.array([(score.true, score.predicted, score.correct) for score in each], np.float64)
    return bootstrap_interval(counts, lambda sums: 200 * sums[:, 2] / np.maximum(sums[:, 0] + sums[:, 1], 1))

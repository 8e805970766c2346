"""What ``clue evaluate`` does: score a prediction file against labelled records.

In: a task, a prediction file, and where the gold records are. Out: scores, how answers matched, warnings.
Knows nothing about argv, models or printing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clue_runner.adapters.base import Prediction, Scores, load_adapter
from clue_runner.commands.answers.evaluate_kits import score_kit
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource, FolderSource
from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import read_regular, user_path
from clue_runner.files.text import printable
from clue_runner.submission.answers import answer_kind, check_values, read_predictions, refuse
from clue_runner.submission.findings import Findings
from clue_runner.submission.forms import Answer, scoring_form
from clue_runner.submission.predictions import Aligned, align

PARTIAL_LAYOUT = "squad"  # whose published script counts questions without an answer as 0


@dataclass(frozen=True)
class ScoredFile:
    """Scores, and everything they were computed from."""

    card: Card
    gold: str
    is_sample: bool
    matched_by: str
    scores: Scores
    warnings: tuple[str, ...] = ()
    unanswered: int = 0

    def result(self) -> dict[str, Any]:
        """Return the result event's content."""
        low, high = self.scores.confidence_interval
        return {
            "ok": True,
            "task": self.card.name,
            "metric": self.scores.main,
            "score": self.scores.score,
            "scores": dict(self.scores.values),
            "confidence_interval": [low, high],
            "chance": self.scores.chance,
            "examples": self.scores.examples,
            "unanswered": self.unanswered,
            "matched_by": self.matched_by,
            "gold": self.gold,
        }


def score_file(
    task: str, predictions: Path, *, gold: Path | None = None, data: str | None = None, partial: bool = False
) -> ScoredFile:
    """Score ``predictions`` against dev.

    Args:
        task: a task's name or folder.
        predictions: a submission file, or ``predictions/<split>.jsonl`` of a run.
        gold: a labelled file in the official layout; None: the dev split of ``data``.
        data: a folder, an official zip, or ``sample``; None: where the task's data is looked for.
        partial: questions may be without an answer; each counts 0, as in the published script.

    Raises:
        UsageError: an unknown task, both ``gold`` and ``data``, or ``partial`` for a task whose script has
            no such rule.
        DataError: a missing or broken file, answers that do not fit the records or the labels.
    """
    if gold is not None and data is not None:
        raise UsageError("--gold and --data both name the gold records", next_step="give one of them")
    card = find_card(task)
    if partial and card.layout != PARTIAL_LAYOUT:
        raise UsageError(
            f"--partial is for reading tasks, and {card.name} is not one",
            allowed="cmrc2018, drcd",
            next_step="predict the whole split; for other tasks no published script scores a part",
        )
    predictions = user_path(predictions)
    if gold is not None:
        gold = user_path(gold)
        kit = score_kit(card, predictions, gold)
        if kit is not None:
            return ScoredFile(card, str(gold), False, "the kit's rules", kit.scores, kit.warnings)
    raw = read_regular(predictions)
    source, gold_card = (locate(card, data), card) if gold is None else gold_source(card, gold)
    adapter = load_adapter(gold_card)
    records = adapter.read(source, "dev")
    answers = read_predictions(raw, str(predictions), scoring_form(card))
    if answer_kind(card) == "text":  # judged without its record, so an n-best file is named before its ids
        _require_answers(answers, card, records, predictions)
    aligned = align(answers, records, str(predictions), partial=partial)
    given = zip(records.items, aligned.answers, strict=True)
    named = [Answer(answer.line, record.id, answer.value) for record, answer in given if answer is not None]
    _require_answers(named, card, records, predictions)
    pairs = zip(records.items, aligned.answers, strict=True)
    return ScoredFile(
        card,
        gold=records.path,
        is_sample=source.is_sample,
        matched_by=aligned.by,
        scores=adapter.score([_prediction(record.id, answer) for record, answer in pairs], records),
        warnings=(*records.warnings, *_part_warnings(aligned, records)),
        unanswered=aligned.unanswered,
    )


def _prediction(record_id: int | str, answer: Answer | None) -> Prediction:
    if answer is None:
        return Prediction(record_id, None)
    return Prediction(record_id, answer.value, answer.probability)


def _require_answers(answers: Sequence[Answer], card: Card, records: Records[Any], predictions: Path) -> None:
    """Refuse values that are not answers to this task: they would merely look like wrong answers."""
    findings = Findings(str(predictions))
    check_values(answers, card, records, findings)
    refuse(findings, f"these are not answers to {card.name}", f"clue tasks show {card.name}")


def _part_warnings(aligned: Aligned, records: Records[Any]) -> list[str]:
    """Return the warnings about a file that answers only some of the records, or others too."""
    warnings = []
    if aligned.unanswered:
        count = f"{aligned.unanswered:,} of {len(records):,}"
        warnings.append(f"{count} questions have no answer and count 0: not comparable with complete files")
    if aligned.ignored:
        warnings.append(f"{aligned.ignored:,} answers to ids that the gold records do not have were ignored")
    return warnings


def gold_source(card: Card, gold: Path) -> tuple[DataSource, Card]:
    """Return the gold file under dev's name, and a card whose dev split is this one file.

    Where the answers are in a separate file (ChID), it is looked for beside the gold file.
    """
    if not gold.exists():
        raise DataError(
            "no such gold file",
            where=printable(str(gold)),
            next_step="name a labelled file, such as dev.json",
        )
    # Under dev's name, so that the card's rules for dev apply; messages name the file that was given.
    dev = card.splits["dev"]
    files = {dev.file: gold}
    if dev.answers is not None:
        names = (f"{gold.stem}_answer{gold.suffix}", *dev.answers.file_names)
        beside = next((path for name in names if (path := gold.with_name(name)).is_file()), None)
        if beside is None:
            raise DataError(
                "the file with the answers to this gold file is not beside it",
                where=printable(str(gold.parent)),
                allowed=" or ".join(dict.fromkeys(names)),
                next_step="put the two files into one folder, or name the official zip with --data",
            )
        files[dev.answers.file] = beside
    # a user's file has no official count
    one_file = dev.model_copy(update={"more": [], "records": []})
    return FolderSource(str(gold), files), card.model_copy(
        update={"splits": {**card.splits, "dev": one_file}}
    )

"""``clue evaluate --zero-shot``: a decoder chooses the answer with the lowest perplexity.

In: a task, a decoder, how many worked examples precede each record. Out: the task's scores.
Knows nothing about argv or how a decoder is computed.

Each possible answer is appended to the record's texts; the one whose tokens have the highest mean
log-probability (the lowest perplexity) wins. Nothing is trained. Labels are given by their descriptions,
or by their names where the card has no descriptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from clue_runner.adapters.base import Prediction, Scores, load_adapter
from clue_runner.commands.generation.decoder import Loaded, find_checkpoint, load
from clue_runner.console import Console
from clue_runner.data.cards import Card, find_card
from clue_runner.data.locate import locate
from clue_runner.data.records import ChoiceRecord, Records, TextRecord
from clue_runner.engines import compiled
from clue_runner.engines.devices import Backend
from clue_runner.errors import UsageError

ANSWER, BREAK = "答案：", "\n"
LENGTH_STEP = 32  # rows are padded to a multiple of this, so that few lengths are compiled
TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class ZeroShotRequest:
    """The options of ``clue evaluate --zero-shot``."""

    task: str
    model: str
    data: str | None = None
    shots: int = 0
    limit: int | None = None
    backend: Backend = "tensorflow"
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Question:
    """A record as a decoder reads it: the text before the answer, and each answer with its wording."""

    text: str
    answers: Sequence[tuple[Any, str]]


def fulfil(request: ZeroShotRequest, console: Console) -> tuple[Card, Scores]:
    """Answer dev and return the task's scores.

    Raises:
        UsageError: the task has no answers to choose from.
        CheckpointError: no decoder.
        DataError: no dev split.
    """
    card = find_card(request.task)
    adapter = load_adapter(card)
    source = locate(card, request.data)
    records: Records[Any] = adapter.read(source, "dev")
    items = records.items[: request.limit]
    examples = adapter.read(source, "train").items[: request.shots] if request.shots else ()
    questions = [question_of(card, record) for record in items]
    shown = "".join(_worked(card, record) for record in examples)
    checkpoint = find_checkpoint(request.model, request.backend)
    loaded = load(checkpoint, backend=request.backend, device=request.device, precision=request.precision)
    console.say(f"{checkpoint.name} on {loaded.described}")
    scorer, predictions = Scorer(loaded), []
    with console.progress(len(items), f"answering {records.file}") as bar:
        for number, (record, question) in enumerate(zip(items, questions, strict=True), start=1):
            chosen = scorer.best(shown + question.text, [words for _, words in question.answers])
            predictions.append(Prediction(record.id, question.answers[chosen][0]))
            bar.update(number)
    answered = Records(records.split, items, records.file, records.sha256, len(items), path=records.path)
    return card, adapter.score(predictions, answered)


def question_of(card: Card, record: Any) -> Question:
    """Return a record's text and its possible answers.

    Raises:
        UsageError: this kind of task has no list of answers.
    """
    match record:
        case TextRecord() if card.labels:
            answers = [(one.name, one.description or one.name) for one in card.labels]
            return Question(BREAK.join([*record.texts, ANSWER]), answers)
        case ChoiceRecord():
            text = BREAK.join([*record.passage, record.question, ANSWER])
            return Question(text, list(enumerate(record.choices)))
    raise UsageError(
        f"{card.name} has no list of answers to choose from",
        where="--zero-shot",
        next_step="use a task with labels or choices, such as tnews or c3",
    )


def _worked(card: Card, record: Any) -> str:
    """Return a record with its right answer, as it precedes the question."""
    question = question_of(card, record)
    gold = record.label if isinstance(record, TextRecord) else record.answer
    words = next((words for name, words in question.answers if name == gold), "")
    return f"{question.text}{words}{BREAK}"


class Scorer:
    """Mean log-probabilities of answers that follow a text."""

    def __init__(self, loaded: Loaded) -> None:
        from clue_runner.models.decoding.network import log_probabilities

        self.loaded = loaded
        self._score = compiled(loaded.backend, loaded.backbone, partial(log_probabilities, loaded.backbone))

    def best(self, text: str, answers: Sequence[str]) -> int:
        """Return the index of the answer with the highest mean log-probability; the first among equals."""
        return int(np.argmax(self.scores(text, answers)))

    def scores(self, text: str, answers: Sequence[str]) -> list[float]:
        """Return each answer's mean log-probability; a text that is too long loses its beginning."""
        before = self.loaded.ids(text)
        rows = [self.loaded.ids(answer)[: self.loaded.limit // 2] for answer in answers]
        room = self.loaded.limit - max(map(len, rows))
        before = before[-room:]
        found: list[float] = []
        for group in _groups(rows, len(before)):
            found += self._means(before, group)
        return found

    def _means(self, before: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """Return the mean log-probabilities of answers in one batch; an empty answer has the worst."""
        longest = len(before) + max(map(len, answers))
        padded = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, self.loaded.limit)
        ids = np.zeros((len(answers), padded), np.int32)
        lengths = np.array([len(before) + len(answer) for answer in answers], np.int32)
        for row, answer in enumerate(answers):
            ids[row, : lengths[row]] = [*before, *answer]
        table = np.asarray(self._score(ids, lengths), np.float64)
        first = len(before) - 1
        return [
            float(table[row, first : lengths[row] - 1].mean()) if answer else -np.inf
            for row, answer in enumerate(answers)
        ]


def _groups(rows: Sequence[Sequence[int]], before: int) -> Iterator[Sequence[Sequence[int]]]:
    """Yield groups of answers that make small batches."""
    count = max(1, TOKENS_AT_ONCE // (before + max(map(len, rows))))
    for start in range(0, len(rows), count):
        yield rows[start : start + count]

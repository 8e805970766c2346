"""A question about a text is answered by a span of the text: CMRC2018, DRCD.

In: a card, records, a tokenizer, a backbone.
Out: rows (a question with one window of its text), a network, the answer cut from each raw text, scores,
the submission's bytes. Knows nothing about training steps or files' places.

A text that is too long becomes several windows that overlap. In training each window is an example; one
without the answer points at [CLS]. At the end a record's windows are put together: a span's probability is
its share among all spans of its window and "no answer in this window", and the most probable span wins.
(Raw scores of two windows cannot be compared, since each window's softmax fixes them up to a constant.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, AdapterSettings, MemoryFacts, Partials
from clue_runner.adapters.checks import (
    require_all_rows,
    require_answers,
    require_members,
    require_order,
    text_answers,
)
from clue_runner.adapters.shown.shown import Shown, ShownOption, ShownSpan, ShownText
from clue_runner.config.schema import Positive
from clue_runner.data.cards import Submission
from clue_runner.data.readers.reading import read_reading_records
from clue_runner.data.records import ReadingRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError
from clue_runner.metrics.answers import AnswerScores, exact_match, random_answers, score_answers
from clue_runner.metrics.confidence import summed_mean
from clue_runner.submission.writers import json_object
from clue_runner.tokens.layouts.question_windows import QuestionLimits, encode_questions
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.tokens.script import simplified
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

N_BEST = 20
NOT_A_SPAN = -1e8  # log-probabilities below come from masks


class Settings(AdapterSettings):
    """How spans are scored, and how questions and texts are cut."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "head": "model.answer_head",
        "head_size": "model.head_size",
        "window_stride": "data.window_stride",
        "max_question_length": "data.max_question_length",
        "max_answer_length": "data.max_answer_length",
        "simplify": "data.simplify",
    }

    head: Literal["globalpointer", "start_end"] = Field(
        default="globalpointer",
        description="one score per span, or one for its first and one for its last token",
    )
    head_size: Annotated[int, Field(gt=0, multiple_of=2)] = Field(
        default=64, description="width of the vectors whose products score spans"
    )
    window_stride: Positive = Field(
        default=128, description="tokens from one window's start to the next one's; at most half a window"
    )
    max_question_length: Positive = Field(
        default=64, description="most tokens of a question; longer ones are cut"
    )
    max_answer_length: Positive | None = Field(
        default=None, description="most tokens in a predicted answer; null: unlimited"
    )
    simplify: bool = Field(
        default=True,
        description="map traditional characters to simplified ones where the card's texts are traditional",
    )


class Window(NamedTuple):
    """The best spans of one window, best first, in characters of the raw text (end exclusive).

    ``scores`` are natural logarithms of probabilities.
    """

    starts: list[int]
    ends: list[int]
    scores: list[float]


class Reading(Adapter):
    """Questions whose answers are spans of their text."""

    chance_means = "a random span"
    settings_type = Settings
    settings: Settings

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[ReadingRecord]:
        """Return the questions of one split; wrong ones raise ``DataError`` with file:line."""
        return read_reading_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[ReadingRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per window, windows in record order; see ``tokens.question_windows``."""
        own = self.settings
        limits = QuestionLimits(
            self.run.data.max_length, own.max_question_length, own.max_answer_length, own.window_stride
        )
        change = simplified if own.simplify and self.card.script == "traditional" else str
        return encode_questions(
            records.items, tokenizer, limits, segments=self.run.model.segments, change=change
        )

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return the places of text and answers; they must be in their rows."""
        return {
            "answer token": (rows.columns["answer"], rows.lengths),
            "first token of the text": (rows.columns["text_start"], rows.lengths),
        }

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return the rows that can be trained on: those of questions whose answer occurs in their text.

        Raises:
            DataError: there is none.
        """
        usable = np.flatnonzero(np.asarray(rows.columns["answer"], np.int32)[:, 0] >= 0)
        if not len(usable):
            raise DataError(
                "no question has an answer that occurs in its text, so there is nothing to train on",
                next_step="clue data check NAME --from FILE shows the content of the train file",
            )
        return rows if len(usable) == len(rows) else rows.take(usable)

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with the head that ``task.head`` names."""
        from clue_runner.models.heads.answer_head import BorderAnswerHead, SpanAnswerHead

        longest, rate = self.settings.max_answer_length, self.run.model.head_dropout
        if self.settings.head == "start_end":
            return BorderAnswerHead(backbone, longest=longest, dropout_rate=rate, seed=self.run.seed)
        size = self.settings.head_size
        return SpanAnswerHead(
            backbone, head_size=size, longest=longest, dropout_rate=rate, seed=self.run.seed
        )

    def memory_facts(self) -> MemoryFacts:
        """Return that every token is read, and one table where each span has a score of its own."""
        return MemoryFacts(True, 1 if self.settings.head == "globalpointer" else 0)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Window]:
        """Return the best spans of each window, from ``best_first``, ``best_last`` and ``best_scores``."""
        starts = np.take_along_axis(np.asarray(batch["starts"]), np.asarray(outputs["best_first"]), axis=1)
        ends = np.take_along_axis(np.asarray(batch["ends"]), np.asarray(outputs["best_last"]), axis=1)
        scores = np.asarray(outputs["best_scores"], np.float32)
        counts = (scores > NOT_A_SPAN).sum(axis=1).tolist()
        return [
            Window(starts[row, :kept].tolist(), ends[row, :kept].tolist(), scores[row, :kept].tolist())
            for row, kept in enumerate(counts)
        ]

    def merge(self, partials: Partials, rows: Rows, records: Records[ReadingRecord]) -> Predictions:
        """Return one answer per record in file order, cut from the raw text.

        Raises:
            RuntimeError: a window is missing or belongs to no record (our bug).
        """
        require_all_rows(partials, len(rows), records.file, "windows")
        windows: list[list[Window]] = [[] for _ in records.items]
        for index, record in enumerate(rows.record.tolist()):
            windows[record].append(partials[index])
        return [_best_text(record, own) for record, own in zip(records.items, windows, strict=True)]

    def ensemble(self, members: Sequence[Predictions], records: Records[ReadingRecord]) -> Predictions:
        """Return the texts with the highest mean probability over several runs; one not listed counts 0.

        Raises:
            DataError: a member answers other records.
        """
        require_members(members, records)
        answers = []
        for index, record in enumerate(records.items):
            probabilities: dict[str, float] = {}
            for member in members:
                for text, probability in member[index].alternatives:
                    probabilities[text] = probabilities.get(text, 0.0) + probability / len(members)
            answers.append(_prediction(record, probabilities))
        return answers

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[ReadingRecord]) -> Scores:
        """Return exact match, F1 and their mean as the published CMRC2018 script counts them.

        The chance score is that of one random span of 1 to 30 characters per question. The prediction None is
        no answer: it counts 0, as in the script.

        Raises:
            DataError: the split has no answers, or an answer is not a text.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.answers or None for record in records.items))
        require_order(predictions, records)
        references = {record.id: record.references for record in records.items}
        texts = text_answers(predictions, records, may_lack=True)
        answers = {records.items[index].id: text for index, text in texts.items()}
        scores = score_answers(answers, references)
        guessed = score_answers(
            random_answers({record.id: record.context for record in records.items}), references
        )
        metric = self.card.metric
        summed = summed_mean(_by_question(scores)[metric])
        return Scores(
            main=metric,
            values={"exact_match": scores.exact_match, "f1": scores.f1, "average": scores.average},
            chance=float(_by_question(guessed)[metric].mean()),
            confidence_interval=summed.interval,
            examples=len(records),
            summed=summed,
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return one JSON object from question id to answer, in file order."""
        return json_object(((prediction.id, prediction.prediction) for prediction in predictions), submission)

    def show(self, record: ReadingRecord, prediction: Prediction) -> Shown:
        """Return question and text, the answers marked; a prediction is marked where it is first."""
        spans = [
            ShownSpan(answer.start, answer.start + len(answer.text), answer.text, "gold")
            for answer in record.answers
            if answer.start is not None
        ]
        answer = str(prediction.prediction)
        place = record.context.find(answer) if answer else -1
        if place >= 0:
            spans.append(ShownSpan(place, place + len(answer), answer, "predicted"))
        references = record.references
        return Shown(
            id=record.id,
            texts=(ShownText("question", record.question), ShownText("text", record.context, tuple(spans))),
            answer=answer,
            gold=" / ".join(dict.fromkeys(references)) if references else None,
            is_right=bool(exact_match(answer, references)) if references else None,
            probability=prediction.probability,
            options=tuple(
                ShownOption(text, probability, text == answer, text in references if references else None)
                for text, probability in prediction.alternatives
            ),
        )


def _best_text(record: ReadingRecord, windows: Sequence[Window]) -> Prediction:
    """Return the most probable text of all windows; a text that several spans have counts its best one."""
    probabilities: dict[str, float] = {}
    for window in windows:
        for start, end, score in zip(*window, strict=True):
            text = record.context[start:end]
            probabilities[text] = max(probabilities.get(text, 0.0), float(np.exp(score)))
    return _prediction(record, probabilities)


def _prediction(record: ReadingRecord, probabilities: Mapping[str, float]) -> Prediction:
    """Return the best of several texts, the first among equals; a text without tokens has the answer ""."""
    best = tuple(sorted(probabilities.items(), key=lambda item: -item[1])[:N_BEST])
    text, probability = best[0] if best else ("", 0.0)
    return Prediction(record.id, text, probability, alternatives=best)


def _by_question(scores: AnswerScores) -> dict[str, NDArray[np.float64]]:
    """Return each metric's figures, one per question, in percent."""
    table = np.array(list(scores.by_question.values()), np.float64) * 100
    return {"exact_match": table[:, 0], "f1": table[:, 1], "average": table.mean(axis=1)}

"""Blanks in passages are filled from one list of candidates per record: ChID and FewCLUE's form of it.

A candidate for a blank is a row, a blank is a group; the answers of a record are decoded together, after
all of its rows are scored, so that batch boundaries do not matter.

In: records, a tokenizer, a backbone. Out: rows, a network, one candidate index per blank, scores, the
submission's bytes. Knows nothing about training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, AdapterSettings, MemoryFacts, Partials
from clue_runner.adapters.checks import mean_probabilities, place_of, require_answers, require_order
from clue_runner.adapters.groups import (
    group_head,
    group_memory,
    group_probabilities,
    group_tables,
    index_of,
    score_tables,
)
from clue_runner.adapters.shown.shown import Shown, ShownOption, ShownSpan, ShownText
from clue_runner.data.cards import Submission
from clue_runner.data.readers.cloze import TAG, read_cloze_records
from clue_runner.data.records import ClozeRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError
from clue_runner.metrics.assignment import Decoding, choose_candidates
from clue_runner.metrics.choice import score_blanks
from clue_runner.submission.writers import json_lines, json_object
from clue_runner.tokens.layouts.blanks import encode_blanks
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head


class Settings(AdapterSettings):
    """How the blanks of a record are filled."""

    FORMER: ClassVar[Mapping[str, str]] = {"decoding": "model.choice_decoding"}

    decoding: Decoding = Field(
        default="assignment",
        description="assignment: all blanks of a record together; greedy: best pair first; "
        "independent: each blank alone",
    )


class Cloze(Adapter):
    """Passages with blanks."""

    chance_means = "a random choice"
    settings_type = Settings
    settings: Settings

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[ClozeRecord]:
        """Return the records of one split; bad ones raise ``DataError`` with file:line."""
        return read_cloze_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[ClozeRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per candidate of a blank, in record order; see ``tokens.blanks``.

        Raises:
            UsageError: ``data.max_length`` leaves no room for a text beside a candidate.
        """
        return encode_blanks(
            records.items,
            tokenizer,
            max_length=self.run.data.max_length,
            segments=self.run.model.segments,
        )

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return the marks of right choices, and the places of choices, which begin at 0 in every group."""
        return group_tables(rows)

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with one output column and a softmax over the candidates of each blank."""
        return group_head(backbone, self.run)

    def memory_facts(self) -> MemoryFacts:
        """Return whether the pooling reads more than the first token."""
        return group_memory(self.run)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[float]:
        """Return each row's score from ``logits`` (rows,)."""
        return [float(score) for score in np.asarray(outputs["logits"], np.float32)]

    def merge(self, partials: Partials, rows: Rows, records: Records[ClozeRecord]) -> Predictions:
        """Return one prediction per record in file order: {tag: candidate index} over all of its blanks.

        Raises:
            RuntimeError: a candidate has no row or a row has no candidate (our bug).
            NotFiniteError: the network gave something that is not a number.
        """
        shapes = [(len(record.tags), len(record.candidates)) for record in records.items]
        tables = score_tables(partials, shapes, records.shown)
        return [
            self._answer(record, group_probabilities(table))
            for record, table in zip(records.items, tables, strict=True)
        ]

    def ensemble(self, members: Sequence[Predictions], records: Records[ClozeRecord]) -> Predictions:
        """Return the answers decoded from the mean probabilities of several runs.

        Raises:
            DataError: a member answers other records, or carries no probabilities.
        """
        means = mean_probabilities(members, records)
        return [self._answer(record, mean) for record, mean in zip(records.items, means, strict=True)]

    def _answer(self, record: ClozeRecord, probabilities: NDArray[np.float64]) -> Prediction:
        """Return a record's answers; their probability is the mean over its blanks."""
        # a probability of 0 would make all sums that contain it equal
        logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
        chosen = choose_candidates(logarithms, self.settings.decoding)
        return Prediction(
            record.id,
            dict(zip(record.tags, chosen, strict=True)),
            float(probabilities[np.arange(len(chosen)), chosen].mean()),
            probabilities.astype(np.float32),
        )

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[ClozeRecord]) -> Scores:
        """Return accuracy over all blanks with its 95 % bootstrap interval over records, and chance.

        Raises:
            DataError: the split is empty or has no answers, or a prediction is not an index of a candidate.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.answers for record in records.items))
        require_order(predictions, records)
        chosen = [
            _indices(one.prediction, record, place_of(records, index))
            for index, (one, record) in enumerate(zip(predictions, records.items, strict=True))
        ]
        answers = [dict(zip(record.tags, record.answers or (), strict=True)) for record in records.items]
        scores = score_blanks(chosen, answers, [len(record.candidates) for record in records.items])
        return Scores(
            main=self.card.metric,
            values={"accuracy": scores.accuracy},
            chance=scores.chance,
            confidence_interval=scores.interval,
            examples=len(records),
            summed=scores.summed,
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return one object of tag -> index over all records; lines of id and index where the card says so.

        Raises:
            DataError: lines are wanted and a record has several blanks.
        """
        if submission.shape == "object":
            return json_object(
                ((tag, index) for one in predictions for tag, index in one.prediction.items()), submission
            )
        for one in predictions:
            if len(one.prediction) != 1:
                raise DataError(
                    f"{submission.file} has one answer per line, the record has {len(one.prediction)} blanks",
                    where=f"id {one.id}",
                    next_step="shape: object in the card",
                )
        return json_lines(((one.id, next(iter(one.prediction.values()))) for one in predictions), submission)

    def show(self, record: ClozeRecord, prediction: Prediction) -> Shown:
        """Return the passages with each blank's candidates, chosen and right, and the candidates."""
        chosen = _indices(prediction.prediction, record, f"id {record.id}")
        gold = None if record.answers is None else dict(zip(record.tags, record.answers, strict=True))

        def words(answers: Mapping[str, int]) -> str:
            """Return the candidates of all blanks in their order."""
            return ", ".join(record.candidates[answers[tag]] for tag in record.tags if tag in answers)

        return Shown(
            id=record.id,
            texts=tuple(
                ShownText("passage", passage, _blank_spans(passage, record, chosen, gold))
                for passage in record.passages
            ),
            answer=words(chosen),
            gold=None if gold is None else words(gold),
            is_right=None if gold is None else chosen == gold,
            probability=prediction.probability,
            options=tuple(
                ShownOption(
                    text, None, place in chosen.values(), None if gold is None else place in gold.values()
                )
                for place, text in enumerate(record.candidates)
            ),
        )


def _indices(given: Any, record: ClozeRecord, where: str) -> dict[str, int]:
    """Return tag -> index of a prediction; a bare index is the answer of a record's only blank.

    Raises:
        DataError: one answer for several blanks, an unknown tag, or no index of a candidate.
    """
    if not isinstance(given, Mapping) and len(record.tags) == 1:
        given = {record.tags[0]: given}
    if not isinstance(given, Mapping) or not given.keys() <= set(record.tags):
        raise DataError(
            "the answer is not one candidate per blank",
            where=where,
            received=f"{given!r:.60}",
            allowed=f"{{tag: index}} of {', '.join(record.tags[:5])}"
            + (" ..." if len(record.tags) > 5 else ""),
        )
    return {
        tag: index_of(given[tag], len(record.candidates), f"{where}, {tag}")
        for tag in record.tags
        if tag in given
    }


def _blank_spans(
    passage: str, record: ClozeRecord, chosen: Mapping[str, int], gold: Mapping[str, int] | None
) -> tuple[ShownSpan, ...]:
    """Return what each blank of a passage holds: the right candidate where known, then the chosen one."""
    spans: list[ShownSpan] = []
    for match in TAG.finditer(passage):
        place = match.start(), match.end()
        if gold is not None:
            spans.append(ShownSpan(*place, record.candidates[gold[match[0]]], "gold"))
        if match[0] in chosen:
            spans.append(ShownSpan(*place, record.candidates[chosen[match[0]]], "predicted"))
    return tuple(spans)

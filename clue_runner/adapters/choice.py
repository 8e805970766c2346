"""One answer is picked from the choices of a question about a passage: C3.

A choice is a row, a question is a group. There are no fillers: a question has as many rows as choices.

In: a card whose template reads ``passage``, ``question`` and ``choice``, records, a tokenizer, a backbone.
Out: rows, a network, one choice index per question, scores, the submission's bytes.
Knows nothing about single tasks (they are cards), training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, MemoryFacts, Partials
from clue_runner.adapters.checks import mean_probabilities, place_of, require_answers, require_order
from clue_runner.adapters.groups import (
    group_head,
    group_memory,
    group_probabilities,
    group_tables,
    index_of,
    score_tables,
)
from clue_runner.adapters.shown.shown import Shown, ShownOption, ShownText
from clue_runner.data.cards import Submission, Template
from clue_runner.data.readers.choice import read_choice_records
from clue_runner.data.records import ChoiceRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.data.template import fill_template
from clue_runner.metrics.choice import score_choices
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.assemble import assemble, shorten
from clue_runner.tokens.layouts.blanks import INDISTINCT
from clue_runner.tokens.rows import Array, GoldAnswers, IntArray, Rows
from clue_runner.tokens.tokenizer import TokenArray, Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

TEMPLATE = Template(parts=["{passage|join(\n)}", "{question}", "{choice}"])


class Choice(Adapter):
    """Questions with choices."""

    chance_means = "a random choice"
    drops_tokens = True  # a row's score is about the whole row

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[ChoiceRecord]:
        """Return the questions of one split; bad ones raise ``DataError`` with file:line."""
        return read_choice_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[ChoiceRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per choice, questions in record order.

        Columns: ``choice`` int32, the choice's index in its question; ``label`` int32, 1 on the right choice,
        0 on the others, -1 where there are no answers. A row that is too long loses tokens from the longest
        part that is not the choice.
        """
        max_length = self.run.data.max_length
        template = self.card.template or TEMPLATE
        texts = [
            fill_template(
                {"passage": list(record.passage), "question": record.question, "choice": choice}, template
            )
            for record in records.items
            for choice in record.choices
        ]
        unique = list(dict.fromkeys(text for row in texts for text in row))
        tokens = dict(zip(unique, (encoded.ids for encoded in tokenizer.encode_texts(unique)), strict=True))
        used = [Template(parts=[part]).used_fields for part in template.parts]
        fixed = [place for place, fields in enumerate(used) if "choice" in fields]
        rows, cut, shortened = [], 0, 0
        for row in texts:
            parts = [tokens[text] for text in row]
            kept = _fit([len(part) for part in parts], fixed, max_length - 1 - len(parts))
            cut += sum(kept) < sum(map(len, parts))
            shortened += any(kept[place] < len(parts[place]) for place in fixed)
            rows.append([part[:length] for part, length in zip(parts, kept, strict=True)])
        offsets, token_ids, segment_ids = assemble(
            len(rows), rows.__getitem__, tokenizer, self.run.model.segments
        )
        sizes = [len(record.choices) for record in records.items]
        places = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
        answers = np.array([-1 if record.answer is None else record.answer for record in records.items])
        label = np.where(np.repeat(answers, sizes) < 0, -1, np.repeat(answers, sizes) == places)
        group = np.repeat(np.arange(len(records), dtype=np.int64), sizes)
        lost = _indistinct_answers(rows, sizes, answers.tolist())
        notes = {f"cut to {max_length} tokens": cut, "choices that are cut": shortened, INDISTINCT: lost}
        return Rows(
            offsets=offsets,
            tokens={"token_ids": token_ids, "segment_ids": segment_ids},
            columns={"choice": places, "label": label.astype(np.int32)},
            record=group,
            group=group,
            notes={what: count for what, count in notes.items() if count},
            gold=GoldAnswers(int((answers >= 0).sum()), lost),
        )

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return the marks of right choices, and the places of choices, which begin at 0 in every group."""
        return group_tables(rows)

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with one output column and a softmax over each question."""
        return group_head(backbone, self.run)

    def memory_facts(self) -> MemoryFacts:
        """Return whether the pooling reads more than the first token."""
        return group_memory(self.run)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[float]:
        """Return each row's score from ``logits`` (rows,); ``merge`` compares whole groups."""
        return [float(score) for score in np.asarray(outputs["logits"], np.float32)]

    def merge(self, partials: Partials, rows: Rows, records: Records[ChoiceRecord]) -> Predictions:
        """Return one prediction per question in file order; ``partials`` maps row index to score.

        Raises:
            RuntimeError: a choice has no row or a row has no choice (our bug).
            NotFiniteError: the network gave something that is not a number.
        """
        tables = score_tables(partials, [(1, len(record.choices)) for record in records.items], records.shown)
        return [
            _answer(record, group_probabilities(table)[0])
            for record, table in zip(records.items, tables, strict=True)
        ]

    def ensemble(self, members: Sequence[Predictions], records: Records[ChoiceRecord]) -> Predictions:
        """Return the choices with the highest mean probability over several runs.

        Raises:
            DataError: a member answers other records, or carries no probabilities.
        """
        means = mean_probabilities(members, records)
        return [_answer(record, mean) for record, mean in zip(records.items, means, strict=True)]

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[ChoiceRecord]) -> Scores:
        """Return accuracy with its 95 % bootstrap interval; chance is the mean of 1 / choices.

        Raises:
            DataError: the split is empty or has no answers, or a prediction is not an index of a choice.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.answer for record in records.items))
        require_order(predictions, records)
        sizes = [len(record.choices) for record in records.items]
        chosen = [
            index_of(one.prediction, size, place_of(records, index))
            for index, (one, size) in enumerate(zip(predictions, sizes, strict=True))
        ]
        gold = [record.answer for record in records.items if record.answer is not None]
        scores = score_choices(chosen, gold, sizes)
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
        """Return JSON lines of ``id`` and the choice's index in file order."""
        return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

    def show(self, record: ChoiceRecord, prediction: Prediction) -> Shown:
        """Return passage, question and choices."""
        chosen = index_of(prediction.prediction, len(record.choices), f"id {record.id}")
        probabilities = prediction.probabilities
        return Shown(
            id=record.id,
            texts=(ShownText("passage", "\n".join(record.passage)), ShownText("question", record.question)),
            answer=record.choices[chosen],
            gold=None if record.answer is None else record.choices[record.answer],
            is_right=None if record.answer is None else chosen == record.answer,
            probability=prediction.probability,
            options=tuple(
                ShownOption(
                    text,
                    None if probabilities is None else float(probabilities[place]),
                    place == chosen,
                    None if record.answer is None else place == record.answer,
                )
                for place, text in enumerate(record.choices)
            ),
        )


def _fit(lengths: Sequence[int], fixed: Sequence[int], room: int) -> list[int]:
    """Return the tokens kept of each part; a ``fixed`` part is cut only where it does not fit alone."""
    needed = sum(lengths[place] for place in fixed)
    if needed >= room:
        kept = shorten([lengths[place] for place in fixed], room)
        return [kept[fixed.index(place)] if place in fixed else 0 for place in range(len(lengths))]
    others = [place for place in range(len(lengths)) if place not in fixed]
    kept = shorten([lengths[place] for place in others], room - needed)
    return [lengths[place] if place in fixed else kept[others.index(place)] for place in range(len(lengths))]


def _indistinct_answers(
    rows: Sequence[Sequence[TokenArray]], sizes: Sequence[int], answers: Sequence[int]
) -> int:
    """Return how many right choices have the same row as another choice of their question."""
    count = first = 0
    for size, answer in zip(sizes, answers, strict=True):
        tokens = [tuple(part.tobytes() for part in parts) for parts in rows[first : first + size]]
        count += answer >= 0 and tokens.count(tokens[answer]) > 1
        first += size
    return count


def _answer(record: ChoiceRecord, probabilities: NDArray[np.float64]) -> Prediction:
    """Return the most probable choice; the first among equals."""
    best = int(probabilities.argmax())
    return Prediction(record.id, best, float(probabilities[best]), probabilities.astype(np.float32))

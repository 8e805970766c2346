"""One text or a pair of texts gets one label: AFQMC, TNEWS, IFLYTEK, CMNLI, OCNLI, CLUEWSC2020, CSL.

In: a card with a text template and a label list, records, a tokenizer, a backbone.
Out: rows, a network, one label per record, scores, the submission's bytes.
Knows nothing about single tasks (they are cards), training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, MemoryFacts, Partials
from clue_runner.adapters.checks import (
    label_answers,
    label_numbers,
    mean_probabilities,
    place_of,
    require_all_rows,
    require_answers,
    require_finite,
    require_order,
)
from clue_runner.adapters.shown.shown import Shown, ShownOption, ShownText
from clue_runner.data.cards import Submission, Template
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord
from clue_runner.data.sources import DataSource
from clue_runner.metrics.accuracy import accuracy, count_correct, majority_share, wilson_interval
from clue_runner.metrics.confidence import summed_mean
from clue_runner.metrics.per_class import class_scores, macro_f1
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.rows import Array, GoldAnswers, IntArray, Rows
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

PER_CLASS_LIMIT = 20  # with more labels, the scores of single labels are not listed
OPTIONS_SHOWN = 5  # labels shown beside a record, most probable first


class Classification(Adapter):
    """Texts with one label each."""

    drops_tokens = True  # a row's answer is about the whole row

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[TextRecord]:
        """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""
        return read_text_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[TextRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per record, in record order; column ``label`` is int32, -1 where there is none."""
        max_length = self.run.data.max_length
        offsets, token_ids, segment_ids, cut = tokenizer.pair_rows(
            [record.texts for record in records.items], max_length, segments=self.run.model.segments
        )
        given = [(place, one.label) for place, one in enumerate(records.items) if one.label is not None]
        labels = np.full(len(records), -1, np.int32)
        labels[[place for place, _ in given]] = label_numbers(records, given, self.card.label_names)
        order = np.arange(len(records), dtype=np.int64)
        return Rows(
            offsets=offsets,
            tokens={"token_ids": token_ids, "segment_ids": segment_ids},
            columns={"label": labels},
            record=order,
            group=order,
            notes={f"cut to {max_length} tokens": cut} if cut else {},
            gold=GoldAnswers(len(given)),
        )

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return the labels, and how many the card has."""
        return {"label": (rows.columns["label"], len(self.card.labels))}

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with one output layer over the card's labels."""
        from clue_runner.models.heads.labels import ClassificationHead

        return ClassificationHead(
            backbone,
            num_labels=len(self.card.labels),
            pooling=self.run.model.pooling,
            dropout_rate=self.run.model.head_dropout,
            drop_share=self.run.train.drop_tokens,
            seed=self.run.seed,
        )

    def memory_facts(self) -> MemoryFacts:
        """Return whether the pooling reads more than the first token."""
        return MemoryFacts(every_token=self.run.model.pooling in {"mean", "max"})

    # ------------------------------------------------------------------------ decode

    def decode_batch(
        self, outputs: Mapping[str, Array], batch: Mapping[str, Array]
    ) -> Sequence[NDArray[np.float32]]:
        """Return the probabilities of each row, (labels,) float32, from ``logits`` (rows, labels)."""
        logits = np.asarray(outputs["logits"], dtype=np.float32)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return list(powers / powers.sum(axis=-1, keepdims=True))

    def merge(self, partials: Partials, rows: Rows, records: Records[TextRecord]) -> Predictions:
        """Return one prediction per record in file order; ``partials`` maps row index to probabilities.

        Raises:
            RuntimeError: a record has no row or a row has no record (our bug).
            NotFiniteError: the network gave something that is not a number.
        """
        require_all_rows(partials, len(records), records.file, "records")
        return [
            self._answer(records, index, np.asarray(partials[index], np.float32))
            for index in range(len(records))
        ]

    def ensemble(self, members: Sequence[Predictions], records: Records[TextRecord]) -> Predictions:
        """Return the labels with the highest mean probability over several runs.

        Raises:
            DataError: a member answers other records, or carries no probabilities.
        """
        means = mean_probabilities(members, records)
        return [
            self._answer(records, index, np.asarray(mean, np.float32)) for index, mean in enumerate(means)
        ]

    def _answer(
        self, records: Records[TextRecord], index: int, probabilities: NDArray[np.float32]
    ) -> Prediction:
        """Return the most probable label; the first among equals in the card's order."""
        require_finite(probabilities, place_of(records, index))
        best = int(probabilities.argmax())
        label = self.card.label_names[best]
        return Prediction(records.items[index].id, label, float(probabilities[best]), probabilities)

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[TextRecord]) -> Scores:
        """Return accuracy with its 95 % Wilson interval, macro F1, and each label's scores where few.

        Chance is the majority-class baseline: the fraction of the most frequent gold label.

        Raises:
            DataError: the split is empty or has no labels, or an answer is not a label.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.label for record in records.items))
        require_order(predictions, records)
        gold = [record.label for record in records.items if record.label is not None]
        predicted = label_answers(predictions, records, self.card.label_names)
        by_label = class_scores(gold, predicted, self.card.label_names)
        values = {"accuracy": accuracy(gold, predicted), "macro_f1": macro_f1(by_label)}
        if len(by_label) <= PER_CLASS_LIMIT:
            for one in by_label:
                values[f"precision/{one.label}"] = one.precision
                values[f"recall/{one.label}"] = one.recall
                values[f"f1/{one.label}"] = one.f1
        return Scores(
            main=self.card.metric,
            values=values,
            chance=majority_share(gold),
            confidence_interval=wilson_interval(count_correct(gold, predicted), len(gold)),
            examples=len(gold),
            summed=summed_mean([100.0 * (a == b) for a, b in zip(gold, predicted, strict=True)]),
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return JSON lines of ``id`` and ``label`` in file order; the label is the card's string."""
        return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

    def show(self, record: TextRecord, prediction: Prediction) -> Shown:
        """Return the texts and the most probable labels."""
        fields = _field_names(self.card.template, len(record.texts))
        options: list[ShownOption] = []
        if prediction.probabilities is not None:
            order = np.argsort(-prediction.probabilities, kind="stable")[:OPTIONS_SHOWN].tolist()
            names = self.card.label_names
            options = [
                ShownOption(
                    self.label_words(names[place]),
                    float(prediction.probabilities[place]),
                    names[place] == prediction.prediction,
                    None if record.label is None else names[place] == record.label,
                )
                for place in order
            ]
        return Shown(
            id=record.id,
            texts=tuple(ShownText(*pair) for pair in zip(fields, record.texts, strict=True)),
            answer=self.label_words(prediction.prediction),
            gold=None if record.label is None else self.label_words(record.label),
            is_right=None if record.label is None else prediction.prediction == record.label,
            probability=prediction.probability,
            options=tuple(options),
        )


def _field_names(template: Template | None, count: int) -> list[str]:
    """Return what each text is made of: the fields that its part of the template reads."""
    parts = template.parts if template is not None else [""] * count
    names = [", ".join(Template(parts=[part]).used_fields) for part in parts]
    return [name or f"text {number}" for number, name in enumerate(names, start=1)]

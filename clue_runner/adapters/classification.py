"""One text or a pair of texts gets one label: AFQMC, TNEWS, IFLYTEK, CMNLI, OCNLI, CLUEWSC2020, CSL.

In: a card with a text template and a label list, records, a tokenizer, a backbone.
Out: rows, a network, one label a record, scores, the submission's bytes.
Knows nothing about single tasks (they are cards), training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Head, Prediction, Predictions, Scores
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.readers.text import read_text_records
from clue_runner.data.records import Records, TextRecord
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError, NotFiniteError
from clue_runner.metrics.accuracy import accuracy, count_correct, majority_share, wilson_interval
from clue_runner.metrics.per_class import class_scores, macro_f1
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer

DROPS_TOKENS = True  # a row's answer is about the whole row
PER_CLASS_LIMIT = 20  # labels up to which each label's scores are listed beside the main score

# ---------------------------------------------------------------------------- read


def read(card: Card, source: DataSource, split: str) -> Records[TextRecord]:
    """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""
    return read_text_records(card, source, split)


# ---------------------------------------------------------------------------- encode


def encode(records: Records[TextRecord], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
    """Return one row a record, in record order; column ``label`` is int32, -1 where there is none."""
    offsets, token_ids, segment_ids, truncated = tokenizer.pair_rows(
        [record.texts for record in records.items], run.data.max_length, segments=run.model.segments
    )
    index = {name: position for position, name in enumerate(card.label_names)}
    labels = [-1 if record.label is None else index[record.label] for record in records.items]
    order = np.arange(len(records), dtype=np.int64)
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids},
        columns={"label": np.asarray(labels, dtype=np.int32)},
        record=order,
        group=order,
        notes={f"cut to {run.data.max_length} tokens": truncated} if truncated else {},
    )


def epoch_rows(rows: Rows, seed: int, epoch: int) -> Rows:
    """Return the same rows for every epoch: nothing is sampled."""
    return rows


# ---------------------------------------------------------------------------- build


def build(backbone: Any | None, card: Card, run: Run) -> Head:
    """Return ``backbone`` with one output layer over the card's labels."""
    from clue_runner.models.heads import ClassificationHead

    if backbone is None:
        raise ValueError("classification needs a backbone")
    head = ClassificationHead(
        backbone,
        num_labels=len(card.labels),
        pooling=run.model.pooling,
        dropout_rate=run.model.head_dropout,
        drop_share=run.train.drop_tokens,
        seed=run.seed,
    )
    return cast(Head, head)


# ---------------------------------------------------------------------------- decode


def decode_batch(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[NDArray[np.float32]]:
    """Return the probabilities of each row, (labels,) float32, from ``logits`` (rows, labels)."""
    logits = np.asarray(outputs["logits"], dtype=np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return list(powers / powers.sum(axis=-1, keepdims=True))


def merge(partials: Mapping[int, Any], records: Records[TextRecord], card: Card) -> Predictions:
    """Return one prediction a record in file order; ``partials`` maps row index to probabilities.

    Raises:
        RuntimeError: a record has no row or a row has no record (a bug of ours).
        NotFiniteError: the network gave something that is not a number.
    """
    rows = {index for index in partials if index >= 0}
    if rows != set(range(len(records))):
        missing = len(set(range(len(records))) - rows)
        raise RuntimeError(f"{records.file}: {missing} of {len(records)} records have no prediction")
    return [
        _answer(record, np.asarray(partials[index], dtype=np.float32), card, records.file)
        for index, record in enumerate(records.items)
    ]


def _answer(record: TextRecord, probabilities: NDArray[np.float32], card: Card, file: str) -> Prediction:
    """Return the most probable label; of equals the first in the card's order."""
    if not np.isfinite(probabilities).all():
        raise NotFiniteError(
            "the network's answer is not a number",
            where=f"{file}:{record.line}",
            next_step="predict with an earlier checkpoint, or train again with a lower learning rate",
        )
    best = int(probabilities.argmax())
    return Prediction(record.id, card.label_names[best], float(probabilities[best]), probabilities)


def ensemble(members: Sequence[Predictions], records: Records[TextRecord], card: Card) -> Predictions:
    """Return the labels with the highest mean probability over several runs.

    Raises:
        DataError: a member answers other records, or carries no probabilities.
    """
    answers = []
    for index, record in enumerate(records.items):
        votes: list[NDArray[np.float32]] = []
        for number, member in enumerate(members, start=1):
            if len(member) != len(records) or member[index].id != record.id:
                raise DataError(f"run {number} of the ensemble answers other records than {records.file}")
            probabilities = member[index].probabilities
            if probabilities is None:
                raise DataError(f"run {number} of the ensemble has no probabilities to average")
            votes.append(probabilities)
        mean = np.stack(votes).mean(axis=0, dtype=np.float64)
        answers.append(_answer(record, np.asarray(mean, dtype=np.float32), card, records.file))
    return answers


# ---------------------------------------------------------------------------- score


def score(predictions: Predictions, records: Records[TextRecord], card: Card) -> Scores:
    """Return accuracy with its 95 % Wilson interval, macro F1, and each label's scores where few.

    The chance score is the share of the most frequent gold label.

    Raises:
        DataError: the split is empty or has no labels.
        RuntimeError: predictions are not aligned with the records (a bug of ours).
    """
    gold = [record.label for record in records.items if record.label is not None]
    if not gold or len(gold) != len(records):
        raise DataError("a split without labels cannot be scored", where=records.file, allowed="train, dev")
    if [prediction.id for prediction in predictions] != [record.id for record in records.items]:
        raise RuntimeError(f"{records.file}: predictions are not in the order of the records")
    predicted = [str(prediction.prediction) for prediction in predictions]
    rows = class_scores(gold, predicted, card.label_names)
    values = {"accuracy": accuracy(gold, predicted), "macro_f1": macro_f1(rows)}
    if len(rows) <= PER_CLASS_LIMIT:
        for row in rows:
            values[f"precision/{row.label}"] = row.precision
            values[f"recall/{row.label}"] = row.recall
            values[f"f1/{row.label}"] = row.f1
    return Scores(
        main=card.metric,
        values=values,
        chance=majority_share(gold),
        confidence_interval=wilson_interval(count_correct(gold, predicted), len(gold)),
        examples=len(gold),
    )


# ---------------------------------------------------------------------------- submit


def submit(predictions: Predictions, card: Card, submission: Submission) -> bytes:
    """Return JSON lines of ``id`` and ``label`` in file order; the label is the card's string."""
    return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

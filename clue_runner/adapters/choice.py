"""One answer is picked from the choices of a question about a passage: C3.

A choice is a row, a question is a group. There are no fillers: a question has as many rows as choices.

In: a card whose template reads ``passage``, ``question`` and ``choice``, records, a tokenizer, a backbone.
Out: rows, a network, one choice index a question, scores, the submission's bytes.
Knows nothing about single tasks (they are cards), training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Head, Prediction, Predictions, Scores
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission, Template
from clue_runner.data.readers.choice import read_choice_records
from clue_runner.data.records import ChoiceRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.data.template import fill_template
from clue_runner.errors import DataError, NotFiniteError
from clue_runner.metrics.choice import score_choices
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.assemble import assemble, shorten
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer

DROPS_TOKENS = True  # a row's score is about the whole row
TEMPLATE = Template(parts=["{passage|join(\n)}", "{question}", "{choice}"])

# ---------------------------------------------------------------------------- read


def read(card: Card, source: DataSource, split: str) -> Records[ChoiceRecord]:
    """Return the questions of one split; bad ones raise ``DataError`` with file:line."""
    return read_choice_records(card, source, split)


# ---------------------------------------------------------------------------- encode


def encode(records: Records[ChoiceRecord], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
    """Return one row a choice, questions in record order.

    Columns: ``choice`` int32, the choice's index in its question; ``label`` int32, 1 on the right choice,
    0 on the others, -1 where there are no answers. A row that is too long loses tokens from the longest
    part that is not the choice.
    """
    template = card.template or TEMPLATE
    texts = [
        fill_template(
            {"passage": list(record.passage), "question": record.question, "choice": choice}, template
        )
        for record in records.items
        for choice in record.choices
    ]
    unique = list(dict.fromkeys(text for row in texts for text in row))
    tokens = dict(zip(unique, (one.ids for one in tokenizer.encode_texts(unique)), strict=True))
    used = [Template(parts=[part]).used_fields for part in template.parts]
    fixed = [place for place, fields in enumerate(used) if "choice" in fields]
    rows, cut = [], 0
    for row in texts:
        parts = [tokens[text] for text in row]
        kept = _fit([len(part) for part in parts], fixed, run.data.max_length - 1 - len(parts))
        cut += sum(kept) < sum(map(len, parts))
        rows.append([part[:length] for part, length in zip(parts, kept, strict=True)])
    offsets, token_ids, segment_ids = assemble(len(rows), rows.__getitem__, tokenizer, run.model.segments)
    sizes = [len(record.choices) for record in records.items]
    places = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
    answers = np.array([-1 if one.answer is None else one.answer for one in records.items])
    label = np.where(np.repeat(answers, sizes) < 0, -1, np.repeat(answers, sizes) == places)
    group = np.repeat(np.arange(len(records), dtype=np.int64), sizes)
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids},
        columns={"choice": places, "label": label.astype(np.int32)},
        record=group,
        group=group,
        notes={f"cut to {run.data.max_length} tokens": cut} if cut else {},
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


def epoch_rows(rows: Rows, seed: int, epoch: int) -> Rows:
    """Return the same rows for every epoch: nothing is sampled."""
    return rows


# ---------------------------------------------------------------------------- build


def build(backbone: Any | None, card: Card, run: Run) -> Head:
    """Return ``backbone`` with one output column and a softmax over each group."""
    from clue_runner.models.choice_head import ChoiceHead

    if backbone is None:
        raise ValueError("choosing needs a backbone")
    head = ChoiceHead(
        backbone,
        pooling=run.model.pooling,
        dropout_rate=run.model.head_dropout,
        drop_share=run.train.drop_tokens,
        seed=run.seed,
    )
    return cast(Head, head)


# ---------------------------------------------------------------------------- decode


def decode_batch(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[float]:
    """Return each row's score from ``logits`` (rows,); ``merge`` compares scores, whole groups at once."""
    return [float(score) for score in np.asarray(outputs["logits"], np.float32)]


def merge(partials: Mapping[int, Any], records: Records[ChoiceRecord], card: Card) -> Predictions:
    """Return one prediction a question in file order; ``partials`` maps row index to score.

    Raises:
        RuntimeError: a choice has no row or a row has no choice (a bug of ours).
        NotFiniteError: the network gave something that is not a number.
    """
    tables = score_tables(partials, [(1, len(record.choices)) for record in records.items], records.file)
    return [
        _answer(record, probabilities(table)[0]) for record, table in zip(records.items, tables, strict=True)
    ]


def score_tables(
    partials: Mapping[int, Any], shapes: Sequence[tuple[int, int]], file: str
) -> list[NDArray[np.float64]]:
    """Return one (blanks, choices) table of scores a record, from rows that lie in that order.

    Raises:
        RuntimeError: rows are missing or too many (a bug of ours).
        NotFiniteError: a score is not a number.
    """
    sizes = [blanks * choices for blanks, choices in shapes]
    rows = {index for index in partials if index >= 0}
    if rows != set(range(sum(sizes))):
        missing = len(set(range(sum(sizes))) - rows)
        raise RuntimeError(f"{file}: {missing} of {sum(sizes)} choices have no score")
    scores = np.fromiter((partials[row] for row in range(sum(sizes))), np.float64, count=sum(sizes))
    if not np.isfinite(scores).all():
        raise NotFiniteError(
            "the network's score of a choice is not a number",
            where=file,
            next_step="predict with an earlier checkpoint, or train again with a lower learning rate",
        )
    tables = np.split(scores, np.cumsum(sizes)[:-1])
    return [table.reshape(shape) for table, shape in zip(tables, shapes, strict=True)]


def probabilities(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax of each row of a (blanks, choices) table."""
    powers = np.exp(table - table.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)


def _answer(record: ChoiceRecord, chances: NDArray[np.float64]) -> Prediction:
    """Return the most probable choice; of equals the first."""
    best = int(chances.argmax())
    return Prediction(record.id, best, float(chances[best]), chances.astype(np.float32))


def ensemble(members: Sequence[Predictions], records: Records[ChoiceRecord], card: Card) -> Predictions:
    """Return the choices with the highest mean probability over several runs.

    Raises:
        DataError: a member answers other records, or carries no probabilities.
    """
    means = mean_probabilities(members, records)
    return [_answer(record, mean) for record, mean in zip(records.items, means, strict=True)]


def mean_probabilities(members: Sequence[Predictions], records: Records[Any]) -> list[NDArray[np.float64]]:
    """Return each record's probabilities, averaged over the members.

    Raises:
        DataError: a member answers other records, or carries no probabilities.
    """
    ids = [record.id for record in records.items]
    votes: list[list[NDArray[np.float32]]] = [[] for _ in ids]
    for number, member in enumerate(members, start=1):
        if [one.id for one in member] != ids:
            raise DataError(f"run {number} of the ensemble answers other records than {records.file}")
        for place, one in enumerate(member):
            if one.probabilities is None:
                raise DataError(f"run {number} of the ensemble has no probabilities to average")
            votes[place].append(one.probabilities)
    return [np.stack(given).mean(axis=0, dtype=np.float64) for given in votes]


# ---------------------------------------------------------------------------- score


def score(predictions: Predictions, records: Records[ChoiceRecord], card: Card) -> Scores:
    """Return accuracy with its 95 % bootstrap interval; chance is the mean of 1 / choices.

    Raises:
        DataError: the split is empty or has no answers, or a prediction is no index of a choice.
        RuntimeError: predictions are not aligned with the records (a bug of ours).
    """
    require_answers(records, [record.answer for record in records.items])
    require_order(predictions, records)
    sizes = [len(record.choices) for record in records.items]
    chosen = [
        index_of(one.prediction, size, f"id {one.id}") for one, size in zip(predictions, sizes, strict=True)
    ]
    found = score_choices(chosen, [cast(int, record.answer) for record in records.items], sizes)
    return Scores(
        main=card.metric,
        values={"accuracy": found.accuracy},
        chance=found.chance,
        confidence_interval=found.interval,
        examples=len(records),
    )


def require_answers(records: Records[Any], answers: Sequence[Any]) -> None:
    """Refuse a split that cannot be scored."""
    if not answers or any(answer is None for answer in answers):
        raise DataError("a split without answers cannot be scored", where=records.file, allowed="train, dev")


def require_order(predictions: Predictions, records: Records[Any]) -> None:
    """Refuse predictions that are not in the order of the records."""
    if [prediction.id for prediction in predictions] != [record.id for record in records.items]:
        raise RuntimeError(f"{records.file}: predictions are not in the order of the records")


def index_of(value: object, choices: int, where: str) -> int:
    """Return a prediction as an index from 0; digits in a text count, as some runners write them.

    Raises:
        DataError: it names no choice.
    """
    digits = isinstance(value, str) and value.isdecimal()
    index = int(str(value)) if digits or (isinstance(value, int) and not isinstance(value, bool)) else -1
    if not 0 <= index < choices:
        raise DataError(
            "the answer is no index of a choice",
            where=where,
            received=repr(value),
            allowed=f"0 to {choices - 1}",
        )
    return index


# ---------------------------------------------------------------------------- submit


def submit(predictions: Predictions, card: Card, submission: Submission) -> bytes:
    """Return JSON lines of ``id`` and the choice's index in file order."""
    return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

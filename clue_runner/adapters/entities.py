"""A text gets spans of several types: CLUENER2020.

In: a card whose labels are the types, records, a tokenizer, a backbone.
Out: rows, a network, each record's entities by character, scores, the submission's bytes.
Knows nothing about training steps or files' places.

A prediction is ``{type: {surface: [[start, end], ...]}}`` with inclusive ends, as the files write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np

from clue_runner.adapters.base import Head, Prediction, Predictions, Scores
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.readers.entities import entities_of, read_entity_records
from clue_runner.data.records import Entity, EntityRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError, Problem
from clue_runner.metrics.entities import score_entities
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.spans import chars_to_tokens
from clue_runner.tokens.tags import TokenSpan, best_tags, spans_to_tags, tag_count, tags_to_spans
from clue_runner.tokens.tokenizer import Encoded, Tokenizer
from clue_runner.tokens.windows import windows

OVERLAP = 4  # windows of a long text share a quarter of their tokens
NO_CHARACTER = -1  # where [CLS] and [SEP] begin and end
FILLER = -1  # type of the entries that fill a row's list of spans

# ---------------------------------------------------------------------------- read


def read(card: Card, source: DataSource, split: str) -> Records[EntityRecord]:
    """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""
    return read_entity_records(card, source, split)


# ---------------------------------------------------------------------------- encode


@dataclass
class _Piles:
    """The parts of ``Rows`` while they grow."""

    token_ids: list[Array] = field(default_factory=list)
    starts: list[Array] = field(default_factory=list)
    ends: list[Array] = field(default_factory=list)
    tags: list[Array] = field(default_factory=list)
    spans: list[list[TokenSpan]] = field(default_factory=list)
    owned: list[tuple[int, int]] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, count: int) -> None:
        """Count something that happened."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count


def encode(records: Records[EntityRecord], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
    """Return one row a record, or a row for each window of a text that is too long.

    Token columns ``starts`` and ``ends`` are character borders (end exclusive), ``tag`` is BIO. Column
    ``spans`` (rows, n, 3) int32 holds type, first and last token; ``owned`` (rows, 2) int32 the characters
    that this window answers for, ``of`` int32 the record.

    Entities that no token border expresses cannot be learnt or found; they are counted here, and they stay
    in the records, so that scoring counts them as missed.
    """
    numbers = {name: number for number, name in enumerate(card.label_names)}
    encoded = tokenizer.encode_texts([record.text for record in records.items])
    piles = _Piles()
    for index, (record, tokens) in enumerate(zip(records.items, encoded, strict=True)):
        found: list[TokenSpan] = []
        for entity in record.entities or ():
            place = chars_to_tokens(tokens, entity.start, entity.end)
            if place is not None:
                found.append(TokenSpan(numbers[entity.type], *place))
        piles.note("entities no token border expresses", len(record.entities or ()) - len(found))
        _add_windows(piles, index, record.text, tokens, found, tokenizer, run.data.max_length - 2)
    lengths = [len(ids) for ids in piles.token_ids]
    token_ids = _joined(piles.token_ids)
    order = np.arange(len(lengths), dtype=np.int64)
    return Rows(
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        tokens={
            "token_ids": token_ids,
            "segment_ids": np.zeros_like(token_ids),
            "starts": _joined(piles.starts),
            "ends": _joined(piles.ends),
            "tag": _joined(piles.tags),
        },
        columns={
            "spans": _span_table(piles.spans),
            "owned": np.asarray(piles.owned, np.int32).reshape(-1, 2),
            "of": np.asarray(piles.record, np.int32),
        },
        record=np.asarray(piles.record, np.int64),
        group=order,
        notes=piles.notes,
    )


def _add_windows(
    piles: _Piles,
    index: int,
    text: str,
    tokens: Encoded,
    spans: Sequence[TokenSpan],
    tokenizer: Tokenizer,
    size: int,
) -> None:
    """Add the rows of one record."""
    borders = windows(len(tokens), size, size - size // OVERLAP)
    piles.note(f"texts cut into windows of {size + 2} tokens", int(len(borders) > 1))
    learnt: set[TokenSpan] = set()
    for number, (first, end) in enumerate(borders):
        inside = [span for span in spans if first <= span.first and span.last < end]
        learnt |= set(inside)
        # +1 for [CLS]
        moved = [TokenSpan(kind, start - first + 1, last - first + 1) for kind, start, last in inside]
        tags, left_out = spans_to_tags(moved, end - first + 2)
        piles.note("overlapping entities that tags cannot hold", left_out)
        piles.token_ids.append(_framed(tokens.ids[first:end], tokenizer.cls_id, tokenizer.sep_id))
        piles.starts.append(_framed(tokens.starts[first:end], NO_CHARACTER, NO_CHARACTER))
        piles.ends.append(_framed(tokens.ends[first:end], NO_CHARACTER, NO_CHARACTER))
        piles.tags.append(tags)
        piles.spans.append(moved)
        piles.owned.append((
            0 if number == 0 else _middle(tokens, first, borders[number - 1][1]),
            len(text) if number == len(borders) - 1 else _middle(tokens, borders[number + 1][0], end),
        ))  # fmt: skip
        piles.record.append(index)
    piles.note("entities longer than a window's part of the text", len(set(spans) - learnt))


def _middle(tokens: Encoded, first: int, end: int) -> int:
    """Return the character in the middle of the tokens that two windows share."""
    return int(tokens.starts[(first + end) // 2])


def _framed(values: Array, before: int, after: int) -> Array:
    """Return ``values`` between what stands for [CLS] and [SEP], int32."""
    return np.concatenate(([before], values, [after])).astype(np.int32)


def _joined(parts: Sequence[Array]) -> Array:
    """Return one int32 array of all rows, empty where there are none."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _span_table(spans: Sequence[Sequence[TokenSpan]]) -> Array:
    """Return (rows, n, 3) int32, filled up to the longest list."""
    table = np.zeros((len(spans), max([1, *map(len, spans)]), 3), np.int32)
    table[:, :, 0] = FILLER
    for row, found in enumerate(spans):
        if found:
            table[row, : len(found)] = found
    return table


def epoch_rows(rows: Rows, seed: int, epoch: int) -> Rows:
    """Return the same rows for every epoch: nothing is sampled."""
    return rows


# ---------------------------------------------------------------------------- build


def build(backbone: Any | None, card: Card, run: Run) -> Head:
    """Return ``backbone`` with the head that ``model.entity_head`` names."""
    from clue_runner.models.entity_heads import PointerHead, TagHead

    if backbone is None:
        raise ValueError("entities need a backbone")
    kind, types = run.model.entity_head, len(card.labels)
    shared: dict[str, Any] = {"dropout_rate": run.model.head_dropout, "seed": run.seed}
    if kind in {"globalpointer", "efficient"}:
        size = run.model.head_size
        head: Any = PointerHead(backbone, types, head_size=size, efficient=kind == "efficient", **shared)
    else:
        head = TagHead(backbone, tag_count(types), chain=kind == "crf", **shared)
    return cast(Head, head)


# ---------------------------------------------------------------------------- decode


class Found(NamedTuple):
    """The entities of one row: (number of the type, first, last character), and whose row it is."""

    record: int
    entities: list[tuple[int, int, int]]


def decode_batch(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Found]:
    """Return the entities of each row in characters of its text.

    Pointers (``span_scores``): every span with a score above 0, overlaps kept. Tags (``tag_scores``): the
    best legal sequence, with the chain's transitions where there are some.
    """
    if "span_scores" in outputs:
        spans = _pointed(np.asarray(outputs["span_scores"]))
    else:
        spans = _tagged(outputs, batch)
    starts, ends, owned = (np.asarray(batch[name]) for name in ("starts", "ends", "owned"))
    found = []
    for row, record in enumerate(np.asarray(batch["of"]).tolist()):
        first, end = owned[row]
        characters = (
            (span.type, int(starts[row, span.first]), int(ends[row, span.last]) - 1) for span in spans[row]
        )
        found.append(Found(record, [one for one in characters if first <= one[1] < end]))
    return found


def _pointed(scores: Array) -> list[list[TokenSpan]]:
    """Return the spans of (rows, types, length, length) scores above 0, a list a row."""
    spans: list[list[TokenSpan]] = [[] for _ in range(len(scores))]
    for row, *span in np.argwhere(np.asarray(scores, np.float32) > 0).tolist():
        spans[row].append(TokenSpan(*span))
    return spans


def _tagged(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> list[list[TokenSpan]]:
    """Return the spans of the best tags; [CLS] and [SEP] have none."""
    chain = {
        name: np.asarray(outputs[name], np.float32)
        for name in ("transitions", "start", "end")
        if name in outputs
    }
    scores = np.asarray(outputs["tag_scores"], np.float32)[:, 1:]
    counts = np.maximum(np.asarray(batch["lengths"]).astype(np.int64) - 2, 0)
    return [
        [TokenSpan(kind, first + 1, last + 1) for kind, first, last in tags_to_spans(tags)]
        for tags in best_tags(scores, counts, **chain)
    ]


def merge(partials: Mapping[int, Any], records: Records[EntityRecord], card: Card) -> Predictions:
    """Return one prediction a record in file order; a record's windows are put together.

    Raises:
        RuntimeError: a record has no row or a row has no record (a bug of ours).
    """
    found: list[set[tuple[int, int, int]] | None] = [None] * len(records)
    for index, (record, entities) in partials.items():
        if index < 0:
            continue
        if not 0 <= record < len(records):
            raise RuntimeError(f"{records.file}: a row belongs to record {record} of {len(records)}")
        found[record] = (found[record] or set()) | set(entities)
    missing = sum(entities is None for entities in found)
    if missing:
        raise RuntimeError(f"{records.file}: {missing} of {len(records)} records have no prediction")
    return [
        Prediction(record.id, _label(record.text, entities or (), card))
        for record, entities in zip(records.items, found, strict=True)
    ]


def _label(
    text: str, entities: Iterable[tuple[int, int, int]], card: Card
) -> dict[str, dict[str, list[list[int]]]]:
    """Return entities as the files write them: types in the card's order, mentions in the text's."""
    label: dict[str, dict[str, list[list[int]]]] = {}
    for kind, start, end in sorted(entities):
        mentions = label.setdefault(card.label_names[kind], {})
        mentions.setdefault(text[start : end + 1], []).append([start, end])
    return label


def ensemble(members: Sequence[Predictions], records: Records[EntityRecord], card: Card) -> Predictions:
    """Return the entities that more than half of several runs found.

    Raises:
        DataError: a member answers other records.
    """
    numbers = {name: number for number, name in enumerate(card.label_names)}
    answers = []
    for index, record in enumerate(records.items):
        votes: dict[tuple[int, int, int], int] = {}
        for number, member in enumerate(members, start=1):
            if len(member) != len(records) or member[index].id != record.id:
                raise DataError(f"run {number} of the ensemble answers other records than {records.file}")
            for entity in _entities(member[index], record, card, records.file):
                key = (numbers[entity.type], entity.start, entity.end)
                votes[key] = votes.get(key, 0) + 1
        chosen = [entity for entity, count in votes.items() if 2 * count > len(members)]
        answers.append(Prediction(record.id, _label(record.text, chosen, card)))
    return answers


def _entities(prediction: Prediction, record: EntityRecord, card: Card, file: str) -> tuple[Entity, ...]:
    """Return a prediction's entities.

    Raises:
        DataError: it names other types, or spans that are not the text's.
    """
    entities, faults = entities_of(prediction.prediction, record.text, card.label_names)
    if faults:
        where = f"{file}:{record.line}"
        raise DataError(
            f"the answer to record {record.id!r} is none",
            where=where,
            problems=[Problem(fault, where) for fault in faults],
            next_step="ends are inclusive, offsets count characters from 0",
        )
    return entities


# ---------------------------------------------------------------------------- score


def score(predictions: Predictions, records: Records[EntityRecord], card: Card) -> Scores:
    """Return the three F1 scores, precision and recall (strict, micro), and each type's F1.

    The chance score is that of an answer without entities: 0, in all three.

    Raises:
        DataError: the split has no labels, or an answer is not of the right form.
        RuntimeError: predictions are not aligned with the records (a bug of ours).
    """
    gold = [record.entities for record in records.items if record.entities is not None]
    if not gold or len(gold) != len(records):
        raise DataError("a split without labels cannot be scored", where=records.file, allowed="train, dev")
    if [prediction.id for prediction in predictions] != [record.id for record in records.items]:
        raise RuntimeError(f"{records.file}: predictions are not in the order of the records")
    answers = [
        _entities(prediction, record, card, records.file)
        for prediction, record in zip(predictions, records.items, strict=True)
    ]
    found = score_entities(answers, gold, card.label_names)
    values = {
        "site_macro_f1": found.site_macro_f1,
        "strict_macro_f1": found.strict_macro_f1,
        "strict_micro_f1": found.strict_micro_f1,
        "strict_precision": found.precision,
        "strict_recall": found.recall,
    }
    for name, one in found.by_type.items():
        values |= {
            f"{kind}/{name}": value
            for kind, value in (("site_f1", one.site_f1), ("strict_f1", one.strict_f1))
            if value is not None
        }
    return Scores(
        main=card.metric,
        values=values,
        chance=0.0,
        confidence_interval=found.intervals[card.metric],
        examples=len(gold),
    )


# ---------------------------------------------------------------------------- submit


def submit(predictions: Predictions, card: Card, submission: Submission) -> bytes:
    """Return JSON lines of ``id`` and ``label`` in file order; the label holds types, surfaces and spans."""
    return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

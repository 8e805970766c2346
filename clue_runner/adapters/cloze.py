"""Blanks in passages are filled from one list of candidates a record: ChID and FewCLUE's form of it.

A candidate for a blank is a row, a blank is a group; the answers of a record are decoded together, after
all of its rows are scored, so that no batch border can matter.

In: records, a tokenizer, a backbone. Out: rows, a network, one candidate index a blank, scores, the
submission's bytes. Knows nothing about training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Prediction, Predictions, Scores
from clue_runner.adapters.choice import (
    build,
    epoch_rows,
    index_of,
    mean_probabilities,
    probabilities,
    require_answers,
    require_order,
    score_tables,
)
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.readers.cloze import TAG, read_cloze_records
from clue_runner.data.records import ClozeRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import CheckpointError, DataError, UsageError
from clue_runner.metrics.assignment import DECODINGS, Decoding, choose_candidates
from clue_runner.metrics.choice import score_blanks
from clue_runner.submission.writers import json_lines, json_object
from clue_runner.tokens.assemble import assemble
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import TokenArray, Tokenizer

__all__ = [
    "build",
    "decode_batch",
    "encode",
    "ensemble",
    "epoch_rows",
    "merge",
    "read",
    "score",
    "submit",
]

BLANK = "[unused1]"  # stands where the candidate is missing, as in CLUE-bert4keras
OTHER_BLANK = 4  # [MASK] tokens in the place of another blank: an idiom has four characters
CHUNK = 2048  # records whose texts are encoded at a time
NO_BLANK_PIECE = f"blanks marked by [MASK], the vocabulary has no {BLANK}"

# ---------------------------------------------------------------------------- read


def read(card: Card, source: DataSource, split: str) -> Records[ClozeRecord]:
    """Return the records of one split; bad ones raise ``DataError`` with file:line."""
    return read_cloze_records(card, source, split)


# ---------------------------------------------------------------------------- encode


def encode(records: Records[ClozeRecord], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
    """Return one row a candidate of a blank: ``[CLS] candidate [SEP] left [unused1] right [SEP]``.

    Rows lie in the order of records, tags and candidates. Other blanks of the passage are four [MASK]; the
    window is centred on the blank and the same for all its candidates. A vocabulary without ``[unused1]``
    marks the blank by one [MASK], which is noted. Columns: ``choice`` int32, the candidate's index;
    ``label`` int32, 1 on the right one, 0 on the others, -1 without answers; ``decoding`` int32.

    Raises:
        UsageError: ``data.max_length`` leaves no room for a text beside the candidate.
    """
    mark, notes = _blank_mark(tokenizer)
    idioms = _encode_candidates(records, tokenizer)
    contexts: list[TokenArray] = []
    cut = 0
    for first in range(0, len(records), CHUNK):
        chunk = records.items[first : first + CHUNK]
        longest = [max(len(idioms[one]) for one in record.candidates) for record in chunk]
        if max(longest) + 4 >= run.data.max_length:  # [CLS], two [SEP], the mark
            raise UsageError(
                "data.max_length leaves no room for a text beside a candidate",
                received=str(run.data.max_length),
                allowed=f"{max(longest) + 5} or more",
            )
        rooms = [run.data.max_length - 4 - length for length in longest]
        for room, (left, right) in _sides(chunk, rooms, tokenizer):
            kept_left, kept_right = _centre(len(left), len(right), room)
            cut += kept_left + kept_right < len(left) + len(right)
            contexts.append(np.concatenate((left[len(left) - kept_left :], mark, right[:kept_right])))
    blanks = [(record, place) for record in records.items for place in range(len(record.tags))]
    sizes = np.array([len(record.candidates) for record, _ in blanks])
    group = np.repeat(np.arange(len(blanks), dtype=np.int64), sizes)
    choice = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)

    def parts_of(row: int) -> tuple[TokenArray, TokenArray]:
        """Return the candidate and the window of one row."""
        blank = int(group[row])
        return idioms[blanks[blank][0].candidates[int(choice[row])]], contexts[blank]

    offsets, token_ids, segment_ids = assemble(len(group), parts_of, tokenizer, run.model.segments)
    answers = np.array([-1 if one.answers is None else one.answers[place] for one, place in blanks])
    label = np.where(answers[group] < 0, -1, answers[group] == choice).astype(np.int32)
    decoding = np.full(len(group), DECODINGS.index(run.model.choice_decoding), np.int32)
    owner = np.repeat(np.arange(len(records)), [len(record.tags) for record in records.items])
    if cut:
        notes[f"windows of {run.data.max_length} tokens that leave text out"] = cut
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids},
        columns={"choice": choice, "label": label, "decoding": decoding},
        record=owner[group].astype(np.int64),
        group=group,
        notes={what: len(blanks) if what == NO_BLANK_PIECE else count for what, count in notes.items()},
    )


def _blank_mark(tokenizer: Tokenizer) -> tuple[TokenArray, dict[str, int]]:
    """Return the token that marks the blank, and a note where it is not the usual one."""
    try:
        return np.array([tokenizer.token_id(BLANK)], np.int32), {}
    except CheckpointError:
        return np.array([tokenizer.mask_id], np.int32), {NO_BLANK_PIECE: 0}


def _encode_candidates(records: Records[ClozeRecord], tokenizer: Tokenizer) -> dict[str, TokenArray]:
    """Return the tokens of every candidate."""
    unique = list(dict.fromkeys(one for record in records.items for one in record.candidates))
    return dict(zip(unique, (encoded.ids for encoded in tokenizer.encode_texts(unique)), strict=True))


def _sides(
    chunk: Sequence[ClozeRecord], rooms: Sequence[int], tokenizer: Tokenizer
) -> Iterator[tuple[int, tuple[TokenArray, TokenArray]]]:
    """Yield a record's room and the tokens left and right of each of its blanks, in the order of the tags."""
    pieces = [[TAG.split(passage) for passage in record.passages] for record in chunk]
    encoded = iter(
        tokenizer.encode_texts([text for record in pieces for passage in record for text in passage])
    )
    masked = np.full(OTHER_BLANK, tokenizer.mask_id, np.int32)
    for room, record in zip(rooms, pieces, strict=True):
        for passage in record:
            tokens = [next(encoded).ids for _ in passage]
            for blank in range(1, len(tokens)):
                yield room, (_join(tokens[:blank], masked), _join(tokens[blank:], masked))


def _join(pieces: Sequence[TokenArray], masked: TokenArray) -> TokenArray:
    """Return pieces of text with a masked blank between each two."""
    joined: list[TokenArray] = [pieces[0]]
    for piece in pieces[1:]:
        joined += [masked, piece]
    return np.concatenate(joined)


def _centre(left: int, right: int, room: int) -> tuple[int, int]:
    """Return the tokens kept on both sides: as even as the text allows, the odd one on the left."""
    kept_right = min(right, max(room // 2, room - left))
    return min(left, room - kept_right), kept_right


# ---------------------------------------------------------------------------- decode


def decode_batch(outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[tuple[float, int]]:
    """Return each row's score from ``logits`` (rows,) and the way of decoding its record."""
    scores = np.asarray(outputs["logits"], np.float32)
    ways = np.asarray(batch["decoding"])
    return [(float(score), int(way)) for score, way in zip(scores, ways, strict=True)]


def merge(partials: Mapping[int, Any], records: Records[ClozeRecord], card: Card) -> Predictions:
    """Return one prediction a record in file order: {tag: candidate index} over all of its blanks.

    Raises:
        RuntimeError: a candidate has no row or a row has no candidate (a bug of ours).
        NotFiniteError: the network gave something that is not a number.
    """
    scores = {row: partial[0] for row, partial in partials.items()}
    shapes = [(len(record.tags), len(record.candidates)) for record in records.items]
    tables = score_tables(scores, shapes, records.file)
    decoding = DECODINGS[partials[0][1]]
    return [
        _answer(record, probabilities(table), decoding)
        for record, table in zip(records.items, tables, strict=True)
    ]


def _answer(record: ClozeRecord, chances: NDArray[np.float64], decoding: Decoding) -> Prediction:
    """Return a record's answers; their probability is the mean over its blanks."""
    # a chance of 0 would make every sum with it equal
    chosen = choose_candidates(np.log(np.maximum(chances, np.finfo(np.float64).tiny)), decoding)
    taken = chances[np.arange(len(chosen)), chosen]
    return Prediction(
        record.id,
        dict(zip(record.tags, chosen, strict=True)),
        float(taken.mean()),
        chances.astype(np.float32),
        decoding,
    )


def ensemble(members: Sequence[Predictions], records: Records[ClozeRecord], card: Card) -> Predictions:
    """Return the answers decoded from the mean probabilities of several runs, as the first run decodes.

    Raises:
        DataError: a member answers other records, or carries no probabilities.
    """
    means = mean_probabilities(members, records)
    given = next((one.decoding for one in members[0]), None)
    decoding = next((way for way in DECODINGS if way == given), DECODINGS[0])
    return [_answer(record, mean, decoding) for record, mean in zip(records.items, means, strict=True)]


# ---------------------------------------------------------------------------- score


def score(predictions: Predictions, records: Records[ClozeRecord], card: Card) -> Scores:
    """Return accuracy over all blanks with its 95 % bootstrap interval over records, and chance.

    Raises:
        DataError: the split is empty or has no answers, or a prediction is no index of a candidate.
        RuntimeError: predictions are not aligned with the records (a bug of ours).
    """
    require_answers(records, [record.answers for record in records.items])
    require_order(predictions, records)
    chosen = [_indices(one, record) for one, record in zip(predictions, records.items, strict=True)]
    answers = [dict(zip(record.tags, record.answers or (), strict=True)) for record in records.items]
    found = score_blanks(chosen, answers, [len(record.candidates) for record in records.items])
    return Scores(
        main=card.metric,
        values={"accuracy": found.accuracy},
        chance=found.chance,
        confidence_interval=found.interval,
        examples=len(records),
    )


def _indices(one: Prediction, record: ClozeRecord) -> dict[str, int]:
    """Return tag -> index of a prediction; a bare index is the answer of a record's only blank."""
    given = one.prediction
    if not isinstance(given, Mapping):
        given = {record.tags[0]: given} if len(record.tags) == 1 else {}
    return {
        tag: index_of(given[tag], len(record.candidates), f"id {one.id}, {tag}")
        for tag in record.tags
        if tag in given
    }


# ---------------------------------------------------------------------------- submit


def submit(predictions: Predictions, card: Card, submission: Submission) -> bytes:
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
                f"{submission.file} has one answer a line, the record has {len(one.prediction)} blanks",
                where=f"id {one.id}",
                next_step="shape: object in the card",
            )
    return json_lines(((one.id, next(iter(one.prediction.values()))) for one in predictions), submission)

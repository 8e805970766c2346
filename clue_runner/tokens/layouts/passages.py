"""Questions with passages as rows, and the random draw from them that an epoch trains on.

In: records, a character tokenizer, limits; or rows, a seed and an epoch. Out: ``Rows``.
Knows nothing about tensors or files.

A row is one passage. Token columns: ``token_ids`` and ``word_ids`` (int32; words only where there are
vectors), ``start_tags`` and ``end_tags`` (int16): the length of the answer that begins or ends at this
character, else 0. The length is needed to remove both ends of an answer that is cut in two. Columns:
``question_ids`` and ``question_words`` (rows, width) int32, ``repeat`` int32 (how often an epoch asks the
question).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clue_runner.data.records import Passage, PassagesRecord
from clue_runner.tokens.characters import CharacterTokenizer
from clue_runner.tokens.rows import Array, GoldAnswers, IntArray, Rows

Draws = NDArray[np.float64]

_STREAM = 0x70617373616765  # "passage": separates this random stream from others of the same seed
_LONGEST_ANSWER = int(np.iinfo(np.int16).max)  # the largest tag
_TRIES = 20  # attempts to find a passage of another question without the answer
# Random numbers per question: own passage, own or another question's, which of those, three for the cut.
_DRAWS = 6


@dataclass(frozen=True)
class Sampling:
    """How an epoch draws.

    Args:
        crop: the most characters of a passage; None: the whole passage.
        negative_share: fraction of draws that use another question's passage, one without the answer.
    """

    crop: int | None
    negative_share: float


def encode_passages(
    items: Sequence[PassagesRecord],
    tokenizer: CharacterTokenizer,
    *,
    max_length: int,
    max_question_length: int,
) -> Rows:
    """Return one row per passage; a question without passages has no rows."""
    passages = [passage for item in items for passage in item.passages]
    texts = [passage.text[:max_length] for passage in passages]
    counts = np.array([len(item.passages) for item in items], np.int64)
    record = np.repeat(np.arange(len(items)), counts)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in texts]))).astype(np.int64)
    starts, ends, outside = _answer_tags(texts, passages, offsets)
    tokens: dict[str, Array] = {
        "token_ids": _flat([tokenizer.character_ids(text) for text in texts]),
        "start_tags": starts,
        "end_tags": ends,
    }
    questions = [item.question[:max_question_length] for item in items]
    width = max((len(text) for text in questions), default=1) or 1
    columns: dict[str, Array] = {
        "question_ids": _table([tokenizer.character_ids(text) for text in questions], width)[record],
        "repeat": np.array([item.repeat for item in items], np.int32)[record],
    }
    if tokenizer.vectors is not None:
        tokens["word_ids"] = _flat([tokenizer.word_ids(text) for text in texts])
        columns["question_words"] = _table([tokenizer.word_ids(text) for text in questions], width)[record]
    notes = {
        f"passages cut to {max_length} characters": sum(
            len(passage.text) > len(text) for passage, text in zip(passages, texts, strict=True)
        ),
        f"questions cut to {max_question_length} characters": sum(
            len(item.question) > max_question_length for item in items
        ),
        "questions without passages": int((counts == 0).sum()),
        f"answers not within the first {max_length} characters of their passage": outside,
    }
    return Rows(
        offsets,
        tokens,
        columns,
        record,
        np.arange(len(texts), dtype=np.int64),
        notes={what: count for what, count in notes.items() if count},
        gold=GoldAnswers(sum(len(passage.answers) for passage in passages), outside),
    )


def _answer_tags(
    texts: Sequence[str], passages: Sequence[Passage], offsets: IntArray
) -> tuple[Array, Array, int]:
    """Return tags of answers' begins and ends, both (characters,) int16, and how many answers got none."""
    starts, ends = np.zeros(offsets[-1], np.int16), np.zeros(offsets[-1], np.int16)
    outside = 0
    for offset, text, passage in zip(offsets[:-1].tolist(), texts, passages, strict=True):
        for answer in passage.answers:
            # The length of a longer answer would wrap around to a negative tag.
            places = occurrences(answer, text) if 0 < len(answer) <= _LONGEST_ANSWER else []
            outside += not places
            for first in places:
                starts[offset + first] = len(answer)
                ends[offset + first + len(answer) - 1] = len(answer)
    return starts, ends, outside


def occurrences(answer: str, text: str) -> list[int]:
    """Return where each occurrence of ``answer`` in ``text`` begins, overlapping ones included."""
    places = []
    place = text.find(answer)
    while place >= 0:
        places.append(place)
        place = text.find(answer, place + 1)
    return places


def sample_passages(rows: Rows, seed: int, epoch: int, sampling: Sampling) -> Rows:
    """Return the rows of one epoch: a random passage per question (several where it repeats), cut at random.

    The draw is a pure function of (rows, seed, epoch, sampling).
    """
    firsts = np.flatnonzero(np.diff(rows.record, prepend=-1))
    counts = np.diff(np.append(firsts, len(rows)))
    repeats = np.asarray(rows.columns["repeat"])[firsts].astype(np.int64)
    asked = np.repeat(np.arange(len(firsts)), repeats)
    draws = _draws(seed, epoch, (len(asked), _DRAWS))
    own = firsts[asked] + (draws[:, 0] * counts[asked]).astype(np.int64)
    chosen = own.copy()
    if sampling.negative_share and len(firsts) > 1:
        searcher = _Searcher(rows, firsts, counts)
        for place in np.flatnonzero(draws[:, 1] < sampling.negative_share).tolist():
            chosen[place] = searcher.other(int(asked[place]), draws[place, 2], default=int(own[place]))
    begin, length = _cut(rows.lengths[chosen], draws[:, 3:], sampling.crop)
    return _taken(rows, own, chosen, begin, length)


def _cut(lengths: IntArray, draws: Draws, crop: int | None) -> tuple[IntArray, IntArray]:
    """Return the first character and the number of characters kept of each passage.

    A passage of at most half the crop stays whole. Of a longer one, half the draws keep the beginning; the
    others keep a random piece that is between half the crop and the crop long.
    """
    begin, length = np.zeros_like(lengths), lengths.copy()
    if crop is None:
        return begin, length
    half = crop // 2 + crop % 2
    long = lengths > half
    length[long] = np.minimum(lengths[long], crop)
    piece = long & (draws[:, 0] > 0.5)
    first = (draws[:, 1] * (lengths - half + 1)).astype(np.int64)
    furthest = np.minimum(lengths, first + crop)
    end = first + half + (draws[:, 2] * (furthest - first - half + 1)).astype(np.int64)
    begin[piece] = first[piece]
    length[piece] = (end - first)[piece]
    return begin, length


def _taken(rows: Rows, own: IntArray, chosen: IntArray, begin: IntArray, length: IntArray) -> Rows:
    """Return pieces of the chosen passages with the questions of ``own``; cut answers lose both tags."""
    offsets = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], length)
    source = inside + np.repeat(rows.offsets[chosen] + begin, length)
    tokens = {name: values[source] for name, values in rows.tokens.items()}
    room = np.repeat(length, length) - inside
    starts, ends = np.asarray(tokens["start_tags"]), np.asarray(tokens["end_tags"])
    foreign = np.repeat(rows.record[own] != rows.record[chosen], length)
    tokens["start_tags"] = np.where(foreign | (starts > room), 0, starts).astype(np.int16)
    tokens["end_tags"] = np.where(foreign | (ends > inside + 1), 0, ends).astype(np.int16)
    columns = {name: values[own] for name, values in rows.columns.items()}
    return Rows(
        offsets,
        tokens,
        columns,
        rows.record[own],
        np.arange(len(own), dtype=np.int64),
        host_columns=rows.host_columns,
    )


class _Searcher:
    """Finds passages of other questions that do not hold a question's answers."""

    def __init__(self, rows: Rows, firsts: IntArray, counts: IntArray) -> None:
        self._rows, self._firsts, self._counts = rows, firsts, counts
        self._ids = np.asarray(rows.tokens["token_ids"], np.int32)
        self._starts = np.asarray(rows.tokens["start_tags"])

    def other(self, question: int, draw: float, *, default: int) -> int:
        """Return a row of another question that lacks the answer; ``default`` where the search fails."""
        answers = self._answers(question)
        rows = len(self._rows)
        first, count = int(self._firsts[question]), int(self._counts[question])
        if rows == count:
            return default
        for attempt in range(_TRIES):
            row = int(((draw + attempt * 0.6180339887) % 1.0) * (rows - count))
            row += count if row >= first else 0
            text = self._bytes(int(self._rows.offsets[row]), int(self._rows.offsets[row + 1]))
            if not any(_holds(text, answer) for answer in answers):
                return row
        return default

    def _answers(self, question: int) -> set[bytes]:
        """Return the ids of the question's answers, as tagged in its passages."""
        first = int(self._firsts[question])
        begin = int(self._rows.offsets[first])
        end = int(self._rows.offsets[first + int(self._counts[question])])
        places = begin + np.flatnonzero(self._starts[begin:end])
        return {self._bytes(place, place + int(self._starts[place])) for place in places.tolist()}

    def _bytes(self, begin: int, end: int) -> bytes:
        return self._ids[begin:end].tobytes()


def _holds(text: bytes, answer: bytes) -> bool:
    """Return whether the ids of ``answer`` occur in those of ``text``; an id has four bytes."""
    place = text.find(answer)
    while place >= 0 and place % 4:
        place = text.find(answer, place + 1)
    return place >= 0


def _draws(seed: int, epoch: int, shape: tuple[int, int]) -> Draws:
    """Return numbers in [0, 1) made from raw bits, which are the same in every NumPy version."""
    generator = np.random.Philox(np.random.SeedSequence([seed, epoch, _STREAM]))
    bits = np.asarray(generator.random_raw(shape[0] * shape[1]), np.uint64).reshape(shape)
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) / float(1 << 53), np.float64)


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _table(parts: Sequence[Array], width: int) -> Array:
    """Return (parts, width) int32, padded with 0."""
    table = np.zeros((len(parts), width), np.int32)
    for row, part in zip(table, parts, strict=True):
        row[: len(part)] = part
    return table

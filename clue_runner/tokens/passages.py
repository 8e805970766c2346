"""Questions with passages to rows, and an epoch's random draw from them.

In: records, a character tokenizer, limits; or rows, a seed and an epoch. Out: ``Rows``.
Knows nothing about tensors or files.

A row is one passage. Token columns: ``token_ids`` and ``word_ids`` (int32; words only where there are
vectors), ``start_tags`` and ``end_tags`` (int16): where an answer begins or ends, its length in characters,
else 0. A length, because a cut through an answer must take both of its ends. Columns: ``question_ids`` and
``question_words`` (rows, width) int32, ``repeat`` int32 (how often an epoch asks the question).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clue_runner.data.records import PassagesRecord
from clue_runner.tokens.characters import CharacterTokenizer
from clue_runner.tokens.rows import Array, IntArray, Rows

Draws = NDArray[np.float64]

_STREAM = 0x70617373616765  # "passage": keeps these draws apart from other uses of the same seed
_TRIES = 20  # draws for a passage of another question that does not hold the answer
_DRAWS = (
    6  # random numbers a question: which passage, another question's or not, which, then three for the cut
)


@dataclass(frozen=True)
class Sampling:
    """How an epoch draws.

    Args:
        crop: characters of a passage at most; None: the whole.
        negative_share: part of the draws that are a passage of another question without the answer.
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
    """Return one row a passage; a question without passages has none."""
    texts = [passage.text[:max_length] for record in items for passage in record.passages]
    answers = [passage.answers for record in items for passage in record.passages]
    counts = np.array([len(record.passages) for record in items], np.int64)
    record = np.repeat(np.arange(len(items)), counts)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in texts]))).astype(np.int64)
    starts, ends = np.zeros(offsets[-1], np.int16), np.zeros(offsets[-1], np.int16)
    for place, (text, given) in enumerate(zip(texts, answers, strict=True)):
        for answer in given:
            for first in occurrences(answer, text):
                starts[offsets[place] + first] = len(answer)
                ends[offsets[place] + first + len(answer) - 1] = len(answer)
    tokens: dict[str, Array] = {
        "token_ids": _flat([tokenizer.character_ids(text) for text in texts]),
        "start_tags": starts,
        "end_tags": ends,
    }
    questions = [one.question[:max_question_length] for one in items]
    width = max((len(text) for text in questions), default=1) or 1
    columns: dict[str, Array] = {
        "question_ids": _table([tokenizer.character_ids(text) for text in questions], width)[record],
        "repeat": np.array([one.repeat for one in items], np.int32)[record],
    }
    if tokenizer.vectors is not None:
        tokens["word_ids"] = _flat([tokenizer.word_ids(text) for text in texts])
        columns["question_words"] = _table([tokenizer.word_ids(text) for text in questions], width)[record]
    notes = {
        f"passages cut to {max_length} characters": sum(
            len(passage.text) > max_length for one in items for passage in one.passages
        ),
        f"questions cut to {max_question_length} characters": sum(
            len(one.question) > max_question_length for one in items
        ),
        "questions without passages": int((counts == 0).sum()),
    }
    rows = np.arange(len(texts), dtype=np.int64)
    return Rows(
        offsets, tokens, columns, record, rows, {what: count for what, count in notes.items() if count}
    )


def occurrences(answer: str, text: str) -> list[int]:
    """Return where ``answer`` stands in ``text``, overlapping places too."""
    places = []
    place = text.find(answer)
    while place >= 0:
        places.append(place)
        place = text.find(answer, place + 1)
    return places


def sample_passages(rows: Rows, seed: int, epoch: int, sampling: Sampling) -> Rows:
    """Return the rows of one epoch: one random passage a question (several where it repeats), cut at random.

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
    """Return (first character, characters) of each passage.

    A passage of at most half the crop stays whole. Of a longer one, half the draws keep its beginning; the
    others keep a random piece of at least half the crop and at most the crop.
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
    """Return pieces of the chosen passages under the questions of ``own``; cut answers lose both tags."""
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
        """Return a row of another question; ``default`` where none without the answer was found."""
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
        """Return the ids of the question's answers, as they are tagged in its passages."""
        first = int(self._firsts[question])
        begin = int(self._rows.offsets[first])
        end = int(self._rows.offsets[first + int(self._counts[question])])
        places = begin + np.flatnonzero(self._starts[begin:end])
        return {self._bytes(place, place + int(self._starts[place])) for place in places.tolist()}

    def _bytes(self, begin: int, end: int) -> bytes:
        """Return ids as bytes, to be searched."""
        return self._ids[begin:end].tobytes()


def _holds(text: bytes, answer: bytes) -> bool:
    """Return whether ids stand in ids, whole ones."""
    place = text.find(answer)
    while place >= 0 and place % 4:
        place = text.find(answer, place + 1)
    return place >= 0


def _draws(seed: int, epoch: int, shape: tuple[int, int]) -> Draws:
    """Return numbers from 0 to 1 made of raw bits alone, which stay the same in every NumPy version."""
    generator = np.random.Philox(np.random.SeedSequence([seed, epoch, _STREAM]))
    words = np.asarray(generator.random_raw(shape[0] * shape[1]), np.uint64).reshape(shape)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) / float(1 << 53), np.float64)


def _flat(parts: Sequence[Array]) -> Array:
    """Return the parts in one array."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _table(parts: Sequence[Array], width: int) -> Array:
    """Return (parts, width) int32, padded with 0."""
    found = np.zeros((len(parts), width), np.int32)
    for row, part in zip(found, parts, strict=True):
        row[: len(part)] = part
    return found

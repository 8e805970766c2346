"""A question with each window of its text to a row: ``[CLS] question [SEP] window [SEP]``.

In: token arrays of questions and texts, the answer's tokens, limits. Out: ``Rows``. Knows nothing about
records' fields, characters' meaning or tensors.

Token columns ``starts`` and ``ends`` int32: character borders in the raw text (end exclusive), -1 outside it,
for the host. Columns: ``text_start`` int32, the first token of the text; ``answer`` (rows, 2) int32, the
answer's first and last token, (0, 0) where the window does not hold it, (-1, -1) where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from clue_runner.tokens.assemble import assemble
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Encoded, TokenArray, Tokenizer
from clue_runner.tokens.windows import windows

SPECIAL = 3  # [CLS] question [SEP] text [SEP]
NO_CHARACTER = -1  # where tokens outside the text begin and end
ELSEWHERE = (0, 0)  # [CLS]: the answer is not in this window
UNKNOWN = (-1, -1)  # nothing to train on


class QuestionText(NamedTuple):
    """One record: the question's token ids, the text's tokens, the answer's first and last token there."""

    question: TokenArray
    text: Encoded
    answer: tuple[int, int] | None


class _Window(NamedTuple):
    """One row: its record, the part of the text's tokens in it, the answer's tokens in the row."""

    record: int
    begin: int
    end: int
    answer: tuple[int, int]


def encode_question_windows(
    items: Sequence[QuestionText],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    stride: int,
    segments: Literal["real", "zero"],
    notes: dict[str, int],
) -> Rows:
    """Return one row per window, windows in record order.

    Args:
        items: one per record.
        tokenizer: gives [CLS] and [SEP].
        max_length: tokens in a row at most.
        stride: tokens from one window's begin to the next one's; at least half of a window stands in the next
            one too, whatever it is.
        segments: as ``assemble`` takes it.
        notes: what was lost before; what is lost here is added.
    """
    rows: list[_Window] = []
    cut = 0
    for index, item in enumerate(items):
        room = max_length - SPECIAL - len(item.question)
        borders = windows(len(item.text), room, min(stride, max(1, room // 2)))
        shift = len(item.question) + 2
        rows += [_Window(index, *border, _place(item.answer, *border, shift)) for border in borders]
        cut += len(borders) > 1
    own = {
        f"texts cut into windows of {max_length} tokens": cut,
        "windows without the answer": sum(row.answer == ELSEWHERE for row in rows),
    }
    notes = {**notes, **{what: count for what, count in own.items() if count}}
    return _flat_rows(items, rows, tokenizer, segments, notes)


def _place(span: tuple[int, int] | None, begin: int, end: int, shift: int) -> tuple[int, int]:
    """Return where a span of the text's tokens stands in the row of one window."""
    if span is None:
        return UNKNOWN
    first, last = span
    inside = begin <= first and last < end
    return (first - begin + shift, last - begin + shift) if inside else ELSEWHERE


def _flat_rows(
    items: Sequence[QuestionText],
    rows: Sequence[_Window],
    tokenizer: Tokenizer,
    segments: Literal["real", "zero"],
    notes: dict[str, int],
) -> Rows:
    """Return windows as flat arrays."""

    def parts(row: int) -> tuple[TokenArray, TokenArray]:
        window = rows[row]
        item = items[window.record]
        return item.question, item.text.ids[window.begin : window.end]

    offsets, token_ids, segment_ids = assemble(len(rows), parts, tokenizer, segments)
    starts, ends = np.full_like(token_ids, NO_CHARACTER), np.full_like(token_ids, NO_CHARACTER)
    record = np.array([row.record for row in rows], np.int64)
    text_start = np.array([len(items[row.record].question) + 2 for row in rows], np.int64)
    for window, place in zip(rows, (offsets[:-1] + text_start).tolist(), strict=True):
        tokens = items[window.record].text
        stop = place + window.end - window.begin
        starts[place:stop] = tokens.starts[window.begin : window.end]
        ends[place:stop] = tokens.ends[window.begin : window.end]
    columns: dict[str, Array] = {
        "text_start": text_start.astype(np.int32),
        "answer": np.array([row.answer for row in rows], np.int32).reshape(-1, 2),
    }
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids, "starts": starts, "ends": ends},
        columns=columns,
        record=record,
        group=np.arange(len(rows), dtype=np.int64),
        notes=notes,
        host_columns=frozenset({"starts", "ends"}),
    )

"""Turns a question with each window of its text into a row: ``[CLS] question [SEP] window [SEP]``.

In: records, a tokenizer, limits. Out: ``Rows``. Knows nothing about tensors, or how answers are decoded.

Token columns ``starts`` and ``ends`` int32: character borders in the raw text (end exclusive), -1 outside it,
for the host. Columns: ``text_start`` int32, the first token of the text; ``answer`` (rows, 2) int32, the
answer's first and last token, (0, 0) where the window does not hold it, (-1, -1) where there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from clue_runner.data.records import ReadingRecord
from clue_runner.tokens.assemble import assemble
from clue_runner.tokens.layouts.spans import chars_to_tokens, covering_tokens
from clue_runner.tokens.layouts.windows import windows
from clue_runner.tokens.rows import Array, GoldAnswers, Rows
from clue_runner.tokens.tokenizer import Encoded, TokenArray, Tokenizer

SPECIAL = 3  # [CLS] question [SEP] text [SEP]
NO_CHARACTER = -1  # where tokens outside the text begin and end
ELSEWHERE = (0, 0)  # [CLS]: the answer is not in this window
UNKNOWN = (-1, -1)  # nothing to train on


class QuestionLimits(NamedTuple):
    """How questions and texts are truncated or windowed.

    Args:
        max_length: tokens in a row at most.
        question: tokens of a question at most; a question takes half of a row at most, whatever this is.
        answer: tokens in a predicted answer at most; None: any.
        stride: tokens from one window's start to the next one's; windows overlap by at least half
            one too, whatever this is.
    """

    max_length: int
    question: int
    answer: int | None
    stride: int


class _Item(NamedTuple):
    """One record: its tokens, what to train on, and what of its answer the tokens can express.

    ``answer`` is the first and last token of the text, None where there is nothing to train on; ``is_exact``
    says that these tokens are the gold answer and nothing else, and that they may be predicted.
    """

    question: TokenArray
    text: Encoded
    answer: tuple[int, int] | None
    has_gold: bool = False
    is_exact: bool = False


class _Window(NamedTuple):
    """One row: its record, the part of the text's tokens in it, the answer's tokens in the row."""

    record: int
    begin: int
    end: int
    answer: tuple[int, int]


def encode_questions(
    records: Sequence[ReadingRecord],
    tokenizer: Tokenizer,
    limits: QuestionLimits,
    *,
    segments: Literal["real", "zero"],
    change: Callable[[str], str] = str,
) -> Rows:
    """Return one row per window, windows in record order.

    Args:
        records: the questions.
        tokenizer: gives tokens, [CLS] and [SEP].
        limits: how questions and texts are truncated or windowed.
        segments: as ``assemble`` takes it.
        change: applied to texts before tokenisation; it keeps the number of characters.
    """
    notes: Counter[str] = Counter()
    items = _items(records, tokenizer, limits, change, notes)
    rows: list[_Window] = []
    lost = 0
    for index, item in enumerate(items):
        room = limits.max_length - SPECIAL - len(item.question)
        borders = windows(len(item.text), room, min(limits.stride, max(1, room // 2)))
        shift = len(item.question) + 2
        own = [_Window(index, *border, _place(item.answer, *border, shift)) for border in borders]
        rows += own
        places = [window.answer for window in own]
        is_whole = any(place not in {ELSEWHERE, UNKNOWN} for place in places)
        notes[f"texts cut into windows of {limits.max_length} tokens"] += len(borders) > 1
        notes["windows without the answer"] += places.count(ELSEWHERE)
        notes["answers longer than a window's part of the text"] += item.answer is not None and not is_whole
        lost += item.has_gold and not (item.is_exact and is_whole)
    gold = GoldAnswers(sum(item.has_gold for item in items), lost)
    return replace(_flat_rows(items, rows, tokenizer, segments), notes=dict(+notes), gold=gold)


def _items(
    records: Sequence[ReadingRecord],
    tokenizer: Tokenizer,
    limits: QuestionLimits,
    change: Callable[[str], str],
    notes: Counter[str],
) -> list[_Item]:
    """Return each record's tokens; a text shared by several questions is tokenised once."""
    contexts = list(dict.fromkeys(record.context for record in records))
    texts = dict(zip(contexts, tokenizer.encode_texts([change(text) for text in contexts]), strict=True))
    most = min(limits.question, (limits.max_length - SPECIAL) // 2)
    questions = tokenizer.encode_texts([change(record.question) for record in records])
    notes[f"questions cut to {most} tokens"] += sum(len(question) > most for question in questions)
    return [
        _item(question.ids[:most], record, texts[record.context], limits.answer, notes)
        for question, record in zip(questions, records, strict=True)
    ]


def _item(
    question: TokenArray, record: ReadingRecord, tokens: Encoded, longest: int | None, notes: Counter[str]
) -> _Item:
    """Return one record's tokens, and what of its answer they can express."""
    if not record.answers:
        return _Item(question, tokens, None)
    target = record.target
    if target is None or target.start is None:
        notes["questions whose answer does not appear in the text, left out of training"] += 1
        return _Item(question, tokens, None, has_gold=True)
    last = target.start + len(target.text) - 1
    exact = chars_to_tokens(tokens, target.start, last)
    span = exact or covering_tokens(tokens, target.start, last)
    if span is None:
        notes["answers without a token, left out of training"] += 1
        return _Item(question, tokens, None, has_gold=True)
    is_too_long = longest is not None and span[1] - span[0] >= longest
    notes["answers that do not end at token boundaries, trained on the tokens they touch"] += exact is None
    notes[f"answers of more than {longest} tokens, which are never predicted"] += is_too_long
    return _Item(question, tokens, span, has_gold=True, is_exact=exact is not None and not is_too_long)


def _place(span: tuple[int, int] | None, begin: int, end: int, shift: int) -> tuple[int, int]:
    """Return where a span of the text's tokens is in the row of one window."""
    if span is None:
        return UNKNOWN
    first, last = span
    inside = begin <= first and last < end
    return (first - begin + shift, last - begin + shift) if inside else ELSEWHERE


def _flat_rows(
    items: Sequence[_Item],
    rows: Sequence[_Window],
    tokenizer: Tokenizer,
    segments: Literal["real", "zero"],
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
        host_columns=frozenset({"starts", "ends"}),
    )

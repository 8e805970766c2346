"""Turns texts with typed spans into rows: one for each text, or for each window of a long text.

In: encoded texts, the spans of their tokens, a size. Out: ``Rows``. Knows nothing about types' names, records
or tensors.

Token columns: ``starts`` and ``ends`` int32, character borders (end exclusive), -1 on [CLS] and [SEP], for
the host; ``tag`` int32, BIO. Columns: ``spans`` (rows, n, 3) int32 of type, first and last token, type -1
fills up; ``owned`` (rows, 2) int32, the characters that this window answers for, for the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clue_runner.tokens.layouts.tags import TokenSpan, spans_to_tags, tags_to_spans
from clue_runner.tokens.layouts.windows import windows
from clue_runner.tokens.rows import Array, GoldAnswers, Rows
from clue_runner.tokens.tokenizer import Encoded, Tokenizer

OVERLAP = 4  # windows of a long text share a quarter of their tokens
NO_CHARACTER = -1  # where [CLS] and [SEP] begin and end
FILLER = -1  # type of the entries that fill a row's list of spans


@dataclass
class SpanWindows:
    """Rows under construction, one text at a time.

    Args:
        tokenizer: gives [CLS] and [SEP].
        max_length: most tokens in one row, including [CLS] and [SEP].
        by_tags: the head learns tags, which cannot hold spans that share a token.
    """

    tokenizer: Tokenizer
    max_length: int
    by_tags: bool = False
    _token_ids: list[Array] = field(default_factory=list)
    _starts: list[Array] = field(default_factory=list)
    _ends: list[Array] = field(default_factory=list)
    _tags: list[Array] = field(default_factory=list)
    _spans: list[list[TokenSpan]] = field(default_factory=list)
    _owned: list[tuple[int, int]] = field(default_factory=list)
    _record: list[int] = field(default_factory=list)
    _notes: dict[str, int] = field(default_factory=dict)
    _total: int = 0
    _lost: int = 0

    def _note(self, what: str, count: int) -> None:
        """Count something that was lost."""
        if count:
            self._notes[what] = self._notes.get(what, 0) + count

    def add(self, record: int, text: str, tokens: Encoded, spans: Sequence[TokenSpan], lost: int = 0) -> None:
        """Add the rows of one record.

        Args:
            record: its number.
            text: its text; the last window answers for all characters up to its end.
            tokens: the text's, not cut.
            spans: of these tokens, each once.
            lost: gold spans that no token border expresses, which are not in ``spans``.
        """
        size = self.max_length - 2
        borders = windows(len(tokens), size, size - size // OVERLAP)
        self._note(f"texts cut into windows of {self.max_length} tokens", int(len(borders) > 1))
        whole: set[TokenSpan] = set()
        tagged: set[TokenSpan] = set()
        for number, (first, end) in enumerate(borders):
            inside = [span for span in spans if first <= span.first and span.last < end]
            # +1 for [CLS]
            moved = [TokenSpan(kind, start - first + 1, last - first + 1) for kind, start, last in inside]
            tags, _ = spans_to_tags(moved, end - first + 2)
            whole |= set(inside)
            if self.by_tags:
                tagged |= {
                    TokenSpan(kind, start + first - 1, last + first - 1)
                    for kind, start, last in tags_to_spans(tags)
                }
            self._token_ids.append(
                _framed(tokens.ids[first:end], self.tokenizer.cls_id, self.tokenizer.sep_id)
            )
            self._starts.append(_framed(tokens.starts[first:end], NO_CHARACTER, NO_CHARACTER))
            self._ends.append(_framed(tokens.ends[first:end], NO_CHARACTER, NO_CHARACTER))
            self._tags.append(tags)
            self._spans.append(moved)
            self._owned.append((
                0 if number == 0 else _middle(tokens, first, borders[number - 1][1]),
                len(text) if number == len(borders) - 1 else _middle(tokens, borders[number + 1][0], end),
            ))  # fmt: skip
            self._record.append(record)
        overlapping = len(whole - tagged) if self.by_tags else 0
        longer = len(set(spans) - whole)
        self._note("entities that do not end at token boundaries", lost)
        self._note("entities longer than a window's part of the text", longer)
        self._note("overlapping entities that tags cannot hold", overlapping)
        self._total += len(set(spans)) + lost
        self._lost += lost + longer + overlapping

    def rows(self) -> Rows:
        """Return everything that was added."""
        token_ids = _joined(self._token_ids)
        return Rows(
            offsets=np.concatenate(([0], np.cumsum([len(ids) for ids in self._token_ids]))).astype(np.int64),
            tokens={
                "token_ids": token_ids,
                "segment_ids": np.zeros_like(token_ids),
                "starts": _joined(self._starts),
                "ends": _joined(self._ends),
                "tag": _joined(self._tags),
            },
            columns={
                "spans": _span_table(self._spans),
                "owned": np.asarray(self._owned, np.int32).reshape(-1, 2),
            },
            record=np.asarray(self._record, np.int64),
            group=np.arange(len(self._record), dtype=np.int64),
            notes=self._notes,
            host_columns=frozenset({"starts", "ends", "owned"}),
            gold=GoldAnswers(self._total, self._lost),
        )


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
    for row, own in enumerate(spans):
        if own:
            table[row, : len(own)] = own
    return table

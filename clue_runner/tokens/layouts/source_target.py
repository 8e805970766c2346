"""One stream of a source and its target: [CLS] A [SEP] (B [SEP]) target [SEP].

In: records, a tokenizer, lengths. Out: ``Rows`` with the number of source tokens in the column ``source``.
Knows nothing about networks or how a target is found.

A target that is too long loses its end. The source gets the room that the longest allowed target leaves; its
last text is cut around its focus, the texts before it are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clue_runner.data.records import TargetRecord
from clue_runner.tokens.rows import GoldAnswers, Rows
from clue_runner.tokens.tokenizer import Encoded, TokenArray, Tokenizer

SOURCE = "source"
LEAST = 2  # minimum of tokens for a text and a target


@dataclass(frozen=True)
class StreamLimits:
    """How long a row may be.

    Args:
        row: tokens of source and target.
        target: tokens of the target, its [SEP] counted.
        leading: tokens of a text before the last one.
    """

    row: int
    target: int
    leading: int


def encode_streams(
    records: Sequence[TargetRecord],
    tokenizer: Tokenizer,
    limits: StreamLimits,
    *,
    segments: Literal["real", "zero"],
) -> Rows:
    """Return one row per record; without a target the row ends with its source.

    Segments are 0 in the source and 1 in the target, or 0 throughout.
    """
    parts = len(records[0].texts) if records else 1
    columns = [tokenizer.encode_texts([record.texts[place] for record in records]) for place in range(parts)]
    targets = tokenizer.encode_texts([record.target or "" for record in records])
    token_ids, segment_ids, sources, lengths = [], [], [], []
    cut_sources = cut_targets = 0
    for number, record in enumerate(records):
        texts = [column[number] for column in columns]
        source, lost = _source(texts, record.focus, tokenizer, limits)
        cut_sources += lost
        row = [source]
        if record.target is not None:
            target = targets[number].ids[: limits.target - 1]
            cut_targets += len(target) < len(targets[number])
            row += [target, np.array([tokenizer.sep_id], np.int32)]
        sources.append(len(source))
        lengths.append(sum(map(len, row)))
        token_ids += row
        behind = lengths[-1] - len(source)
        segment_ids.append(np.repeat(np.array([0, int(segments == "real")], np.int32), [len(source), behind]))
    order = np.arange(len(records), dtype=np.int64)
    notes = {
        f"sources cut to {limits.row - limits.target} tokens": cut_sources,
        f"targets cut to {limits.target} tokens": cut_targets,
    }
    return Rows(
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        tokens={
            "token_ids": np.concatenate([*token_ids, np.zeros(0, np.int32)]).astype(np.int32),
            "segment_ids": np.concatenate([*segment_ids, np.zeros(0, np.int32)]).astype(np.int32),
        },
        columns={SOURCE: np.array(sources, np.int32)},
        record=order,
        group=order,
        notes={what: count for what, count in notes.items() if count},
        gold=GoldAnswers(sum(record.target is not None for record in records)),
    )


def _source(
    texts: Sequence[Encoded], focus: int | None, tokenizer: Tokenizer, limits: StreamLimits
) -> tuple[TokenArray, bool]:
    """Return the tokens of a source, and whether it was cut."""
    separator = np.array([tokenizer.sep_id], np.int32)
    leading = [text.ids[: limits.leading] for text in texts[:-1]]
    room = limits.row - limits.target - 2 - sum(len(ids) + 1 for ids in leading)
    start = _start(texts[-1], focus, max(room, 1))
    last = texts[-1].ids[start : start + max(room, 1)]
    pieces = [np.array([tokenizer.cls_id], np.int32)]
    for ids in (*leading, last):
        pieces += [ids, separator]
    kept = sum(map(len, leading)) + len(last)
    return np.concatenate(pieces), kept < sum(map(len, texts))


def _start(text: Encoded, focus: int | None, room: int) -> int:
    """Return the first token that is kept of a text: the focus in the middle where all does not fit."""
    if focus is None or len(text) <= room:
        return 0
    place = int(np.searchsorted(text.ends, focus, side="right"))
    return min(max(0, place - room // 2), len(text) - room)

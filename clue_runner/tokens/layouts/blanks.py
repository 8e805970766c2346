"""Passages with blanks as rows: one for each candidate of a blank, ``[CLS] candidate [SEP] text [SEP]``.

In: records, a tokenizer, limits. Out: ``Rows``. Knows nothing about tensors, or how answers are decoded.

Rows lie in the order of records, tags and candidates; a blank is a group. Other blanks of the passage are
four [MASK]; the window is centred on the blank and the same for all its candidates. A vocabulary without
``[unused1]`` marks the blank with [MASK], which is noted. Columns: ``choice`` int32, the candidate's index;
``label`` int32, 1 for the correct one, else 0, -1 without answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from clue_runner.data.readers.cloze import TAG
from clue_runner.data.records import ClozeRecord
from clue_runner.errors import CheckpointError, UsageError
from clue_runner.tokens.assemble import assemble
from clue_runner.tokens.rows import GoldAnswers, Rows
from clue_runner.tokens.tokenizer import TokenArray, Tokenizer

BLANK = "[unused1]"  # marks where the candidate is missing, as in CLUE-bert4keras
OTHER_BLANK = 4  # [MASK] tokens in place of another blank: an idiom has four characters
CHUNK = 2048  # records whose texts are encoded at a time
INDISTINCT = "correct choices with the same tokens as another choice"
NO_BLANK_PIECE = f"blanks marked by [MASK], the vocabulary has no {BLANK}"


def encode_blanks(
    items: Sequence[ClozeRecord],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    segments: Literal["real", "zero"],
) -> Rows:
    """Return one row per candidate of a blank.

    Raises:
        UsageError: ``max_length`` leaves no room for a text beside the candidate.
    """
    mark, marked = _blank_mark(tokenizer)
    candidates = _encode_candidates(items, tokenizer)
    contexts, cut = _contexts(items, candidates, mark, tokenizer, max_length)
    blanks = [(record, place) for record in items for place in range(len(record.tags))]
    sizes = np.array([len(record.candidates) for record, _ in blanks])
    group = np.repeat(np.arange(len(blanks), dtype=np.int64), sizes)
    choice = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)

    def parts_of(row: int) -> tuple[TokenArray, TokenArray]:
        """Return the candidate and the window of one row."""
        blank = int(group[row])
        return candidates[blanks[blank][0].candidates[int(choice[row])]], contexts[blank]

    offsets, token_ids, segment_ids = assemble(len(group), parts_of, tokenizer, segments)
    answers = np.array([-1 if record.answers is None else record.answers[place] for record, place in blanks])
    label = np.where(answers[group] < 0, -1, answers[group] == choice).astype(np.int32)
    owner = np.repeat(np.arange(len(items)), [len(record.tags) for record in items])
    lost = _indistinct_answers(items, candidates)
    notes = {
        NO_BLANK_PIECE: 0 if marked else len(blanks),
        f"windows of {max_length} tokens that leave text out": cut,
        INDISTINCT: lost,
    }
    return Rows(
        offsets=offsets,
        tokens={"token_ids": token_ids, "segment_ids": segment_ids},
        columns={"choice": choice, "label": label},
        record=owner[group].astype(np.int64),
        group=group,
        notes={what: count for what, count in notes.items() if count},
        gold=GoldAnswers(int((answers >= 0).sum()), lost),
    )


def _blank_mark(tokenizer: Tokenizer) -> tuple[TokenArray, bool]:
    """Return the token that marks the blank, and whether it is the usual one."""
    try:
        return np.array([tokenizer.token_id(BLANK)], np.int32), True
    except CheckpointError:
        return np.array([tokenizer.mask_id], np.int32), False


def _encode_candidates(items: Sequence[ClozeRecord], tokenizer: Tokenizer) -> dict[str, TokenArray]:
    """Return the tokens of every candidate."""
    unique = list(dict.fromkeys(text for record in items for text in record.candidates))
    return dict(zip(unique, (encoded.ids for encoded in tokenizer.encode_texts(unique)), strict=True))


def _indistinct_answers(items: Sequence[ClozeRecord], candidates: Mapping[str, TokenArray]) -> int:
    """Return how many correct candidates have the same tokens as another candidate of their record."""
    count = 0
    for record in items:
        tokens = [candidates[text].tobytes() for text in record.candidates]
        repeated = {own for own, times in Counter(tokens).items() if times > 1}
        count += sum(tokens[answer] in repeated for answer in record.answers or ()) if repeated else 0
    return count


def _contexts(
    items: Sequence[ClozeRecord],
    candidates: Mapping[str, TokenArray],
    mark: TokenArray,
    tokenizer: Tokenizer,
    max_length: int,
) -> tuple[list[TokenArray], int]:
    """Return the window of each blank in the order of the tags, and how many leave text out."""
    contexts: list[TokenArray] = []
    cut = 0
    for first in range(0, len(items), CHUNK):
        chunk = items[first : first + CHUNK]
        longest = [max(len(candidates[text]) for text in record.candidates) for record in chunk]
        if max(longest) + 4 >= max_length:  # [CLS], two [SEP], the mark
            raise UsageError(
                "data.max_length leaves no room for text beside a candidate",
                received=str(max_length),
                allowed=f"{max(longest) + 5} or more",
            )
        rooms = [max_length - 4 - length for length in longest]
        for room, left, right in _sides(chunk, rooms, tokenizer):
            kept_left, kept_right = _centre(len(left), len(right), room)
            cut += kept_left + kept_right < len(left) + len(right)
            contexts.append(np.concatenate((left[len(left) - kept_left :], mark, right[:kept_right])))
    return contexts, cut


def _sides(
    chunk: Sequence[ClozeRecord], rooms: Sequence[int], tokenizer: Tokenizer
) -> Iterator[tuple[int, TokenArray, TokenArray]]:
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
                yield room, _join(tokens[:blank], masked), _join(tokens[blank:], masked)


def _join(pieces: Sequence[TokenArray], masked: TokenArray) -> TokenArray:
    """Return pieces of text with a masked blank between each two."""
    joined: list[TokenArray] = [pieces[0]]
    for piece in pieces[1:]:
        joined += [masked, piece]
    return np.concatenate(joined)


def _centre(left: int, right: int, room: int) -> tuple[int, int]:
    """Return the tokens kept on both sides: as balanced as the text allows, the odd one on the left."""
    kept_right = min(right, max(room // 2, room - left))
    return min(left, room - kept_right), kept_right

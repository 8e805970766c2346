"""A smaller vocabulary for the same texts: without pieces that cannot occur, with pieces for frequent words.

In: a tokenizer, ``model.keep_tokens`` and ``model.compound_tokens``. Out: a tokenizer over the pieces that
stay, and the old embedding rows that make up each new one. Knows nothing about weights or tasks.

WordPiece takes the longest matching piece. Without pieces that no text of the run uses, each text is
tokenised as before, so that a network with the same embeddings gives the same answers. After keep_tokens,
compound_tokens and load_vocab(simplified=True) of bert4keras.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clue_runner.errors import Problem, UsageError
from clue_runner.files.names import read_regular
from clue_runner.tokens.pieces import RESERVED
from clue_runner.tokens.tokenizer import Tokenizer

AUTO, SIMPLIFIED = "auto", "simplified"
KEEP, COMPOUND = "model.keep_tokens", "model.compound_tokens"
NEVER = "never a token: ideographs, punctuation and spaces are separate, capitals become lower-case"
Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Trimmed:
    """A vocabulary after trimming and compounding.

    Args:
        tokenizer: with the remaining pieces.
        rows: new id -> the old ids whose mean is its row; with one old id, that row unchanged.
        note: a sentence about the changes.
    """

    tokenizer: Tokenizer
    rows: Rows
    note: str


def trim_vocabulary(
    tokenizer: Tokenizer, *, keep: str | None, compound: str | None, encode: Callable[[Tokenizer], object]
) -> Trimmed:
    """Return a vocabulary with pieces added and left out.

    Args:
        tokenizer: the checkpoint's.
        keep: ``auto``: pieces that the run's own texts use; ``simplified``: pieces that some text can use;
            else a file with the pieces to keep, one per line; None: all.
        compound: file of words that become one piece each, one per line; None: none.
        encode: called with a tokenizer, encodes all texts of the run with it.

    Raises:
        UsageError: a file names unknown pieces, or words that cannot be pieces.
    """
    words = _lines(compound, COMPOUND) if compound is not None else []
    whole, rows = _with_words(tokenizer, words)
    if keep is None:
        kept = list(range(len(rows)))
    elif keep == AUTO:
        recorder = whole.recording()
        encode(recorder)
        kept = sorted({*recorder.seen_ids(), *_reserved(whole)})
    elif keep == SIMPLIFIED:
        kept = sorted({*whole.reachable_ids(), *_reserved(whole)})
    else:
        kept = sorted({*_named(whole, keep), *_reserved(whole)})
    note = f"vocabulary: {len(kept):,} of {len(tokenizer.vocabulary):,} pieces"
    note += f", {len(words):,} of them compounds" if words else ""
    if keep == AUTO:
        note += "; in other texts than this run's, a dropped piece becomes unknown"
    pieces = [whole.vocabulary.pieces[index] for index in kept]
    return Trimmed(whole.with_pieces(pieces), tuple(rows[index] for index in kept), note)


def _with_words(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[Tokenizer, Rows]:
    """Return a tokenizer that has a piece for each word, and the old rows of every piece."""
    own = tokenizer.vocabulary.pieces
    rows = tuple((index,) for index in range(len(own)))
    if not words:
        return tokenizer, rows
    parts = [tuple(int(index) for index in encoded.ids) for encoded in tokenizer.encode_texts(words)]
    problems = [
        Problem("it is already one piece, or cannot be made of pieces", COMPOUND, repr(word))
        for word, ids in zip(words, parts, strict=True)
        if len(ids) < 2 or tokenizer.unk_id in ids
    ]
    twice = [word for word, times in Counter(words).items() if times > 1]
    problems += [Problem("it is named twice", COMPOUND, repr(word)) for word in twice]
    made = tokenizer
    if not problems:
        made = tokenizer.with_pieces([*own, *words])
        problems = [
            Problem(NEVER, COMPOUND, repr(word))
            for word, encoded in zip(words, made.encode_texts(words), strict=True)
            if len(encoded) != 1
        ]
    if problems:
        raise UsageError("words cannot become pieces of the vocabulary", problems=problems)
    return made, (*rows, *parts)


def _reserved(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of [CLS], [unused1] and their like, which are inserted into rows by name."""
    return [index for piece, index in tokenizer.vocabulary.ids.items() if RESERVED.fullmatch(piece)]


def _named(tokenizer: Tokenizer, file: str) -> list[int]:
    """Return the ids of the pieces that a file names."""
    pieces = _lines(file, KEEP)
    unknown = [piece for piece in pieces if piece not in tokenizer.vocabulary.ids]
    if unknown:
        raise UsageError(
            f"{len(unknown):,} pieces to keep are not in the vocabulary",
            where=f"{KEEP}={file}",
            problems=[Problem("unknown piece", received=repr(piece)) for piece in unknown],
            next_step="name pieces of the checkpoint's own vocabulary, one per line",
        )
    return [tokenizer.vocabulary.ids[piece] for piece in pieces]


def _lines(file: str, setting: str) -> list[str]:
    """Return the lines of a file."""
    raw = read_regular(Path(file), error_type=UsageError)
    try:
        lines = [line.removesuffix("\r") for line in raw.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise UsageError("the file is not UTF-8", where=f"{setting}={file}") from error
    found = [line for line in lines if line]
    if not found:
        raise UsageError("the file is empty", where=f"{setting}={file}", allowed="one piece per line")
    return found


def mean_rows(table: np.ndarray, rows: Rows) -> np.ndarray:
    """Return a table's new rows: old ones unchanged, or the mean of several.

    Examples:
        >>> mean_rows(np.array([[1.0], [2.0], [4.0]], np.float32), ((2,), (0, 1))).tolist()
        [[4.0], [1.5]]
    """
    made = table[[ids[0] for ids in rows]]
    for index, ids in enumerate(rows):
        if len(ids) > 1:
            made[index] = table[list(ids)].mean(axis=0, dtype=np.float64)
    return made

"""Characters as tokens, each with the word that it belongs to: the encoding of readers without WordPiece.

In: texts to count, or a saved vocabulary; word vectors if there are any. Out: ids of characters and
words. Knows nothing about tasks or models. Every character is one token, so offsets are the text's own.

File: one character per line from line 3 on; line 1 is padding (id 0), line 2 the unknown character (id 1).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.errors import CheckpointError, DataError
from clue_runner.files.names import as_given
from clue_runner.tokens.vectors import WordVectors, read_word_vectors

PADDING, UNKNOWN = 0, 1
SPECIAL = ("[PAD]", "[UNK]")
LINE_ENDS = frozenset("\n\r")

IdArray = NDArray[np.int32]


class CharacterTokenizer:
    """Maps characters to ids and, where there are vectors, to the ids of their words.

    Args:
        characters: in the order of their ids, from id 2.
        vectors: word vectors; None for characters alone.
    """

    lowercase = False
    unk_id = UNKNOWN

    def __init__(self, characters: Sequence[str], vectors: WordVectors | None = None) -> None:
        self.characters = tuple(characters)
        self.vectors = vectors
        self.notices = () if vectors is None else vectors.notices
        self._ids = {character: place for place, character in enumerate(self.characters, len(SPECIAL))}

    @property
    def vocab_size(self) -> int:
        """Return the number of ids, including padding and the unknown character."""
        return len(self.characters) + len(SPECIAL)

    @property
    def id_limits(self) -> dict[str, int]:
        """Return column name -> number of ids that it may hold, to check rows that come from a file."""
        characters = dict.fromkeys(("token_ids", "question_ids"), self.vocab_size)
        words = 1 if self.vectors is None else len(self.vectors.table)
        return {**characters, **dict.fromkeys(("word_ids", "question_words"), words)}

    @cached_property
    def vocab_bytes(self) -> bytes:
        """Return the content of the vocabulary file."""
        return "".join(f"{line}\n" for line in (*SPECIAL, *self.characters)).encode()

    @cached_property
    def sha256(self) -> str:
        """Return the hash of everything that decides ids."""
        vectors = "" if self.vectors is None else self.vectors.sha256
        return hashlib.sha256(self.vocab_bytes + vectors.encode()).hexdigest()

    def character_ids(self, text: str) -> IdArray:
        """Return (characters,) int32."""
        return np.fromiter((self._ids.get(character, UNKNOWN) for character in text), np.int32, len(text))

    def word_ids(self, text: str) -> IdArray:
        """Return (characters,) int32, the row of each character's word; 0 where the word has no vector."""
        if self.vectors is None:
            return np.zeros(len(text), np.int32)
        words = self._segmenter.lcut(text, HMM=False)
        rows = [self.vectors.words.get(word, 0) for word in words]
        word_ids = np.repeat(np.array(rows, np.int32), [len(word) for word in words])
        if len(word_ids) != len(text):
            raise RuntimeError(f"the words of {text[:40]!r} do not add up to the text")
        return word_ids

    @cached_property
    def _segmenter(self) -> Any:
        return open_segmenter(self.vectors.words if self.vectors else ())


def open_segmenter(words: Iterable[str] = ()) -> Any:
    """Return a jieba segmenter that knows ``words`` as well.

    By default jieba loads its dictionary with ``marshal`` from ``jieba.cache`` in the shared temporary
    folder, whoever wrote it. Parsing the dictionary that ships with jieba takes no longer, so no cache is
    read or written.
    """
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    for word in words:
        if word not in segmenter.FREQ:
            segmenter.add_word(word)
    return segmenter


def count_characters(texts: Iterable[str], min_count: int) -> list[str]:
    """Return the characters that occur in ``texts`` at least ``min_count`` times, most frequent first.

    Ends of lines and halves of surrogate pairs are left out: the vocabulary file cannot hold them.

    Raises:
        DataError: there are none.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    frequent = (character for character, count in counts.items() if count >= min_count)
    kept = [
        character
        for character in frequent
        if character not in LINE_ENDS and not "\ud800" <= character <= "\udfff"
    ]
    if not kept:
        raise DataError(
            "the vocabulary is empty: no character is frequent enough",
            received=f"{len(counts):,} distinct characters, task.min_count {min_count}",
            next_step="lower task.min_count (16 suits 30,000 questions, 2 a few thousand)",
        )
    return sorted(kept, key=lambda character: (-counts[character], character))


def read_characters(path: Path) -> list[str]:
    """Return a saved vocabulary.

    Raises:
        CheckpointError: it is missing, empty, or not such a file.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            "cannot read the character vocabulary", where=str(path), received=str(error)
        ) from None
    if tuple(lines[:2]) != SPECIAL or len(lines) < 3 or any(len(line) != 1 for line in lines[2:]):
        raise CheckpointError(
            "not a character vocabulary",
            where=str(path),
            allowed="[PAD], [UNK], then one character per line",
            next_step="train again with --fresh",
        )
    return lines[2:]


def open_vectors(path: str | None) -> WordVectors | None:
    """Return the vectors that the setting names; None where it names none."""
    return None if path is None else read_word_vectors(as_given(path))

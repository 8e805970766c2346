"""BERT's WordPiece with exact character offsets, and the [CLS] A [SEP] B [SEP] layout.

In: a vocabulary file (one piece per line) and texts. Out: token ids, character offsets into the raw
text, or rows cut to a length. Wraps the ``tokenizers`` library. Knows nothing about tasks or labels.

The name of a special token inside a text ("[SEP]" typed by a user) is ordinary text here, as in BERT's own
tokenizer; the fast tokenizer of ``transformers`` would turn it into the special id. Code that needs [MASK]
or [unused1] in a row inserts the id.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as WordPieceTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from clue_runner.errors import CheckpointError
from clue_runner.tokens.pieces import CONTINUING, GOOGLES, unreachable_notice, unreachable_pieces
from clue_runner.tokens.rows import IntArray
from clue_runner.tokens.vocabulary import parse_vocabulary, read_vocabulary_file

TokenArray = NDArray[np.int32]

# Texts encoded at a time: enough to keep all cores busy, few enough to keep memory small.
_CHUNK = 4096
_MAX_WORD_LENGTH = 100
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


@dataclass(frozen=True)
class Encoded:
    """One text's tokens.

    Args:
        ids: (tokens,) int32.
        starts: (tokens,) int32, the first character of each token in the raw text, in code points.
        ends: (tokens,) int32, one past the last character of each token.
    """

    ids: TokenArray
    starts: TokenArray
    ends: TokenArray

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)


class Tokenizer:
    """WordPiece over one vocabulary, with the ids and offsets of BERT's reference.

    Args:
        vocab_path: a ``vocab.txt`` in UTF-8, one piece per line; the line's number from 0 is the id.
        lowercase: lower-case texts and strip accents first.
        content: the vocabulary itself, if it differs from the file's.

    Raises:
        CheckpointError: the vocabulary cannot be used; see ``parse_vocabulary``.
    """

    def __init__(self, vocab_path: Path, lowercase: bool, content: bytes | None = None) -> None:
        """Read and check the vocabulary."""
        self.vocab_path = Path(vocab_path)
        self.lowercase = lowercase
        self.vocab_bytes = raw = read_vocabulary_file(self.vocab_path) if content is None else content
        self.sha256 = hashlib.sha256(raw).hexdigest()
        self.vocabulary = parse_vocabulary(raw, self.vocab_path)
        self.vocab_size = len(self.vocabulary)
        self._ids = self.vocabulary.ids
        self.pad_id = self._ids["[PAD]"]
        self.unk_id = self._ids["[UNK]"]
        self.cls_id = self._ids["[CLS]"]
        self.sep_id = self._ids["[SEP]"]
        self.mask_id = self._ids["[MASK]"]
        model = WordPiece(
            self._ids,
            unk_token="[UNK]",
            continuing_subword_prefix="##",
            max_input_chars_per_word=_MAX_WORD_LENGTH,
        )
        self._backend = WordPieceTokenizer(model)
        self._backend.normalizer = BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
        )
        self._backend.pre_tokenizer = BertPreTokenizer()
        self._seen: NDArray[np.bool_] | None = None

    def with_pieces(self, pieces: Sequence[str]) -> Tokenizer:
        """Return a tokenizer with the same settings and another vocabulary."""
        content = "".join(f"{piece}\n" for piece in pieces).encode("utf-8")
        return Tokenizer(self.vocab_path, self.lowercase, content)

    def recording(self) -> Tokenizer:
        """Return a tokenizer that records the ids it produces, for ``seen_ids``."""
        recorder = copy.copy(self)
        recorder._seen = np.zeros(self.vocab_size, np.bool_)
        return recorder

    def seen_ids(self) -> list[int]:
        """Return the ids that a recording tokenizer has produced."""
        return [] if self._seen is None else [int(index) for index in np.flatnonzero(self._seen)]

    def reachable_ids(self) -> list[int]:
        """Return the ids of the pieces that some text can produce."""
        never = {piece for pieces in self._unreachable().values() for piece in pieces} | GOOGLES
        # An ideograph is a separate word, so no piece continues with one: ##中 is never used.
        apart = {piece for piece in self._ids if piece.startswith(CONTINUING) and not self._continues(piece)}
        return [index for piece, index in self._ids.items() if piece not in never and piece not in apart]

    def _continues(self, piece: str) -> bool:
        """Return whether a piece with ## can follow a letter within one word."""
        word = f"a{piece.removeprefix(CONTINUING)}"
        return self._words(self._backend.normalizer.normalize_str(word)) == [word]

    def _words(self, text: str) -> list[str]:
        """Return the words of a cleaned text."""
        return [word for word, _ in self._backend.pre_tokenizer.pre_tokenize_str(text)]

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """Return notices about the vocabulary for the user."""
        notice = unreachable_notice(self._unreachable(), self.vocab_size, self.vocab_path)
        return (*self.vocabulary.notices, *([notice] if notice else []))

    def _unreachable(self) -> dict[str, list[str]]:
        """Return the pieces that no text can produce, by the reason."""
        return unreachable_pieces(self._ids, self._backend.normalizer.normalize_str, self._words)

    def _note(self, ids: TokenArray) -> None:
        """Remember ids that were produced."""
        if self._seen is not None:
            self._seen[ids] = True

    @property
    def id_limits(self) -> dict[str, int]:
        """Return column name -> number of ids that it may hold, to check rows that come from a file."""
        return {"token_ids": self.vocab_size, "segment_ids": 2}

    def token_id(self, piece: str) -> int:
        """Return the id of a piece such as ``[unused1]``.

        Raises:
            CheckpointError: the vocabulary has no such piece.
        """
        if piece not in self._ids:
            raise CheckpointError(
                f"the vocabulary has no piece {piece!r}",
                where=str(self.vocab_path),
                next_step="use a vocabulary that has it (model.vocab)",
            )
        self._note(np.array([self._ids[piece]], np.int32))
        return self._ids[piece]

    def pieces(self, ids: Sequence[int] | TokenArray) -> list[str]:
        """Return the pieces that token ids stand for."""
        return [self.vocabulary.pieces[int(token)] for token in ids]

    def encode_texts(self, texts: Sequence[str]) -> list[Encoded]:
        """Return each text's tokens with character offsets, without special tokens or truncation."""
        encoded: list[Encoded] = []
        for chunk in self._chunks(texts, with_offsets=True):
            lengths, ids = _flat_ids(chunk)
            self._note(ids)
            flat = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in chunk))
            spans = np.fromiter(flat, np.int32, count=2 * len(ids)).reshape(-1, 2)
            borders = np.cumsum(lengths)[:-1]
            parts = (np.split(values, borders) for values in (ids, spans[:, 0].copy(), spans[:, 1].copy()))
            encoded += [Encoded(*columns) for columns in zip(*parts, strict=True)]
        return encoded

    def pair_rows(
        self,
        texts: Sequence[tuple[str, ...]],
        max_length: int,
        segments: Literal["real", "zero"] = "real",
    ) -> tuple[IntArray, TokenArray, TokenArray, int]:
        """Return rows of ``[CLS] A [SEP]``, ``[CLS] A [SEP] B [SEP]`` and so on.

        A row that is too long loses one token after the other from the end of its longest part, from the
        later one where two are equally long, as in BERT.

        Args:
            texts: one or more parts per row.
            max_length: most tokens in one row, including special tokens.
            segments: ``real``: 0 for [CLS] A [SEP] and 1 for what follows; ``zero``: 0 throughout.

        Returns:
            offsets (rows + 1,) int64, token ids (total,) int32, segment ids (total,) int32, and the number
            of truncated rows.

        Raises:
            ValueError: a row has no part, or its special tokens alone do not fit.
        """
        parts = np.array([len(row) for row in texts], np.int64)
        if len(parts) and (parts.min() < 1 or parts.max() + 1 > max_length):
            raise ValueError(f"{parts.min()} to {parts.max()} parts do not fit into {max_length} tokens")
        lengths, ids = self._encode_flat([text for row in texts for text in row])
        kept = _cut_longest_first(lengths, parts, max_length)
        cut = int((np.add.reduceat(kept < lengths, _starts(parts)) > 0).sum()) if len(parts) else 0
        offsets, token_ids, piece_offsets = self._lay_out(parts, lengths, kept, ids)
        segment_ids = np.zeros(len(token_ids), np.int32)
        if segments == "real":
            later = np.ones(len(lengths), np.int32)
            later[_starts(parts)] = 0
            segment_ids = np.repeat(later, np.diff(piece_offsets))
        return offsets, token_ids, segment_ids, cut

    def _lay_out(
        self, parts: IntArray, lengths: IntArray, kept: IntArray, ids: TokenArray
    ) -> tuple[IntArray, TokenArray, IntArray]:
        """Return row offsets, token ids, part offsets; [CLS] belongs to the first part, [SEP] to its own."""
        heads = np.zeros(len(kept), np.int64)
        heads[_starts(parts)] = 1
        piece_offsets = _offsets(kept + heads + 1)
        offsets = piece_offsets[np.concatenate((_starts(parts), [len(kept)])).astype(np.int64)]
        token_ids = np.full(int(offsets[-1]), self.sep_id, np.int32)
        token_ids[offsets[:-1]] = self.cls_id
        within = np.arange(kept.sum()) - np.repeat(_offsets(kept)[:-1], kept)
        target = within + np.repeat(piece_offsets[:-1] + heads, kept)
        token_ids[target] = ids[within + np.repeat(_offsets(lengths)[:-1], kept)]
        return offsets, token_ids, piece_offsets

    def _encode_flat(self, texts: Sequence[str]) -> tuple[IntArray, TokenArray]:
        """Return the number of tokens of each text, and all ids in one array, without character offsets."""
        chunks = [_flat_ids(chunk) for chunk in self._chunks(texts, with_offsets=False)]
        if not chunks:
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        lengths, ids = zip(*chunks, strict=True)
        found = np.concatenate(ids)
        self._note(found)
        return np.concatenate(lengths), found

    def _chunks(self, texts: Sequence[str], *, with_offsets: bool) -> Iterator[list[Any]]:
        """Yield the library's encodings, a chunk at a time."""
        encode = self._backend.encode_batch if with_offsets else self._backend.encode_batch_fast
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            try:
                yield encode(chunk, add_special_tokens=False)
            except (UnicodeEncodeError, TypeError):
                # JSON can hold half a surrogate pair, which is not valid Unicode. U+FFFD is as long, so
                # offsets stay right, and BERT's cleaning drops it.
                yield encode([text.translate(_SURROGATES) for text in chunk], add_special_tokens=False)


def _flat_ids(encodings: list[Any]) -> tuple[IntArray, TokenArray]:
    """Return the number of tokens of each encoding, and all ids in one array."""
    lists = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, lists), np.int64, count=len(lists))
    return lengths, np.fromiter(chain.from_iterable(lists), np.int32, count=int(lengths.sum()))


def _offsets(lengths: IntArray) -> IntArray:
    """Return (n + 1,) offsets of consecutive pieces of these lengths."""
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def _starts(parts: IntArray) -> IntArray:
    """Return the index of each row's first part."""
    return _offsets(parts)[:-1]


def _cut_longest_first(lengths: IntArray, parts: IntArray, max_length: int) -> IntArray:
    """Return how many tokens of each part are kept.

    Taking tokens from the longest part until the row fits lowers all long parts to one level, where earlier
    parts keep one token more if the room does not divide evenly. Bisection finds the level.
    """
    if not len(parts):
        return lengths
    starts = _starts(parts)
    room = max_length - 1 - parts
    low = np.zeros(len(parts), np.int64)
    high = np.full(len(parts), max(int(lengths.max(initial=0)), 1), np.int64)
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = np.add.reduceat(np.minimum(lengths, np.repeat(middle, parts)), starts) <= room
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    level = np.repeat(low, parts)
    kept = np.minimum(lengths, level)
    longer = lengths > level
    earlier: IntArray = np.cumsum(longer) - longer
    rank: IntArray = earlier - np.repeat(earlier[starts], parts)
    spare = np.repeat(room - np.add.reduceat(kept, starts), parts)
    return np.asarray(kept + (longer & (rank < spare)), np.int64)

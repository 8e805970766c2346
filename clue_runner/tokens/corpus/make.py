"""Turns texts into token files: read as a stream, tokenised, assigned to two splits, packed into rows.

In: texts, what is held out, a tokenizer. Out: the files of two splits. Memory does not grow with the text.
Knows nothing about runs, masks or where the files lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.data.texts.documents import Document, Texts
from clue_runner.errors import DataError
from clue_runner.tokens.corpus.packing import RowWriter
from clue_runner.tokens.corpus.pool import encode_groups
from clue_runner.tokens.pieces import RESERVED
from clue_runner.tokens.tokenizer import Tokenizer

TRAIN, HELD_OUT = "train", "dev"
AT_ONCE = 200_000  # characters that are cut into tokens together


@dataclass(frozen=True)
class Corpus:
    """Texts to train on, and what is held out of them.

    Args:
        texts: in the order of their rows.
        held_out: texts of their own; empty: a share of the documents.
        share: of the documents that is held out where no texts are, chosen by the hash of each alone.
    """

    texts: Sequence[Texts]
    held_out: Sequence[Texts] = ()
    share: float = 0.01

    def key(self, tokenizer: Tokenizer, length: int) -> dict[str, Any]:
        """Return everything that the token files follow from."""
        return {
            "texts": [one.sha256 for one in self.texts],
            "held_out": [one.sha256 for one in self.held_out] or self.share,
            "vocabulary": tokenizer.sha256,
            "lowercase": tokenizer.lowercase,
            "length": length,
            "libraries": {name: version(name) for name in ("jieba", "tokenizers")},
        }

    def dealt(self) -> Iterator[tuple[str, Document]]:
        """Yield every document with its split."""
        for texts in self.texts:
            for document in texts.documents():
                yield TRAIN if self.held_out or not _is_held_out(document, self.share) else HELD_OUT, document
        for texts in self.held_out:
            for document in texts.documents():
                yield HELD_OUT, document


def _is_held_out(document: Document, share: float) -> bool:
    """Return whether a document is held out: by its own content alone."""
    digest = hashlib.sha256("\n".join(document).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64


def make_token_files(
    corpus: Corpus,
    tokenizer: Tokenizer,
    length: int,
    folder: Path,
    show: Callable[[int, int], None] = lambda characters, tokens: None,
    *,
    processes: int = 1,
) -> Mapping[str, Any]:
    """Write the files of both splits; return split -> figures for the manifest.

    Args:
        corpus: the texts.
        tokenizer: the vocabulary at work.
        length: tokens in a row.
        folder: where the files go.
        show: told the characters and tokens so far.
        processes: that cut texts into tokens; the files are the same with any number.

    Raises:
        DataError: a text cannot be read, or a split has no text.
        OutOfMemoryError: the system ended one of the processes.
    """
    ordinary = ordinary_ids(tokenizer)
    shape = {"length": length, "cls_id": tokenizer.cls_id, "sep_id": tokenizer.sep_id}
    vocab = tokenizer.vocab_size
    characters = tokens = 0
    with (
        RowWriter(folder, TRAIN, **shape, vocab_size=vocab) as train,
        RowWriter(folder, HELD_OUT, **shape, vocab_size=vocab) as held_out,
    ):
        writers = {TRAIN: train, HELD_OUT: held_out}
        encoded = encode_groups(_groups(corpus.dealt()), tokenizer, processes)
        with closing(encoded):  # processes end with it
            for group, found in encoded:
                for split, (ids, marks) in zip(group.splits, found, strict=True):
                    if len(ids):
                        writers[split].add(ids, marks)
                        tokens += len(ids)
                characters += group.size
                show(characters, tokens)
        for split, writer in writers.items():
            writer.finish()
            _require_rows(corpus, split, writer.rows, train.documents)
        return {split: writer.figures(ordinary) for split, writer in writers.items()}


def ordinary_ids(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Return (vocabulary,): True for pieces that stand for text, unlike [CLS], [UNK] and [unused1]."""
    pieces = tokenizer.vocabulary.pieces
    return np.array([RESERVED.fullmatch(piece) is None for piece in pieces], np.bool_)


@dataclass
class _Group:
    """Documents that are cut together: their splits, and their characters."""

    documents: list[Document] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    size: int = 0


def _groups(dealt: Iterator[tuple[str, Document]]) -> Iterator[_Group]:
    """Yield documents in groups of about ``AT_ONCE`` characters."""
    group = _Group()
    for split, document in dealt:
        group.documents.append(document)
        group.splits.append(split)
        group.size += sum(map(len, document))
        if group.size >= AT_ONCE:
            yield group
            group = _Group()
    if group.documents:
        yield group


def _require_rows(corpus: Corpus, split: str, rows: int, documents: int) -> None:
    """Refuse a split without text; ``documents``: of train."""
    if rows:
        return
    if split == TRAIN or corpus.held_out:
        empty = corpus.texts if split == TRAIN else corpus.held_out
        raise DataError(
            "no text to train on" if split == TRAIN else "no text in the held-out documents",
            where=", ".join(one.label for one in empty),
            received="only empty lines, or none",
            next_step="name files with text: one paragraph per line, an empty line between documents",
        )
    raise DataError(
        "nothing is held out: no document was chosen",
        where="--heldout-share",
        received=f"{corpus.share:g} of {documents:,} documents",
        next_step="hold out a larger share, or a separate file: --heldout FILE",
    )

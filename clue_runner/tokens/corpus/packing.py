"""Documents packed into full rows and written as they come: memory does not grow with the text.

In: token ids of documents, one after the other. Out: two files a split, ids and words' beginnings; figures.
Knows nothing about texts, vocabularies or where the files belong.

A row is [CLS], what fits of the stream, [SEP]; in the stream each document ends with [SEP]. Only the last row
of a split is shorter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from clue_runner.tokens.corpus.words import Marks
from clue_runner.tokens.rows import Array

SHORTEST = 8  # tokens of a last row that is worth keeping
IDS, WORDS = "ids", "words"


def id_type(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<i4")


@dataclass
class _File:
    """One file that grows, and the hash of what it holds."""

    stream: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, values: Array) -> None:
        raw = np.ascontiguousarray(values).tobytes()
        self.digest.update(raw)
        self.size += len(raw)
        self.stream.write(raw)


class RowWriter:
    """Writes one split.

    Args:
        folder: where the files go; those of an earlier attempt are written over.
        split: its name, the beginning of the files' names.
        length: tokens in a row, [CLS] and [SEP] counted.
        cls_id: of [CLS]; ``sep_id``: of [SEP].
        vocab_size: ids there are.
    """

    def __init__(
        self, folder: Path, split: str, *, length: int, cls_id: int, sep_id: int, vocab_size: int
    ) -> None:
        self._files = {kind: _File((folder / f"{split}.{kind}").open("wb")) for kind in (IDS, WORDS)}
        self._length, self._cls, self._sep = length, cls_id, sep_id
        self._type = id_type(vocab_size)
        self._left: tuple[list[Array], list[Array]] = ([], [])
        self._held = 0
        self._seen: NDArray[np.int64] = np.zeros(vocab_size, np.int64)
        self.rows = self.tokens = self.documents = 0

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for file in self._files.values():
            file.stream.close()

    def add(self, ids: Array, marks: Marks) -> None:
        """Take the tokens of one document."""
        self._seen += np.bincount(ids, minlength=len(self._seen))
        self._left[0].append(np.append(ids, self._sep).astype(self._type))
        self._left[1].append(np.append(marks, 1).astype(np.uint8))
        self._held += len(ids) + 1
        self.documents += 1
        if self._held >= 1 << 16:
            self._flush()

    def finish(self) -> None:
        """Write what is left as a last row, unless it is next to nothing."""
        self._flush()
        ids, marks = (np.concatenate(part) for part in self._left) if self._held else (None, None)
        if ids is not None and marks is not None and (len(ids) + 2 >= SHORTEST or not self.rows):
            self._write(ids[None], marks[None])
        for file in self._files.values():
            file.stream.flush()

    def _flush(self) -> None:
        """Write all rows that are full."""
        content = self._length - 2
        full = self._held // content
        if not full:
            return
        ids, marks = (np.concatenate(part) for part in self._left)
        self._write(
            ids[: full * content].reshape(full, content), marks[: full * content].reshape(full, content)
        )
        self._left = ([ids[full * content :]], [marks[full * content :]])
        self._held -= full * content

    def _write(self, ids: Array, marks: Array) -> None:
        """Write rows of content with [CLS] before and [SEP] behind."""
        ends = ((0, 0), (1, 1))
        rows = np.pad(ids, ends, constant_values=((0, 0), (self._cls, self._sep)))
        self._files[IDS].write(rows)
        self._files[WORDS].write(np.pad(marks, ends, constant_values=1))
        self.rows += len(rows)
        self.tokens += rows.size

    def figures(self, ordinary: NDArray[np.bool_]) -> dict[str, Any]:
        """Return what the manifest says of the split; ``ordinary``: ids that may be masked."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "documents": self.documents,
            "ordinary": int(self._seen[ordinary].sum()),
            "commonest": int(self._seen[ordinary].max(initial=0)),
            "unordinary": int(self._seen[~ordinary].sum()),
            "files": {
                kind: {"sha256": file.digest.hexdigest(), "bytes": file.size}
                for kind, file in self._files.items()
            },
        }

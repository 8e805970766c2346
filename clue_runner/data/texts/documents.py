"""Files of running text as documents, read as a stream: memory does not grow with the file.

In: paths of .txt, .jsonl or .json lines, plain or packed by gzip or xz. Out: documents, each a list of
paragraphs. Knows nothing about tokens, tasks or what is held out.

In a .txt file a line is a paragraph and an empty line ends a document; of JSON lines each is a document. What
is longer than ``LONGEST`` characters is cut into several documents.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from clue_runner.errors import DataError, UsageError
from clue_runner.files.names import open_regular

Document = Sequence[str]
LONGEST = 500_000  # characters of a document
PIECE = 1 << 20  # bytes that are read at once, of a line too
LINE = 64 << 20  # bytes of one JSON line at most
PACKED = (".gz", ".xz")
LINES = (".jsonl", ".json")
KINDS = (".txt", *LINES)
ALLOWED = ".txt, .jsonl or .json (one object per line), each as it is or packed as .gz or .xz"


class Texts(Protocol):
    """Running text from anywhere."""

    @property
    def label(self) -> str:
        """Return what messages and cards call it."""

    @property
    def sha256(self) -> str:
        """Return the hash of its content."""

    def documents(self) -> Iterator[Document]:
        """Yield the documents in their order."""


@dataclass(frozen=True)
class FileTexts:
    """The documents of one file.

    Args:
        path: as the user gave it.
        field: of a JSON line, which key holds the text.
    """

    path: Path
    field: str = "text"

    def __post_init__(self) -> None:
        """Refuse a name that does not say what the file is."""
        if self._kind not in KINDS:
            raise UsageError(
                "the file name is not that of running text",
                where=str(self.path),
                received=self.path.name,
                allowed=ALLOWED,
                next_step="rename it, or write its text into a .txt file: one paragraph per line",
            )

    @property
    def label(self) -> str:
        """Return the file's name without folders."""
        return self.path.name

    @property
    def _kind(self) -> str:
        name = Path(self.path.stem if self.path.suffix.lower() in PACKED else self.path.name)
        return name.suffix.lower()

    @cached_property
    def sha256(self) -> str:
        """Return the hash of the file's bytes.

        Raises:
            DataError: it is missing or no file.
            StorageError: it cannot be read now.
        """
        with open_regular(self.path) as stream, self._faults():
            digest = hashlib.sha256()
            while piece := stream.read(PIECE):
                digest.update(piece)
            return digest.hexdigest()

    def documents(self) -> Iterator[Document]:
        """Yield the documents.

        Raises:
            DataError: missing, damaged, not UTF-8, or a JSON line without the text; with the line.
        """
        lines = self._lines()
        yield from self._of_lines(lines) if self._kind in LINES else _of_paragraphs(lines)

    def _lines(self) -> Iterator[str]:
        """Yield the lines without their ends; of one longer than a piece, its pieces."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        with open_regular(self.path) as raw, self._faults():
            stream, number = _unpacked(raw, self.path.suffix.lower()), 1
            limit = LINE if self._kind in LINES else PIECE
            while piece := stream.readline(limit):
                ended = piece.endswith(b"\n")
                try:
                    text = decoder.decode(piece, final=ended)
                except UnicodeDecodeError as error:
                    raise self._not_utf8(number, error) from None
                if len(piece) == limit and not ended and self._kind in LINES:
                    raise self._bad(number, f"a line of more than {LINE >> 20} MiB")
                yield text.rstrip("\r\n").removeprefix("\ufeff" if number == 1 else "")
                number += ended
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise self._not_utf8(number, error) from None

    def _of_lines(self, lines: Iterable[str]) -> Iterator[Document]:
        """Yield the text of each JSON line."""
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                raise self._bad(number, "not a JSON object on one line", f"{line[:60]!r}") from None
            text = record.get(self.field) if isinstance(record, dict) else None
            if not isinstance(text, str):
                keys = ", ".join(map(str, record)) if isinstance(record, dict) else type(record).__name__
                raise DataError(
                    f"no text under {self.field!r}",
                    where=f"{self.path}:{number}",
                    received=keys[:200] or "no key",
                    next_step="name the key that holds the text: --field NAME",
                )
            yield from _of_paragraphs([*text.splitlines(), ""], several=False)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say of damaged packing that it is damage."""
        try:
            yield
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                "the packed file is damaged or cut off",
                where=str(self.path),
                received=str(error),
                next_step="get it again, or unpack it yourself",
            ) from None

    def _bad(self, number: int, what: str, received: str | None = None) -> DataError:
        return DataError(what, where=f"{self.path}:{number}", received=received, allowed=ALLOWED)

    def _not_utf8(self, number: int, error: UnicodeDecodeError) -> DataError:
        return DataError(
            "not UTF-8",
            where=f"{self.path}:{number}",
            received=f"byte 0x{error.object[error.start]:02x}" if error.object else "a character cut off",
            next_step="convert it: iconv -f GB18030 -t UTF-8 FILE > NEW.txt",
        )


@dataclass(frozen=True)
class ListedTexts:
    """Documents that are in memory: those of a task's records.

    Args:
        label: as in ``Texts``.
        held: the documents.
        source_sha256: hash of the file that they are from.
    """

    label: str
    held: Sequence[Document]
    source_sha256: str

    @cached_property
    def sha256(self) -> str:
        """Return a hash of the file and of how many of its records are taken."""
        return hashlib.sha256(f"{self.source_sha256} {len(self.held)}".encode()).hexdigest()

    def documents(self) -> Iterator[Document]:
        """Yield the documents."""
        yield from self.held


def _of_paragraphs(lines: Iterable[str], *, several: bool = True) -> Iterator[Document]:
    """Yield documents made of lines; ``several``: an empty line ends one."""
    paragraphs: list[str] = []
    size = 0
    for line in lines:
        for text in (line[start : start + LONGEST] for start in range(0, len(line), LONGEST)):
            if size + len(text) > LONGEST and paragraphs:
                yield paragraphs
                paragraphs, size = [], 0
            if text.strip():
                paragraphs.append(text)
                size += len(text)
        if several and not line.strip() and paragraphs:
            yield paragraphs
            paragraphs, size = [], 0
    if paragraphs:
        yield paragraphs


def _unpacked(raw: BinaryIO, suffix: str) -> BinaryIO:
    """Return the stream of a file's content."""
    if suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    return cast(BinaryIO, lzma.LZMAFile(raw)) if suffix == ".xz" else raw

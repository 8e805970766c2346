"""A vocabulary file: one piece per line, the line's number from 0 is the id.

In: a ``vocab.txt``, or the ``tokenizer.json`` in its place. Out: pieces and ids, checked, and notices about
anything unusual in the file. Knows nothing about texts.

Ids are line numbers, so no line is ever dropped. The last line of a repeated piece gives its id, as in BERT's
own reader (ERNIE 3.0 has ``$`` twice); the id of an earlier line or an empty one is never used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clue_runner.errors import CheckpointError, Problem
from clue_runner.files.reading import read_file
from clue_runner.tokens.tokenizer_json import read_tokenizer_json

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LARGEST = 64 * 2**20  # bytes; a million pieces take a fifth of this
BAD_SHARE = 0.01  # lines that may be empty or repeated before the file is refused as something else
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
FIX = "use the vocab.txt that belongs to the checkpoint"


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by id and ids by piece.

    Args:
        pieces: every line in order; "" where a line is empty.
        ids: piece -> id.
        notices: sentences about the file for the user.
    """

    pieces: tuple[str, ...]
    ids: dict[str, int]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of ids, which is the number of lines."""
        return len(self.pieces)


def read_vocabulary_file(path: Path) -> bytes:
    """Return the vocabulary's bytes, one piece per line; of a ``tokenizer.json`` those of its pieces.

    Raises:
        CheckpointError: it is missing, not a regular file, or far too large; a ``tokenizer.json`` of another
            tokenizer than BERT's.
        StorageError: it cannot be read at the moment.
    """
    if path.suffix == ".json":
        return read_tokenizer_json(path).lines
    try:
        return read_file(path, LARGEST)
    except FileNotFoundError:
        reason = "no such file"
    except ValueError as error:  # damage, or a path that cannot exist
        reason = str(error)
    raise CheckpointError(
        f"the vocabulary cannot be read: {reason}",
        where=str(path),
        next_step="name a vocab.txt with model.vocab, or put one into the checkpoint folder",
    )


def parse_vocabulary(raw: bytes, path: Path) -> Vocabulary:
    """Return the pieces of a file; lines end with LF or CRLF, the last one may lack it.

    Raises:
        CheckpointError: not UTF-8, empty, of another format, without a special token, or more than 1 % of
            its lines empty or repeated.
    """
    lines, notices = _lines(raw, path)
    if not lines:
        raise CheckpointError("the vocabulary is empty", where=str(path), next_step=FIX)
    _refuse_numbered(lines, path)
    ids = {piece: index for index, piece in enumerate(lines) if piece}
    missing = [Problem(f"no line with {name}", where=str(path)) for name in SPECIAL_TOKENS if name not in ids]
    if missing:
        raise CheckpointError(
            "the vocabulary cannot be used",
            where=str(path),
            received=_resembles(lines),
            problems=missing,
            next_step=FIX,
        )
    return Vocabulary(tuple(lines), ids, (*notices, *_odd_lines(lines, ids, path)))


def _lines(raw: bytes, path: Path) -> tuple[list[str], list[str]]:
    """Return the lines without their ends, and what was left out to get them."""
    notices = []
    if raw.startswith(UTF_16):
        raise CheckpointError(
            "the vocabulary is not UTF-8", where=str(path), received="UTF-16", next_step="save it as UTF-8"
        )
    if raw.startswith(BYTE_ORDER_MARK):
        notices.append(f"{path}: the byte order mark at its beginning was ignored")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CheckpointError("the vocabulary is not UTF-8", where=f"{path}:{line}", next_step=FIX) from error
    # Not splitlines(): published vocabularies hold U+2028 as a piece.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if any(line.endswith("\r") for line in lines):
        lines = [line.removesuffix("\r") for line in lines]
        notices.append(f"{path}: its lines end with CRLF; the CR was ignored")
    blank = 0
    # Only what is blank in ASCII: U+3000 and its like may be pieces.
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
        blank += 1
    if blank and lines:
        notices.append(f"{path}: {_count(blank, 'blank line')} at its end ignored")
    return lines, notices


def _refuse_numbered(lines: list[str], path: Path) -> None:
    """Refuse lines of ``piece<TAB>id``, the form that PaddlePaddle's ERNIE writes."""
    columns = [line.split("\t") for line in lines]
    if 2 * sum(len(parts) == 2 and parts[1].isdecimal() for parts in columns) <= len(lines):
        return
    wrong = next((index for index, parts in enumerate(columns) if parts[1:] != [str(index)]), None)
    if wrong is None:
        fix = f"write the first column alone into a new file: cut -f1 {path.name} > vocab.txt"
    else:
        fix = f"sort the lines by id, with a line for every id; line {wrong + 1} is the first out of order"
    raise CheckpointError(
        "the lines of the vocabulary consist of a piece, a tab and an id",
        where=str(path),
        received=repr(lines[0][:40]),
        allowed="one piece per line, the line's number from 0 being its id",
        next_step=fix,
    )


def _odd_lines(lines: list[str], ids: dict[str, int], path: Path) -> list[str]:
    """Return notices about repeated and empty lines.

    Raises:
        CheckpointError: there are too many of them.
    """
    repeated = [index for index, piece in enumerate(lines) if piece and ids[piece] != index]
    empty = [index for index, piece in enumerate(lines) if not piece]
    bad = len(repeated) + len(empty)
    if bad > max(1, BAD_SHARE * len(lines)):
        problems = [Problem("empty line", where=f"{path}:{index + 1}") for index in empty]
        problems += [
            Problem(
                f"piece {lines[index]!r} is repeated on line {ids[lines[index]] + 1}",
                where=f"{path}:{index + 1}",
            )
            for index in repeated
        ]
        raise CheckpointError(
            f"the vocabulary cannot be used: {bad:,} of {len(lines):,} lines are empty or repeated",
            where=str(path),
            problems=problems,
            next_step=FIX,
        )
    notices = []
    if repeated:
        first, last = repeated[0] + 1, ids[lines[repeated[0]]] + 1
        more = f" (likewise for {_count(len(repeated) - 1, 'more line')})" if len(repeated) > 1 else ""
        notices.append(
            f"{path}:{first}: {lines[first - 1]!r} is repeated on line {last}; the last wins{more}"
        )
    if empty:
        notices.append(f"{path}:{empty[0] + 1}: {_count(len(empty), 'empty line')}; its id is never used")
    return notices


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _resembles(lines: list[str]) -> str | None:
    """Return what a file without BERT's special tokens appears to be; None if unknown."""
    first = lines[0].lstrip().lower()
    if first.startswith("version https://git-lfs"):
        return "a Git LFS pointer: the file itself was not downloaded (git lfs pull)"
    if first.startswith(("<!doctype", "<html")):
        return "a web page"
    if first.startswith(("{", "[\n", '["')):
        return "JSON"
    if {"<s>", "</s>"} & set(lines):
        return "a vocabulary with <s> and </s>, of another tokenizer than WordPiece"
    return None

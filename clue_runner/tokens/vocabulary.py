"""A vocabulary file: one piece a line, the line's number from 0 is the id.

In: a ``vocab.txt``. Out: piece -> id, checked. Knows nothing about texts.
"""

from __future__ import annotations

from pathlib import Path

from clue_runner.errors import CheckpointError, Problem

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_vocabulary_file(path: Path) -> bytes:
    """Return the vocabulary's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"vocabulary cannot be read: {error.strerror}",
            where=str(path),
            next_step="name a vocab.txt with model.vocab, or put one into the checkpoint folder",
        ) from error


def parse_vocabulary(raw: bytes, path: Path) -> dict[str, int]:
    """Return piece -> id; lines end with LF or CRLF, the last one may lack it."""
    fix = "use the vocab.txt that belongs to the checkpoint"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CheckpointError("vocabulary is not UTF-8", where=f"{path}:{line}", next_step=fix) from error
    # Not splitlines(): published vocabularies hold U+2028 as a piece.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise CheckpointError("vocabulary is empty", where=str(path), next_step=fix)
    ids: dict[str, int] = {}
    problems: list[Problem] = []
    for index, piece in enumerate(lines):
        if piece == "":
            problems.append(Problem("empty line", where=f"{path}:{index + 1}"))
        elif piece in ids:
            what = f"piece {piece!r} repeats line {ids[piece] + 1}"
            problems.append(Problem(what, where=f"{path}:{index + 1}"))
        else:
            ids[piece] = index
    missing = [name for name in SPECIAL_TOKENS if name not in ids]
    problems += [Problem(f"no line {name}", where=str(path)) for name in missing]
    if problems:
        raise CheckpointError("vocabulary cannot be used", where=str(path), problems=problems, next_step=fix)
    return ids

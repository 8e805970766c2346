"""``python -m clue_runner.tokens.corpus.worker``: cuts documents into tokens until its input ends.

In: frames on stdin: a vocabulary, then groups of documents. Out: one frame on stdout for each group. A frame
is its length in eight bytes, then that many bytes. Knows nothing about files, splits, or other processes.

Ctrl-C is for the process that feeds this one, whose end is the end of the input: nobody has to stop it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from clue_runner.data.texts.documents import Document
from clue_runner.tokens.corpus.words import Marks, WordMarker
from clue_runner.tokens.rows import Array
from clue_runner.tokens.tokenizer import Tokenizer

LENGTH: Final = 8  # bytes


def write_frame(stream: BinaryIO, content: bytes) -> None:
    """Write one frame."""
    stream.write(len(content).to_bytes(LENGTH, "little"))
    stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the content of the next frame; None where the stream ends before it does."""
    length = int.from_bytes(head, "little") if len(head := stream.read(LENGTH)) == LENGTH else 0
    content = stream.read(length)
    return content if len(head) == LENGTH and len(content) == length else None


def pack_vocabulary(tokenizer: Tokenizer) -> bytes:
    """Return what another process needs to cut texts as ``tokenizer`` does."""
    head = {"path": str(tokenizer.vocab_path), "lowercase": tokenizer.lowercase}
    return json.dumps(head).encode("ascii") + b"\n" + tokenizer.vocab_bytes


def unpack_vocabulary(content: bytes) -> Tokenizer:
    """Return the tokenizer in a frame."""
    head, _, vocabulary = content.partition(b"\n")
    found = json.loads(head)
    return Tokenizer(Path(found["path"]), found["lowercase"], vocabulary)


def pack_tokens(encoded: Sequence[tuple[Array, Marks]]) -> bytes:
    """Return the tokens of documents as bytes: how many each has, then all ids, then all marks."""
    ids, marks = (np.concatenate(part) for part in zip(*encoded, strict=True))
    counts = np.array([len(one) for one, _ in encoded], "<i8")
    return counts.tobytes() + ids.astype("<i4").tobytes() + marks.astype(np.uint8).tobytes()


def unpack_tokens(content: bytes, documents: int) -> list[tuple[Array, Marks]]:
    """Return (ids, marks) of each document."""
    counts = np.frombuffer(content, "<i8", documents)
    total, ends = int(counts.sum()), np.cumsum(counts)[:-1]
    ids = np.frombuffer(content, "<i4", total, offset=counts.nbytes)
    marks = np.frombuffer(content, np.uint8, total, offset=counts.nbytes + ids.nbytes)
    return list(zip(np.split(ids, ends), np.split(marks, ends), strict=True))


def pack_documents(documents: Sequence[Document]) -> bytes:
    """Return documents as bytes; halves of surrogate pairs survive, since JSON escapes them."""
    return json.dumps([list(document) for document in documents]).encode("ascii")


def main() -> int:
    """Answer groups until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    vocabulary = read_frame(sys.stdin.buffer)
    if vocabulary is None:
        return 0
    marker = WordMarker(unpack_vocabulary(vocabulary))
    with suppress(BrokenPipeError):  # nobody waits for the rest
        while (group := read_frame(sys.stdin.buffer)) is not None:
            write_frame(answers, pack_tokens(marker.encode_documents(json.loads(group))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

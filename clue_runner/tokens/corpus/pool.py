"""Documents cut into tokens by several processes, in order: what is yielded depends on no number of them.

In: groups of documents, a tokenizer, how many processes. Out: each group with its tokens. A few groups are on
their way at a time, so memory does not grow with the text. Knows nothing about files or splits.

Workers are programs of their own, fed through pipes: a forked process would share this one's threads, and
``multiprocessing`` imports the caller's script again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from queue import SimpleQueue
from typing import BinaryIO, Final, Protocol, TypeVar, cast

from clue_runner.config.shipped import PACKAGE
from clue_runner.data.texts.documents import Document
from clue_runner.errors import OutOfMemoryError
from clue_runner.tokens.corpus.words import Marks, WordMarker
from clue_runner.tokens.corpus.worker import (
    pack_documents,
    pack_vocabulary,
    read_frame,
    unpack_tokens,
    write_frame,
)
from clue_runner.tokens.rows import Array
from clue_runner.tokens.tokenizer import Tokenizer

FEW: Final = 5  # groups that are done before other processes have started
AHEAD: Final = 2  # groups on their way for each process: one being cut, one ready for when it is
Tokens = list[tuple[Array, Marks]]


class Group(Protocol):
    """Documents that are cut together: at least one."""

    documents: list[Document]


Grouped = TypeVar("Grouped", bound=Group)


def encode_groups(
    groups: Iterable[Grouped], tokenizer: Tokenizer, processes: int
) -> Generator[tuple[Grouped, Tokens], None, None]:
    """Yield each group with (ids, marks) of each of its documents, in their order.

    Args:
        groups: at least one document in each.
        tokenizer: the vocabulary at work.
        processes: that cut; 1, or few groups: this one alone.

    Raises:
        OutOfMemoryError: the system ended a process.
    """
    rest = iter(groups)
    first = list(islice(rest, FEW if processes > 1 else 0))
    if processes > 1 and len(first) == FEW:
        yield from _shared(chain(first, rest), tokenizer, processes)
        return
    marker = WordMarker(tokenizer)
    for group in chain(first, rest):
        yield group, marker.encode_documents(group.documents)


def _shared(
    groups: Iterable[Grouped], tokenizer: Tokenizer, processes: int
) -> Iterator[tuple[Grouped, Tokens]]:
    """Yield the tokens of groups that other processes cut."""
    vocabulary, idle = pack_vocabulary(tokenizer), SimpleQueue[_Worker]()
    workers: list[_Worker] = []

    def encode(group: Group) -> Tokens:
        worker = idle.get()
        try:
            return worker.encode(group.documents)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(processes)  # each waits for one worker
    waiting: deque[tuple[Grouped, Future[Tokens]]] = deque()
    try:
        for _ in range(processes):
            workers.append(_Worker(vocabulary))
            idle.put(workers[-1])
        for group in groups:
            waiting.append((group, threads.submit(encode, group)))
            if len(waiting) > AHEAD * processes:
                done, tokens = waiting.popleft()
                yield done, tokens.result()
        for done, tokens in waiting:
            yield done, tokens.result()
    finally:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """One process that cuts; ``vocabulary``: as ``pack_vocabulary`` gives it."""

    def __init__(self, vocabulary: bytes) -> None:
        path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
        # one thread each: the processes are as many as the cores
        own = {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "clue_runner.tokens.corpus.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **own},
        )
        self._vocabulary: bytes | None = vocabulary

    def encode(self, documents: Sequence[Document]) -> Tokens:
        """Return (ids, marks) of each document.

        Raises:
            OutOfMemoryError: the system ended the process.
        """
        words, answers = self._process.stdin, self._process.stdout
        with suppress(BrokenPipeError):
            if self._vocabulary is not None:
                write_frame(cast(BinaryIO, words), self._vocabulary)
                self._vocabulary = None
            write_frame(cast(BinaryIO, words), pack_documents(documents))
        content = read_frame(cast(BinaryIO, answers))
        if content is None:
            raise self._lost()
        return unpack_tokens(content, len(documents))

    def _lost(self) -> Exception:
        """Return the error of a process that ended before it had answered."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return OutOfMemoryError(
                "a process that tokenises was killed: the system's out-of-memory killer does that",
                where="--processes",
                next_step="tokenise with fewer processes: --processes 1",
            )
        return RuntimeError(f"a process that tokenises ended with {code}; what it printed is above")

    def kill(self) -> None:
        """End the process, whatever it does; a thread that waits for it waits no longer."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the pipes of a process that has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was buffered for it is lost
                cast(BinaryIO, pipe).close()

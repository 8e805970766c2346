"""Saves states while a run goes on: what the loop has copied, a thread writes, hashes and syncs.

In: a state, copied between two updates. Out: what ``snapshots`` writes, in this order: the folder, ``best``,
``last``, then the removal of older states; and word of it to the loop, which alone writes events.
At most one state is being written. What goes wrong in the thread is raised where the loop asks next.
When a write ends decides nothing: the memory for the copy is held from the first update to the last.
Knows nothing about engines, networks or settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from clue_runner.errors import InterruptedRunError
from clue_runner.files.tensors import State
from clue_runner.runs.snapshots import BEST, LAST, point, prune, write_snapshot
from clue_runner.runs.states import SavedState


@dataclass(frozen=True)
class Saved:
    """A state that is whole on the disk, its pointers included; ``seconds``: that the thread took."""

    folder: Path
    step: int
    best: bool
    seconds: float


class StateWriter(AbstractContextManager["StateWriter"]):
    """Writes the states of one run in a thread; its methods are called by the loop's own thread.

    Args:
        root: the run's ``checkpoints`` folder.
        keep: number of the newest states to keep, besides the best one.
        note: told of each state once it is whole, in the loop's thread.
    """

    def __init__(self, root: Path, keep: int, note: Callable[[Saved], None]) -> None:
        self._root, self._keep, self._note = root, keep, note
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saves")
        self._task: Future[Saved | None] | None = None
        self._room: State | None = None

    def prepare(self, room: State) -> None:
        """Take the memory for all copies: arrays as a state has them.

        A system provides memory at its first use, page by page, which takes several times as long as the copy
        itself: the thread uses it before the first save does.
        """
        self._room = room
        self._task = self._thread.submit(_use, room)

    def save(
        self,
        copy: Callable[[State | None], State],
        state: SavedState,
        *,
        best: bool,
        header: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> None:
        """Copy a state and begin to write it, once the one before, which is in the same memory, is whole.

        Args:
            copy: copies the present tensors into arrays of ``prepare``; None: into new ones.
            state: the content of ``state.json``.
            best: make ``best`` name it.
            header: the weight file's description of its network.
            files: other files to keep beside it.

        Raises:
            NotFiniteError, StorageError: the state before could not be saved; see ``settle``.
        """
        self.settle(wait=True)
        tensors = copy(self._room)

        def write() -> Saved:
            started, step = time.monotonic(), state.progress.step
            folder = write_snapshot(self._root, tensors, state, header=header, files=files)
            if best:
                point(self._root, BEST, folder)
            point(self._root, LAST, folder)
            prune(self._root, keep=self._keep, best_step=state.progress.best_step)
            return Saved(folder, step, best, time.monotonic() - started)

        self._task = self._thread.submit(write)

    def settle(self, *, wait: bool) -> None:
        """Take note of the state that was being written if it is whole by now; ``wait``: until it is.

        Raises:
            NotFiniteError: it holds NaN or infinity; nothing was written.
            StorageError: the disk refused; states saved before are untouched.
        """
        task = self._task
        if task is None or not (wait or task.done()):
            return
        self._task = None
        saved = task.result()
        if saved is not None:
            self._note(saved)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the state that is being written, and end the thread.

        A failure under way hides that of the write. An interruption does not: it has said that the state is
        saved.
        """
        try:
            self.settle(wait=True)
        except Exception:
            if error is None or isinstance(error, InterruptedRunError):
                raise
        finally:
            self._thread.shutdown()
            self._room = None


def _use(room: State) -> None:
    """Write to all memory of some arrays."""
    for values in room.values():
        values.fill(0)

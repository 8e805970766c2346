"""Out of memory, told apart from every other failure.

In: exceptions of any backend. Out: one error with advice. Knows nothing about the loop, or about how much
is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clue_runner.config.schema import Run
from clue_runner.errors import ClueError, OutOfMemoryError

# How XLA, TensorFlow and CUDA say it; matched as they write it, so that a text about memory is not enough.
_TEXTS = (
    "RESOURCE_EXHAUSTED",
    "Out of memory",
    "OOM when allocating",
    "failed to allocate memory",
    "std::bad_alloc",
)
_TYPES = ("ResourceExhaustedError",)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of a backend or of numpy means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ in _TYPES:
        return True
    return not isinstance(error, ClueError) and any(text in str(error) for text in _TEXTS)


@contextmanager
def memory_faults(run: Run) -> Iterator[None]:
    """Turn a backend's way of saying "no memory" into ``OutOfMemoryError``; let everything else pass."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        train = run.train
        raise OutOfMemoryError(
            "the device or this machine ran out of memory",
            received=str(error).partition("\n")[0][:200] or type(error).__name__,
            next_step=(
                f"halve the work at a time: --set train.accumulate={2 * train.accumulate} "
                f"--set train.evaluate_tokens={max(train.evaluate_tokens // 2, run.data.max_length)} --fresh "
                "(the update keeps its size; another setting is another run)"
            ),
        ) from error


def smallest_step_error(error: Exception, length: int) -> OutOfMemoryError:
    """Return the error for a step that does not fit with one example at a time."""
    return OutOfMemoryError(
        f"the device or this machine ran out of memory with one example of {length} tokens at a time",
        received=str(error).partition("\n")[0][:200] or type(error).__name__,
        next_step=(
            "keep less for the backward pass: --set model.recompute=block, or take a shorter "
            "--set data.max_length or a smaller --model; clue memory says what fits. Each needs --fresh: "
            "another setting is another run"
        ),
    )

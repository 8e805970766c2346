"""Recognises out-of-memory failures among all others.

In: exceptions of any backend. Out: one error with advice, or the mark of an update that can be split further.
Knows nothing about the loop, or about how much is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clue_runner.errors import ClueError, OutOfMemoryError

# The wording of XLA, TensorFlow, CUDA and its libraries, in any case; mentioning memory is not enough.
_TEXTS = (
    "resource_exhausted",
    "out of memory",
    "oom when allocating",
    "failed to allocate memory",
    "std::bad_alloc",
    "cuda_error_out_of_memory",
    "cudaerrormemoryallocation",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
    "status: 1, message: could not",  # oneDNN within TensorFlow; its status 1 is dnnl_out_of_memory
)
_TYPES = ("ResourceExhaustedError",)
_SAY = "the device or this machine ran out of memory"
_LESS = (
    "a shorter --set data.max_length or a smaller --model; clue memory shows what fits. Each needs --fresh: "
    "other settings make another run"
)


class UpdateTooLargeError(Exception):
    """Memory ran out in an update and nowhere else, so a finer split may fit; never shown to the user."""

    def __init__(self, error: Exception) -> None:
        """Keep the backend's message without its frames, which hold the arrays that did not fit."""
        super().__init__(str(error))
        self.error = error.with_traceback(None)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of a backend or of numpy means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ in _TYPES:
        return True
    said = str(error).casefold()
    return not isinstance(error, ClueError | OSError) and any(text in said for text in _TEXTS)


@contextmanager
def memory_faults() -> Iterator[None]:
    """Turn out-of-memory failures anywhere in a command into ``OutOfMemoryError``; pass everything else.

    Updates and evaluations were made smaller before it gets here, so the advice is about the rest.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            _SAY, received=_received(error), next_step=f"free memory and run it again, or use {_LESS}"
        ) from error


@contextmanager
def update_memory_faults() -> Iterator[None]:
    """Turn out-of-memory failures within an update into ``UpdateTooLargeError``; pass everything else."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UpdateTooLargeError(error) from None


def smallest_step_error(error: Exception, length: int, *, training: bool) -> OutOfMemoryError:
    """Return the error for one example at a time that does not fit.

    Args:
        error: the backend's error.
        length: the example's padded tokens.
        training: in an update, whose backward pass can keep less; False: in an evaluation.
    """
    less = "keep less for the backward pass: --set model.recompute=block, or use" if training else "use"
    return OutOfMemoryError(
        f"{_SAY} with one example of {length} tokens at a time",
        received=_received(error),
        next_step=f"{less} {_LESS}",
    )


def _received(error: Exception) -> str:
    """Return the first line of a backend's message."""
    return str(error).partition("\n")[0][:200] or type(error).__name__

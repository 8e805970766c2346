"""Out of memory, told apart from every other failure, and a rough forecast of the need.

In: exceptions of any backend; the shape of a network. Out: one error with advice; bytes.
Knows nothing about the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clue_runner.config.schema import ModelSettings, Run
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
_FLOAT_BYTES = 4


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


def count_weights(model: ModelSettings, vocab_size: int, labels: int) -> int:
    """Return the number of trainable numbers in a backbone with a classification head."""
    width, inner = model.hidden_dim, model.intermediate_dim
    embeddings = (vocab_size + model.max_positions + model.num_segments + 2) * width
    block = 4 * width * (width + 1) + 2 * width * inner + inner + width + 4 * width
    pooler = width * (width + 1) if model.pooling == "pooler" else 0
    return embeddings + model.num_layers * block + pooler + (width + 1) * labels


def estimate_bytes(run: Run, vocab_size: int, labels: int) -> int:
    """Return roughly the bytes that training needs: weights, gradient, two moments, activations.

    Activations of a block: tokens x width x (34 + 5 x heads x length / width) half-precision bytes
    (Korthikanti and others 2022, "Reducing Activation Recomputation"), doubled for float32.
    """
    model, train = run.model, run.train
    copies = 4 + (train.ema is not None)
    weights = count_weights(model, vocab_size, labels) * _FLOAT_BYTES * copies
    length = run.data.max_length
    tokens = min(train.token_budget, -(-train.batch_size // train.accumulate) * length)
    per_token = model.hidden_dim * (34 + 5 * model.num_heads * length / model.hidden_dim)
    share = 2 if run.train.precision == "float32" else 1
    return round(weights + model.num_layers * tokens * per_token * share)

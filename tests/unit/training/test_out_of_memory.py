"""Memory that ran out: every way of saying so, nothing else taken for it, advice that works."""

from __future__ import annotations

import pytest

from clue_runner.errors import DataError, OutOfMemoryError
from clue_runner.training.out_of_memory import (
    UpdateTooLargeError,
    is_out_of_memory,
    memory_faults,
    smallest_step_error,
    update_memory_faults,
)

ONEDNN = "Aborted: Operation received an exception:"


class ResourceExhaustedError(Exception):
    """TensorFlow's name for it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceExhaustedError("OOM"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes."),
        RuntimeError("OOM when allocating tensor with shape[8192,1248]"),
        RuntimeError("INTERNAL: Failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        RuntimeError("INTERNAL: cuGraphInstantiate: CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("INTERNAL: cudaErrorMemoryAllocation"),
        RuntimeError("INTERNAL: cuDNN: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("INTERNAL: cuBLAS: CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("UNKNOWN: failed to allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError(f"{ONEDNN}Status: 1, message: could not execute a primitive, in file mkl_matmul.cc:9"),
        RuntimeError(f"{ONEDNN}Status: 1, message: could not create a memory object, in file mkl_util.h:8"),
    ],
    ids=lambda error: str(error)[-40:] or "MemoryError",
)
def test_every_way_of_saying_it(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match=r"data.max_length .*--fresh") as caught, memory_faults():
        raise error
    assert caught.value.exit_code == 7
    assert "accumulate" not in str(caught.value)  # updates are cut as small as they can be before this
    with pytest.raises(UpdateTooLargeError) as marked, update_memory_faults():
        raise error
    assert marked.value.error is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shape"),
        RuntimeError("INVALID_ARGUMENT"),
        RuntimeError("INTERNAL: Failed to load in-memory CUBIN: CUDA_ERROR_NO_BINARY_FOR_GPU"),
        RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED"),
        RuntimeError(f"{ONEDNN}Status: 2, message: could not execute a primitive, in file mkl_matmul.cc:9"),
        RuntimeError(f"{ONEDNN}Status: 5, message: could not execute a primitive, in file mkl_matmul.cc:9"),
        FileNotFoundError(2, "No such file", "/home/out of memory/train.json"),
        DataError("text about: Out of memory"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)
    for faults in (memory_faults, update_memory_faults):
        with pytest.raises(type(error)), faults():
            raise error


@pytest.mark.parametrize("training", [True, False])
def test_the_last_error_says_what_else_can_be_done(training: bool) -> None:
    text = str(smallest_step_error(MemoryError("12 bytes"), 512, training=training))
    assert "one example of 512 tokens" in text
    assert "--set data.max_length or a smaller --model" in text
    assert ("--set model.recompute=block" in text) is training

from __future__ import annotations

from collections.abc import Callable

import pytest

from clue_runner.config.schema import Run
from clue_runner.errors import DataError, OutOfMemoryError
from clue_runner.training.memory import count_weights, estimate_bytes, is_out_of_memory, memory_faults


class ResourceExhaustedError(Exception):
    """TensorFlow's name for it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceExhaustedError("OOM"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes."),
        RuntimeError("OOM when allocating tensor with shape[8192,1248]"),
    ],
)
def test_every_backends_way_of_saying_it(error: Exception, make_run: Callable[..., Run]) -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"train.accumulate=2 .*--fresh") as caught,
        memory_faults(make_run()),
    ):
        raise error
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    "error", [ValueError("shape"), RuntimeError("INVALID_ARGUMENT"), DataError("text about: Out of memory")]
)
def test_other_errors_are_not_taken_for_it(error: Exception, make_run: Callable[..., Run]) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), memory_faults(make_run()):
        raise error


def test_weights_of_bert_base(make_run: Callable[..., Run]) -> None:
    """Hugging Face counts 102,267,648 in bert-base-chinese without heads."""
    model = make_run().model.model_copy(
        update={"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072}
    )
    assert count_weights(model, 21128, 2) == 102_267_648 + 2 * 769


def test_the_estimate_grows_with_what_it_should(make_run: Callable[..., Run]) -> None:
    small = estimate_bytes(make_run("train.precision=bfloat16"), 1000, 2)
    assert estimate_bytes(make_run("train.precision=float32"), 1000, 2) > small
    assert estimate_bytes(make_run("train.precision=bfloat16", "train.ema=0.9"), 1000, 2) > small
    assert estimate_bytes(make_run("train.precision=bfloat16", "train.accumulate=4"), 1000, 2) < small

"""Which form of attention a run takes, and that asking for the kernel in vain stops it."""

from __future__ import annotations

from typing import Any

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.engines.attention import choose_attention, require_attention
from clue_runner.errors import UsageError


def chosen(longest: int = 128, *, gpu: bool = False, backend: Any = "tensorflow", **changes: Any) -> Any:
    overrides = [f"model.{name}={value}" for name, value in changes.items() if name != "attention"]
    model = load_run(task="afqmc", card_settings={}, model="test", overrides=overrides).model
    model = model.model_copy(update={"attention": changes.get("attention", "auto")})
    return choose_attention(model, longest, backend, gpu=gpu, precision="bfloat16")


def test_auto_goes_by_length() -> None:
    assert chosen(1024).value == chosen(1024, backend="jax").value == "einsum"
    assert chosen(1025).value == "chunked"
    # JAX compiles each length apart: short batches stay whole
    assert chosen(1025, backend="jax").value == "auto"


def test_what_is_set_is_taken() -> None:
    for form in ("einsum", "chunked"):
        assert (chosen(4096, attention=form).value, chosen(8, attention=form).reason) == (form, "as set")


def test_auto_says_why_a_gpu_gets_no_fused_kernel() -> None:
    found = chosen(gpu=True, backend="jax", attention_dropout=0.1)
    assert found.value == "einsum" and "no reproducible dropout" in found.reason


@pytest.mark.parametrize(("gpu", "backend"), [(False, "jax"), (True, "tensorflow")])
def test_fused_where_it_cannot_run_is_an_error(gpu: bool, backend: str) -> None:
    with pytest.raises(UsageError, match="fused attention kernel cannot run here") as refused:
        chosen(gpu=gpu, backend=backend, attention="fused", attention_dropout=0.0)
    assert refused.value.exit_code == 2


def test_a_loaded_encoder_refuses_too() -> None:
    model = load_run(task="afqmc", card_settings={}, model="test").model
    require_attention(model, "tensorflow", "float32")
    with pytest.raises(UsageError, match="needs JAX"):
        require_attention(model.model_copy(update={"attention": "fused"}), "tensorflow", "bfloat16")

"""Forms of attention on a GPU, JAX: the fused kernel agrees with whole scores, and what each costs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

HEADS = {"base": 12, "large": 16}  # of 64 each
WIDTH = 64
TOKENS = 16384  # in a batch, whatever its rows' length
MIB = 2**20


def step_of(jax: Any, form: Any) -> Any:
    """A compiled function of (query, key, value, lengths, weight): the values, and the three gradients."""
    import jax.numpy as jnp

    from clue_runner.models.kernels import bias_of, padding_mask

    def total(query: Any, key: Any, value: Any, lengths: Any, weight: Any) -> Any:
        found = form(query, key, value, bias_of(padding_mask(lengths, query.shape[2]))).astype(jnp.float32)
        return jnp.sum(found * weight), found * (weight != 0)

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))


def inputs(heads: int, length: int) -> list[Any]:
    import jax.numpy as jnp

    rows = max(1, TOKENS // length)
    generator = np.random.default_rng(length)
    shape = (rows, heads, length, WIDTH)
    query, key, value = (generator.normal(size=shape).astype(np.float32) for _ in range(3))
    lengths = generator.integers(length // 2, length + 1, rows).astype(np.int32)
    lengths[0] = length
    weight = generator.normal(size=shape).astype(np.float32)
    weight *= (np.arange(length) < lengths[:, None])[:, None, :, None]
    tensors = [jnp.asarray(one, jnp.bfloat16) for one in (query / WIDTH**0.5, key, value)]
    return [*tensors, jnp.asarray(lengths), jnp.asarray(weight)]


@pytest.mark.parametrize("length", [128, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("size", list(HEADS))
def test_fused_and_chunked_agree_with_whole_scores(jax: Any, size: str, length: int, capsys: Any) -> None:
    """Values and gradients within 1e-2 of the largest; prints milliseconds and temporary memory."""
    from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole

    forms = {
        "einsum": lambda *given: attend_whole(*given, None),
        "chunked": lambda *given: attend_chunked(*given, None),
        "fused": attend_fused,
    }
    given = inputs(HEADS[size], length)
    found, shown = {}, []
    for name, form in forms.items():
        step = step_of(jax, form).lower(*given).compile()
        (_, value), slopes = step(*given)
        found[name] = [np.asarray(one, np.float32) for one in (value, *slopes)]
        started = time.perf_counter()
        for _ in range(10):
            result = step(*given)
        jax.block_until_ready(result)
        milliseconds = 100 * (time.perf_counter() - started)
        memory = step.memory_analysis().temp_size_in_bytes / MIB
        shown.append(f"{name} {milliseconds:.2f} ms, {memory:.0f} MiB")
    with capsys.disabled():
        print(f"\n{size}, {len(given[3])} x {length}, bfloat16: {'; '.join(shown)}")
    for name in ("chunked", "fused"):
        for one, expected in zip(found[name], found["einsum"], strict=True):
            assert np.abs(one - expected).max() <= 1e-2 * max(1.0, np.abs(expected).max()), name


def test_auto_takes_the_fused_kernel_where_it_runs(jax: Any) -> None:
    from clue_runner.adapters.sections import load_run
    from clue_runner.engines.attention import choose_attention

    overrides = ["model.num_heads=12", "model.hidden_dim=768", "model.attention_dropout=0"]
    model = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides).model
    assert choose_attention(model, 512, "jax", gpu=True, precision="bfloat16").value == "fused"
    assert choose_attention(model, 512, "jax", gpu=True, precision="float32").value == "einsum"

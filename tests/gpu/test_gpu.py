"""What only a GPU can show, on the JAX backend; skipped where JAX sees none.

Equality with the CPU is judged by tolerance: sums run in another order there.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

from clue_runner.config.loader import load_run
from clue_runner.engines import EngineSettings, create_engine
from clue_runner.engines.rules import make_rule

pytestmark = pytest.mark.gpu

Update = dict[str, np.ndarray[Any, Any]]
GIB = 2**30


def make_engine(precision: str, dropout: float, **changes: Any) -> Any:
    from clue_runner.models.build import build_backbone
    from clue_runner.models.heads import ClassificationHead

    overrides = [f"model.{name}={dropout}" for name in ("dropout", "attention_dropout", "head_dropout")]
    overrides += [f"model.{name}={value}" for name, value in changes.items()]
    model = load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides).model
    settings = EngineSettings(
        precision=precision,
        jit=True,
        rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0,
        ema=None,
        seed=42,
    )

    def build() -> Any:
        backbone = build_backbone(model, 21128, dtype_policy=precision, seed=1)
        return ClassificationHead(backbone, 3, dropout_rate=dropout, seed=1)

    engine = create_engine("jax")
    engine.init(build, settings)
    return engine


def update(rows: int, length: int, seed: int = 0, micro_batches: int = 1) -> Update:
    generator = np.random.default_rng(seed)
    shape = (micro_batches, rows)
    lengths = generator.integers(length // 2, length + 1, shape).astype(np.int32)
    inside = np.arange(length) < lengths[..., None]
    return {
        "token_ids": np.where(inside, generator.integers(1, 5000, (*shape, length)), 0).astype(np.int32),
        "segment_ids": np.zeros((*shape, length), np.int32),
        "lengths": lengths,
        "label": generator.integers(0, 3, shape).astype(np.int32),
        "weight": np.ones(shape, np.float32),
    }


def results(jax: Any, device: str, precision: str, micro_batches: int = 1) -> tuple[list[float], Update]:
    with jax.default_device(jax.devices(device)[0]), jax.default_matmul_precision("highest"):
        engine = make_engine(precision, dropout=0.1)
        batches = [update(32 // micro_batches, 64, seed, micro_batches) for seed in range(5)]
        losses = [
            engine.step(batch, update_index=index, learning_rate=1e-3)().loss
            for index, batch in enumerate(batches)
        ]
        return losses, engine.get_weights(averaged=False)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_float32_steps_with_dropout_equal_the_cpu(jax: Any, micro_batches: int) -> None:
    losses, weights = results(jax, "gpu", "float32", micro_batches)
    expected, others = results(jax, "cpu", "float32", micro_batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(value, others[name], atol=5e-4, err_msg=name)


def test_bfloat16_steps_run_and_stay_near_the_cpu(jax: Any) -> None:
    losses, weights = results(jax, "gpu", "bfloat16")
    expected, _ = results(jax, "cpu", "bfloat16")
    assert np.isfinite(losses).all()
    assert all(np.isfinite(value).all() for value in weights.values())
    np.testing.assert_allclose(losses, expected, atol=0.05)


def test_dropout_masks_are_the_same_bits(jax: Any) -> None:
    from clue_runner.models import dropout

    found = []
    for device in ("cpu", "gpu"):
        with jax.default_device(jax.devices(device)[0]):
            draw = jax.jit(lambda key: dropout.mask(key, 3, 1, (64, 12, 37), 0.1, "float32").keep)
            found.append(np.asarray(draw(np.array([7, -9], np.int32))))
    assert np.array_equal(found[0], found[1])


def test_a_saved_state_goes_on_alike(jax: Any) -> None:
    """Bit-equal where XLA's reductions are deterministic; within rounding elsewhere."""
    engine = make_engine("bfloat16", dropout=0.1)
    batches = [update(32, 64, seed) for seed in range(8)]
    for index, batch in enumerate(batches[:4]):
        engine.step(batch, update_index=index, learning_rate=1e-4)()
    state = engine.get_state()

    def go_on() -> list[float]:
        engine.set_state(state)
        reads = [
            engine.step(batch, update_index=4 + i, learning_rate=1e-4) for i, batch in enumerate(batches[4:])
        ]
        return [read().loss for read in reads]

    np.testing.assert_allclose(go_on(), go_on(), rtol=1e-3)


def test_tensorflow_is_not_needed(jax: Any) -> None:
    make_engine("bfloat16", dropout=0.1).step(update(8, 16), update_index=0, learning_rate=1e-4)()
    assert "tensorflow" not in sys.modules


BASE = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072}
LARGE = {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096}
SHAPES = [("base", BASE, 256, 128), ("base", BASE, 64, 512), ("large", LARGE, 128, 128)]


@pytest.mark.parametrize(("name", "shape", "rows", "length"), SHAPES, ids=lambda value: str(value)[:8])
def test_throughput(jax: Any, name: str, shape: dict[str, int], rows: int, length: int, capsys: Any) -> None:
    """Prints examples and real tokens a second in bfloat16; fails only where a step does not run."""
    engine = make_engine("bfloat16", dropout=0.1, **shape)
    batch = update(rows, length)
    started = time.perf_counter()
    engine.step(batch, update_index=0, learning_rate=1e-5)()
    compiling = time.perf_counter() - started
    reads, started = [], time.perf_counter()
    for index in range(1, 21):
        reads.append(engine.step(batch, update_index=index, learning_rate=1e-5))
    assert all(read().finite for read in reads)
    seconds = (time.perf_counter() - started) / 20
    layers, width, inner = shape["num_layers"], shape["hidden_dim"], shape["intermediate_dim"]
    products = 2 * layers * (4 * width * width + 2 * width * inner + 2 * length * width)  # a token, forward
    share = int(batch["lengths"].sum()) / (rows * length)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / GIB
    with capsys.disabled():
        print(
            f"\n{name} {rows}x{length} bfloat16: {rows / seconds:.0f} examples/s, "
            f"{rows * length * share / seconds:.0f} real tokens/s (padding {1 - share:.0%}), "
            f"{3 * products * rows * length / seconds / 1e12:.0f} TFLOP/s, "
            f"compiled in {compiling:.1f} s, peak {peak:.1f} GiB"
        )

"""Memory on a GPU: what recomputation saves, what the compiler forecasts, batches at 24 GB; on JAX.

Printed figures are the result; the assertions hold what must be true on any GPU with room for the shape.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.gpu
SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_memory.py"
GIB = 2**30
LENGTHS = (128, 512, 1024, 4096)
ROWS = {128: 64, 512: 16, 1024: 8, 4096: 2}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """``scripts/bench_memory.py`` as a module; every measurement is a process of its own."""
    if os.environ.get("KERAS_BACKEND") != "jax":
        pytest.skip("GPU tests run on the JAX backend: set KERAS_BACKEND=jax")
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no GPU")
    spec = importlib.util.spec_from_file_location("bench_memory", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_memory"] = module
    spec.loader.exec_module(module)
    return module


def measured(bench: ModuleType, shape: str, mode: str, length: int) -> dict[str, Any]:
    """Return growth, compiled bytes and seconds of one setting in bfloat16."""
    job = {
        "backend": "jax",
        "precision": "bfloat16",
        "xla": False,
        "scheduler": "default",
        "shape": shape,
        "mode": mode,
        "rows": ROWS[length],
        "length": length,
        "dropout": 0.1,
        "vocab": 21128,
        "device": "gpu",
        "count": 10,
    }
    found = {**job, **bench.measure(job)}
    assert "error" not in found, found["error"]
    return found


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("shape", ["base", "large"])
def test_blocks_recomputed_need_less_and_the_forecast_holds(
    bench: ModuleType, shape: str, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {mode: measured(bench, shape, mode, length) for mode in ("none", "sublayer", "block")}
    plain = found["none"]
    with capsys.disabled():
        for mode, one in found.items():
            forecast = bench.forecast(one, one)
            print(
                f"\n{shape} {ROWS[length]} x {length} {mode}: {one['growth'] / GIB:.2f} GiB "
                f"({plain['growth'] / one['growth']:.2f}x less), forecast {forecast / GIB:.2f} GiB "
                f"({100 * (forecast / one['growth'] - 1):+.0f} %), {1000 * one['seconds']:.0f} ms "
                f"({one['seconds'] / plain['seconds']:.2f}x the time)",
                end="",
            )
    assert found["block"]["growth"] < plain["growth"] / 2
    for one in found.values():
        assert bench.forecast(one, one) == pytest.approx(one["growth"], rel=0.15)


@pytest.mark.parametrize(("model", "goal"), [("bert-base", 3.0), ("roberta-wwm-ext-large", 4.0)])
def test_largest_batch_at_24_gb(
    bench: ModuleType, model: str, goal: float, clue: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The compiler's forecast for this GPU: 512 tokens, blocks recomputed against nothing."""
    outcome = clue(
        *("memory", "--task", "afqmc", "--model", model, "--backend", "jax", "--device", "gpu"),
        *("--set", "data.max_length=512", "--budget", "24GB", "--json"),
    )
    found = json.loads(outcome.stdout.splitlines()[-1])
    rows = {one["recompute"]: one["rows"] for one in found["largest"] if one["length"] == 512}
    with capsys.disabled():
        print(f"\n{model}, 24 GB, 512 tokens: {rows}", end="")
    assert rows["block"] >= goal * rows["none"]

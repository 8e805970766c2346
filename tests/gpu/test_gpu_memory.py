"""Memory on a GPU: what recomputation saves, what the compiler forecasts, batches at 24 GB; on JAX.

Printed figures are the result; the assertions hold what must be true on any GPU with room for the shape.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.gpu
SCRIPTS = Path(__file__).parents[2] / "scripts"
GIB = 2**30
LENGTHS = (128, 512, 1024, 4096)
ROWS = {128: 64, 512: 16, 1024: 8, 4096: 2}


@pytest.fixture(scope="module")
def bench(jax: Any) -> ModuleType:
    """``scripts/bench_memory.py`` as a module; every measurement is a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)  # the scripts import one another
        return importlib.import_module("bench_memory")


def kind(shape: str, length: int) -> dict[str, Any]:
    """Return what all modes of one measurement share: bfloat16, dropout 0.1."""
    return {
        "backend": "jax",
        "precision": "bfloat16",
        "xla": False,
        "scheduler": "default",
        "device": "gpu",
        "shape": shape,
        "rows": ROWS[length],
        "length": length,
    }


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("shape", ["base", "large"])
def test_blocks_recomputed_need_less_and_the_forecast_holds(
    bench: ModuleType, shape: str, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, modes = bench.Measured(None), ["none", "sublayer", "block"]
    found = {mode: measured.of(kind(shape, length) | {"mode": mode}) for mode in modes}
    for one in found.values():
        assert "error" not in one, one["error"]
    timed = measured.of(kind(shape, length) | {"modes": modes, "count": 10})
    assert "error" not in timed, timed["error"]
    with capsys.disabled():
        for mode, one in found.items():
            forecast, times = bench.forecast(one, one), timed["times"][mode]
            print(
                f"\n{shape} {ROWS[length]} x {length} {mode}: {one['growth'] / GIB:.2f} GiB "
                f"({found['none']['growth'] / one['growth']:.2f}x less), forecast {forecast / GIB:.2f} GiB "
                f"({forecast / one['growth'] - 1:+.0%}), {1000 * times['clock']:.0f} ms "
                f"({times['clock_ratio']:.2f}x the time)",
                end="",
            )
    assert found["block"]["growth"] < found["none"]["growth"] / 2
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
    assert rows["block"] >= goal * rows["none"] > 0

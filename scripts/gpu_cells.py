"""The processes of ``gpu_check``: the device's name and peak, a network's steps, measured.

In: a job as ``cells.run_cell`` hands it over. Out: its figures as JSON on the last line.
Knows nothing about tables, time limits or what else is checked.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bench_steps import classifier_engine, make_update, measure, model_settings
from cells import resident

COUNT = 10  # measured calls


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process: look at the device, or measure a network's steps."""
    from clue_runner.engines.devices import choose_device, set_backend

    set_backend("jax")
    device = choose_device("jax", job["device"])
    if job["what"] == "device":
        return about_device(job, device)
    rate = 0.0 if job["form"] == "fused" else 0.1
    model = model_settings(job["network"], "jax", attention=job["form"], attention_dropout=rate)
    engine = classifier_engine(model, backend="jax", precision="bfloat16", jit=True)
    update = make_update(job["rows"], job["length"])
    batch = {name: values[0] for name, values in update.items()}
    runs = {
        "evaluate": lambda: engine.evaluate(batch, averaged=False),
        "train": lambda: engine.step(update, update_index=0, learning_rate=1e-5)(),
    }
    found: dict[str, Any] = {}
    for what, run in runs.items():  # in this order: the peak of training is above that of evaluation
        first, clock, _ = measure(run, COUNT)
        found[what] = {"seconds": clock, "first": first, "peak": peak_bytes(device.kind)}
    if not runs["train"]().finite:
        raise RuntimeError("the loss is not finite")
    return found


def about_device(job: dict[str, Any], device: Any) -> dict[str, Any]:
    """Return the device's name, the versions, and the FLOP/s of one large bfloat16 product."""
    import jax
    import jax.numpy as jnp
    import keras

    width, count = job["product"], 20
    left = jax.random.normal(jax.random.key(0), (width, width), jnp.bfloat16) / width**0.5
    turns = jax.jit(lambda left: jax.lax.fori_loop(0, count, lambda _, right: left @ right, left))
    _, clock, _ = measure(lambda: turns(left).block_until_ready(), COUNT)
    return {
        "text": device.text,
        "versions": f"jax {jax.__version__}, keras {keras.__version__}",
        "flops": count * 2 * width**3 / clock,
    }


def peak_bytes(kind: str) -> int:
    """Return the most memory in use so far: the device's, or on a processor this process's."""
    import jax

    return int(jax.devices()[0].memory_stats()["peak_bytes_in_use"]) if kind == "gpu" else resident("VmHWM")


if __name__ == "__main__":
    print(json.dumps(work(json.loads(sys.argv[2]))))

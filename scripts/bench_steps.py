"""Rate of single training steps and evaluation batches, compilation apart, on either backend and device.

    python scripts/bench_steps.py --backend jax --device gpu [--shape tiny base large] [--precision bfloat16]

Real tokens, padding left out, are reported beside examples: padded rates flatter. Processor time is
reported too, because on a shared machine it moves less than the clock does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

SHAPES: dict[str, dict[str, int]] = {
    "small": {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64},
    "tiny": {"num_layers": 4, "hidden_dim": 312, "num_heads": 12, "intermediate_dim": 1248},
    "deep": {"num_layers": 12, "hidden_dim": 256, "num_heads": 4, "intermediate_dim": 1024},
    "wide": {"num_layers": 6, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048},
    "thin": {"num_layers": 48, "hidden_dim": 128, "num_heads": 1, "intermediate_dim": 128},
    "base": {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072},
    "large": {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
}
# (rows, length) of one step
WORK = {
    "cpu": {"tiny": [(32, 48), (32, 128)], "base": [(8, 128)], "large": [(2, 128)]},
    "gpu": {
        "tiny": [(256, 128), (1024, 64)],
        "base": [(256, 128), (64, 512)],
        "large": [(128, 128), (32, 512)],
    },
}


def make_update(
    rows: int,
    length: int,
    *,
    shortest: int | None = None,
    micro_batches: int = 1,
    vocab_size: int = 3000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return random rows of at least ``shortest`` tokens (default: seven eighths of the length)."""
    generator = np.random.default_rng(seed)
    shape = (micro_batches, rows, length)
    least = length - length // 8 if shortest is None else shortest
    lengths = generator.integers(least, length + 1, shape[:2]).astype(np.int32)
    inside = np.arange(length) < lengths[..., None]
    return {
        "token_ids": np.where(inside, generator.integers(1, vocab_size, shape), 0).astype(np.int32),
        "segment_ids": np.where(inside, generator.integers(0, 2, shape), 0).astype(np.int32),
        "lengths": lengths,
        "label": generator.integers(0, 3, shape[:2]).astype(np.int32),
        "weight": np.ones(shape[:2], np.float32),
    }


def classifier_engine(
    model: Any,
    *,
    backend: str,
    precision: str,
    jit: bool,
    vocab_size: int = 21128,
    drop_share: float = 0.0,
    train: Mapping[str, Any] | None = None,
) -> Any:
    """Return the real engine with a classifier of three labels on a backbone of these settings.

    ``train``: settings by name, for the techniques that are on; None: none are.
    """
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.engines import EngineSettings, create_engine
    from clue_runner.engines.rules import make_rule
    from clue_runner.engines.techniques import make_techniques
    from clue_runner.models.heads.labels import ClassificationHead

    settings = EngineSettings(
        precision=precision,
        jit=jit,
        rule=make_rule("adamw", {}, weight_decay=0.01),
        clip_norm=1.0,
        ema=None,
        seed=1,
        techniques=make_techniques(train or {}),
    )
    engine = create_engine(backend)
    engine.init(
        lambda: ClassificationHead(
            build_backbone(model, vocab_size, precision=precision, seed=1), 3, drop_share=drop_share
        ),
        settings,
    )
    return engine


def model_settings(shape: str, backend: str, **changes: Any) -> Any:
    """Return the ``model`` settings of a shape, with changes."""
    from clue_runner.adapters.sections import load_run

    overrides = [f"model.{key}={value}" for key, value in (SHAPES[shape] | changes).items()]
    overrides.append(f"backend={backend}")
    return load_run(task="afqmc", card_settings={}, model="tiny", overrides=overrides).model


def family_settings(family: str, shape: str, **changes: Any) -> Any:
    """Return the ``model`` settings of a shape in another family, whose own settings have their defaults."""
    from clue_runner.architectures.base import load_architecture
    from clue_runner.config.defaults import default_layer
    from clue_runner.config.schema import ModelSettings, Section
    from clue_runner.config.sections import schema_of

    kind = schema_of(Section, load_architecture(family).shape).groups["model"]
    given = {name: default_layer().values[f"model.{name}"] for name in ModelSettings.model_fields}
    given |= {"family": family, "name": shape, "init": "random"}
    return kind.model_validate({**given, **SHAPES[shape], **changes})


def measure(run: Any, count: int) -> tuple[float, float, float]:
    """Return seconds of the first call, median seconds and median processor seconds of the others."""
    started = time.perf_counter()
    run()
    first = time.perf_counter() - started
    run()
    clock, used = [], []
    for _ in range(count):
        started, before = time.perf_counter(), time.process_time()
        run()
        clock.append(time.perf_counter() - started)
        used.append(time.process_time() - before)
    return first, statistics.median(clock), statistics.median(used)


def product_flops(shape: Mapping[str, int], rows: int, length: int) -> int:
    """Return the FLOPs of the products in a forward pass of the classifier's backbone, padding included.

    The last block computes its first token alone, and keys and values of all. A training step takes three
    times as many: each product has two in its gradient.
    """
    width, inner, layers = shape["hidden_dim"], shape["intermediate_dim"], shape["num_layers"]
    scores = 4 * length * width  # of one query: with all keys, and their values
    block = 8 * width**2 + 4 * width * inner + scores
    last = length * 4 * width**2 + 4 * width**2 + 4 * width * inner + scores
    return rows * (length * (layers - 1) * block + last + 2 * width**2)


def main() -> None:
    """Measure every shape and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--jit", choices=["auto", "on", "off"], default="auto")
    parser.add_argument(
        "--shape", nargs="*", choices=list(WORK["gpu"]), help="default: tiny; all three on a GPU"
    )
    parser.add_argument("--count", type=int, default=20, help="measured calls")
    options = parser.parse_args()

    from clue_runner.engines.devices import choose_device, choose_jit, set_backend

    set_backend(options.backend)
    device = choose_device(options.backend, options.device)
    jit = choose_jit(options.jit, options.backend, device).value == "on"
    print(f"{device.text}, {options.precision}, XLA {'on' if jit else 'off'}\n")
    print("| shape | rows x length | what | examples/s | real tokens/s | processor ms | first call s |")
    print("|---|---|---|---|---|---|---|")
    for shape in options.shape or (["tiny"] if device.kind == "cpu" else list(WORK["gpu"])):
        model = model_settings(shape, options.backend)
        engine = classifier_engine(model, backend=options.backend, precision=options.precision, jit=jit)
        for rows, length in WORK[device.kind][shape]:
            update = make_update(rows, length)
            batch = {name: values[0] for name, values in update.items()}
            runs = {
                "train": lambda engine=engine, update=update: engine.step(
                    update, update_index=0, learning_rate=1e-5
                )(),
                "evaluate": lambda engine=engine, batch=batch: engine.evaluate(batch, averaged=False),
            }
            for what, run in runs.items():
                first, clock, used = measure(run, options.count)
                real = int(batch["lengths"].sum()) / clock
                print(
                    f"| {shape} | {rows} x {length} | {what} | {rows / clock:.0f} | {real:.0f} "
                    f"| {1000 * used:.0f} | {first:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Do all forms of attention agree, values and gradients, at all bucket lengths and any padding?

    python scripts/check_attention.py [--backend tensorflow jax] [--device cpu gpu] [--lengths 8 16 ...]

Whole scores (``einsum``) are what the others are compared with: within 1e-5 in float32, within 1e-2 of the
largest value in bfloat16. On a GPU with JAX the fused kernel is among them. Exit code 1 where one is off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Heads = tuple[Any, Any, Any]
LIMITS = {"float32": 1e-5, "bfloat16": 1e-2}
LENGTHS = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
ROWS, HEADS, WIDTH = 4, 2, 64


def graded(form: Callable[..., Any], dtype: str, backend: str) -> Callable[..., list[Any]]:
    """Return a function of (heads, lengths, weight) that gives the values and the three gradients."""
    from keras import ops

    from clue_runner.models.kernels import bias_of, padding_mask

    def total(query: Any, key: Any, value: Any, lengths: Any, weight: Any) -> Any:
        bias = bias_of(padding_mask(lengths, ops.shape(query)[2]))
        found = ops.cast(form(*[ops.cast(one, dtype) for one in (query, key, value)], bias), "float32")
        return ops.sum(found * weight), found * ops.cast(weight != 0, "float32")

    if backend == "jax":
        import jax

        run = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))

        def compiled(*given: Any) -> list[Any]:
            (_, found), slopes = run(*given)
            return [found, *slopes]

        return compiled
    import tensorflow as tf

    shapes = [tf.TensorSpec([ROWS, HEADS, None, WIDTH], tf.float32)] * 3
    shapes += [tf.TensorSpec([ROWS], tf.int32), tf.TensorSpec([ROWS, HEADS, None, WIDTH], tf.float32)]

    @tf.function(input_signature=shapes, autograph=False)
    def graph(query: Any, key: Any, value: Any, lengths: Any, weight: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            loss, found = total(query, key, value, lengths, weight)
        return [found, *tape.gradient(loss, [query, key, value])]

    return graph


def main() -> int:
    """Compare at every length; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["tensorflow", "jax"], default="tensorflow")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lengths", nargs="*", type=int, default=LENGTHS)
    options = parser.parse_args()

    from clue_runner.engines.devices import choose_device, set_backend

    set_backend(options.backend)
    device = choose_device(options.backend, options.device)
    from keras import ops

    from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole

    off = False
    for dtype, limit in LIMITS.items():
        forms: dict[str, Any] = {
            "einsum": lambda *given: attend_whole(*given, None),
            "chunked by 128": lambda *given: attend_chunked(*given, None),
            "chunked by 24": lambda *given: attend_chunked(*given, None, 24),
        }
        if device.kind == "gpu" and dtype == "bfloat16" and options.backend == "jax":
            forms["fused"] = attend_fused
        runs = {name: graded(form, dtype, options.backend) for name, form in forms.items()}
        worst = dict.fromkeys(runs, 0.0)
        for length in options.lengths:
            generator = np.random.default_rng(length)
            shape = (ROWS, HEADS, length, WIDTH)
            heads = [generator.normal(size=shape).astype(np.float32) for _ in range(3)]
            heads[0] /= WIDTH**0.5
            lengths = generator.integers(1, length + 1, ROWS).astype(np.int32)
            lengths[:2] = [length, 1]
            weight = generator.normal(size=shape).astype(np.float32)
            weight *= (np.arange(length) < lengths[:, None])[:, None, :, None]
            found = {
                name: [ops.convert_to_numpy(one) for one in run(*heads, lengths, weight)]
                for name, run in runs.items()
            }
            for name, parts in found.items():
                for part, expected in zip(parts, found["einsum"], strict=True):
                    scale = 1.0 if dtype == "float32" else max(1.0, float(np.abs(expected).max()))
                    worst[name] = max(worst[name], float(np.abs(part - expected).max()) / scale)
        for name, difference in worst.items():
            if name != "einsum":
                off |= difference > limit
                print(f"{device.text}, {dtype}, {name}: at most {difference:.1e} from einsum (limit {limit})")
    return int(off)


if __name__ == "__main__":
    sys.exit(main())

"""Are the JAX steps what a GPU should get? Lowered for CUDA from shapes alone: no GPU, no weights.

    python scripts/check_lowering.py [--shape base large] [--lengths 128 512 1024 4096] [--layers N]

Of each train and evaluation step, for each form of attention and recompute mode, the text must show:
products in bfloat16 but for those of the head, every array of the state donated, cuDNN's attention where it
is asked for and only there, no call to the host, one program for each shape. Ends with 1 where it does not.
What XLA makes of the text on a GPU (fusions, memory, speed) is not shown: that takes the device. FLOPs are
XLA's own count before compilation; it counts nothing for cuDNN's attention.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")

from bench_steps import make_update, model_settings

PRODUCT = re.compile(r"dot_general.*: \(tensor<(?:\d+x)*(\w+)>, tensor<(?:\d+x)*(\w+)>\)")
CALL = re.compile(r"custom_call @([\w$.]+)")
FUSED = "__cudnn$fmha"
HOST = ("callback", "infeed", "outfeed", "stablehlo.send", "stablehlo.recv")
FORMS = ("einsum", "chunked", "fused")
ROWS = 8
MOST_FLOAT32 = 5  # the classifier's product and its gradients, and those of the two segments' table


class Text(NamedTuple):
    """What a lowered step's text says."""

    bfloat16: int
    float32: int
    donated: int
    fused: int
    host: tuple[str, ...]


def read(text: str) -> Text:
    """Return the facts of a StableHLO text."""
    products = [set(found) for found in PRODUCT.findall(text)]
    return Text(
        sum(types == {"bf16"} for types in products),
        sum("f32" in types for types in products),
        text.count("tf.aliasing_output"),
        sum(name.startswith(FUSED) for name in CALL.findall(text)),
        tuple(word for word in HOST if word in text),
    )


def faults(found: Text, *, form: str, layers: int, donated: int) -> list[str]:
    """Return what a step's text should not say, or lacks."""
    wrong = []
    if found.bfloat16 < 6 * layers - 3 or found.float32 > MOST_FLOAT32:
        wrong.append(f"{found.bfloat16} products in bfloat16, {found.float32} in float32")
    if found.donated != donated:
        wrong.append(f"{found.donated} arrays donated, not {donated}")
    if (found.fused > 0) != (form == "fused"):
        wrong.append(f"{found.fused} calls of cuDNN's attention")
    return wrong + [f"the host is called: {word}" for word in found.host]


def pretend_cudnn() -> None:
    """Let JAX write calls of cuDNN's attention: it asks the device for versions while it traces."""
    from jax._src.cudnn import fused_attention_stablehlo as kernel

    kernel.check_cudnn_version = lambda: 91000
    kernel.check_compute_capability = lambda *versions, **named: True
    kernel.is_cuda_compute_capability_equal = lambda *versions, **named: False


def planned(model: Any) -> Any:
    """Return an engine of shapes alone: a classifier in bfloat16."""
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.engines import EngineSettings, create_engine
    from clue_runner.engines.rules import make_rule
    from clue_runner.models.heads.labels import ClassificationHead

    rule = make_rule("adamw", {}, weight_decay=0.01)
    settings = EngineSettings(precision="bfloat16", jit=True, rule=rule, clip_norm=1.0, ema=None, seed=1)
    engine: Any = create_engine("jax")

    def build() -> Any:
        return ClassificationHead(build_backbone(model, 21128, precision="bfloat16", seed=1), 3)

    engine.plan(build, settings)
    return engine


def lowered(engine: Any, what: str, update: Mapping[str, Any]) -> Any:
    """Return the engine's own step, train or evaluate, lowered for CUDA."""
    if what == "train":
        return engine.lowered(update, "cuda")
    return engine.lowered_evaluation({name: values[0] for name, values in update.items()}, "cuda")


def main() -> None:
    """Print a Markdown table of all steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="*", choices=["base", "large"], default=["base", "large"])
    parser.add_argument("--lengths", nargs="*", type=int, default=[128, 512, 1024, 4096])
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=FORMS, help="of attention")
    parser.add_argument("--layers", type=int, help="fewer than the shape has: a quick look")
    options = parser.parse_args()

    import jax

    from clue_runner.engines.devices import set_backend
    from clue_runner.memory.table import modes

    set_backend("jax")
    pretend_cudnn()
    depth = {} if options.layers is None else {"num_layers": options.layers}
    positions = {"max_positions": max(512, *options.lengths)}
    failed = 0
    print("| shape | form | recompute | what | length | bf16 | f32 | donated | cuDNN | GFLOP | verdict |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for shape in options.shape:
        full = model_settings(shape, "jax", **depth, **positions)
        for form, mode in [(form, mode) for form in options.forms for mode in modes(full.num_layers)]:
            changes = {"attention": form, "recompute": mode, "attention_dropout": 0.0, **depth, **positions}
            engine = planned(model_settings(shape, "jax", **changes))
            state = len(jax.tree.leaves(engine.state))
            for what, donated in [("train", state), *([("evaluate", 0)] if mode == "none" else [])]:
                for length in options.lengths:
                    before = engine.compilations
                    step = lowered(engine, what, make_update(ROWS, length))
                    found = read(step.as_text())
                    wrong = faults(found, form=form, layers=full.num_layers, donated=donated)
                    if engine.compilations != before + 1:
                        wrong.append(f"{engine.compilations - before} programs for one shape")
                    failed += bool(wrong)
                    cells = (shape, form, mode, what, length, *found[:4])
                    flops = step.cost_analysis()["flops"] / 1e9
                    cells = (*cells, f"{flops:,.0f}", "; ".join(wrong) or "ok")
                    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    sys.exit(f"{failed} steps are not as they should be" if failed else 0)


if __name__ == "__main__":
    main()

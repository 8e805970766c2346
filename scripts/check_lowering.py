"""Are the JAX steps what a GPU should get? Lowered for CUDA from shapes alone: no GPU, no weights.

    python scripts/check_lowering.py [--shape base large release] [--lengths 128 512 1024 4096] [--layers N]

Of each train and evaluation step, for each form of attention and recompute mode, and of each step of a
GPT2-ML that writes with a cache (``release``: 48 x 1,536, a decoder alone; its texts end at 1,024 tokens),
the text must show: products in bfloat16 but for those of the head, every array of the state or of the cache
donated, cuDNN's attention where it is asked for and only there, no call to the host, one program for each
shape and none for a shape seen before. Ends with 1 where it does not.

What XLA makes of the text on a GPU (fusions, memory, speed) is not shown: that takes the device. "held" is
the memory of a step's arguments. FLOPs are XLA's own count before compilation: nothing for cuDNN's attention,
and once for what a loop repeats (``chunked``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")

from bench_steps import SHAPES, make_update, model_settings
from cells import MIB
from lowering_steps import (
    CACHED_PRODUCTS,
    PRODUCTS,
    PlannedDecoder,
    Text,
    Wanted,
    faults,
    held_bytes,
    lowered,
    planned,
    pretend_cudnn,
    read,
)

FORMS = ("einsum", "chunked", "fused")
WHATS = ("train", "evaluate", "generate")
RELEASE = "release"
ROWS = 8
TEXTS = 4  # continuations side by side
PROMPT = 16
MOST_FLOAT32 = 5  # the classifier's product and its gradients, and those of the two segments' table


class Kind(NamedTuple):
    """Steps of one network: in words, what is wanted of each, how those of a length are lowered.

    ``programs`` returns how many there are so far.
    """

    shape: str
    form: str
    recompute: str
    what: str
    wanted: Wanted
    lower: Callable[[int], dict[str, Any]]
    programs: Callable[[], int]


def encoder_kinds(shape: str, options: argparse.Namespace) -> Iterator[Kind]:
    """Yield the train and evaluation steps of a classifier: forms of attention x recompute modes."""
    import jax

    from clue_runner.memory.table import modes

    changes: dict[str, Any] = {"max_positions": max(512, *options.lengths), "attention_dropout": 0.0}
    if options.layers is not None:
        changes["num_layers"] = options.layers
    layers = options.layers or SHAPES[shape]["num_layers"]
    for form, mode in [(form, mode) for form in options.forms for mode in modes(layers)]:
        engine = planned(model_settings(shape, "jax", **changes, attention=form, recompute=mode))
        fused, state = form == "fused", len(jax.tree.leaves(engine.state))
        # the last block computes its first token alone, whose product with all others is no kernel's
        wants = {
            "train": Wanted(PRODUCTS * layers - 3, MOST_FLOAT32, fused, state),
            "evaluate": Wanted(PRODUCTS * layers - 3, MOST_FLOAT32, fused, 0),
        }
        for what in wants if mode == "none" else ("train",):
            if what in options.what:
                lower = partial(_steps, engine, what)
                yield Kind(shape, form, mode, what, wants[what], lower, lambda one=engine: one.compilations)


def _steps(engine: Any, what: str, length: int) -> dict[str, Any]:
    return {f"{ROWS} x {length}": lowered(engine, what, make_update(ROWS, length))}


def decoder_kinds(shape: str, options: argparse.Namespace) -> Iterator[Kind]:
    """Yield the steps that write with a cache: the prompt's and those of one more token."""
    sizes = dict(SHAPES.get(shape, {}))
    if options.layers is not None:
        sizes["num_layers"] = options.layers
    for form in (form for form in options.forms if form != "fused"):  # cuDNN's kernel masks padding alone
        decoder = PlannedDecoder(**sizes, attention=form)
        layers = decoder.shape.num_layers
        wanted = Wanted(CACHED_PRODUCTS * layers + 1, 0, fused=False, donated=2 * layers)

        def lower(length: int, decoder: PlannedDecoder = decoder) -> dict[str, Any]:
            sizes = [(1, PROMPT), (TEXTS, 1)]
            return {f"{size[0]} x {size[1]} in {length}": decoder.lowered(*size, length) for size in sizes}

        yield Kind(shape, form, "none", "generate", wanted, lower, lambda one=decoder: one.programs)


def lengths_of(kind: Kind, lengths: list[int]) -> list[int]:
    """Return those that the network can take; a decoder's texts end with its positions."""
    return [length for length in lengths if kind.what != "generate" or length <= 1024]


def look(kind: Kind, lengths: list[int]) -> tuple[int, int]:
    """Print a line for each step of a kind; return how many there are, and how many are wrong."""
    count, failed, before = 0, 0, kind.programs()
    for length in lengths:
        for size, step in kind.lower(length).items():
            found = read(step.as_text())
            wrong = faults(found, kind.wanted)
            count, failed = count + 1, failed + bool(wrong)
            print(line(kind, size, found, step, "; ".join(wrong) or "ok"), flush=True)
    kind.lower(lengths[0])  # seen before
    made = kind.programs() - before
    if made != count:
        failed += 1
        print(f"{made} programs for {count} shapes: {', '.join(kind[:4])}", flush=True)
    return count, failed


def line(kind: Kind, size: str, found: Text, step: Any, verdict: str) -> str:
    """Return a row of the table."""
    flops = step.cost_analysis()["flops"] / 1e9
    cells = (*kind[:4], size, *found[:4], f"{held_bytes(step) / MIB:,.0f}", f"{flops:,.0f}", verdict)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print a Markdown table of all steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shapes = ["base", "large", RELEASE]
    parser.add_argument("--shape", nargs="*", choices=shapes, default=shapes)
    parser.add_argument("--what", nargs="*", choices=WHATS, default=WHATS)
    parser.add_argument("--lengths", nargs="*", type=int, default=[128, 512, 1024, 4096])
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=FORMS, help="of attention")
    parser.add_argument("--layers", type=int, help="fewer than the shape has: a quick look")
    options = parser.parse_args()

    from clue_runner.engines.devices import set_backend

    set_backend("jax")
    pretend_cudnn()
    started, failed, count = time.monotonic(), 0, 0
    columns = ("shape", "form", "recompute", "what", "rows x tokens")
    columns += ("bf16", "f32", "donated", "cuDNN", "held MiB", "GFLOP", "")
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for shape in options.shape:
        kinds = [] if shape == RELEASE else [encoder_kinds(shape, options)]
        kinds += [decoder_kinds(shape, options)] if "generate" in options.what else []
        for kind in (one for some in kinds for one in some):
            lengths = lengths_of(kind, options.lengths)
            if lengths:
                looked, wrong = look(kind, lengths)
                count, failed = count + looked, failed + wrong
    print(f"\n{count} steps in {time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit(f"{failed} steps are not as they should be" if failed else 0)


if __name__ == "__main__":
    main()

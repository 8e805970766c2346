"""Which form of attention can run: when score matrices are kept whole, and what cuDNN's kernel needs.

A request for the kernel that cannot be met is an error, never a slow path.

In: settings, resolved or not yet. Out: problems, each with what to set. Knows nothing about GPUs: whether one
is there, and whether the kernel compiles on it, is known only when the backend is loaded.

Source: the kernel's conditions as JAX's ``jax.nn.dot_product_attention`` checks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clue_runner.errors import Problem

FUSED = "fused"
ATTENTION = "model.attention"
WIDTH_STEP, WIDEST = 8, 128  # width of a head
# ``auto`` keeps whole score matrices for rows up to this length. Chunks compute their scores twice, which
# makes attention take half as long again; 1,024 squared is what usual micro-batches can hold.
LONGEST_WHOLE = 1024
CHUNK = 128  # queries that chunked attention computes at a time


def fused_problems(
    *,
    backend: str,
    device: str,
    precision: str,
    head_width: int,
    attention_dropout: float,
    adds_scores: bool = False,
) -> Iterator[Problem]:
    """Yield why the kernel cannot run; ``auto`` for device or precision is not known yet and passes."""
    if adds_scores:
        yield Problem(
            "the fused kernel cannot add the scores of this family's positions",
            ATTENTION,
            FUSED,
            "auto, einsum, chunked",
            f"--set {ATTENTION}=auto",
        )
    if backend != "jax":
        yield Problem("the fused kernel needs JAX", "backend", backend, "jax", "--backend jax")
    if device.startswith("cpu"):
        yield Problem("the fused kernel needs a GPU", "device", device, "gpu", f"--set {ATTENTION}=auto")
    if precision == "float32":
        yield Problem(
            "the fused kernel computes in bfloat16",
            "train.precision",
            precision,
            "bfloat16",
            "--set train.precision=bfloat16",
        )
    if head_width % WIDTH_STEP or head_width > WIDEST:
        yield Problem(
            "the fused kernel cannot take heads of this width (model.hidden_dim / model.num_heads)",
            "model.num_heads",
            str(head_width),
            f"a multiple of {WIDTH_STEP}, at most {WIDEST}",
        )
    if attention_dropout:
        yield Problem(
            "the fused kernel has no reproducible dropout",
            "model.attention_dropout",
            str(attention_dropout),
            "0",
            "--set model.attention_dropout=0",
        )


def attention_problems(values: Mapping[str, Any], *, adds_scores: bool = False) -> Iterator[Problem]:
    """Yield what contradicts ``model.attention`` in the settings themselves.

    Args:
        values: settings by dotted key.
        adds_scores: the family's positions add scores, or move values.
    """
    if values[ATTENTION] == FUSED:
        yield from fused_problems(
            backend=values["backend"],
            device=values["device"],
            precision=values["train.precision"],
            head_width=values["model.hidden_dim"] // values["model.num_heads"],
            attention_dropout=values["model.attention_dropout"],
            adds_scores=adds_scores,
        )

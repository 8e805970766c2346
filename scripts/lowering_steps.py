"""Steps for CUDA from shapes alone: no GPU, no weights. What ``check_lowering`` and its tests read.

In: shapes of networks and batches. Out: the program's own compiled functions as ``jax.stages.Lowered``, and
what their text says. Knows nothing about which steps are looked at, or what a GPU makes of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast
from unittest import mock

PRODUCT = re.compile(r"dot_general.*: \(tensor<(?:\d+x)*(\w+)>, tensor<(?:\d+x)*(\w+)>\)")
CALL = re.compile(r"custom_call @([\w$.]+)")
FUSED = "__cudnn$fmha"
HOST = ("callback", "infeed", "outfeed", "stablehlo.send", "stablehlo.recv")
DECODER = "gpt2_ml"
VOCABULARY, DECODER_VOCABULARY = 21128, 8021
# Products of a block's forward pass: joined kernels of query, key and value, two of attention, the output,
# two of the feed-forward layer. In a cached step the three kernels stay apart.
PRODUCTS, CACHED_PRODUCTS = 6, 8


class Text(NamedTuple):
    """What a lowered step's text says: products by type, arrays donated, calls of cuDNN and of the host."""

    bfloat16: int
    float32: int
    donated: int
    fused: int
    host: tuple[str, ...]


class Wanted(NamedTuple):
    """What it must say: at least so many products in bfloat16, at most in float32; cuDNN or not; donated."""

    bfloat16: int
    float32: int
    fused: bool
    donated: int


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


def faults(found: Text, wanted: Wanted) -> list[str]:
    """Return what a step's text should not say, or lacks."""
    wrong = []
    if found.bfloat16 < wanted.bfloat16 or found.float32 > wanted.float32:
        wrong.append(
            f"{found.bfloat16} products in bfloat16, not {wanted.bfloat16} or more, and {found.float32} "
            f"in float32, not {wanted.float32} or fewer"
        )
    if found.donated != wanted.donated:
        wrong.append(f"{found.donated} arrays donated, not {wanted.donated}")
    if (found.fused > 0) != wanted.fused:
        wrong.append(f"{found.fused} calls of cuDNN's attention")
    return wrong + [f"the host is called: {word}" for word in found.host]


def pretend_cudnn() -> None:
    """Let JAX write calls of cuDNN's attention: it asks the device for versions while it traces."""
    from jax._src.cudnn import fused_attention_stablehlo as kernel

    kernel.check_cudnn_version = lambda: 91000
    kernel.check_compute_capability = lambda *versions, **named: True
    kernel.is_cuda_compute_capability_equal = lambda *versions, **named: False


@contextmanager
def without_values() -> Iterator[None]:
    """Keep Keras from computing the first values of variables that are made inside; they have shapes alone.

    Keras does that when the outermost scope ends, and again for what is still listed then, hence the list.
    """
    import keras
    from keras.src.backend.common import global_state

    with keras.StatelessScope(initialize_variables=False):
        yield
        global_state.set_global_attribute("uninitialized_variables", [])


def planned(model: Any, *, precision: str = "bfloat16", labels: int = 3) -> Any:
    """Return an engine of shapes alone: a classifier on a backbone of these settings."""
    from clue_runner.architectures.settings import build_backbone
    from clue_runner.engines import EngineSettings, create_engine
    from clue_runner.engines.rules import make_rule
    from clue_runner.models.heads.labels import ClassificationHead

    rule = make_rule("adamw", {}, weight_decay=0.01)
    settings = EngineSettings(precision=precision, jit=True, rule=rule, clip_norm=1.0, ema=None, seed=1)
    engine: Any = create_engine("jax")

    def build() -> Any:
        return ClassificationHead(build_backbone(model, VOCABULARY, precision=precision, seed=1), labels)

    with without_values():
        engine.plan(build, settings)
    return engine


def lowered(engine: Any, what: str, update: Mapping[str, Any], platform: str = "cuda") -> Any:
    """Return the engine's own step, train or evaluate, lowered."""
    if what == "train":
        return engine.lowered(update, platform)
    return engine.lowered_evaluation({name: values[0] for name, values in update.items()}, platform)


class PlannedDecoder:
    """A GPT2-ML of shapes alone, with the very function that ``clue generate`` calls for each token."""

    def __init__(self, **sizes: Any) -> None:
        """Build it; sizes as in the family's shape, those left out are the release's."""
        import jax

        from clue_runner.architectures.base import load_architecture
        from clue_runner.architectures.settings import make_shape
        from clue_runner.commands.generation.decoder import Loaded
        from clue_runner.models.decoding import network
        from clue_runner.models.part import STORED

        self.shape = make_shape(DECODER, **sizes)
        build = load_architecture(DECODER).build
        with without_values():
            self.backbone = build(self.shape, DECODER_VOCABULARY, precision=STORED, seed=1, pooler=False)
        made: list[Any] = []
        kept = partial(_kept, made, jax.jit)
        counted = mock.patch.object(network, "longer", self._counted(network.longer))
        with mock.patch.object(jax, "jit", kept), counted:
            _ = Loaded(self.backbone, cast(Any, None), "jax", self.shape.position_limit, "").longer
        (self._function,) = made
        self.programs = 0

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def longer(*arguments: Any) -> Any:
            self.programs += 1
            return function(*arguments)

        return longer

    def lowered(self, rows: int, tokens: int, length: int, platform: str = "cuda") -> Any:
        """Return the step that reads so many tokens into a cache of ``length`` places."""
        import jax
        import jax.numpy as jnp

        from clue_runner.models.decoding.network import empty_cache, tensors_of

        cache = jax.eval_shape(lambda: tensors_of(empty_cache(self.backbone, rows, length)))
        weights = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in self.backbone.variables]
        ids, filled = jax.ShapeDtypeStruct((rows, tokens), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
        traced = self._function.trace(weights, ids, cache, filled)
        return traced.lower(lowering_platforms=(platform,))


def _kept(made: list[Any], jit: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what ``jax.jit`` does, and keep it: ``engines.compiled`` returns a function around it."""
    made.append(jit(*arguments, **options))
    return made[-1]


def held_bytes(step: Any) -> int:
    """Return the bytes of a lowered step's arguments."""
    import jax

    return sum(math.prod(one.shape) * one.dtype.itemsize for one in jax.tree.leaves(step.args_info))

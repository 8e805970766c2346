"""Small steps lowered for CUDA without one; scripts/check_lowering.py reads base, large and GPT2-ML."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from small_networks import BACKEND, NETWORKS, random_update, settings

from clue_runner.architectures.base import parameter_count
from clue_runner.engines import create_engine

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import lowering_steps as steps
from bench_steps import SHAPES, make_update, model_settings, product_flops

jax_alone = pytest.mark.skipif(BACKEND != "jax", reason="about the JAX backend")
LAYERS = SHAPES["small"]["num_layers"]
SIZES = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64}
PRODUCT = re.compile(
    r"dot_general.*contracting_dims = \[([\d, ]*)\] x .*: "
    r"\(tensor<([\dx]+)xbf16>, tensor<[\dx]+xbf16>\) -> tensor<([\dx]+)x"
)


@pytest.fixture
def cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX that believes in cuDNN, for one test."""
    from jax._src.cudnn import fused_attention_stablehlo as kernel

    for name in ("check_cudnn_version", "check_compute_capability", "is_cuda_compute_capability_equal"):
        monkeypatch.setattr(kernel, name, getattr(kernel, name))
    steps.pretend_cudnn()


def small_engine(**changes: Any) -> Any:
    return steps.planned(model_settings("small", "jax", attention_dropout=0.0, **changes))


@jax_alone
@pytest.mark.parametrize(
    ("form", "recompute"), [("einsum", "none"), ("chunked", "sublayer"), ("fused", "block")]
)
def test_steps_for_a_gpu_are_as_they_should_be(form: str, recompute: str, cudnn: None) -> None:
    import jax

    engine = small_engine(attention=form, recompute=recompute)
    state = len(jax.tree.leaves(engine.state))
    least, fused = steps.PRODUCTS * LAYERS - 3, form == "fused"
    update = make_update(2, 16)
    train = steps.read(steps.lowered(engine, "train", update).as_text())
    answers = steps.read(steps.lowered(engine, "evaluate", update).as_text())
    assert not steps.faults(train, steps.Wanted(least, 5, fused, state))
    assert not steps.faults(answers, steps.Wanted(least, 5, fused, 0))
    steps.lowered(engine, "train", update)
    assert engine.compilations == 2


@jax_alone
def test_an_engine_of_shapes_computes_no_first_values() -> None:
    engine = small_engine()
    assert not [name for name, one in engine.variables.items() if one._value is not None]


@jax_alone
def test_a_chain_of_tags_donates_its_state_and_calls_no_host() -> None:
    import jax

    engine: Any = create_engine("jax")
    engine.plan(lambda: NETWORKS["chain of tags"]("bfloat16"), settings(precision="bfloat16"))
    found = steps.read(steps.lowered(engine, "train", random_update(0, micro_batches=2)).as_text())
    assert found.donated == len(jax.tree.leaves(engine.state))
    assert not found.host
    assert found.bfloat16 > found.float32


@jax_alone
def test_the_step_that_writes_donates_its_cache() -> None:
    decoder = steps.PlannedDecoder(**SIZES, attention="einsum")
    wanted = steps.Wanted(2 * steps.CACHED_PRODUCTS + 1, 0, fused=False, donated=4)
    for rows, tokens in [(1, 4), (3, 1), (3, 1)]:
        step = decoder.lowered(rows, tokens, 16)
        assert not steps.faults(steps.read(step.as_text()), wanted)
    assert decoder.programs == 2
    cache = 2 * 2 * 3 * 16 * 32 * 2  # layers, keys and values, rows, places, width, bytes
    weights = 2 * parameter_count(decoder.shape, steps.DECODER_VOCABULARY)  # in bfloat16
    tokens_and_place = 3 * 4 + 4
    assert steps.held_bytes(step) == cache + weights + tokens_and_place


@jax_alone
def test_products_are_counted_as_the_step_has_them() -> None:
    """``bench_steps.product_flops`` is what gpu_check.py's share of the peak is made of."""
    rows, length = 2, 16
    engine = small_engine(attention="einsum")
    text = steps.lowered(engine, "evaluate", make_update(rows, length)).as_text()
    total = 0
    for contracted, left, result in PRODUCT.findall(text):
        axes = [int(size) for size in left.split("x")]
        inner = math.prod(axes[int(axis)] for axis in contracted.split(","))
        total += 2 * inner * math.prod(int(size) for size in result.split("x"))
    assert total == product_flops(SHAPES["small"], rows, length)


def test_faults_are_seen() -> None:
    line = "%1 = stablehlo.dot_general %a, %b : (tensor<2x3x{0}>, tensor<3x{0}>) -> tensor<2x{0}>"
    texts = [line.format("bf16"), line.format("f32"), "%arg0: tensor<2xf32> {tf.aliasing_output = 0 : i32}"]
    texts += [f"stablehlo.custom_call @{name}(%q)" for name in ("__cudnn$fmhaSoftmax", "xla_gpu_callback")]
    found = steps.read("\n".join(texts))
    assert found == steps.Text(1, 1, 1, 1, ("callback",))
    wanted = steps.Wanted(1, 1, fused=True, donated=1)
    assert not steps.faults(found._replace(host=()), wanted)
    assert len(steps.faults(found, wanted)) == 1
    for change in ({"bfloat16": 2}, {"float32": 0}, {"fused": False}, {"donated": 2}):
        assert len(steps.faults(found._replace(host=()), wanted._replace(**change))) == 1

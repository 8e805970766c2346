"""The JAX steps lowered for CUDA without one; scripts/check_lowering.py reads those of base and large."""

from __future__ import annotations

from typing import Any

import pytest
from small_networks import BACKEND, NETWORKS, random_update, settings

from clue_runner.engines import create_engine

pytestmark = pytest.mark.skipif(BACKEND != "jax", reason="about the JAX backend")
HOST = ("callback", "infeed", "outfeed", "stablehlo.send", "stablehlo.recv")


@pytest.mark.parametrize("network", ["classification", "chain of tags"])
def test_steps_for_a_gpu_donate_their_state_and_call_no_host(network: str) -> None:
    import jax

    engine: Any = create_engine("jax")
    engine.plan(lambda: NETWORKS[network]("bfloat16"), settings(precision="bfloat16"))
    update = random_update(0, micro_batches=2)
    train = engine.lowered(update, "cuda").as_text()
    answers = engine.lowered_evaluation(
        {name: values[0] for name, values in update.items()}, "cuda"
    ).as_text()
    assert engine.compilations == 2
    assert train.count("tf.aliasing_output") == len(jax.tree.leaves(engine.state))
    assert "tf.aliasing_output" not in answers
    for text in (train, answers):
        assert not [word for word in HOST if word in text]
        products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert sum("bf16" in line for line in products) > sum("bf16" not in line for line in products)

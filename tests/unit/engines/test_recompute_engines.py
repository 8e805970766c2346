"""Recomputation in real training steps: with dropout on, the same losses and weights as without it.

``scripts/check_recompute.py`` makes the same claims for every mode, precision, split and compiler.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from support.engines import BACKEND, RATE, Update, largest_difference, run, settings, start, updates
from support.engines import make_engine as make_small_engine

from clue_runner.models import dropout

_PLAIN: dict[Any, Any] = {}


def make_engine(recompute: str, policy: str = "nothing", attention: str = "auto", **changes: Any) -> Any:
    """The small engine with dropout everywhere and parts that are computed again."""
    layers = 2 if changes.pop("deep", False) else 1
    options = {"num_layers": layers, "recompute": recompute, "recompute_policy": policy}
    options["attention"] = attention
    return make_small_engine(0.1, model=options, **changes)


def train(recompute: str, micro_batches: int, policy: str = "nothing", **changes: Any) -> tuple[Any, Any]:
    """Losses of some steps and the weights after them."""
    engine = make_engine(recompute, policy, **changes)
    losses = run(engine, updates(12, micro_batches=micro_batches))
    return np.array(losses), engine.get_weights(averaged=False)


def plain(micro_batches: int, **changes: Any) -> tuple[Any, Any]:
    """The same without recomputation, trained once."""
    name = (micro_batches, *sorted(changes.items()))
    if name not in _PLAIN:
        _PLAIN[name] = train("none", micro_batches, **changes)
    return _PLAIN[name]


@pytest.mark.parametrize(
    ("recompute", "micro_batches", "deep"),
    [("sublayer", 1, False), ("block", 1, False), ("segment:2", 2, True)],
)
def test_losses_and_weights_are_those_without_recomputation(
    recompute: str, micro_batches: int, deep: bool
) -> None:
    losses, weights = train(recompute, micro_batches, deep=deep)
    expected, same = plain(micro_batches, deep=deep)
    assert abs(expected[-1] - expected[0]) > 1e-3
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


@pytest.mark.long
def test_attention_in_chunks_is_recomputed_inside_a_recomputed_block() -> None:
    """136 tokens are two chunks; their masks are another draw than those of whole scores.

    Of two layers, since the last computes its first token alone.
    """
    batches = [{name: values[:, :4] for name, values in one.items()} for one in updates(2, lengths=(136,))]
    found = {}
    for recompute, attention in (("none", "einsum"), ("none", "chunked"), ("block", "chunked")):
        engine = make_engine(recompute, attention=attention, deep=True)
        found[recompute, attention] = np.array(run(engine, batches)), engine.get_weights(averaged=False)
    (_, others), (losses, weights), (again, same) = found.values()
    assert largest_difference(weights, others) > 1e-5
    assert np.abs(losses - again).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


@pytest.mark.long
def test_bfloat16_differs_by_its_rounding_alone() -> None:
    """XLA keeps more than bfloat16's digits between operations that it fuses, and fuses others here.

    Without that (``--xla_allow_excess_precision=false``, see the script) JAX differs by 1e-7. Adam turns a
    gradient near 0 that rounds to the other side into a step of the learning rate to the other side.
    """
    losses, weights = train("block", 1, precision="bfloat16")
    expected, same = plain(1, precision="bfloat16")
    assert np.abs(losses - expected).max() <= 1e-4
    assert largest_difference(weights, same) <= 2 * RATE


@pytest.mark.long
@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX is always compiled by XLA")
def test_xla_recomputes_right_too() -> None:
    losses, weights = train("block", 1, jit=True)
    expected, same = plain(1, jit=True)
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


@pytest.mark.skipif(BACKEND != "jax", reason="TensorFlow has no policies")
def test_a_policy_changes_no_number() -> None:
    losses, weights = train("block", 1, policy="dots")
    expected, same = plain(1, deep=False)
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


def test_every_mask_of_a_step_is_drawn_again_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random words of all 5 sites: 3 in the block; embeddings and head, which are not recomputed."""
    drawn: list[bytes] = []
    real = dropout.random_words

    def noted(key: Any, shape: Any) -> Any:
        words = real(key, shape)
        if BACKEND == "tensorflow":
            import tensorflow as tf

            tf.numpy_function(lambda one: drawn.append(one.tobytes()), [words], [])
        else:
            import jax

            jax.debug.callback(lambda one: drawn.append(np.asarray(one).tobytes()), words)
        return words

    monkeypatch.setattr(dropout, "random_words", noted)
    engine = make_engine("block")
    run(engine, updates(1))
    if BACKEND == "jax":
        import jax

        jax.effects_barrier()
    counts = Counter(drawn)
    assert len(counts) == 5
    assert sorted(counts.values()) == [1, 1, 2, 2, 2]


def reader_batches() -> list[Update]:
    """Two updates of questions with one passage each, their answers tagged."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(2):
        passage = generator.integers(1, 60, (1, 8, 24)).astype(np.int32)
        passage[0, ::2, 15:] = 0
        start = np.zeros((1, 8, 24), np.int32)
        start[0, :, 4] = 1
        found.append(
            {
                "token_ids": passage,
                "question_ids": generator.integers(1, 60, (1, 8, 7)).astype(np.int32),
                "start_tags": start,
                "end_tags": np.roll(start, 1, axis=2),
                "weight": np.ones((1, 8), np.float32),
            }
        )
    return found


@pytest.mark.long
def test_the_reader_of_convolutions_recomputes_too() -> None:
    from clue_runner.architectures.base import load_architecture
    from clue_runner.architectures.settings import make_shape

    build = load_architecture("dgcnn").build
    found = []
    for recompute in ("none", "block"):
        shape = make_shape("dgcnn", hidden_dim=16, recompute=recompute)
        engine = start(lambda shape=shape: build(shape, 60, precision="float32", seed=1), settings())
        losses = run(engine, reader_batches())
        found.append((np.array(losses), engine.get_weights(averaged=False)))
    assert np.abs(found[1][0] - found[0][0]).max() <= 1e-6
    assert largest_difference(found[1][1], found[0][1]) <= 1e-6

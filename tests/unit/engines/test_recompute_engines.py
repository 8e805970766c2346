"""Recomputation in real training steps: with dropout on, the same losses and weights as without it.

``scripts/check_recompute.py`` makes the same claims for every mode, precision and compiler.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from small_networks import BACKEND, settings

from clue_runner.config.loader import load_run
from clue_runner.engines import create_engine
from clue_runner.models import dropout

Update = dict[str, np.ndarray[Any, Any]]
RATE = 1e-3  # of learning
_PLAIN: dict[Any, Any] = {}


def updates(count: int, micro_batches: int = 1, length: int = 16) -> list[Update]:
    """Updates of 32 rows of uneven lengths."""
    generator = np.random.default_rng(0)
    shape = (micro_batches, 32 // micro_batches, length)
    found = []
    for _ in range(count):
        lengths = generator.integers(2, length + 1, shape[:2]).astype(np.int32)
        inside = np.arange(length) < lengths[..., None]
        found.append(
            {
                "token_ids": np.where(inside, generator.integers(1, 150, shape), 0).astype(np.int32),
                "segment_ids": np.where(inside, generator.integers(0, 2, shape), 0).astype(np.int32),
                "lengths": lengths,
                "label": generator.integers(0, 3, shape[:2]).astype(np.int32),
                "weight": np.ones(shape[:2], np.float32),
            }
        )
    return found


def run(engine: Any, batches: list[Update]) -> list[float]:
    reads = [engine.step(one, update_index=at, learning_rate=RATE) for at, one in enumerate(batches)]
    return [read().loss for read in reads]


def largest_difference(one: dict[str, Any], two: dict[str, Any]) -> float:
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name].astype(np.float64) - two[name]).max()) for name in one)


def make_engine(recompute: str, policy: str = "nothing", attention: str = "auto", **changes: Any) -> Any:
    """An engine of the ``test`` preset (2 layers of 32) with dropout 0.1 everywhere."""
    from clue_runner.models.build import build_backbone
    from clue_runner.models.heads import ClassificationHead

    wanted = settings(**changes)
    overrides = [f"model.{name}=0.1" for name in ("dropout", "attention_dropout", "head_dropout")]
    overrides += [f"model.recompute={recompute}", f"model.recompute_policy={policy}"]
    overrides.append(f"model.attention={attention}")
    model = load_run(
        task="afqmc", card_settings={}, model="test", overrides=overrides, flags={"backend": BACKEND}
    ).model

    def build() -> Any:
        backbone = build_backbone(model, 200, dtype_policy=wanted.precision, seed=1)
        return ClassificationHead(backbone, 3, dropout_rate=0.1, seed=1)

    engine = create_engine(BACKEND)
    engine.init(build, wanted)
    return engine


def train(recompute: str, micro_batches: int, policy: str = "nothing", **changes: Any) -> tuple[Any, Any]:
    """Losses of 20 steps and the weights after them."""
    engine = make_engine(recompute, policy, **changes)
    losses = run(engine, updates(20, micro_batches))
    return np.array(losses), engine.get_weights(averaged=False)


def plain(micro_batches: int, **changes: Any) -> tuple[Any, Any]:
    """The same without recomputation, trained once."""
    name = (micro_batches, *sorted(changes.items()))
    if name not in _PLAIN:
        _PLAIN[name] = train("none", micro_batches, **changes)
    return _PLAIN[name]


@pytest.mark.parametrize(
    ("recompute", "micro_batches"), [("sublayer", 1), ("block", 1), ("segment:2", 1), ("block", 2)]
)
def test_losses_and_weights_are_those_without_recomputation(recompute: str, micro_batches: int) -> None:
    losses, weights = train(recompute, micro_batches)
    expected, same = plain(micro_batches)
    assert abs(expected[-1] - expected[0]) > 1e-3
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


def test_attention_in_chunks_is_recomputed_inside_a_recomputed_block() -> None:
    """136 tokens are two chunks; their masks are another draw than those of whole scores."""
    batches = [{name: values[:, :4] for name, values in one.items()} for one in updates(2, length=136)]
    found = {}
    for recompute, attention in (("none", "einsum"), ("none", "chunked"), ("block", "chunked")):
        engine = make_engine(recompute, attention=attention)
        found[recompute, attention] = np.array(run(engine, batches)), engine.get_weights(averaged=False)
    (_, others), (losses, weights), (again, same) = found.values()
    assert largest_difference(weights, others) > 1e-5
    assert np.abs(losses - again).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


def test_bfloat16_differs_by_its_rounding_alone() -> None:
    """XLA keeps more than bfloat16's digits between operations that it fuses, and fuses others here.

    Without that (``--xla_allow_excess_precision=false``, see the script) JAX differs by 1e-7. Adam turns a
    gradient near 0 that rounds to the other side into a step of the learning rate to the other side.
    """
    losses, weights = train("block", 1, precision="bfloat16")
    expected, same = plain(1, precision="bfloat16")
    assert np.abs(losses - expected).max() <= 1e-4
    assert largest_difference(weights, same) <= 2 * RATE


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX is always compiled by XLA")
def test_xla_recomputes_right_too() -> None:
    losses, weights = train("block", 1, jit=True)
    expected, same = plain(1, jit=True)
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


@pytest.mark.skipif(BACKEND != "jax", reason="TensorFlow has no policies")
def test_a_policy_changes_no_number() -> None:
    losses, weights = train("block", 1, policy="dots")
    expected, same = plain(1)
    assert np.abs(losses - expected).max() <= 1e-6
    assert largest_difference(weights, same) <= 1e-6


def test_every_mask_of_a_step_is_drawn_again_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random words of all 8 sites: 3 in each block; embeddings and head, which are not recomputed."""
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
    assert len(counts) == 8
    assert sorted(counts.values()) == [1, 1, 2, 2, 2, 2, 2, 2]


def reader_batches() -> list[Update]:
    """Three updates of questions with one passage each, their answers tagged."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(3):
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


def test_the_reader_of_convolutions_recomputes_too() -> None:
    from clue_runner.models.dgcnn import ReaderShape, ReadingHead

    found = []
    for recompute in ("none", "block"):
        shape = ReaderShape(60, width=16, recompute=recompute)
        engine = create_engine(BACKEND)
        engine.init(lambda shape=shape: ReadingHead(shape, dtype_policy="float32", seed=1), settings())
        losses = run(engine, reader_batches())
        found.append((np.array(losses), engine.get_weights(averaged=False)))
    assert np.abs(found[1][0] - found[0][0]).max() <= 1e-6
    assert largest_difference(found[1][1], found[0][1]) <= 1e-6

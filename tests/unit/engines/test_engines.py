"""What every engine must show: equal results for any split, exact repetition, the update of Keras's AdamW."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engines import (
    BACKEND,
    RATE,
    largest_difference,
    make_engine,
    run,
    same_bits,
    settings,
    split,
    start,
    updates,
)

from clue_runner.errors import CheckpointError

TESTS = Path(__file__).parents[2]
MOMENTUM = "optimizer/momentum/"
_CACHE: dict[str, tuple[Any, dict[str, Any]]] = {}


def start_engine(**changes: Any) -> Any:
    """An engine as ``make_engine`` gives it, its compiled steps reused between tests."""
    name = repr(sorted(changes.items()))
    if name not in _CACHE:
        engine = make_engine(**changes)
        _CACHE[name] = engine, engine.get_state()
    engine, state = _CACHE[name]
    engine.set_state(state)
    return engine


def test_any_split_of_an_update_gives_the_same_result() -> None:
    batches = updates(12, lengths=(16,))
    engine = start_engine()
    losses = run(engine, batches)
    weights = engine.get_weights(averaged=False)
    assert losses[-1] != losses[0]
    for micro_batches, rows in ((3, 12), (1, 40)):  # both end in rows of weight 0
        engine = start_engine()
        found = run(engine, [split(batch, micro_batches, rows) for batch in batches])
        assert np.abs(np.array(found) - losses).max() <= 1e-6
        assert largest_difference(engine.get_weights(averaged=False), weights) <= 1e-6


def test_compilations_are_bounded_by_the_shapes() -> None:
    engine = make_engine()
    run(engine, updates(8, lengths=(8, 12, 16)))
    assert engine.compilations == (1 if BACKEND == "tensorflow" else 3)
    for batch in updates(4, lengths=(8, 12)):
        engine.evaluate({name: values[0] for name, values in batch.items()}, averaged=False)
    assert engine.compilations == (2 if BACKEND == "tensorflow" else 5)


@pytest.mark.parametrize(("precision", "micro_batches"), [("float32", 1), ("bfloat16", 2)])
def test_the_same_steps_from_a_saved_state_are_bit_equal(precision: str, micro_batches: int) -> None:
    batches = [split(batch, micro_batches, 32 // micro_batches) for batch in updates(12, lengths=(16,))]
    engine = start_engine(dropout=0.1, precision=precision, ema=0.9)
    run(engine, batches[:6])
    saved = engine.get_state()
    losses = run(engine, batches[6:], first=6)
    after = engine.get_state()
    engine.set_state(saved)
    assert same_bits(engine.get_state(), saved)
    assert run(engine, batches[6:], first=6) == losses
    assert same_bits(engine.get_state(), after)
    engine.set_state(saved)
    assert run(engine, batches[6:], first=7) != losses  # other dropout keys
    if precision == "float32":
        other = make_engine(dropout=0.1, precision=precision, ema=0.9)
        other.set_state(saved)
        assert run(other, batches[6:], first=6) == losses
        assert same_bits(other.get_state(), after)


def test_a_copied_state_is_not_overwritten_by_later_steps() -> None:
    """A thread writes it while the loop goes on; the backends update their memory in place."""
    batches = updates(6, lengths=(16,))
    engine = start_engine(dropout=0.1, ema=0.9, lookahead=2)
    room = engine.room()
    assert len({values.base.ctypes.data for values in room.values()}) == 1  # one block
    run(engine, batches[:2])
    expected = engine.get_state()
    state = engine.get_state(room)
    assert state is room
    assert same_bits(state, expected)
    run(engine, batches[2:], first=2)
    assert same_bits(state, expected)
    engine.get_state(room)
    assert not same_bits(state, expected)
    engine.set_state(expected)
    run(engine, batches[2:], first=2)
    assert same_bits(engine.get_state(), room)


def test_the_step_equals_keras_adamw() -> None:
    import keras

    engine = make_engine(clip_norm=None)
    batches = updates(6, lengths=(16,))
    variables = {}
    for name, value in engine.get_weights(averaged=False).items():
        variables[name] = keras.Variable(value, name=name.replace("/", "_"))
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=0.01, epsilon=1e-6)
    optimizer.exclude_from_weight_decay(var_names=["bias", "norm"])
    optimizer.build(list(variables.values()))
    for index, batch in enumerate(batches):
        before = engine.get_state()
        engine.step(batch, update_index=index, learning_rate=RATE)()
        after = engine.get_state()
        gradients = [
            (after[MOMENTUM + name] - before[MOMENTUM + name] * np.float32(0.9)) / np.float32(0.1)
            for name in variables
        ]
        optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], list(variables.values()))
        for name, variable in variables.items():
            np.testing.assert_allclose(np.asarray(variable), after[name], atol=2e-6, err_msg=name)


def test_rows_that_were_never_read_only_decay() -> None:
    engine = start_engine()
    before = engine.get_weights(averaged=False)["backbone/embeddings/word"]
    run(engine, updates(2, lengths=(16,)))
    after = engine.get_state()
    word = "backbone/embeddings/word"
    np.testing.assert_allclose(after[word][150:], before[150:] * (1 - RATE * 0.01) ** 2, rtol=1e-6)
    assert not after[MOMENTUM + word][150:].any()
    assert after[MOMENTUM + word][1:150].any(axis=1).mean() > 0.9


@pytest.mark.skipif(BACKEND != "jax", reason="TensorFlow's variables outlive a step that failed")
def test_a_state_that_a_failed_step_has_eaten_is_told_and_put_back() -> None:
    """A JAX step takes its state's memory over: one that fails on the way leaves deleted arrays."""
    batches = updates(4, lengths=(16,))
    engine = start_engine()
    run(engine, batches[:2])
    saved = engine.get_state()
    assert engine.applied() == 2
    losses, after = run(engine, batches[2:], first=2), engine.get_state()
    next(iter(engine.state["slots"].values()))["momentum"].delete()
    assert engine.applied() is None
    engine.set_state(saved)
    assert engine.applied() == 2
    assert run(engine, batches[2:], first=2) == losses
    assert same_bits(engine.get_state(), after)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_a_non_finite_loss_leaves_the_state(micro_batches: int) -> None:
    batch, good = updates(2, lengths=(16,))
    engine = start_engine(dropout=0.1, precision="float32", ema=0.9)
    run(engine, [split(batch, micro_batches, 32 // micro_batches)])
    before = engine.get_state()
    for row, value in (
        (3, np.inf),
        (19, np.nan),
        (31, np.nan),
    ):  # micro-batches 1, 3 and 4
        bad = {name: values.copy() for name, values in good.items()}
        bad["weight"][0, row] = value
        pieces = split(bad, micro_batches, 32 // micro_batches)
        result = engine.step(pieces, update_index=1, learning_rate=RATE)()
        assert not result.finite
        assert same_bits(engine.get_state(), before)


def test_evaluation_uses_the_average_where_asked() -> None:
    batches = updates(3, lengths=(16,))
    engine = start_engine(dropout=0.1, precision="float32", ema=0.9)
    run(engine, batches)
    batch = {name: values[0] for name, values in batches[0].items()}
    plain = engine.evaluate(batch, averaged=False)["logits"]
    averaged = engine.evaluate(batch, averaged=True)["logits"]
    assert np.abs(plain - averaged).max() > 1e-5
    engine.set_weights(engine.get_weights(averaged=True))
    assert np.array_equal(engine.evaluate(batch, averaged=False)["logits"], averaged)


def test_a_state_that_does_not_fit_is_refused() -> None:
    engine = start_engine()
    state = engine.get_state()
    state["head/output/kernel"] = state["head/output/kernel"][:, :2]
    state["head/output/extra"] = state.pop("head/output/bias")
    with pytest.raises(CheckpointError) as caught:
        engine.set_state(state)
    for text in (
        "head/output/kernel: has another shape, got (32, 2) (allowed: (32, 3))",
        "extra",
        "bias: missing",
    ):
        assert text in str(caught.value)


def test_weights_that_are_not_trained_stay() -> None:
    engine = make_engine()
    probe = engine.network.backbone.embeddings.positions.table
    probe.trainable = False
    frozen = start(lambda: engine.network, settings())
    before = frozen.get_weights(averaged=False)
    run(frozen, updates(1, lengths=(16,)))
    after = frozen.get_weights(averaged=False)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert set(before) - moved == {"backbone/embeddings/position"}


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from support.engines import make_engine, run, updates
engine = make_engine(backend="jax", jit=True)
losses = run(engine, updates(2, lengths=(16,)))
np.savez({file!r}, losses=losses, **engine.get_weights(averaged=False))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX is always compiled by XLA")
def test_xla_gives_what_the_graph_gives() -> None:
    batches = updates(3, lengths=(16,))
    graph, compiled = start_engine(dropout=0.1), make_engine(dropout=0.1, jit=True)
    assert run(graph, batches) == pytest.approx(run(compiled, batches), abs=1e-6)
    state = graph.get_state()
    assert largest_difference(state, compiled.get_state()) <= 1e-6
    assert compiled.compilations == 1


def test_jax_runs_where_tensorflow_is_not_installed(tmp_path: Path) -> None:
    if BACKEND != "jax":
        pytest.skip("about the JAX backend")
    file = str(tmp_path / "alone.npz")
    code = SCRIPT.format(folder=str(TESTS), file=file)
    code = "import sys\nsys.modules['tensorflow'] = None\n" + code
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "jax"})
    assert np.isfinite(np.load(file, allow_pickle=False)["losses"]).all()

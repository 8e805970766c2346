"""Recomputation by hand: values, gradients, how often a function runs, which masks it sees, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clue_runner.adapters.sections import load_run
from clue_runner.architectures.settings import build_backbone
from clue_runner.errors import UsageError
from clue_runner.models import dropout
from clue_runner.models.recompute import recomputed, run_steps

TENSORFLOW = keras.backend.backend() == "tensorflow"
WAYS = ("eager", "graph", "xla") if TENSORFLOW else ("eager", "xla")
KEY = np.array([7, -3], np.int32)


def gradients(function: Callable[..., Any], values: list[Any], way: str, weights: Any = ()) -> Any:
    """(result, gradients of its sum for ``values``, for ``weights``) as numpy."""
    if TENSORFLOW:
        import tensorflow as tf

        def run(*given: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(list(given))
                tape.watch([weight.value for weight in weights])
                result = function(*given)
            return result, tape.gradient(result, [list(given), [weight.value for weight in weights]])

        if way != "eager":
            run = tf.function(run, jit_compile=way == "xla", autograph=False)
        result, slopes = run(*[tf.constant(value) for value in values])
        return np.asarray(result), *([np.asarray(one) for one in part] for part in slopes)
    import jax

    def total(given: list[Any], held: list[Any]) -> tuple[Any, Any]:
        with keras.StatelessScope(state_mapping=list(zip(weights, held, strict=True))):
            result = function(*given)
        return result.sum(), result

    run = jax.grad(total, argnums=(0, 1), has_aux=True)
    held = [weight.value for weight in weights]
    slopes, result = (jax.jit(run) if way == "xla" else run)([ops.convert_to_tensor(v) for v in values], held)
    return np.asarray(result), *([np.asarray(one) for one in part] for part in slopes)


def spy(value: Any, note: Callable[[Any], None]) -> None:
    """Call ``note`` with ``value`` each time it is computed."""
    if TENSORFLOW:
        import tensorflow as tf

        tf.numpy_function(lambda array: note(np.array(array)), [value], [])
    else:
        import jax

        jax.debug.callback(lambda array: note(np.array(array)), value)


def settle() -> None:
    """Wait for all that is still to be noted."""
    if not TENSORFLOW:
        import jax

        jax.effects_barrier()


@pytest.mark.parametrize("way", WAYS)
def test_a_square_has_twice_its_input_as_gradient(way: str) -> None:
    result, (slope,), _ = gradients(
        lambda x: recomputed(lambda y: y * y, x), [np.array([3.0, -0.5], np.float32)], way
    )
    assert result.tolist() == [9.0, 0.25]
    assert slope.tolist() == [6.0, -1.0]


@pytest.mark.parametrize("way", WAYS)
def test_every_input_and_every_weight_gets_its_gradient(way: str) -> None:
    """Numbers, whole numbers, truths and nothing as inputs; a weight read inside."""
    weight = keras.Variable(np.array([2.0, 3.0], np.float32), name="w")
    count, flag = ops.convert_to_tensor(np.array([2, 5], np.int32)), np.array([True, False])

    def step(x: Any, y: Any, nothing: Any, count: Any, flag: Any) -> Any:
        assert nothing is None
        kept = ops.where(flag, x, 10 * x)
        return kept * weight.value * ops.cast(count, "float32") + y

    def run(x: Any, y: Any) -> Any:
        return recomputed(step, x, y, None, count, ops.convert_to_tensor(flag))

    values = [np.array([1.0, 1.0], np.float32), np.array([0.5, 0.5], np.float32)]
    result, (for_x, for_y), found = gradients(run, values, way, [weight])
    assert result.tolist() == [4.5, 150.5]
    assert for_x.tolist() == [4.0, 150.0]
    assert for_y.tolist() == [1.0, 1.0]
    assert found[0].tolist() == [2.0, 50.0]


@pytest.mark.parametrize(
    ("recompute", "runs"), [("none", 4), ("block", 8), ("segment:2", 8), ("segment:3", 8)]
)
def test_four_steps_run_once_more_each(recompute: str, runs: int) -> None:
    seen: list[Any] = []

    def step(x: Any) -> Any:
        spy(x, seen.append)
        return ops.sin(x)

    value = np.array([0.3, 0.7], np.float32)
    compiled = "graph" if TENSORFLOW else "xla"
    _, (slope,), _ = gradients(lambda x: run_steps([step] * 4, x, recompute=recompute), [value], compiled)
    settle()
    assert len(seen) == runs
    states = [value]
    for _ in range(3):
        states.append(np.sin(states[-1]))
    np.testing.assert_allclose(slope, np.prod([np.cos(state) for state in states], axis=0), rtol=1e-5)


def test_gradients_equal_those_of_the_backend_s_own_tool() -> None:
    """``tf.recompute_grad`` and ``jax.checkpoint``, applied by hand to a function without random state."""
    theirs: Callable[..., Any]
    if TENSORFLOW:
        import tensorflow as tf

        theirs = tf.recompute_grad
    else:
        import jax

        theirs = jax.checkpoint
    weight = keras.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), name="w")

    def step(x: Any) -> Any:
        return ops.gelu(ops.matmul(x, weight.value))

    value = np.random.default_rng(2).standard_normal((5, 3)).astype(np.float32)
    compiled = "graph" if TENSORFLOW else "xla"
    own = gradients(lambda x: recomputed(step, x), [value], compiled, [weight])
    peer = gradients(lambda x: theirs(step)(x), [value], compiled, [weight])
    for mine, other in zip((own[0], *own[1], *own[2]), (peer[0], *peer[1], *peer[2]), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


RATE = 0.5
SHAPE = (40, 50)


def masks(drop: Callable[[Any, Any], Any], way: str) -> tuple[Any, Any]:
    """The mask of the first run (of ones, what is left) and of the second (its gradient is not 0)."""

    def run(x: Any) -> Any:
        return recomputed(drop, x, ops.convert_to_tensor(KEY))

    result, (slope,), _ = gradients(run, [np.ones(SHAPE, np.float32)], way)
    return result != 0, slope != 0


@pytest.mark.parametrize("way", WAYS)
def test_both_runs_have_the_same_mask(way: str) -> None:
    def drop(x: Any, key: Any) -> Any:
        return dropout.apply(x, dropout.mask(key, "here", SHAPE, RATE, "float32"))

    first, second = masks(drop, way)
    assert 0.4 < first.mean() < 0.6
    assert (first == second).all()


@pytest.mark.parametrize("way", ["eager", "graph"])
@pytest.mark.skipif(not TENSORFLOW, reason="JAX refuses a state that leaks out of a recomputed part")
def test_control_a_dropout_layer_with_a_state_has_another_mask(way: str) -> None:
    """What this project must not do: as many elements agree as by chance, so the gradient is wrong."""
    layer = keras.layers.Dropout(RATE, seed=1)
    first, second = masks(lambda x, key: layer(x, training=True), way)
    assert 0.4 < first.mean() < 0.6
    assert 0.4 < (first == second).mean() < 0.6


@pytest.mark.skipif(TENSORFLOW, reason="about JAX")
def test_policies_keep_more_or_less(capsys: pytest.CaptureFixture[str]) -> None:
    import jax

    kernel = ops.convert_to_tensor(np.full((8, 8), 0.1, np.float32))

    def step(x: Any) -> Any:
        return ops.tanh(ops.matmul(ops.sin(ops.matmul(x, kernel)), kernel))

    def kept(recompute: str, policy: Any = "nothing") -> int:
        def run(x: Any) -> Any:
            return run_steps([step] * 3, x, recompute=recompute, policy=policy).sum()

        jax.ad_checkpoint.print_saved_residuals(run, ops.convert_to_tensor(np.ones((5, 8), np.float32)))
        return sum(line.startswith("f32[5,8]") for line in capsys.readouterr().out.split("\n"))

    nothing, dots, everything = (kept("block", policy) for policy in ("nothing", "dots", "everything"))
    assert nothing == 3  # each part's input
    assert nothing < dots < everything <= kept("none") + 3


@pytest.mark.skipif(not TENSORFLOW, reason="XLA removes what nothing needs")
def test_the_product_that_ends_a_block_runs_once(model_settings: Callable[..., Any]) -> None:
    """TensorFlow must compute whatever a gradient asks the shape of: no gradient may ask for this one's."""
    import tensorflow as tf

    def products(recompute: str) -> int:
        backbone = build_backbone(model_settings(recompute=recompute), 50, precision="float32", seed=1)
        weights = [variable.value for variable in backbone.trainable_variables]

        def slopes(token_ids: Any, key: Any) -> Any:
            with tf.GradientTape() as tape:
                batch = {"token_ids": token_ids, "segment_ids": tf.zeros_like(token_ids)}
                total = tf.reduce_sum(backbone(batch, mask=token_ids > 0, key=key).sequence)
            return [one for one in tape.gradient(total, weights) if one is not None]

        given = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)]
        graph = tf.function(slopes, input_signature=given, autograph=False).get_concrete_function().graph
        found, waiting = set(), [output.op for output in graph.outputs]
        while waiting:
            operation = waiting.pop()
            if operation.name not in found:
                found.add(operation.name)
                waiting += [one.op for one in operation.inputs] + list(operation.control_inputs)
        return sum(graph.get_operation_by_name(name).type == "MatMul" for name in found)

    # joined query, key and value; the output; the inner layer; not the outer one
    assert products("block") - products("none") == 2 * 3


@pytest.mark.skipif(not TENSORFLOW, reason="about TensorFlow")
def test_tensorflow_has_no_policies() -> None:
    with pytest.raises(ValueError, match="needs JAX"):
        recomputed(ops.sin, ops.ones(2), policy="dots")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.recompute_policy=dots"], "nothing is recomputed"),
        (["model.recompute=block", "model.recompute_policy=dots"], "TensorFlow recomputes a part as a whole"),
        (["model.recompute=segment:3"], "a segment has more blocks than the model"),
        (["model.recompute=segment:0"], "model.recompute has an invalid value"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_run(task="afqmc", card_settings={}, model="test", overrides=overrides)


def test_settings_that_work_are_taken() -> None:
    for overrides in (
        ["model.recompute=segment:2"],
        ["model.recompute=block", "model.recompute_policy=dots"],
    ):
        run = load_run(
            task="afqmc", card_settings={}, model="test", overrides=overrides, flags={"backend": "jax"}
        )
        assert run.model.recompute == overrides[0].partition("=")[2]

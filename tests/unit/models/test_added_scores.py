"""Scores added in attention: their gradient by plain operations, in every form; positions made so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from support.programs import one_program

from clue_runner.architectures.settings import make_shape
from clue_runner.errors import UsageError
from clue_runner.models import attention_forms, dropout, kernels
from clue_runner.models.attention import KeyValues, SelfAttention
from clue_runner.models.attention_forms import attend_chunked, attend_fused, attend_whole
from clue_runner.models.backbone import Backbone, Embeddings
from clue_runner.models.kernels import bias_of
from clue_runner.models.positions import LearnedPositions, Positions
from clue_runner.models.transformer import Block

ROWS, HEADS, LENGTH, WIDTH, CHUNK = 3, 2, 21, 8, 8
KEY = np.array([12345, -678], np.int32)


def gradients(function: Callable[..., Any], values: list[Any], weight: Any) -> list[np.ndarray[Any, Any]]:
    """The value, and the gradients of sum(weight * function(*values)), compiled."""
    if keras.backend.backend() == "jax":
        import jax

        def total(*given: Any) -> tuple[Any, Any]:
            value = function(*given)
            return ops.sum(ops.cast(value, "float32") * weight), value

        graded = jax.jit(jax.value_and_grad(total, argnums=tuple(range(len(values))), has_aux=True))
        (_, value), found = graded(*map(ops.convert_to_tensor, values))
    else:
        import tensorflow as tf

        @tf.function(autograph=False)
        def graded(*given: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(given)
                value = function(*given)
                total = tf.reduce_sum(tf.cast(value, tf.float32) * weight)
            return value, tape.gradient(total, given)

        value, found = graded(*map(tf.constant, values))
    return [np.asarray(ops.convert_to_numpy(ops.cast(one, "float32"))) for one in (value, *found)]


def plain(drop: Any = None) -> Callable[..., Any]:
    """Attention without a gradient written by hand."""

    def attend(query: Any, key: Any, value: Any, added: Any, bias: Any) -> Any:
        scores = ops.einsum("bhqd,bhkd->bhqk", query, key) + added
        probabilities = ops.softmax(scores if bias is None else scores + bias, axis=-1)
        return ops.einsum("bhqk,bhkd->bhqd", probabilities if drop is None else probabilities * drop, value)

    return attend


def inputs() -> list[np.ndarray[Any, Any]]:
    draw = np.random.default_rng(0)
    return [draw.normal(size=(ROWS, HEADS, LENGTH, WIDTH)).astype(np.float32) for _ in range(3)]


def masks() -> dict[str, Any]:
    """No mask, padding, and padding with a causal mask."""
    padding = np.arange(LENGTH) < np.array([LENGTH, 1, 13])[:, None]
    causal = np.tril(np.ones((LENGTH, LENGTH), bool))[None, None] & padding[:, None, None, :]
    return {"none": None, "padding": padding, "causal": causal}


FORMS = {
    "whole": lambda q, k, v, added, bias: attend_whole(q, k, v, bias, None, added),
    "chunked": lambda q, k, v, added, bias: attend_chunked(q, k, v, bias, None, CHUNK, added),
}
SHAPES = [
    (ROWS, HEADS, LENGTH, LENGTH),
    (1, HEADS, LENGTH, LENGTH),
    (1, 1, LENGTH, LENGTH),
    (ROWS, HEADS, 1, LENGTH),
    (ROWS, 1, 1, LENGTH),
    (1, HEADS, 1, LENGTH),
]


# every shape under some mask, every mask on whole scores
MASKED = [("none", SHAPES[0]), ("padding", SHAPES[0]), ("causal", SHAPES[0]), ("causal", SHAPES[1])]
MASKED += [("none", SHAPES[2]), ("padding", SHAPES[3]), ("causal", SHAPES[4]), ("none", SHAPES[5])]


@pytest.mark.parametrize(("mask", "shape"), MASKED, ids=str)
def test_the_gradient_of_added_scores_is_that_of_plain_operations(mask: str, shape: tuple[int, ...]) -> None:
    seen = masks()[mask]
    bias = None if seen is None else bias_of(ops.convert_to_tensor(seen))
    values = [*inputs(), np.random.default_rng(1).normal(size=shape).astype(np.float32)]
    weight = np.random.default_rng(2).normal(size=values[0].shape).astype(np.float32)
    expected = gradients(lambda *given: plain()(*given, bias), values, weight)
    assert np.abs(expected[4]).max() > 1e-2
    for form in FORMS:
        found = gradients(lambda *given, form=form: FORMS[form](*given, bias), values, weight)
        assert found[4].shape == shape
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5, err_msg=form)


@pytest.mark.parametrize(("form", "shape"), [("whole", SHAPES[5]), ("chunked", SHAPES[1])], ids=str)
def test_under_dropout_it_is_that_of_the_same_masks(form: str, shape: tuple[int, ...]) -> None:
    site = dropout.site(ops.convert_to_tensor(KEY), "here", 0.3)
    assert site is not None
    whole = (ROWS, HEADS, LENGTH, LENGTH)
    if form == "whole":
        one = site.mask(whole, "float32")
        scale = ops.convert_to_numpy(one.keep) * one.factor
    else:  # three chunks of seven
        parts = [site.part(index).mask((ROWS, HEADS, 7, LENGTH), "float32") for index in range(3)]
        scale = np.concatenate([ops.convert_to_numpy(one.keep) * one.factor for one in parts], axis=2)
    values = [*inputs(), np.random.default_rng(1).normal(size=shape).astype(np.float32)]
    weight = np.random.default_rng(2).normal(size=values[0].shape).astype(np.float32)

    def own(query: Any, key: Any, value: Any, added: Any) -> Any:
        here = dropout.site(ops.convert_to_tensor(KEY), "here", 0.3)
        if form == "whole":
            return attend_whole(query, key, value, None, here, added)
        return attend_chunked(query, key, value, None, here, CHUNK, added)

    expected = gradients(lambda *given: plain(ops.convert_to_tensor(scale))(*given, None), values, weight)
    for one, other in zip(gradients(own, values, weight), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("form", list(FORMS))
def test_in_bfloat16_it_stays_float32_and_near(form: str) -> None:
    values = [*inputs(), np.random.default_rng(1).normal(size=SHAPES[1]).astype(np.float32)]
    weight = np.random.default_rng(2).normal(size=values[0].shape).astype(np.float32)
    exact = gradients(lambda *given: FORMS[form](*given, None), values, weight)

    def half(query: Any, key: Any, value: Any, added: Any) -> Any:
        return FORMS[form](*(ops.cast(one, "bfloat16") for one in (query, key, value)), added, None)

    found = gradients(half, values, weight)[4]
    assert np.abs(found - exact[4]).max() / np.abs(exact[4]).max() < 3e-2


@pytest.mark.parametrize("form", list(FORMS))
def test_padding_costs_no_gradient(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*given: Any) -> Any:
        raise AssertionError("a gradient that nobody needs")

    monkeypatch.setattr(kernels, "gradient_of_added", asked)
    monkeypatch.setattr(attention_forms, "gradient_of_added", asked)
    bias = bias_of(ops.convert_to_tensor(masks()["padding"]))
    weight = np.ones((ROWS, HEADS, LENGTH, WIDTH), np.float32)
    gradients(lambda q, k, v: FORMS[form](q, k, v, None, bias), inputs(), weight)


def test_the_fused_kernel_refuses_what_it_cannot_add() -> None:
    with pytest.raises(UsageError, match=r"model.attention.*cannot add the scores of this model's positions"):
        SelfAttention("a", 0, "float32", shape=shape_of_four(attention="fused"), positions=ByDistance(4))
    fused = network(LearnedPositions(32), attention="fused")
    with pytest.raises(UsageError, match="supports padding, but neither other masks nor added scores"):
        fused(tokens(), mask=np.zeros((1, 1, 9, 9), np.float32))
    causal = ops.convert_to_tensor(bias_of(ops.convert_to_tensor(masks()["causal"])))
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="supports no mask other than padding"):
            attend_fused(*map(ops.convert_to_tensor, inputs()), causal)


# ------------------------------------------------------------------------ positions that work in attention


class ByDistance(Positions):
    """One trained score for each distance and head."""

    in_attention = adds_scores = True

    def __init__(self, furthest: int) -> None:
        self.furthest = furthest

    def create(self, weight: Callable[..., Any], width: int) -> None:
        self.table = weight("distance", (2 * self.furthest + 1, 4))

    def scores(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> Any:
        distance = ops.clip(key_ids[:, None, :] - query_ids[:, :, None], -self.furthest, self.furthest)
        found = ops.take(ops.convert_to_tensor(self.table), distance + self.furthest, axis=0)
        return ops.transpose(found, (0, 3, 1, 2))


class Turning(Positions):
    """Queries and keys turned by their places, two numbers at a time."""

    in_attention = True

    def rotate(self, query: Any, key: Any, query_ids: Any, key_ids: Any) -> tuple[Any, Any]:
        return self._turned(query, query_ids), self._turned(key, key_ids)

    def _turned(self, values: Any, ids: Any) -> Any:
        half = values.shape[-1] // 2
        speed = ops.convert_to_tensor(10.0 ** -np.arange(half, dtype=np.float32))
        angle = ops.cast(ids, "float32")[:, None, :, None] * speed
        one, other = values[..., :half], values[..., half:]
        cosine, sine = ops.cos(angle), ops.sin(angle)
        return ops.concatenate([one * cosine - other * sine, other * cosine + one * sine], axis=-1)


def shape_of_four(**more: Any) -> Any:
    sizes = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "max_positions": 32}
    return make_shape("bert", **sizes, dropout=0.0, attention_dropout=0.0, **more)


def network(positions: Positions, *, shared: bool = False, **more: Any) -> Backbone:
    """An encoder as a family would build it: positions of its own, perhaps one block for all layers."""
    shape = shape_of_four(**more)
    common = (7, "float32")
    embeddings = Embeddings("backbone/embeddings", *common, shape=shape, vocab_size=30, positions=positions)
    blocks = [
        Block(
            f"backbone/block_{layer}",
            *common,
            shape=shape,
            attention=SelfAttention(
                f"backbone/block_{layer}/attention", *common, shape=shape, positions=positions
            ),
        )
        for layer in range(1 if shared else shape.num_layers)
    ]
    blocks *= shape.num_layers if shared else 1
    return Backbone(*common, shape=shape, embeddings=embeddings, blocks=blocks)


def tokens(rows: int = 3, length: int = 9) -> dict[str, np.ndarray[Any, Any]]:
    ids = np.random.default_rng(4).integers(1, 30, (rows, length)).astype(np.int32)
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids)}


def numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


def trained(backbone: Backbone, key: Any = KEY) -> dict[str, np.ndarray[Any, Any]]:
    """The gradient of a sum over the sequence for every weight."""
    batch, weight = tokens(), np.random.default_rng(5).normal(size=(3, 9, 16)).astype(np.float32)
    mask = np.arange(9) < np.array([9, 4, 7])[:, None]
    variables = backbone.trainable_variables
    names = [variable.path for variable in variables]
    if keras.backend.backend() == "jax":
        import jax

        def total(values: list[Any]) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return ops.sum(backbone(batch, mask=mask, key=ops.convert_to_tensor(key)).sequence * weight)

        found = jax.jit(jax.grad(total))([variable.value for variable in variables])
    else:
        import tensorflow as tf

        @tf.function(autograph=False)
        def run() -> Any:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(backbone(batch, mask=mask, key=tf.constant(key)).sequence * weight)
            return tape.gradient(total, [variable.value for variable in variables])

        found = run()
    return {name: numpy(tf_dense(one)) for name, one in zip(names, found, strict=True) if one is not None}


def tf_dense(gradient: Any) -> Any:
    return gradient if keras.backend.backend() == "jax" else ops.convert_to_tensor(gradient)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "chunked"},
        {"recompute": "block"},
        {"recompute": "sublayer", "attention": "chunked"},
        {"recompute": "segment:2"},
    ],
    ids=str,
)
def test_trained_positions_get_their_gradient_whatever_is_recomputed(options: dict[str, Any]) -> None:
    exact = trained(network(ByDistance(3)))
    (name,) = [name for name in exact if name.endswith("distance")]
    assert np.abs(exact[name]).min() > 0  # every distance and head moves
    if keras.backend.backend() == "jax" and options == {"recompute": "block"}:
        options = {**options, "recompute_policy": "dots"}
    found = trained(network(ByDistance(3), **options))
    assert found.keys() == exact.keys()
    for one, gradient in exact.items():
        np.testing.assert_allclose(found[one], gradient, rtol=1e-5, atol=2e-5, err_msg=one)


def test_the_gradient_of_a_trained_table_is_the_difference_that_it_makes() -> None:
    backbone = network(ByDistance(3))
    batch, weight = tokens(), np.random.default_rng(5).normal(size=(3, 9, 16)).astype(np.float32)
    mask = np.arange(9) < np.array([9, 4, 7])[:, None]
    table = backbone.embeddings.positions.table
    gradient = trained(backbone)[table.path]
    start, step = numpy(table), 1e-2
    for place in ((0, 0), (3, 1), (6, 3)):
        sums = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            table.assign(moved)
            sums.append(float((numpy(backbone(batch, mask=mask, key=KEY).sequence) * weight).sum()))
        table.assign(start)
        assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(gradient[place], abs=2e-2)


def test_turned_queries_and_keys_know_distances_alone() -> None:
    backbone, batch, mask = network(Turning()), tokens(), np.ones((3, 9), bool)
    for block in backbone.blocks:  # fresh weights attend evenly, wherever tokens stand
        for name in ("query", "key"):
            block.attention.kernels[name].assign(30 * numpy(block.attention.kernels[name]))
    places = np.arange(9, dtype=np.int32)[None] * np.ones((3, 1), np.int32)
    here = numpy(backbone(batch, mask=mask).sequence)
    np.testing.assert_allclose(numpy(backbone(batch, mask=mask, positions=places).sequence), here, atol=1e-6)
    far = numpy(backbone(batch, mask=mask, positions=places + 5).sequence)
    np.testing.assert_allclose(far, here, atol=1e-5)
    wide = numpy(backbone(batch, mask=mask, positions=2 * places).sequence)
    assert np.abs(wide - here).max() > 1e-2
    first = numpy(backbone(batch, mask=mask, positions=places, first_only=True).sequence)
    np.testing.assert_allclose(first[:, 0], here[:, 0], atol=1e-5)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_mask_of_queries_and_keys_hides_what_comes_later(kind: str) -> None:
    backbone, batch = network(LearnedPositions(32)), tokens()
    causal: Any = np.tril(np.ones((9, 9), bool))[None, None]
    if kind == "float":
        causal = np.where(causal, 0, -1e9).astype(np.float32)
    whole = numpy(backbone(batch, mask=causal).sequence)
    changed = {**batch, "token_ids": batch["token_ids"].copy()}
    changed["token_ids"][:, 6:] = 1
    found = numpy(backbone(changed, mask=causal).sequence)
    np.testing.assert_allclose(found[:, :6], whole[:, :6], atol=1e-6)
    assert np.abs(found[:, 6:] - whole[:, 6:]).max() > 1e-3


@pytest.mark.parametrize("make", [lambda: LearnedPositions(32), Turning, lambda: ByDistance(3)])
def test_tokens_given_one_by_one_with_a_cache_are_the_whole_row(make: Callable[[], Positions]) -> None:
    backbone, batch = network(make()), tokens()
    causal = np.tril(np.ones((9, 9), bool))
    whole = numpy(one_program(lambda: backbone(batch, mask=causal[None, None]).sequence)())
    run = one_program(lambda part, mask, cache: backbone(part, mask=mask, cache=cache))
    empty = ops.zeros((3, 4, 12, 4), "float32")
    ids = ops.zeros((1, 12), "int32")
    cache = [KeyValues(empty, empty, ids, ops.convert_to_tensor(0)) for _ in range(2)]
    found, start = [], 0
    for stop in (4, 5, 7, 9):  # a prompt of four, then one or two at a time
        part = {name: values[:, start:stop] for name, values in batch.items()}
        mask = np.arange(12) <= np.arange(start, stop)[:, None]
        encoded = run(part, mask[None, None], cache)
        found.append(numpy(encoded.sequence))
        cache, start = encoded.cache, stop
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, atol=1e-5)
    assert int(ops.convert_to_numpy(cache[0].filled)) == 9
    with pytest.raises(ValueError, match="works only for inference over all tokens"):
        backbone(part, mask=mask[None, None], cache=cache, key=KEY)


# ------------------------------------------------------------------------ layers by call


def test_one_block_in_every_layer_draws_other_masks_in_each() -> None:
    """Numbered at construction it would draw the same mask twice, and ``first_only`` would fire at once."""
    shape = shape_of_four().model_copy(update={"dropout": 0.5})
    block = Block("b", 1, "float32", shape=shape)
    state, seen = ops.ones((200, 16)), []
    for layer in (0, 1):
        mask = block._mask(state, f"layers/{layer}/attention/output", ops.convert_to_tensor(KEY))
        seen.append(ops.convert_to_numpy(mask.keep) > 0)
    assert 0.4 < (seen[0] == seen[1]).mean() < 0.6


def test_first_only_waits_for_the_last_layer() -> None:
    backbone, batch = network(LearnedPositions(32), shared=True), tokens()
    assert backbone.blocks[0] is backbone.blocks[1]
    mask = np.ones((3, 9), bool)
    whole = numpy(backbone(batch, mask=mask).sequence)
    first = numpy(backbone(batch, mask=mask, first_only=True).sequence)
    assert first.shape == (3, 1, 16)
    np.testing.assert_allclose(first[:, 0], whole[:, 0], atol=1e-6)


def test_a_narrow_embedding_is_mapped() -> None:
    """As ALBERT has it: another width before the blocks, and a layer in between."""

    class Narrow(type(shape_of_four())):
        @property
        def embedding_dim(self) -> int:
            return 6

    shape = Narrow.model_validate(shape_of_four().model_dump())
    common = (3, "float32")
    embeddings = Embeddings(
        "backbone/embeddings", *common, shape=shape, vocab_size=30, positions=LearnedPositions(32)
    )
    backbone = Backbone(
        *common, shape=shape, embeddings=embeddings, blocks=[Block("b", *common, shape=shape)]
    )
    assert tuple(embeddings.word.shape) == (30, 6) and tuple(embeddings.map_kernel.shape) == (6, 16)
    noise = np.ones((3, 9, backbone.embedding_width), np.float32)
    encoded = backbone(tokens(), mask=np.ones((3, 9), bool), noise=noise)
    assert tuple(encoded.sequence.shape) == (3, 9, 16)
    normed = numpy(embeddings(tokens(), noise=noise))
    word = numpy(embeddings.word)[tokens()["token_ids"]] + numpy(embeddings.positions.table)[None, :9]
    total = word + numpy(embeddings.segment)[0] + 1
    scaled = (total - total.mean(-1, keepdims=True)) / np.sqrt(total.var(-1, keepdims=True) + 1e-12)
    np.testing.assert_allclose(normed, (scaled @ numpy(embeddings.map_kernel)).reshape(-1, 16), atol=1e-5)

"""GPT2-ML against bert4keras's own GPT2_ML, its name map, its counts, and its key and value cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.programs import one_program

from clue_runner import load_backbone
from clue_runner.architectures.base import load_architecture, parameter_count
from clue_runner.architectures.settings import make_shape
from clue_runner.checkpoints.plan import Wanted, make_plan
from clue_runner.errors import CheckpointError
from clue_runner.models.decoding.network import empty_cache
from clue_runner.models.naming import named_variables

FAMILY = "gpt2_ml"
SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "max_positions": 12}
VOCABULARY = 30
GOLDEN = np.load(Path(__file__).parents[2] / "goldens" / "gpt2_ml.npz")
STORED = {name.removeprefix("weights/"): GOLDEN[name] for name in GOLDEN if name.startswith("weights/")}
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
}


def network(precision: str = "float32", **options: Any) -> Any:
    """The decoder with the golden's weights."""
    architecture = load_architecture(FAMILY)
    shape = make_shape(FAMILY, **SIZES, dropout=0.0, **options)
    layer = architecture.build(shape, VOCABULARY, precision=precision, seed=3)
    variables = named_variables(layer)
    entries = architecture.names.entries(SIZES["num_layers"])
    assert {entry.ours for entry in entries} == set(variables)
    assert {entry.google for entry in entries} == set(STORED)
    for entry in entries:
        variables[entry.ours].assign(STORED[entry.google])
    return layer


def runner(layer: Any) -> Callable[..., Any]:
    """What calls the network; plain tensors stand in for the variables, as outside a graph they must."""

    def run(token_ids: Any, mask: Any, cache: Any) -> Any:
        values = [(weight, keras.ops.stop_gradient(weight.value)) for weight in layer.weights]
        with keras.StatelessScope(state_mapping=values):
            return layer({"token_ids": token_ids}, mask=mask, cache=cache)

    program = one_program(run)
    return lambda token_ids, mask=None, cache=None: program(
        token_ids, np.ones(token_ids.shape, bool) if mask is None else mask, cache
    )


def array(tensor: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))


@pytest.mark.parametrize("form", ["auto", "chunked"])
def test_it_is_the_peer_s(form: str) -> None:
    layer = network(attention=form)
    hidden = array(runner(layer)(GOLDEN["token_ids"]).sequence)
    assert np.abs(hidden - GOLDEN["hidden"]).max() < 1e-5
    logits = hidden @ STORED["newslm/embeddings/word_embed"].T
    assert np.abs(logits - GOLDEN["logits"]).max() < 1e-4


@pytest.mark.parametrize("wiring", ["bert", "gpt2"])
def test_other_wirings_are_something_else(wiring: str) -> None:
    hidden = array(runner(network())(GOLDEN["token_ids"]).sequence)
    assert np.abs(hidden - GOLDEN[f"wirings/{wiring}"]).max() > 0.1


def test_a_later_token_changes_nothing_before_it() -> None:
    run, token_ids = runner(network()), GOLDEN["token_ids"].copy()
    before = array(run(token_ids).sequence)
    token_ids[:, 7] = (token_ids[:, 7] + 1) % VOCABULARY
    after = array(run(token_ids).sequence)
    assert np.array_equal(before[:, :7], after[:, :7])
    assert (np.abs(before[:, 7:] - after[:, 7:]).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.15)])
def test_steps_with_a_cache_are_the_whole_forward(precision: str, tolerance: float) -> None:
    layer, token_ids = network(precision), GOLDEN["token_ids"]
    run = runner(layer)
    rows, length = token_ids.shape
    whole = array(run(token_ids).sequence)
    cache = empty_cache(layer, rows, length)
    found = []
    for start, end in ((0, 5), *((place, place + 1) for place in range(5, length))):
        encoded = run(token_ids[:, start:end], mask=np.ones((rows, length), bool), cache=cache)
        cache = encoded.cache
        found.append(array(encoded.sequence))
    assert np.abs(np.concatenate(found, axis=1) - whole).max() < tolerance


@pytest.mark.parametrize(("vocabulary", "count"), [(8021, 1_373_809_152), (21128, 1_393_941_504)])
def test_the_published_sizes_are_counted_from_the_names(vocabulary: int, count: int) -> None:
    shape, names = make_shape(FAMILY), load_architecture(FAMILY).names
    assert parameter_count(shape, vocabulary) == count
    found = {entry.google: entry.shape(shape.axes(vocabulary)) for entry in names.entries(shape.num_layers)}
    assert len(found) == 772
    slots = {f"{name}/adafactor_v": size for name, size in found.items()} | {"global_step": ()}
    plan = make_plan(found | slots, Wanted(names, 48, shape.axes(vocabulary)), "google")
    assert not plan.problems and len(plan.sources) == 772 and len(plan.report) == 772 + 773


def folder(path: Path, config: str) -> Path:
    """A checkpoint as the release lies on a disk."""
    tf = pytest.importorskip("tensorflow")
    path.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(path / "model.ckpt-100000"),
        tensor_names=[*STORED, "newslm/layer00/output/bias/adafactor_v", "global_step"],
        shape_and_slices=[""] * (len(STORED) + 2),
        tensors=[*STORED.values(), np.zeros(16, np.float32), np.int64(100000)],
    )
    (path / config).write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def test_a_checkpoint_of_the_release_is_read(tmp_path: Path) -> None:
    backbone = load_backbone(folder(tmp_path / "release", f"{FAMILY}_config.json"))
    rules = [use.rule for use in backbone.checkpoint.report if use.rule]
    assert sorted(rules) == ["optimizer-slot", "step-counter"]
    sequence, pooled = backbone(GOLDEN["token_ids"])
    assert pooled is None and np.abs(sequence - GOLDEN["hidden"]).max() < 1e-5


def test_a_config_that_names_no_family_is_told_whose_the_weights_are(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_backbone(folder(tmp_path / "release", "config.json"))
    assert f'"model_type": "{FAMILY}"' in str(caught.value)

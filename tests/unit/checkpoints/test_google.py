"""TensorFlow checkpoints: real index files, damaged files, and no TensorFlow."""

from __future__ import annotations

import shutil
import sys

import pytest

from clue_runner.architectures.bert.names import NAMES
from clue_runner.architectures.bert.shape import Shape
from clue_runner.checkpoints.importer import read_checkpoint, read_settings
from clue_runner.checkpoints.plan import Wanted, make_plan
from clue_runner.errors import CheckpointError

RBT3 = Shape(num_layers=3, hidden_dim=768, intermediate_dim=3072), 21128
TINY = Shape(num_layers=4, hidden_dim=312, intermediate_dim=1248), 8021


def index_shapes(prefix):
    """Names and shapes of an index whose values are not there."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}


@pytest.fixture
def real_names(real_data):
    return real_data / "checkpoint_names"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "described", "used", "left_out"),
    [
        # RBT3's pre-training head has query, key and value layers of its own and a second bias
        ("rbt3", RBT3, 55, {"mlm-head": 12, "nsp-head": 2, "step-counter": 1}),
        ("roberta_tiny_clue", TINY, 71, {"task-head": 2, "step-counter": 1, "optimizer-slot": 142}),
    ],
)
def test_published_checkpoints_map_fully(real_names, file, described, used, left_out):
    pytest.importorskip("tensorflow")
    found = index_shapes(real_names / f"{file}.ckpt")
    shape, vocab_size = described
    plan = make_plan(found, Wanted(NAMES, shape.num_layers, shape.axes(vocab_size)), "google")
    assert not plan.problems
    assert len(plan.sources) == used
    rules = [use.rule for use in plan.report if use.rule]
    assert {rule: rules.count(rule) for rule in rules} == left_out
    assert used + len(rules) == len(found)


@pytest.mark.real_data
@pytest.mark.parametrize("config", ["albert_config_tiny.json", "bert_config.json"])
def test_the_published_albert_maps_fully(real_names, tmp_path, config):
    """Its config names no family; with the file's name or without, its keys tell."""
    pytest.importorskip("tensorflow")
    shutil.copy(real_names / "albert_config_tiny.json", tmp_path / config)
    shutil.copy(real_names / "albert_model.ckpt.index", tmp_path)
    (tmp_path / "albert_model.ckpt.data-00000-of-00001").write_bytes(b"")
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.architecture.name == "albert"
    assert checkpoint.config["widened"] == "words" and checkpoint.config["embedding_width"] == 128
    rules = [use.rule for use in checkpoint.report if use.rule]
    assert {rule: rules.count(rule) for rule in rules} == {"mlm-head": 5, "nsp-head": 2}
    assert len(checkpoint.weights) == 24
    with pytest.raises(CheckpointError, match="cannot be read"):
        dict(checkpoint.weights)  # the index alone holds no values


def test_an_albert_that_says_nothing_in_its_config_is_told_by_its_names(folders, tmp_path):
    pytest.importorskip("tensorflow")
    tensors = {
        name.replace("layer_0", "layer_shared"): value
        for name, value in folders.google_weights().items()
        if "layer_1" not in name
    }
    with pytest.raises(CheckpointError, match="these tensors are not bert's: ALBERT"):
        read_checkpoint(folders.write_google(tmp_path / "x", tensors))


def test_without_tensorflow_the_folder_is_refused_with_advice(folders, tmp_path, monkeypatch):
    folders.write_json(tmp_path / "bert_config.json", folders.CONFIG)
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"")
    (tmp_path / "bert_model.ckpt.data-00000-of-00001").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path)
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert "needs TensorFlow, which is not installed" in text and "model.safetensors" in text
    assert read_settings(tmp_path)["num_layers"] == 2  # the config needs none


def refused(folder, *parts):
    with pytest.raises(CheckpointError) as caught:
        dict(read_checkpoint(folder).weights)
    for part in parts:
        assert part in str(caught.value)


def test_damaged_and_ambiguous_checkpoints(folders, tmp_path):
    pytest.importorskip("tensorflow")
    folder = folders.write_google(tmp_path / "x")
    (data,) = folder.glob("*.data-*")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    refused(folder, "cannot be read", "bert_model.ckpt.index")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    data.write_bytes(bytes(flipped))
    refused(folder, "cannot be read")
    data.unlink()
    refused(folder, "data files are missing", "bert_model.ckpt.data-*")
    data.write_bytes(whole)
    index = folder / "bert_model.ckpt.index"
    shutil.copy(index, folder / "model.ckpt-7.index")
    refused(folder, "exactly one", "bert_model.ckpt.index, model.ckpt-7.index")
    (folder / "model.ckpt-7.index").unlink()
    index.write_bytes(b"nonsense")
    refused(folder, "cannot be read")

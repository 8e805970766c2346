"""Folders of every layout, good and bad, through the one entrance."""

from __future__ import annotations

import json
import pickle

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from clue_runner.checkpoints.importer import (
    find_vocab,
    read_checkpoint,
    read_settings,
)
from clue_runner.checkpoints.load import load_into
from clue_runner.errors import CheckpointError, RefusedFileError

FIELDS = {
    "family": "bert",
    "num_layers": 2,
    "hidden_dim": 32,
    "num_heads": 4,
    "intermediate_dim": 48,
    "max_positions": 24,
    "num_segments": 2,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-12,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "lowercase": True,
}


def refused(path, *parts, code=4):
    """Assert that ``path`` is refused with every part in its message; return the message."""
    with pytest.raises((CheckpointError, RefusedFileError)) as caught:
        checkpoint = read_checkpoint(path)
        dict(checkpoint.weights)
    text = str(caught.value)
    assert caught.value.exit_code == code
    for part in parts:
        assert str(part) in text
    return text


def test_a_hugging_face_folder(folders, tmp_path):
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "face"))
    assert checkpoint.layout == "huggingface" and checkpoint.has_pooler
    assert checkpoint.config == FIELDS == read_settings(tmp_path / "face")
    assert checkpoint.vocab_size == 40
    assert checkpoint.require_vocab() == tmp_path / "face" / "vocab.txt" == find_vocab(tmp_path / "face")[0]
    assert checkpoint.notices == ()
    assert_equal(checkpoint.weights, folders.our_weights())


def test_a_google_folder(folders, tmp_path):
    pytest.importorskip("tensorflow")
    tensors = folders.google_weights()
    tensors["bert/pooler/dense/bias/adam_m"] = tensors["bert/pooler/dense/bias"]
    tensors["cls/predictions/output_bias"] = np.zeros(40, np.float32)
    tensors["global_step"] = np.asarray(5, np.int64)
    checkpoint = read_checkpoint(folders.write_google(tmp_path / "google", tensors))
    assert checkpoint.layout == "google"
    assert checkpoint.config == FIELDS == read_settings(tmp_path / "google")
    assert_equal(checkpoint.weights, folders.our_weights())
    left_out = {use.name: use.rule for use in checkpoint.report if use.used_as is None}
    assert left_out == {
        "bert/pooler/dense/bias/adam_m": "optimizer-slot",
        "cls/predictions/output_bias": "mlm-head",
        "global_step": "step-counter",
    }
    assert checkpoint.lowercase and checkpoint.notices == ()


def assert_equal(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32_exactly(folders, tmp_path, dtype):
    half = {name: value.astype(dtype) for name, value in folders.face_weights("bert.").items()}
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "half", half))
    word = checkpoint.weights["backbone/embeddings/word"]
    assert word.dtype == np.float32
    np.testing.assert_array_equal(
        word, folders.our_weights()["backbone/embeddings/word"].astype(dtype).astype(np.float32)
    )


@pytest.mark.parametrize("value", [np.zeros(32, np.float64), np.zeros(32, np.int32)])
def test_other_types_are_refused(folders, tmp_path, value):
    tensors = {**folders.face_weights(), "pooler.dense.bias": value}
    refused(folders.write_face(tmp_path / "x", tensors), "pooler.dense.bias", value.dtype.name, "float32")


def test_nan_is_refused_by_name(folders, tmp_path):
    tensors = {name: np.array(value) for name, value in folders.face_weights().items()}
    tensors["encoder.layer.1.output.dense.bias"][3] = np.nan
    refused(
        folders.write_face(tmp_path / "x", tensors), "encoder.layer.1.output.dense.bias", "1 of 32 values"
    )


@pytest.mark.parametrize("layout", ["face", "google"])
def test_renamed_missing_and_misshaped_tensors_are_named(folders, tmp_path, layout):
    if layout == "google":
        pytest.importorskip("tensorflow")
    write, whole = {
        "face": (folders.write_face, folders.face_weights()),
        "google": (folders.write_google, folders.google_weights()),
    }[layout]
    first, second, third = sorted(whole)[5:8]
    renamed = {f"{name}x" if name == first else name: value for name, value in whole.items()}
    refused(
        write(tmp_path / "renamed", renamed),
        f"{first}: missing tensor",
        f"{first}x: unmapped tensor",
        "2 problems",
    )
    missing = {name: value for name, value in whole.items() if name != second}
    refused(write(tmp_path / "missing", missing), f"{second}: missing tensor", "1 problem\n")
    shaped = {**whole, third: np.zeros((3, 5), np.float32)}
    refused(write(tmp_path / "shaped", shaped), f"{third}: wrong shape, got [3, 5]", list(whole[third].shape))


def test_a_square_kernel_is_not_left_transposed(folders, tmp_path):
    """Shape checks cannot see a missing transposition of a square kernel; values do."""
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x"))
    stored = folders.face_weights()["encoder.layer.0.attention.self.query.weight"]
    np.testing.assert_array_equal(checkpoint.weights["backbone/block_0/attention/query/kernel"], stored.T)


def test_no_pooler_is_said(folders, tmp_path):
    tensors = {
        name: value for name, value in folders.face_weights().items() if not name.startswith("pooler.")
    }
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x", tensors))
    assert not checkpoint.has_pooler
    assert any("no pooler" in notice for notice in checkpoint.notices)
    variables = {name: Variable(value) for name, value in folders.our_weights().items()}
    variables["head/output/kernel"] = Variable(np.ones((32, 2), np.float32))
    assert load_into(variables, checkpoint) == ["backbone/pooler/bias", "backbone/pooler/kernel"]
    assert variables["head/output/kernel"].value is None
    assert variables["backbone/pooler/kernel"].value is None
    assert variables["backbone/embeddings/word"].value.any()


class Variable:
    dtype = "float32"

    def __init__(self, value):
        self.shape, self.value = value.shape, None

    def assign(self, value):
        self.value = value


def test_load_into_assigns_all_or_nothing(folders, tmp_path):
    ours = folders.our_weights()
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x"))
    variables = {name: Variable(value) for name, value in ours.items()}
    assert load_into(variables, checkpoint) == []
    np.testing.assert_array_equal(
        variables["backbone/embeddings/word"].value, ours["backbone/embeddings/word"]
    )
    wrong = {name: Variable(value) for name, value in ours.items()}
    wrong["backbone/embeddings/word"] = Variable(np.zeros((41, 32)))
    wrong["backbone/extra"] = wrong.pop("backbone/block_0/attention/key/bias")
    with pytest.raises(CheckpointError) as caught:
        load_into(wrong, checkpoint)
    text = str(caught.value)
    assert "backbone/embeddings/word: wrong shape, got [40, 32] (allowed: [41, 32])" in text
    assert "backbone/block_0/attention/key/bias: the model has no such tensor" in text
    assert "backbone/extra: the checkpoint has no such tensor" in text
    assert all(variable.value is None for variable in wrong.values())


def test_a_model_without_a_pooler_leaves_the_checkpoints(folders, tmp_path):
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x"))
    variables = {
        name: Variable(value) for name, value in folders.our_weights().items() if "pooler" not in name
    }
    assert load_into(variables, checkpoint) == []


def test_shards(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    tensors = {name: np.ascontiguousarray(value) for name, value in folders.face_weights().items()}
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    home = {name: f"model-0000{index % 2 + 1}-of-00002.safetensors" for index, name in enumerate(names)}
    for shard in set(home.values()):
        save_file({name: tensors[name] for name in names if home[name] == shard}, folder / shard)
    index = folder / "model.safetensors.index.json"
    folders.write_json(index, {"metadata": {}, "weight_map": home})
    assert_equal(read_checkpoint(folder).weights, folders.our_weights())
    folders.write_json(index, {"weight_map": {**home, names[0]: home[names[1]]}})
    refused(folder, "index and shards disagree", names[0])
    folders.write_json(index, {"weight_map": {**home, names[0]: "../outside.safetensors"}})
    refused(folder, "out of its folder", "../outside.safetensors", code=5)
    folders.write_json(index, {"weight_map": home})
    (folder / home[names[0]]).unlink()
    refused(folder, home[names[0]], "no such file")
    folders.write_json(index, {"weight_map": [1]})
    refused(folder, "weight_map")


def test_code_in_a_pickle_never_runs(folders, tmp_path):
    folder, marker = folders.write_face(tmp_path / "x"), tmp_path / "marker"
    (folder / "model.safetensors").unlink()

    class Attack:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    weights = folder / "pytorch_model.bin"
    weights.write_bytes(pickle.dumps(Attack()))
    for path in (folder, weights):
        refused(path, "carries code", "io.open", "nothing was run", "model.safetensors", code=5)
    assert not marker.exists()


def test_safetensors_beside_a_pickle_is_taken(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    (folder / "pytorch_model.bin").write_bytes(b"not opened")
    assert read_checkpoint(folder).layout == "huggingface"


def test_what_is_not_a_checkpoint(folders, tmp_path):
    refused(
        tmp_path / "absent",
        "no such checkpoint folder",
        tmp_path / "absent",
        "bert_config.json",
        "config.json",
    )
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "the folder contains no checkpoint", "an empty folder")
    folder = folders.write_face(tmp_path / "face")
    refused(folder / "vocab.txt", "a checkpoint is a folder", f"name the folder: {folder}")
    assert read_checkpoint(folder / "model.safetensors").sha256 == read_checkpoint(folder).sha256
    (folder / "model.safetensors").rename(folder / "weird.safetensors")
    refused(folder, "no model.safetensors", "weird.safetensors", "rename a single file")
    refused("hf:model", "not the name of a model", "hf:model")
    (tmp_path / "xlnet").mkdir()
    (tmp_path / "xlnet" / "xlnet_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "xlnet" / "xlnet_model.ckpt.index").write_bytes(b"")
    refused(tmp_path / "xlnet", "this family of models is not supported, got model_type 'xlnet'")


def test_two_checkpoints_in_a_folder_are_ambiguous(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    folders.write_json(folder / "bert_config.json", folders.CONFIG)
    (folder / "bert_model.ckpt.index").write_bytes(b"")
    refused(folder, "two checkpoints", "google and huggingface")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            {"model_type": "xlnet", "embedding_size": 128},
            ["this family of models is not supported", "'xlnet'", "albert, bert, deberta-v2"],
        ),
        ({"embedding_size": 128}, ["embedding_size", "the embedding is factorised", "32"]),
        ({"model_type": "roberta"}, ["'roberta'", "bert"]),
        (
            {"position_embedding_type": "relative_key"},
            ["position_embedding_type", "relative_key", "absolute"],
        ),
        ({"is_decoder": True}, ["is_decoder"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config", "absent"]),
        ({"hidden_act": "silu"}, ["hidden_act", "'silu'", "gelu_new"]),
        ({"hidden_size": 30}, ["num_attention_heads", "30 is not a multiple"]),
        (
            {"hidden_size": "32", "num_hidden_layers": 10**12},
            ["hidden_size: impossible value, got '32'", "num_hidden_layers"],
        ),
        ({"hidden_dropout_prob": 1.0, "layer_norm_eps": True}, ["hidden_dropout_prob", "layer_norm_eps"]),
        ({"vocab_size": None}, ["vocab_size: missing key"]),
        ({"num_hidden_layers": 3}, ["the weights have 2 blocks, but config.json says 3"]),
        ({"num_hidden_layers": 1}, ["the weights have 2 blocks, but config.json says 1"]),
        (
            {"intermediate_size": 64},
            ["encoder.layer.0.intermediate.dense.weight: wrong shape, got [48, 32] (allowed: [64, 32])"],
        ),
    ],
)
def test_configs_that_are_refused(folders, tmp_path, change, parts):
    refused(folders.write_face(tmp_path / "x", **change), *parts)


@pytest.mark.parametrize(("theirs", "ours"), [("gelu", "gelu"), ("gelu_new", "gelu_tanh"), ("relu", "relu")])
def test_activations(folders, tmp_path, theirs, ours):
    assert read_checkpoint(folders.write_face(tmp_path / "x", hidden_act=theirs)).config["activation"] == ours


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "[" * 100_000])
def test_broken_json_is_named(folders, tmp_path, text):
    folder = folders.write_face(tmp_path / "x")
    (folder / "config.json").write_text(text, encoding="utf-8")
    refused(folder, folder / "config.json")


def test_vocabulary_and_word_table(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    folders.write_vocab(folder, [*folders.PIECES, "extra"])
    refused(folder, "vocabulary is longer than the token embeddings", "41 lines", "up to 40")
    folders.write_vocab(folder, folders.PIECES[:-3])
    (notice,) = read_checkpoint(folder).notices
    assert "37 lines" in notice and "40 rows" in notice
    (folder / "vocab.txt").unlink()
    checkpoint = read_checkpoint(folder)
    assert checkpoint.vocab is None
    for call in (checkpoint.require_vocab, lambda: find_vocab(folder)):
        with pytest.raises(CheckpointError, match="no vocab.txt"):
            call()


@pytest.mark.parametrize(
    ("tokenizer", "lowercase"),
    [
        ({"do_lower_case": False}, False),
        ({"do_lower_case": True, "strip_accents": True}, True),
        ({}, True),
        (None, True),
    ],
)
def test_case(folders, tmp_path, tokenizer, lowercase):
    folder = folders.write_face(tmp_path / "x")
    if tokenizer is None:
        (folder / "tokenizer_config.json").unlink()
    else:
        folders.write_json(folder / "tokenizer_config.json", tokenizer)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.lowercase is lowercase is checkpoint.config["lowercase"]
    assert checkpoint.notices == ()


def test_identity_changes_with_any_file(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    first = read_checkpoint(folder)
    assert sorted(first.hashes) == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    assert read_checkpoint(folder).sha256 == first.sha256
    folders.write_json(
        folder / "config.json", {**json.loads((folder / "config.json").read_text("utf-8")), "note": 1}
    )
    assert read_checkpoint(folder).sha256 != first.sha256

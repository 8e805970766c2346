"""Where a checkpoint lies: names that publishers choose, paths that are no patterns, folders in folders."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from clue_runner.checkpoints.importer import find_vocab, read_checkpoint, read_settings
from clue_runner.errors import CheckpointError, DataError, StorageError

tensorflow = pytest.mark.skipif(
    __import__("importlib").util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


def refused(path, *parts, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        read_checkpoint(path)
    for part in parts:
        assert str(part) in str(caught.value)
    return caught.value


def same(checkpoint, folders):
    """Assert that the weights are those of the fixtures."""
    word = "backbone/embeddings/word"
    np.testing.assert_array_equal(checkpoint.weights[word], folders.our_weights()[word])


@tensorflow
@pytest.mark.parametrize(
    "name",
    [
        "bert_config_rbt3.json",
        "bert_config_large.json",
        "config.json",
        "My_Config.JSON",
        "config_bert_tiny.json",
    ],
)
def test_a_single_config_beside_an_index_is_taken_and_said(folders, tmp_path, name):
    folder = folders.write_google(tmp_path / "x")
    (folder / "bert_config.json").rename(folder / name)
    folders.write_json(folder / "tokenizer_config.json", {"do_lower_case": True})
    checkpoint = read_checkpoint(folder)
    same(checkpoint, folders)
    assert checkpoint.notices == (f"{name} in {folder} is used as the config of the weights",)
    assert folder / name in checkpoint.files
    assert read_settings(folder)["num_layers"] == 2


@tensorflow
def test_of_several_configs_the_usual_name_wins_and_else_none(folders, tmp_path):
    folder = folders.write_google(tmp_path / "x")
    shutil.copy(folder / "bert_config.json", folder / "bert_config_large.json")
    assert read_checkpoint(folder).notices == ()
    (folder / "bert_config.json").rename(folder / "bert_config_small.json")
    refused(folder, "several configs", "bert_config_large.json, bert_config_small.json", "bert_config.json")


@tensorflow
@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_a_prefix_is_a_path(folders, tmp_path, suffix):
    folder = folders.write_google(tmp_path / "x")
    (folder / "bert_model.ckpt.meta").write_bytes(b"a graph, never opened")
    checkpoint = read_checkpoint(folder / f"bert_model.ckpt{suffix}")
    same(checkpoint, folders)
    assert checkpoint.folder == folder
    (notice,) = checkpoint.notices
    assert str(folder / f"bert_model.ckpt{suffix}") in notice
    assert find_vocab(folder / f"bert_model.ckpt{suffix}")[0] == folder / "vocab.txt"


@tensorflow
def test_a_prefix_chooses_among_several(folders, tmp_path):
    folder = folders.write_google(tmp_path / "x", prefix="model.ckpt-10")
    folders.write_google(folder, prefix="model.ckpt-9")
    error = refused(folder, "several TensorFlow checkpoints", "model.ckpt-10.index, model.ckpt-9.index")
    assert error.next_step.endswith(str(folder / "model.ckpt-10"))
    same(read_checkpoint(folder / "model.ckpt-9"), folders)


@pytest.mark.parametrize("layout", ["face", pytest.param("google", marks=tensorflow)])
def test_an_inner_folder_is_taken_and_said(folders, tmp_path, layout):
    inner = tmp_path / "archive" / "chinese_L-12_H-768_A-12"
    (folders.write_face if layout == "face" else folders.write_google)(inner)
    for litter in ("__MACOSX", ".git"):
        shutil.copytree(inner, tmp_path / "archive" / litter)
    (tmp_path / "archive" / "README.md").write_text("x", encoding="utf-8")
    checkpoint = read_checkpoint(tmp_path / "archive")
    assert checkpoint.folder == inner
    assert checkpoint.notices == (f"the checkpoint lies in {inner}",)
    assert checkpoint.require_vocab() == find_vocab(tmp_path / "archive")[0] == inner / "vocab.txt"
    folders.write_face(tmp_path / "archive" / "other")
    refused(tmp_path / "archive", "several folders in this one", inner.name, "name the one you want")


def hub_model(folders, root, revisions=("abc",), main="abc"):
    """A model's folder in the hub's cache: files are links to blobs."""
    model = root / "models--someone--bert"
    for revision in revisions:
        snapshot = folders.write_face(model / "snapshots" / revision)
        for file in list(snapshot.iterdir()):
            blob = model / "blobs" / f"{revision}-{file.name}"
            blob.parent.mkdir(exist_ok=True)
            file.rename(blob)
            file.symlink_to(os.path.relpath(blob, snapshot))
    if main is not None:
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(main, encoding="utf-8")
    return model


@pytest.mark.parametrize("main", ["abc", "abc\n", None])
def test_a_model_in_the_hub_s_cache(folders, tmp_path, main):
    model = hub_model(folders, tmp_path, main=main)
    checkpoint = read_checkpoint(model)
    same(checkpoint, folders)
    assert checkpoint.folder == model / "snapshots" / "abc"
    assert "snapshots/abc" in checkpoint.notices[0]
    assert sorted(checkpoint.hashes) == [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_a_hub_s_cache_with_several_revisions(folders, tmp_path):
    model = hub_model(folders, tmp_path, ("abc", "def"), main="def")
    assert read_checkpoint(model).folder.name == "def"
    (model / "refs" / "main").write_text("../../elsewhere", encoding="utf-8")
    refused(model, "several folders", "abc, def")


@tensorflow
@pytest.mark.parametrize("name", ["a[1]", "b*?", "c {x,y}", "中文 模型", "d\\e", "f" * 200, "#~$g"])
def test_paths_are_no_patterns(folders, tmp_path, name):
    for neighbour in ("a1", "bxx", "c x"):
        folders.write_google(tmp_path / neighbour)
    folder = folders.write_google(tmp_path / "plain")
    (tmp_path / name).mkdir()
    for file in list(folder.iterdir()):
        file.rename(tmp_path / name / file.name.replace("bert_model", "模型[0-9]* v1"))
    checkpoint = read_checkpoint(tmp_path / name)
    assert dict(checkpoint.weights).keys() == folders.our_weights().keys()
    same(checkpoint, folders)
    same(read_checkpoint(tmp_path / name / "模型[0-9]* v1.ckpt"), folders)


@pytest.mark.parametrize("name", ["a[1]", "b*?", "中文 模型", "d\\e"])
def test_paths_of_other_layouts_are_no_patterns(folders, tmp_path, name):
    same(read_checkpoint(folders.write_face(tmp_path / name)), folders)


@tensorflow
def test_litter_is_no_checkpoint(folders, tmp_path):
    folder = folders.write_google(tmp_path / "x")
    for name in (
        "._bert_model.ckpt.index",
        "._bert_config.json",
        ".DS_Store",
        "bert_config.json~",
        "Thumbs.db",
    ):
        (folder / name).write_bytes(b"litter")
    (folder / "._bert_model.ckpt.data-00000-of-00001").write_bytes(b"litter")
    checkpoint = read_checkpoint(folder)
    same(checkpoint, folders)
    assert checkpoint.notices == ()


@tensorflow
def test_what_is_missing_of_a_tensorflow_checkpoint(folders, tmp_path):
    folder = folders.write_google(tmp_path / "x")
    index = folder / "bert_model.ckpt.index"
    (folder / "bert_config.json").rename(tmp_path / "bert_config.json")
    refused(folder, "weights, but no config", "as bert_config.json")
    refused(folder / "bert_model.ckpt", "weights, but no config")
    shutil.copy(tmp_path / "bert_config.json", folder)
    index.rename(tmp_path / index.name)
    refused(folder, "the list of tensors is missing", "bert_model.ckpt.index")
    shutil.copy(tmp_path / index.name, folder)
    (folder / "bert_model.ckpt.data-00000-of-00001").rename(folder / "bert_model.ckpt.data-00000-of-00002")
    refused(folder, "data files are missing: 1 of 2")


def test_what_is_missing_of_a_hugging_face_folder(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    (folder / "config.json").rename(tmp_path / "config.json")
    refused(folder, "weights, but no config", "as config.json")
    shutil.copy(tmp_path / "config.json", folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    refused(folder, "model.safetensors.index.json", "model-00001-of-00002.safetensors")
    (folder / "model-00001-of-00002.safetensors").unlink()
    refused(folder, "there is a config, but no weights", "git lfs pull")
    (folder / "flax_model.msgpack").write_bytes(b"\x80\x02")
    refused(folder, "left unread: flax_model.msgpack", "save_pretrained")
    (folder / "flax_model.msgpack").rename(folder / "model.keras")  # transformers cannot read it
    refused(folder, "left unread: model.keras", "as a TensorFlow checkpoint with the program that made it")
    (folder / "model.keras").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
    refused(folder, "pytorch_model.bin: the pickle in the file cannot be read")


def test_paths_that_no_system_has(tmp_path):
    refused(tmp_path / ("x" * 300), "not a path", kind=DataError)
    refused("a\0b", "not a path", kind=DataError)
    refused("~nobody-of-this-name/x", "home folder", kind=DataError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_just_now(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    folder.chmod(0)
    try:
        refused(folder, "cannot read", kind=StorageError)
    finally:
        folder.chmod(0o755)


@tensorflow
def test_the_command_line_takes_a_prefix_too(folders, tmp_path, monkeypatch):
    from clue_runner.config.model_choice import find_model

    folder = folders.write_google(tmp_path / "x")
    monkeypatch.chdir(folder)
    for text in ("./bert_model.ckpt", str(folder / "bert_model.ckpt")):
        assert find_model(text).resolve() == (folder / "bert_model.ckpt").resolve()

"""Files that are not what their names say, damaged, or changed meanwhile: the user's error, no traceback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct

import numpy as np
import pytest

from clue_runner.checkpoints.importer import find_vocab, read_checkpoint, read_settings
from clue_runner.checkpoints.load import load_into
from clue_runner.errors import CheckpointError, ClueError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 409168844\n"
PAGES = {
    "git-lfs pointer": LFS,
    "web page": b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
    "web page in capitals": b"<HTML><BODY>404</BODY></HTML>",
    "XML page": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "message": b"Entry not found",
    "answer": b'{"error":"Repository not found"}',
}


def refused(path, *parts, code=4):
    with pytest.raises(ClueError) as caught:
        checkpoint = read_checkpoint(path)
        dict(checkpoint.weights)
    assert caught.value.exit_code == code
    for part in parts:
        assert str(part) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("content", PAGES.values(), ids=PAGES.keys())
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.txt", "tokenizer_config.json"])
def test_what_is_saved_in_the_place_of_a_file_is_named(folders, tmp_path, file, content):
    """A pointer is no attack: exit 4, and how to get the file."""
    folder = folders.write_face(tmp_path / "x")
    (folder / file).write_bytes(content)
    error = refused(folder, folder / file, "the file was not downloaded")
    assert ("git lfs pull" in str(error)) is (content == LFS)


@pytest.mark.parametrize("content", [LFS, PAGES["web page"]])
@pytest.mark.parametrize("file", ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"])
def test_nor_is_it_given_to_tensorflow(folders, tmp_path, file, content):
    pytest.importorskip("tensorflow")
    folder = folders.write_google(tmp_path / "x")
    (folder / file).write_bytes(content)
    refused(folder, folder / file, "the file was not downloaded")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04", "torch.save"),
        (b"\x80\x02}q", "a pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_other_formats_under_the_name_of_weights(folders, tmp_path, head, what):
    folder = folders.write_face(tmp_path / "x")
    (folder / "model.safetensors").write_bytes(head + bytes(100))
    refused(folder, folder / "model.safetensors", "does not match its name", what)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link"])
def test_folders_and_pipes_where_files_should_be(folders, tmp_path, file, kind):
    folder = folders.write_face(tmp_path / "x")
    path = folder / file
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "absent")
    if kind == "dangling link" and file in {"vocab.txt", "tokenizer_config.json"}:
        read_checkpoint(folder)  # as if it were not there
        return
    refused(folder)


@pytest.mark.parametrize("name", ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_folders_and_pipes_of_a_tensorflow_checkpoint(folders, tmp_path, name, kind):
    pytest.importorskip("tensorflow")
    folder = folders.write_google(tmp_path / "x")
    (folder / name).unlink()
    (folder / name).mkdir() if kind == "folder" else os.mkfifo(folder / name)
    refused(folder, folder / name, "a folder" if kind == "folder" else "a named pipe")


def test_numbers_of_thousands_of_digits(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    text = json.dumps({"model_type": "bert", **folders.CONFIG})
    for digits in (5_000, 4_000, 400):
        (folder / "config.json").write_text(
            text.replace('"vocab_size": 40', f'"vocab_size": {"9" * digits}'), encoding="utf-8"
        )
        for read in (read_checkpoint, read_settings):
            with pytest.raises(CheckpointError) as caught:
                read(folder)
            assert len(str(caught.value)) < 1_000
        (folder / "config.json").write_text(
            text.replace('"hidden_dropout_prob": 0.1', f'"hidden_dropout_prob": {"9" * digits}'),
            encoding="utf-8",
        )
        refused(folder, folder / "config.json")


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": 7},
        {"model_type": ["bert"]},
        {"model_type": {}},
        {"hidden_size": True},
        {"hidden_size": 3.5},
        {"hidden_act": None},
        {"hidden_act": ["gelu"]},
        {"layer_norm_eps": "1e-12"},
        {"layer_norm_eps": 0},
        {"pruned_heads": {"0": [1]}},
        {"quantization_config": "int8"},
        {"vocab_size": [40]},
        {"is_decoder": "yes"},
    ],
    ids=str,
)
def test_values_of_other_types(folders, tmp_path, change):
    folder = folders.write_face(tmp_path / "x", **change)
    refused(folder, folder / "config.json", next(iter(change)))


def test_a_config_with_a_byte_order_mark_is_read(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text, encoding="utf-8-sig")
    assert read_checkpoint(folder).vocab_size == 40


def write_typed(path, dtype, size):
    """A safetensors file with one tensor of a type."""
    header = json.dumps(
        {"pooler.dense.bias": {"dtype": dtype, "shape": [32], "data_offsets": [0, size]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))


@pytest.mark.parametrize(("dtype", "size"), [("F8_E4M3", 32), ("F8_E5M2", 32), ("F4", 16), ("F128", 512)])
def test_types_that_numpy_does_not_have(folders, tmp_path, dtype, size):
    folder = folders.write_face(tmp_path / "x")
    tensors = {name: value for name, value in folders.face_weights().items() if name != "pooler.dense.bias"}
    names = sorted(tensors)
    home = dict.fromkeys(names, "model-1.safetensors") | {"pooler.dense.bias": "model-2.safetensors"}
    folders.write_face(folder, tensors)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    write_typed(folder / "model-2.safetensors", dtype, size)
    folders.write_json(folder / "model.safetensors.index.json", {"weight_map": home})
    refused(folder, dtype, "convert the checkpoint to float32")


def test_types_do_not_matter_where_the_tensor_is_left_out(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    tensors = folders.face_weights()
    home = dict.fromkeys(tensors, "model-1.safetensors") | {"classifier.bias": "model-2.safetensors"}
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    write_typed(folder / "model-2.safetensors", "F8_E4M3", 32)
    raw = (
        (folder / "model-2.safetensors").read_bytes().replace(b'"pooler.dense.bias"', b'"classifier.bias"  ')
    )
    (folder / "model-2.safetensors").write_bytes(raw)
    folders.write_json(folder / "model.safetensors.index.json", {"weight_map": home})
    checkpoint = read_checkpoint(folder)
    assert dict(checkpoint.weights)


def test_malformed_safetensors_stay_refused_as_an_attack(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    raw = (folder / "model.safetensors").read_bytes()
    for content in (raw[: len(raw) // 2], struct.pack("<Q", 2**60) + raw[8:], b""):
        (folder / "model.safetensors").write_bytes(content)
        refused(folder, code=5)


def test_bfloat16_is_read_before_a_backend_is_loaded(folders, tmp_path):
    import subprocess
    import sys

    import ml_dtypes

    half = {name: value.astype(ml_dtypes.bfloat16) for name, value in folders.face_weights().items()}
    folder = folders.write_face(tmp_path / "x", half)
    program = (
        "import sys\nfrom clue_runner.checkpoints.importer import read_checkpoint\n"
        f"weights = dict(read_checkpoint({str(folder)!r}).weights)\n"
        "print(len(weights), 'keras' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(len(half)), "False"]


@pytest.mark.parametrize("cut", ["front", "back", "flip"])
def test_damaged_indexes(folders, tmp_path, cut):
    pytest.importorskip("tensorflow")
    folder = folders.write_google(tmp_path / "x")
    index = folder / "bert_model.ckpt.index"
    raw, draw = index.read_bytes(), random.Random(1)
    for _ in range(25):
        place = draw.randrange(1, len(raw))
        damaged = bytearray(raw)
        damaged[place] ^= 255
        index.write_bytes({"front": raw[place:], "back": raw[:place], "flip": bytes(damaged)}[cut])
        try:
            dict(read_checkpoint(folder).weights)
        except ClueError as error:
            assert error.exit_code == 4
            assert str(index) in str(error) or str(folder) in str(error)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"])
def test_mutated_files_end_in_the_user_s_error(folders, tmp_path, file, seed):
    folder = folders.write_face(tmp_path / "x")
    raw, draw = (folder / file).read_bytes(), random.Random(seed)
    for _ in range(60):
        damaged = bytearray(raw)
        for _ in range(draw.choice([1, 2, 8])):
            place = draw.randrange(min(len(raw), 3_000))
            damaged[place : place + draw.choice([0, 1, 1, 40])] = draw.randbytes(draw.choice([0, 1, 1, 9]))
        (folder / file).write_bytes(bytes(damaged))
        try:
            checkpoint = read_checkpoint(folder)
            dict(checkpoint.weights)
            find_vocab(folder)
        except ClueError as error:
            assert error.exit_code in {4, 5}


def test_a_checkpoint_that_changes_while_it_is_read(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")
    checkpoint = read_checkpoint(folder)
    hashed = checkpoint.sha256
    variables = {name: Slot(value.shape) for name, value in folders.our_weights().items()}
    load_into(variables, checkpoint)  # unchanged: nothing to say
    other = {name: value + 1 for name, value in folders.face_weights().items()}
    folders.write_face(folder, other)
    variables = {name: Slot(value.shape) for name, value in folders.our_weights().items()}
    with pytest.raises(CheckpointError, match=r"model.safetensors.*changed while it was being read"):
        load_into(variables, checkpoint)
    assert all(slot.value is None for slot in variables.values())
    assert read_checkpoint(folder).sha256 != hashed


def test_a_file_is_read_once_for_hash_and_weights(folders, tmp_path, monkeypatch):
    from clue_runner.checkpoints.formats import safetensors_files

    folder = folders.write_face(tmp_path / "x")
    expected = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    checkpoint = read_checkpoint(folder)
    assert checkpoint.hashes["model.safetensors"] == expected
    monkeypatch.setattr(safetensors_files, "read_entry", None)  # nothing is opened any more
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)
    with pytest.raises(TypeError):
        checkpoint.weights["backbone/embeddings/word"]  # given away: a second time the file is read
    monkeypatch.undo()
    assert checkpoint.weights["backbone/embeddings/word"].any()


class Slot:
    dtype = "float32"

    def __init__(self, shape):
        self.shape, self.value = shape, None

    def assign(self, value: np.ndarray) -> None:
        self.value = value


def rewritten(path, change):
    """A safetensors file with another header; its values stay."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = change(json.loads(raw[8 : 8 + size]))
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + size :])


@pytest.mark.parametrize("size", [17_000_000, 99_000_000])
def test_a_header_larger_than_any_model_s_is_not_parsed(folders, tmp_path, size):
    folder = folders.write_face(tmp_path / "x")
    rewritten(folder / "model.safetensors", lambda header: json.dumps(header).encode().ljust(size))
    refused(folder, "at most 16,777,216", code=5)


def test_more_tensors_than_any_network_has(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x")

    def more(header):
        end = max(entry["data_offsets"][1] for entry in header.values())
        empty = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}
        return json.dumps({**header, **{f"z{number}": empty for number in range(6000)}}).encode()

    rewritten(folder / "model.safetensors", more)
    refused(folder, "more tensors than any known network")


def test_weights_without_a_tensor(folders, tmp_path):
    folder = folders.write_face(tmp_path / "x", tensors={})
    refused(folder, "no tensor at all")


@pytest.mark.parametrize("shard", ["model.safetensors.index.json", "config.json", "vocab.txt"])
def test_an_index_that_names_a_file_without_weights(folders, tmp_path, shard):
    folder = folders.write_face(tmp_path / "x")
    (folder / "model.safetensors").unlink()
    home = dict.fromkeys(folders.face_weights(), shard)
    folders.write_json(folder / "model.safetensors.index.json", {"weight_map": home})
    refused(folder, "malformed safetensors", code=5)

"""Our own weight files: exact, deterministic, whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from clue_runner.errors import CheckpointError, RefusedFileError, StorageError
from clue_runner.files import tensors as native
from clue_runner.files.tensors import read_safetensors, read_weights, save_weights


def some_state():
    random = np.random.default_rng(0)
    return {
        "b": random.normal(size=(3, 4)).astype(np.float32),
        "a": random.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
        "view": random.normal(size=(5, 2)).astype(np.float32).T,
        "scalar": np.asarray(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "odd": np.array([np.nan, -0.0, np.inf, 1e-42], np.float32),
    }


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state, path = some_state(), tmp_path / "weights.safetensors"
    save_weights(path, state, {"step": 3, "名": "值"})
    file = read_weights(path)
    loaded, meta = file.tensors, file.meta
    assert meta == {"step": 3, "名": "值"}
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        assert loaded[name].dtype == value.dtype and loaded[name].shape == value.shape, name
        assert loaded[name].tobytes() == value.tobytes(), name


def test_equal_states_give_equal_bytes(tmp_path):
    state = some_state()
    save_weights(tmp_path / "one", state, {"x": 1, "y": 2})
    save_weights(tmp_path / "two", dict(reversed(state.items())), {"y": 2, "x": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_hash_is_of_the_bytes_that_were_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, some_state(), {"step": 3})
    assert read_weights(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_safetensors(path).sha256 == read_weights(path).sha256


def test_a_file_of_any_origin(tmp_path):
    from safetensors.numpy import save_file

    path, state = tmp_path / "foreign", some_state()
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, path)
    file = read_safetensors(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.tensors.keys() == state.keys()
    for name, value in state.items():
        assert file.tensors[name].tobytes() == value.tobytes(), name
        assert file.tensors[name].flags.writeable


def test_files_are_as_readable_as_the_user_wants(tmp_path):
    mask = os.umask(0o027)
    try:
        save_weights(tmp_path / "w", some_state())
    finally:
        os.umask(mask)
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace", "save_file"])
def test_a_disk_fault_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, call):
    path = tmp_path / "weights.safetensors"
    save_weights(path, {"a": np.zeros(2, np.float32)})
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"fsync": os, "replace": Path, "save_file": native}[call]
    monkeypatch.setattr(owner, call, full)
    with pytest.raises(StorageError, match=r"No space left on device(.|\n)*8 bytes") as caught:
        save_weights(path, {"a": np.ones(2, np.float32)})
    assert caught.value.exit_code == 8 and str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        save_weights(tmp_path / "file" / "weights.safetensors", {})


def test_a_foreign_or_newer_file_is_not_ours(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a weight file of this program"):
        read_weights(tmp_path / "foreign")
    save_file({}, tmp_path / "newer", metadata={"clue_runner": json.dumps({"format": 2, "meta": {}})})
    with pytest.raises(CheckpointError, match="another version"):
        read_weights(tmp_path / "newer")
    with pytest.raises(CheckpointError, match="No such file"):
        read_weights(tmp_path / "absent")


def malformed(header: object, data: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


F8 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
ATTACKS = {
    "empty": b"",
    "header over 100 MB": struct.pack("<Q", 200_000_000) + b"{}",
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header not JSON": struct.pack("<Q", 4) + b"\x80\x04.." + b"\0" * 8,
    "overlap": malformed({"a": F8, "b": F8}),
    "offsets out of range": malformed({"a": {**F8, "shape": [4], "data_offsets": [0, 16]}}),
    "negative dimension": malformed({"a": {**F8, "shape": [-2]}}),
    "shape bomb": malformed({"a": {**F8, "shape": [2**40, 2**40]}}),
    "hidden bytes": malformed({"a": F8}, b"\0" * 100),
}


@pytest.mark.faults
@pytest.mark.parametrize("name", ATTACKS)
def test_malformed_files_are_refused(tmp_path, name):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(ATTACKS[name])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RefusedFileError) as caught:
        read_weights(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most
    assert grown * 1024 < 64 * 2**20, f"{grown} KiB were taken for a file of {len(ATTACKS[name])} bytes"
    assert caught.value.exit_code == 5 and str(path) in str(caught.value)


@pytest.mark.faults
def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, some_state())
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(RefusedFileError):
            read_weights(path)

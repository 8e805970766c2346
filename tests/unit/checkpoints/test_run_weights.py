"""The weights of one of our runs as a checkpoint: what its manifest lists, read once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.architectures.settings import header
from clue_runner.checkpoints.formats import run_weights
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import CheckpointError
from clue_runner.files.tensors import save_weights


@pytest.fixture
def state(folders: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "step-1"
    folder.mkdir()
    weights = folders.our_weights() | {"head/kernel": np.zeros((2, 2), np.float32)}
    save_weights(folder / "weights.safetensors", weights, header(folders.SHAPE, 40, lowercase=True))
    folders.write_vocab(folder)
    sign(folder)
    return folder


def sign(folder: Path) -> None:
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}), encoding="utf-8")


@pytest.mark.parametrize("hashed", [True, False])
def test_weights_that_the_manifest_does_not_list_are_refused(folders: Any, state: Path, hashed: bool) -> None:
    word = "backbone/embeddings/word"
    np.testing.assert_array_equal(read_checkpoint(state).weights[word], folders.our_weights()[word])
    other = folders.our_weights(seed=1)
    save_weights(state / "weights.safetensors", other, header(folders.SHAPE, 40, lowercase=True))
    checkpoint = read_checkpoint(state)
    with pytest.raises(
        CheckpointError, match=r"damaged: weights.safetensors is not the file listed in its manifest"
    ):
        _ = checkpoint.sha256 if hashed else checkpoint.weights[word]
    sign(state)
    np.testing.assert_array_equal(read_checkpoint(state).weights[word], other[word])


def test_a_copy_without_a_manifest_is_taken_as_it_is(folders: Any, state: Path) -> None:
    (state / "manifest.json").unlink()
    assert read_checkpoint(state).weights.keys() >= folders.our_weights().keys()


def test_averaged_weights_are_compared_too(folders: Any, state: Path) -> None:
    averaged = {f"ema/{name}": value for name, value in folders.our_weights(seed=2).items()}
    save_weights(state / "ema.safetensors", averaged, header(folders.SHAPE, 40, lowercase=True))
    sign(state)
    word = "backbone/embeddings/word"
    np.testing.assert_array_equal(read_checkpoint(state).weights[word], averaged[f"ema/{word}"])
    raw = bytearray((state / "ema.safetensors").read_bytes())
    raw[-1] ^= 1
    (state / "ema.safetensors").write_bytes(bytes(raw))
    with pytest.raises(CheckpointError, match="ema.safetensors is not the file"):
        _ = read_checkpoint(state).hashes


def test_the_weights_are_read_once_for_hash_and_values(folders: Any, state: Path, monkeypatch: Any) -> None:
    opened = []
    read = run_weights.read_safetensors
    monkeypatch.setattr(run_weights, "read_safetensors", lambda path: opened.append(path) or read(path))
    checkpoint = read_checkpoint(state)
    assert checkpoint.sha256
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)
    assert opened == [state / "weights.safetensors"]


def test_a_name_that_is_nothing_says_what_a_model_may_be(clue: Any) -> None:
    outcome = clue("train", "--task", "afqmc", "--data", "sample", "--model", "nosuch")
    assert outcome.exit_code == 2
    assert "a checkpoint's folder, or hf:OWNER/NAME" in outcome.stderr
    assert "there is no folder nosuch either" in outcome.stderr

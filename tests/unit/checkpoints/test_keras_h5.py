"""``tf_model.h5``: names as ``transformers`` 4 wrote them, values as they lie, and nothing from elsewhere."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from clue_runner.checkpoints.formats.keras_h5 import KerasReader, face_name
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.errors import ClueError

# Names of a file of transformers 4 (TFBertForPreTraining, TFBertModel), and of the same model in PyTorch.
NAMES = {
    "bert/tf_bert_model/bert/embeddings/word_embeddings/weight:0": (
        "bert.embeddings.word_embeddings.weight",
        False,
    ),
    "bert/tf_bert_model/bert/embeddings/position_embeddings/embeddings:0": (
        "bert.embeddings.position_embeddings.weight",
        False,
    ),
    "bert/tf_bert_model/bert/embeddings/LayerNorm/gamma:0": ("bert.embeddings.LayerNorm.weight", False),
    "bert/tf_bert_model/bert/encoder/layer_._11/attention/self/query/kernel:0": (
        "bert.encoder.layer.11.attention.self.query.weight",
        True,
    ),
    "mlm___cls/tf_bert_for_pre_training/mlm___cls/predictions/transform/dense/kernel:0": (
        "cls.predictions.transform.dense.weight",
        True,
    ),
    "mlm___cls/tf_bert_for_pre_training/mlm___cls/predictions/bias:0": ("cls.predictions.bias", False),
    "nsp___cls/tf_bert_for_pre_training/nsp___cls/seq_relationship/kernel:0": (
        "cls.seq_relationship.weight",
        True,
    ),
}


def test_names() -> None:
    assert {path: face_name(path) for path in NAMES} == NAMES


def keras_name(name: str) -> str:
    """A PyTorch name as transformers 4 wrote it for TensorFlow."""
    parts = name.replace("encoder.layer.", "encoder.layer#").split(".")
    if parts[-2] == "LayerNorm":
        parts[-1] = {"weight": "gamma", "bias": "beta"}[parts[-1]]
    elif parts[-1] == "weight" and not parts[-2].endswith("embeddings"):
        parts[-1] = "kernel"
    return "/".join(["bert", "tf_bert_model", *parts]).replace("#", "_._") + ":0"


@pytest.fixture
def folder(folders: Any, tmp_path: Path) -> Path:
    folder = folders.write_face(tmp_path / "x")
    (folder / "model.safetensors").unlink()
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for name, value in folders.face_weights("bert.").items():
            path = keras_name(name)
            file[path] = value.T if path.endswith("kernel:0") else value
        file["optimizer_weights/iterations:0"] = 3
    return folder


@pytest.mark.parametrize("hashed", [True, False])
def test_a_folder_gives_the_weights_of_its_safetensors(folders: Any, folder: Path, hashed: bool) -> None:
    checkpoint = read_checkpoint(folder)
    if hashed:
        assert "tf_model.h5" in checkpoint.hashes
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)


def refused(path: Path, *parts: str, code: int) -> None:
    with pytest.raises(ClueError) as caught:
        KerasReader(path)
    assert caught.value.exit_code == code, str(caught.value)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_files_that_point_elsewhere_or_grow(tmp_path: Path) -> None:
    other = tmp_path / "secret"
    other.write_bytes(bytes(400))
    path = tmp_path / "tf_model.h5"
    rows = np.zeros(100, np.float32)

    def write(put: Any) -> Path:
        with h5py.File(path, "w") as file:
            put(file)
        return path

    write(lambda file: file.__setitem__("a", h5py.ExternalLink(str(other), "/b")))
    refused(path, "a link", code=5)
    write(lambda file: file.__setitem__("a", h5py.SoftLink("/b")))
    refused(path, "a link", code=5)
    write(lambda file: file.create_dataset("a", (100,), "f4", external=[(str(other), 0, 400)]))
    refused(path, "from another file", code=5)
    layout = h5py.VirtualLayout((100,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "b", (100,))
    write(lambda file: file.create_virtual_dataset("a", layout))
    refused(path, "from another file", code=5)
    write(lambda file: file.create_dataset("a", data=rows, compression="gzip"))
    refused(path, "compressed or not stored contiguously", code=5)
    write(lambda file: file.create_dataset("a", (2**40,), "f4", chunks=(1024,)))
    refused(path, "compressed or not stored contiguously", code=5)
    write(lambda file: file.create_dataset("a", data=np.array([b"x" * 9])))
    refused(path, "which weights never have", code=4)
    write(lambda file: file.__setitem__("a", rows.astype(">f4")))
    refused(path, "which weights never have", code=4)
    write(lambda file: file.create_group("a").__setitem__("a", file["a"]))
    refused(path, "more groups than a model can have", code=5)
    write(lambda file: None)
    refused(path, "contains no tensors", code=4)
    path.write_bytes(b"PK\x03\x04")
    refused(path, "not an HDF5 file", code=4)


def test_mutated_files_end_in_the_user_s_error(folder: Path) -> None:
    path = folder / "tf_model.h5"
    raw, draw = path.read_bytes(), random.Random(5)
    for _ in range(40):
        damaged = bytearray(raw)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(bytes(damaged[: draw.choice([len(raw), draw.randrange(len(raw))])]))
        try:
            dict(read_checkpoint(folder).weights)
        except ClueError as error:
            assert error.exit_code in {4, 5}

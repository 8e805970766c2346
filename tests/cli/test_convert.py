"""``clue convert``: both layouts, every type, a run's weights; bit for bit, all or nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from clue_runner.architectures.settings import header
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.files.tensors import save_weights

UNIT = Path(__file__).parents[1] / "unit" / "checkpoints" / "conftest.py"
tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


@pytest.fixture(scope="module")
def folders() -> Any:
    """The small checkpoints of the room's own tests."""
    spec = importlib.util.spec_from_file_location("small_checkpoints", UNIT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Our names -> type and bytes."""
    weights = read_checkpoint(folder).weights
    values = {name: weights.exact(name) for name in weights}
    return {name: (value.dtype.name, value.tobytes()) for name, value in values.items()}


@tensorflow
@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_both_ways_and_back_is_bit_equal(folders: Any, tmp_path: Path, clue: Callable, kind: Any) -> None:
    tensors = {name: value.astype(kind) for name, value in folders.face_weights().items()}
    folder = folders.write_face(tmp_path / "face", tensors)
    first = clue("convert", folder, tmp_path / "google", "--to", "tensorflow")
    assert first.exit_code == 0, first.stderr
    second = clue("convert", tmp_path / "google", tmp_path / "back", "--json")
    result = json.loads(second.stdout.splitlines()[-1])
    assert result["ok"] and result["tensors"] == len(tensors) and result["left_out"] == {}
    assert stored(tmp_path / "back") == stored(tmp_path / "google") == stored(folder)
    raw = (folder / "model.safetensors").read_bytes(), (tmp_path / "back/model.safetensors").read_bytes()
    sizes = [int.from_bytes(one[:8], "little") for one in raw]
    tables = [json.loads(one[8 : 8 + size]) for one, size in zip(raw, sizes, strict=True)]
    assert tables[1].pop("__metadata__") == {"format": "pt"}
    assert tables[0] == tables[1] and raw[0][8 + sizes[0] :] == raw[1][8 + sizes[1] :]
    for name in ("google", "back"):
        assert (tmp_path / name / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()


@tensorflow
def test_heads_of_pre_training_go_along_and_the_rest_is_said(folders: Any, tmp_path: Path, clue: Any) -> None:
    tensors = folders.google_weights()
    draw = np.random.default_rng(3)
    further = {
        "cls/predictions/transform/dense/kernel": (32, 32),
        "cls/predictions/transform/dense/bias": (32,),
        "cls/predictions/transform/LayerNorm/gamma": (32,),
        "cls/predictions/transform/LayerNorm/beta": (32,),
        "cls/predictions/output_bias": (40,),
        "cls/seq_relationship/output_weights": (2, 32),
        "cls/seq_relationship/output_bias": (2,),
        "bert/pooler/dense/bias/adam_m": (32,),
        "global_step": (),
    }
    tensors |= {name: draw.normal(size=shape).astype(np.float32) for name, shape in further.items()}
    folder = folders.write_google(tmp_path / "google", tensors)
    outcome = clue("convert", folder, tmp_path / "face")
    assert outcome.exit_code == 0, outcome.stderr
    for line in ("2 tensors left out by the rule nsp-head", "1 tensor left out by the rule optimizer-slot"):
        assert line in outcome.stdout
    heads = ("masked_words",)
    there = read_checkpoint(tmp_path / "face", heads=heads).weights
    for name, value in read_checkpoint(folder, heads=heads).weights.items():
        np.testing.assert_array_equal(there[name], value)
    assert clue("convert", tmp_path / "face", tmp_path / "again", "--to", "tensorflow").exit_code == 0
    again = read_checkpoint(tmp_path / "again", heads=heads).weights
    assert all(np.array_equal(again[name], value) for name, value in there.items())


def test_a_run_s_weights_become_a_folder_without_their_head(folders: Any, tmp_path: Path, clue: Any) -> None:
    state = tmp_path / "step-7"
    state.mkdir()
    weights = folders.our_weights() | {"head/kernel": np.zeros((2, 2), np.float32)}
    shape = folders.SHAPE.model_copy(update={"activation": "gelu_tanh", "positions": "hierarchical"})
    save_weights(state / "weights.safetensors", weights, header(shape, 40, lowercase=False))
    folders.write_vocab(state)
    outcome = clue("convert", state, tmp_path / "face")
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 tensor left out by the rule task-head" in outcome.stdout
    assert "model.positions=hierarchical" in outcome.stderr
    checkpoint = read_checkpoint(tmp_path / "face")
    assert checkpoint.shape.activation == "gelu_tanh" and checkpoint.lowercase is False
    for name, value in folders.our_weights().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value)


def test_what_exists_is_not_written_over(folders: Any, tmp_path: Path, clue: Any) -> None:
    folder = folders.write_face(tmp_path / "face")
    before = sorted(path.name for path in folder.iterdir())
    outcome = clue("convert", folder, folder)
    assert outcome.exit_code == 2 and "nothing is overwritten" in outcome.stderr
    assert sorted(path.name for path in folder.iterdir()) == before
    assert clue("convert", tmp_path / "none", tmp_path / "x").exit_code == 3
    assert clue("convert", "bert-base", tmp_path / "x").exit_code == 4
    assert clue("convert", folder, tmp_path / "x", "--to", "onnx").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_a_damaged_source_leaves_nothing(folders: Any, tmp_path: Path, clue: Any) -> None:
    tensors = folders.face_weights()
    tensors["pooler.dense.bias"] = tensors["pooler.dense.bias"] * np.float32("nan")
    folder = folders.write_face(tmp_path / "face", tensors)
    outcome = clue("convert", folder, tmp_path / "new")
    assert outcome.exit_code == 4 and "NaN" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "clue-home"] == ["face"]


def test_the_other_layout_needs_tensorflow(folders: Any, tmp_path: Path, clue: Any, monkeypatch: Any) -> None:
    folder = folders.write_face(tmp_path / "face")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    outcome = clue("convert", folder, tmp_path / "new", "--to", "tensorflow")
    assert outcome.exit_code == 4
    assert "needs TensorFlow" in outcome.stderr and "--to huggingface" in outcome.stderr
    assert not (tmp_path / "new").exists()


@tensorflow
@pytest.mark.parametrize("name", ["albert", "electra", "nezha", "roformer-v2"])
def test_every_family_with_names_in_both_layouts(tmp_path: Path, clue: Any, name: str) -> None:
    source = Path(__file__).parents[1] / "goldens" / "encoders" / name
    assert clue("convert", source, tmp_path / "google", "--to", "tensorflow").exit_code == 0
    assert clue("convert", tmp_path / "google", tmp_path / "back").exit_code == 0
    assert stored(tmp_path / "back") == stored(source)


def test_a_family_without_names_in_a_layout_says_so(tmp_path: Path, clue: Any) -> None:
    source = Path(__file__).parents[1] / "goldens" / "encoders" / "deberta"
    outcome = clue("convert", source, tmp_path / "google", "--to", "tensorflow")
    assert outcome.exit_code == 4 and "cannot be written in this layout" in outcome.stderr
    assert clue("convert", source, tmp_path / "face").exit_code == 0
    assert stored(tmp_path / "face") == stored(source)

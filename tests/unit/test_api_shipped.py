"""The encoder that ships: it is there, small, whole, and has learnt what follows what."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

import clue_runner
from clue_runner.config.presets import model_preset, model_presets
from clue_runner.config.shipped import shipped_folder
from clue_runner.errors import UsageError

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
SHIPPED = [name for name in model_presets() if model_preset(name).kind == "shipped"]


def test_one_encoder_ships() -> None:
    assert SHIPPED == ["clue-mini"]


@pytest.mark.parametrize("name", SHIPPED)
def test_its_files_are_those_of_its_card(name: str) -> None:
    folder = model_preset(name).local_folder
    assert folder.parent == shipped_folder("configs") / "models"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    facts = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    assert f"{facts['steps']:,} of" in card and f"{facts['heldout']['masked_accuracy']:.2f} %" in card
    vocabulary = (folder / "vocab.txt").read_bytes()
    shared = shipped_folder("configs") / "models" / "vocab" / "zh.txt"
    assert hashlib.sha256(vocabulary).digest() == hashlib.sha256(shared.read_bytes()).digest()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_has_the_shape_of_its_weights(name: str) -> None:
    preset = model_preset(name)
    config = json.loads((preset.local_folder / "config.json").read_text(encoding="utf-8"))
    shape = preset.shape()
    assert (config["num_hidden_layers"], config["hidden_size"]) == (shape["num_layers"], shape["hidden_dim"])
    assert config["vocab_size"] == preset.vocab_size
    assert config["hidden_dropout_prob"] == 0.1  # for fine-tuning


def test_it_has_learnt_which_words_are_alike() -> None:
    """Frozen vectors of sentences that say the same are closer than those of others."""
    tokenizer = clue_runner.load_tokenizer("clue-mini")
    backbone = clue_runner.load_backbone("clue-mini", backend=BACKEND)  # type: ignore[arg-type]
    texts = (
        "公司应当依法缴纳税款。",
        "企业应该依照法律交税。",
        "把鸡蛋打散，倒入锅中翻炒。",
        "将鸡蛋搅匀后下锅炒熟。",
    )
    batch = tokenizer(texts)
    sequence, pooled = backbone(*batch)
    assert pooled is None
    vectors = [
        row[:length].astype(np.float64).mean(0) for row, length in zip(sequence, batch[2], strict=True)
    ]
    points = np.stack(vectors) - np.mean(vectors, axis=0)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    alike = points @ points.T
    assert min(alike[0, 1], alike[2, 3]) > 0.2 > -0.1 > alike[:2, 2:].max()


def test_its_tokenizer_makes_the_arrays_of_its_encoder() -> None:
    tokenizer = clue_runner.load_tokenizer("clue-mini")
    ids, segments, lengths = tokenizer(["你好", ("你", "好啊")])
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    you, good, ah = (tokenizer.token_id(piece) for piece in "你好啊")
    pad = tokenizer.pad_id
    assert ids.tolist() == [[cls, you, good, sep, pad, pad], [cls, you, sep, good, ah, sep]]
    assert segments.tolist() == [[0] * 6, [0, 0, 0, 1, 1, 1]] and lengths.tolist() == [4, 6]
    assert tokenizer("你好")[0].tolist() == [[cls, you, good, sep]]
    assert tokenizer(["你好啊"], max_length=4)[0].tolist() == [[cls, you, good, sep]]
    for wrong in ([], [5], [("a", 5)], [()]):
        with pytest.raises(UsageError, match="takes texts"):
            tokenizer(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no room"):
        tokenizer("你", max_length=1)

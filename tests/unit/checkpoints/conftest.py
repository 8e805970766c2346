"""Small checkpoints in each layout, with the same random weights; fixture ``folders`` is this module."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from clue_runner.architectures.bert.names import NAMES
from clue_runner.architectures.bert.shape import Shape
from clue_runner.checkpoints.plan import Wanted

SHAPE = Shape(num_layers=2, hidden_dim=32, num_heads=4, intermediate_dim=48, max_positions=24)
WANTED = Wanted(NAMES, SHAPE.num_layers, SHAPE.axes(40))
CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "vocab_size": 40,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.0,
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(0x4E00 + number) for number in range(35))]


@pytest.fixture(scope="session")
def folders():
    return sys.modules[__name__]


def our_weights(seed=0):
    """Return random weights by our names."""
    random = np.random.default_rng(seed)
    return {
        entry.ours: random.normal(0, 0.5, entry.shape(WANTED.axes)).astype(np.float32)
        for entry in WANTED.entries()
    }


def face_weights(prefix=""):
    """Return the same weights by Hugging Face's names."""
    ours = our_weights()
    return {
        prefix + entry.hugging_face: ours[entry.ours].T
        if entry.transposed("huggingface")
        else ours[entry.ours]
        for entry in WANTED.entries()
    }


def google_weights():
    """Return the same weights by Google's names."""
    ours = our_weights()
    return {entry.google: ours[entry.ours] for entry in WANTED.entries()}


def write_face(folder: Path, tensors=None, **config) -> Path:
    """Write a Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = face_weights() if tensors is None else tensors
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    write_json(folder / "config.json", {"model_type": "bert", **CONFIG, **config})
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True})
    write_vocab(folder)
    return folder


def write_google(folder: Path, tensors=None, prefix="bert_model.ckpt", **config) -> Path:
    """Write a folder in the layout of the BERT release; needs TensorFlow."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    tensors = google_weights() if tensors is None else tensors
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(folder / prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    write_json(folder / "bert_config.json", {**CONFIG, **config})
    write_vocab(folder)
    return folder


def write_vocab(folder: Path, pieces=PIECES) -> None:
    """Write vocab.txt."""
    (folder / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in pieces), encoding="utf-8", newline="\n"
    )


def write_json(path: Path, content) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")

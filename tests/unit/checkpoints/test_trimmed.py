"""A checkpoint with fewer pieces: the same answers from a smaller table, and a run that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.checkpoints.trimmed import trim

VOCAB = Path(__file__).parents[3] / "configs/models/vocab/zh.txt"


def test_tables_of_pieces_alone_change(folders: Any, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(folders.write_face(tmp_path / "x"))
    rows = ((0,), (3,), (39,), (5, 6))
    small, ours = trim(checkpoint, rows), folders.our_weights()
    word = "backbone/embeddings/word"
    assert small.vocab_size == 4 and small.weights.shape(word) == (4, 32)
    assert small.sha256 == checkpoint.sha256
    np.testing.assert_array_equal(small.weights[word][:3], ours[word][[0, 3, 39]])
    np.testing.assert_allclose(small.weights[word][3], ours[word][5:7].mean(axis=0), rtol=1e-6)
    for name in set(ours) - {word}:
        np.testing.assert_array_equal(small.weights[name], ours[name])
    with pytest.raises(ValueError, match="pre-training heads"):
        trim(read_checkpoint(tmp_path / "x", heads=("masked_words",)), rows)


def big_vocabulary(folders: Any, folder: Path) -> Path:
    """A checkpoint whose table has a row for each shipped piece."""
    pieces = VOCAB.read_text(encoding="utf-8").splitlines()
    tensors = folders.face_weights()
    draw = np.random.default_rng(4)
    tensors["embeddings.word_embeddings.weight"] = draw.normal(0, 0.5, (len(pieces), 32)).astype(np.float32)
    folders.write_face(folder, tensors, vocab_size=len(pieces))
    folders.write_vocab(folder, pieces)
    return folder


def test_a_run_with_its_own_texts_pieces_answers_the_same(folders: Any, tmp_path: Path, clue: Any) -> None:
    model = big_vocabulary(folders, tmp_path / "model")

    settings = ("train.max_steps=3", "data.max_length=24", "data.limit_train=96", "data.limit_dev=32")
    base = ["train", "--task", "afqmc", "--data", "sample", "--model", model]
    base += [part for setting in (*settings, "train.precision=float32") for part in ("--set", setting)]

    def train(name: str, *options: str) -> dict[str, Any]:
        outcome = clue(*base, "--output", tmp_path / name, "--json", *options)
        assert outcome.exit_code == 0, outcome.stderr
        result: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
        return result

    whole, small = train("whole"), train("small", "--set", "model.keep_tokens=auto")
    for split in ("dev", "test"):
        found = [(tmp_path / name / f"predictions/{split}.jsonl").read_text() for name in ("whole", "small")]
        assert found[0] == found[1]
    assert whole["score"] == small["score"]
    trained = [read_checkpoint(tmp_path / name) for name in ("whole", "small")]
    assert trained[1].vocab_size < 600 < trained[0].vocab_size
    assert len(trained[1].require_vocab().read_bytes().splitlines()) == trained[1].vocab_size
    assert whole["checkpoint"]["sha256"] == small["checkpoint"]["sha256"]
    again = clue(
        "predict", "--run", tmp_path / "small", "--split", "dev", "--data", "sample", "--output", "-"
    )
    assert again.exit_code == 0, again.stderr
    differs = clue(*base, "--output", tmp_path / "small")
    assert differs.exit_code == 4 and "keep_tokens" in differs.stderr

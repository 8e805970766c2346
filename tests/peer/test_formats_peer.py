"""Folders go to ``transformers`` of today and come from it: the same hidden states, no hand's turn."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from clue_runner import load_backbone, load_tokenizer  # noqa: E402

pytestmark = pytest.mark.peer

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
VOCAB = Path(__file__).parents[2] / "configs/models/vocab/zh.txt"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXTS = ["今天天气很好，我们去公园。", "Résumé 2024 年 ABC", "短"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What ``save_pretrained`` of model and tokenizer leaves: tokenizer.json, no vocab.txt."""
    tokenizer = transformers.BertTokenizer(str(VOCAB), do_lower_case=True)
    torch.manual_seed(5)
    config = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **SIZES)
    folder = tmp_path / "saved"
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert not (folder / "vocab.txt").exists()
    return folder


def theirs(folder: Path, texts: list[str]) -> tuple[Any, Any]:
    """Ids and hidden states as transformers computes them from a folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        return batch, model(**batch).last_hidden_state.numpy()


def ours(folder: Path, batch: Any) -> np.ndarray:
    lengths = batch["attention_mask"].sum(1).numpy()
    return load_backbone(folder)(batch["input_ids"].numpy(), batch["token_type_ids"].numpy(), lengths)[0]


def same(one: np.ndarray, other: np.ndarray, batch: Any) -> None:
    seen = batch["attention_mask"].numpy().astype(bool)
    np.testing.assert_allclose(one[seen], other[seen], atol=1e-5)


def test_a_saved_folder_gives_the_same_ids_and_states(saved: Path) -> None:
    batch, states = theirs(saved, TEXTS)
    own = load_tokenizer(saved)
    for row, text in zip(batch["input_ids"].tolist(), TEXTS, strict=True):
        assert [own.cls_id, *own.encode_texts([text])[0].ids, own.sep_id] == [token for token in row if token]
    same(ours(saved, batch), states, batch)


@pytest.mark.parametrize("form", ["bin", "stream", "shards"])
def test_other_files_of_the_same_weights(saved: Path, form: str) -> None:
    batch, states = theirs(saved, TEXTS)
    model = transformers.BertForMaskedLM.from_pretrained(saved)
    (saved / "model.safetensors").unlink()
    if form == "shards":
        model.save_pretrained(saved, max_shard_size="500KB")
        assert (saved / "model.safetensors.index.json").exists()
    else:
        state = model.state_dict()
        torch.save(state, saved / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
    same(ours(saved, batch), states, batch)


def test_a_converted_folder_loads_there_with_the_same_states(saved: Path, tmp_path: Path, clue: Any) -> None:
    pytest.importorskip("tensorflow")
    batch, states = theirs(saved, TEXTS)
    assert clue("convert", saved, tmp_path / "google", "--to", "tensorflow").exit_code == 0
    same(ours(tmp_path / "google", batch), states, batch)
    assert clue("convert", tmp_path / "google", tmp_path / "face").exit_code == 0
    again, converted = theirs(tmp_path / "face", TEXTS)
    assert again["input_ids"].tolist() == batch["input_ids"].tolist()
    np.testing.assert_array_equal(converted, states)
    head = [transformers.BertForMaskedLM.from_pretrained(path).eval() for path in (saved, tmp_path / "face")]
    with torch.no_grad():
        logits = [model(**batch).logits.numpy() for model in head]
    np.testing.assert_array_equal(*logits)


def test_a_saved_folder_trains_without_a_hand_s_turn(saved: Path, tmp_path: Path, clue: Any) -> None:
    outcome = clue(
        *("train", "--task", "afqmc", "--data", "sample", "--model", saved, "--output", tmp_path / "run"),
        *("--set", "train.max_steps=2", "--set", "data.max_length=32", "--json", "--backend", BACKEND),
    )
    assert outcome.exit_code == 0, outcome.stderr
    result = json.loads(outcome.stdout.splitlines()[-1])
    assert result["ok"] and result["checkpoint"]["path"] == str(saved)
    assert clue("convert", tmp_path / "run", tmp_path / "trained").exit_code == 0
    batch, states = theirs(tmp_path / "trained", TEXTS)
    same(ours(tmp_path / "run", batch), states, batch)

"""Characters and the words they stand in."""

from __future__ import annotations

import marshal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from clue_runner.errors import CheckpointError, DataError
from clue_runner.tokens.characters import (
    CharacterTokenizer,
    count_characters,
    open_segmenter,
    read_characters,
)
from clue_runner.tokens.vectors import WordVectors


def test_frequent_characters_come_first_and_rare_ones_are_unknown() -> None:
    kept = count_characters(["中国中", "国中x\n\n"], 2)
    assert kept == ["中", "国"]
    assert CharacterTokenizer(kept).character_ids("中x国").tolist() == [2, 1, 3]


def test_half_a_surrogate_pair_is_unknown_and_does_not_stop_the_saving() -> None:
    kept = count_characters(["中\ud800中\ud800"], 2)
    assert kept == ["中"] and CharacterTokenizer(kept).vocab_bytes.decode().endswith("中\n")


def test_an_empty_vocabulary_is_an_error() -> None:
    with pytest.raises(DataError, match="the vocabulary is empty") as caught:
        count_characters(["中国"], 5)
    assert caught.value.exit_code == 3 and "task.min_count" in str(caught.value)


def test_a_saved_vocabulary_reads_back(tmp_path: Path) -> None:
    tokenizer = CharacterTokenizer(["中", "\u2028", " ", "😀"])
    path = tmp_path / "vocab.txt"
    path.write_bytes(tokenizer.vocab_bytes)
    again = CharacterTokenizer(read_characters(path))
    assert again.characters == tokenizer.characters and again.sha256 == tokenizer.sha256


@pytest.mark.parametrize(
    "content", [b"", b"[PAD]\n[UNK]\n", b"a\nb\nc\n", "[PAD]\n[UNK]\n中国\n".encode(), b"\xff"]
)
def test_what_is_no_vocabulary_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_characters(path)


def test_each_character_carries_its_words_vector() -> None:
    pytest.importorskip("jieba")
    words = {"北京": 1, "天安门": 2, "qwertz词": 3}
    vectors = WordVectors(words, np.zeros((4, 2), np.float32), "x")
    tokenizer = CharacterTokenizer(["北"], vectors)
    text = "我爱北京天安门，qwertz词"
    assert tokenizer.word_ids(text).tolist() == [0, 0, 1, 1, 2, 2, 2, 0, *[3] * 7]
    assert CharacterTokenizer(["北"]).word_ids(text).tolist() == [0] * len(text)
    assert CharacterTokenizer(["北"]).sha256 != tokenizer.sha256


def test_a_planted_jieba_cache_is_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jieba = pytest.importorskip("jieba")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    text = "我们在北京大学学习自然语言处理"
    expected = jieba.Tokenizer().lcut(text, HMM=False)
    planted = tmp_path / "shared" / "jieba.cache"
    planted.parent.mkdir()
    planted.write_bytes(marshal.dumps(({"我们在北京大学学习": 10**9, "我": 1}, 10**9)))
    monkeypatch.setattr(tempfile, "tempdir", str(planted.parent))
    assert jieba.Tokenizer().lcut(text, HMM=False) != expected  # the attack works on jieba as it comes
    assert open_segmenter().lcut(text, HMM=False) == expected
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    vectors = WordVectors({"北京大学": 1}, np.zeros((2, 2), np.float32), "x")
    assert CharacterTokenizer(["北"], vectors).word_ids(text).tolist() == [0, 0, 0, 1, 1, 1, 1, *[0] * 8]
    assert not (tmp_path / "jieba.cache").exists()

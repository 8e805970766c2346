"""keep_tokens, compound tokens, simplified vocabulary: fewer rows, the same tokens of the same texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clue_runner.errors import UsageError
from clue_runner.tokens.kept import mean_rows, trim_vocabulary
from clue_runner.tokens.tokenizer import Tokenizer

TEXTS = ["蚂蚁借呗等额还款可以换成先息后本吗", "covid-19 in 2021", "résumé 字"]


def trimmed(tokenizer, tmp_path, *, keep=None, compound=None, texts=TEXTS):
    names = {}
    for name, lines in (("keep", keep), ("compound", compound)):
        names[name] = lines
        if isinstance(lines, list):
            names[name] = str(tmp_path / name)
            Path(names[name]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return trim_vocabulary(tokenizer, **names, encode=lambda recorder: recorder.encode_texts(texts))


@pytest.mark.parametrize("keep", ["auto", "simplified"])
def test_texts_are_cut_as_before(tokenizer: Tokenizer, tmp_path: Path, keep: str) -> None:
    found = trimmed(tokenizer, tmp_path, keep=keep)
    assert found.tokenizer.vocab_size == len(found.rows) < tokenizer.vocab_size
    for old, new in zip(tokenizer.encode_texts(TEXTS), found.tokenizer.encode_texts(TEXTS), strict=True):
        assert [(int(index),) for index in old.ids] == [found.rows[index] for index in new.ids]
        np.testing.assert_array_equal(old.starts, new.starts)
    for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"):
        assert found.rows[found.tokenizer.token_id(name)] == (tokenizer.token_id(name),)
    flat = [index for ids in found.rows for index in ids]
    assert flat == sorted(flat)  # rows keep their order, so that sums over the table keep theirs
    assert found.tokenizer.sha256 != tokenizer.sha256


def test_pieces_that_are_asked_for_by_name_are_kept_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def encode(recorder: Tokenizer) -> None:
        recorder.token_id("龙")
        recorder.pair_rows([("凤", "虎")], 8)

    found = trim_vocabulary(tokenizer, keep="auto", compound=None, encode=encode)
    assert {"龙", "凤", "虎"} <= found.tokenizer.vocabulary.ids.keys()
    assert "豹" not in found.tokenizer.vocabulary.ids


def test_simplified_leaves_out_what_no_text_can_take(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pieces = trimmed(tokenizer, tmp_path, keep="simplified").tokenizer.vocabulary.ids
    assert "中" in pieces and "##ing" in pieces and "covid" not in pieces
    assert "##中" not in pieces and "##," not in pieces


def test_google_s_vocabulary_simplified_as_in_bert4keras(real_data: Path) -> None:
    """Its load_vocab(simplified=True) is known to keep 13,584 of the 21,128 pieces."""
    whole = Tokenizer(real_data / "vocab" / "bert_chinese_21128.txt", lowercase=True)
    theirs = bert4keras_simplified(whole)
    assert len(theirs) == 13_584
    ours = {whole.vocabulary.pieces[index] for index in whole.reachable_ids()}
    plain = {piece for piece in ours if not piece.startswith("[unused")} - {"[MASK]"}
    # They keep two more, which BERT's cleaning takes out of every text.
    assert theirs - plain == {"\u2028", "##\u2028"} and plain <= theirs


def bert4keras_simplified(tokenizer: Tokenizer) -> set[str]:
    """The rule of bert4keras 0.11.5 (tokenizers.py: load_vocab, Tokenizer._is_redundant), restated."""
    import unicodedata

    def mark(character: str) -> bool:
        code = ord(character)
        ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
        cjk = 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF
        return cjk or ascii_mark or unicodedata.category(character).startswith("P")

    kept = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}
    for piece in tokenizer.vocabulary.ids:
        stem = piece[2:] if piece.startswith("##") else piece
        if len(piece) == 1 or not any(map(mark, stem)):
            kept.add(piece)
    return kept


def test_words_become_pieces_with_the_mean_of_their_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = trimmed(tokenizer, tmp_path, compound=["covid", "2021"])
    [old] = tokenizer.encode_texts(["covid"])
    [new] = found.tokenizer.encode_texts(["covid"])
    assert len(old) > 1 and len(new) == 1
    assert found.rows[new.ids[0]] == tuple(int(index) for index in old.ids)
    table = np.random.default_rng(0).normal(size=(tokenizer.vocab_size, 4)).astype(np.float32)
    made = mean_rows(table, found.rows)
    np.testing.assert_array_equal(made[: tokenizer.vocab_size], table)
    np.testing.assert_allclose(made[new.ids[0]], table[old.ids].mean(axis=0), rtol=1e-6)
    both = trimmed(tokenizer, tmp_path, keep="auto", compound=["covid", "2021"])
    assert {"covid", "2021"} <= both.tokenizer.vocabulary.ids.keys() and len(both.rows) < 300


def test_a_file_says_what_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    found = trimmed(tokenizer, tmp_path, keep=["中", "##ing"])
    assert {"中", "##ing", "[CLS]"} <= found.tokenizer.vocabulary.ids.keys()
    assert "国" not in found.tokenizer.vocabulary.ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["中", "nosuchpiece"]}, "1 pieces to keep are not in the vocabulary"),
        ({"compound": ["北京"]}, "never a token"),
        ({"compound": ["a b"]}, "never a token"),
        ({"compound": ["COVID"]}, "never a token"),
        ({"compound": ["中"]}, "already one piece"),
        ({"compound": ["covid", "covid"]}, "named twice"),
        ({"keep": [""]}, "the file is empty"),
    ],
)
def test_files_that_cannot_be_meant(
    tokenizer: Tokenizer, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trimmed(tokenizer, tmp_path, **options)
    with pytest.raises(UsageError):
        trim_vocabulary(tokenizer, keep=str(tmp_path / "none"), compound=None, encode=lambda recorder: None)

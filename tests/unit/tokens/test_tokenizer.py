"""Vocabulary checks, character offsets, and the [CLS] A [SEP] B [SEP] layout."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_runner.errors import CheckpointError
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.tokens.vocabulary import SPECIAL_TOKENS

PIECES = [
    *SPECIAL_TOKENS,
    "汉",
    "字",
    "好",
    "un",
    "##aff",
    "##able",
    "a",
    "##b",
    "e",
    "i",
    "[",
    "]",
    "sep",
    "2",
]


def small(
    folder: Path, pieces: list[str] | None = None, *, lowercase: bool = True, end: str = "\n"
) -> Tokenizer:
    path = folder / "vocab.txt"
    path.write_bytes(("\n".join(pieces or PIECES) + end).encode())
    return Tokenizer(path, lowercase=lowercase)


def test_word_pieces_with_offsets(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    [one] = tokenizer.encode_texts(["汉 Unaffable字"])
    assert tokenizer.pieces(one.ids) == ["汉", "un", "##aff", "##able", "字"]
    assert one.starts.tolist() == [0, 2, 4, 7, 11]
    assert one.ends.tolist() == [1, 4, 7, 11, 12]
    assert one.ids.dtype == one.starts.dtype == one.ends.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "pieces", "spans"),
    [
        ("é", ["e"], [(0, 1)]),
        ("e\u0301字", ["e", "字"], [(0, 1), (2, 3)]),  # a lone accent belongs to no token
        ("𠀀字", ["[UNK]", "字"], [(0, 1), (1, 2)]),  # outside the basic plane: one code point
        ("\u200b汉\u0008字\ufeff", ["汉", "字"], [(1, 2), (3, 4)]),
        ("汉\u2028字", ["汉", "字"], [(0, 1), (2, 3)]),
        ("\ud800汉", ["汉"], [(1, 2)]),  # half a surrogate pair, as JSON may hold
        ("", [], []),
        (" \n", [], []),
        ("a" * 101, ["[UNK]"], [(0, 101)]),
    ],
)
def test_odd_texts(tmp_path: Path, text: str, pieces: list[str], spans: list[tuple[int, int]]) -> None:
    tokenizer = small(tmp_path)
    _, one, _ = tokenizer.encode_texts(["汉", text, "字"])
    assert tokenizer.pieces(one.ids) == pieces
    assert list(zip(one.starts.tolist(), one.ends.tolist(), strict=True)) == spans


def test_lowercase_off_keeps_case_and_accents(tmp_path: Path) -> None:
    pieces = [*PIECES, "É", "A"]
    one, other = small(tmp_path, pieces, lowercase=False).encode_texts(["ÉA A", "a"])
    assert one.ids.tolist() == [1, pieces.index("A")]
    assert other.ids.tolist() == [pieces.index("a")]


def test_special_names_in_a_text_are_text(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    offsets, ids, _, _ = tokenizer.pair_rows([("[SEP]汉[CLS]",)], 32)
    inner = ids[1:-1]
    assert tokenizer.pieces(inner) == ["[", "sep", "]", "汉", "[", "[UNK]", "]"]
    assert not set(inner.tolist()) & {tokenizer.sep_id, tokenizer.cls_id, tokenizer.pad_id, tokenizer.mask_id}
    assert offsets.tolist() == [0, 9]


def test_special_ids_go_by_name(tmp_path: Path) -> None:
    tokenizer = small(tmp_path, ["汉", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "[PAD]", "[unused1]"])
    ids = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    assert ids == [5, 4, 3, 2, 1]
    assert tokenizer.token_id("[unused1]") == 6
    with pytest.raises(CheckpointError, match="unused2"):
        tokenizer.token_id("[unused2]")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_final_newline_and_line_separator_pieces(tmp_path: Path, end: str) -> None:
    tokenizer = small(tmp_path, [*PIECES, "\u2028", "##\u2028"], end=end)
    assert tokenizer.vocab_size == len(PIECES) + 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        ("\n".join(PIECES[1:]).encode(), r"no line with \[PAD\]"),
        ("\n".join(PIECES).encode("gb18030"), "vocab.txt:6: the vocabulary is not UTF-8"),
    ],
)
def test_vocabulary_that_cannot_be_used(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer(path, lowercase=True)
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value)


def test_vocabulary_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.txt: the vocabulary cannot be read"):
        Tokenizer(tmp_path / "nowhere.txt", lowercase=True)


def test_sha256_follows_the_file(tmp_path: Path) -> None:
    first = small(tmp_path).sha256
    assert first == small(tmp_path).sha256 != small(tmp_path, [*PIECES, "新"]).sha256


def test_pair_layout_and_segments(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    texts = [("汉字", "好"), ("", "汉"), ("好",), ("汉", "字", "好")]
    offsets, ids, segments, cut = tokenizer.pair_rows(texts, 16)
    rows = [tokenizer.pieces(ids[start:end]) for start, end in zip(offsets[:-1], offsets[1:], strict=True)]
    assert rows == [
        ["[CLS]", "汉", "字", "[SEP]", "好", "[SEP]"],
        ["[CLS]", "[SEP]", "汉", "[SEP]"],
        ["[CLS]", "好", "[SEP]"],
        ["[CLS]", "汉", "[SEP]", "字", "[SEP]", "好", "[SEP]"],
    ]
    assert segments.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert cut == 0
    assert not tokenizer.pair_rows(texts, 16, segments="zero")[2].any()
    empty_offsets, empty_ids, _, _ = tokenizer.pair_rows([], 16)
    assert empty_offsets.tolist() == [0]
    assert len(empty_ids) == 0


def test_rows_that_cannot_fit_are_refused(tmp_path: Path) -> None:
    tokenizer = small(tmp_path)
    assert tokenizer.pair_rows([("汉", "字")], 3)[1].tolist() == [2, 3, 3]
    with pytest.raises(ValueError, match="do not fit into 2"):
        tokenizer.pair_rows([("汉", "字")], 2)
    with pytest.raises(ValueError, match="0 to 0 parts"):
        tokenizer.pair_rows([()], 8)


def popped(lengths: list[int], room: int) -> list[int]:
    """BERT's rule, written as its words: pop one token from the longest, from the later one on a tie."""
    kept = list(lengths)
    while sum(kept) > room:
        longest = max(range(len(kept)), key=lambda index: (kept[index], index))
        kept[longest] -= 1
    return kept


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(5, 70),
    st.sampled_from(["real", "zero"]),
)
def test_rows_equal_the_slow_way(
    tokenizer: Tokenizer, parts: list[list[int]], max_length: int, kind: str
) -> None:
    characters = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动"
    texts = [tuple(characters[:length] for length in row) for row in parts]
    offsets, ids, segments, cut = tokenizer.pair_rows(texts, max_length, segments=kind)  # type: ignore[arg-type]
    expected_cut = 0
    for index, (row, lengths) in enumerate(zip(texts, parts, strict=True)):
        kept = popped(lengths, max_length - 1 - len(row))
        expected_cut += kept != lengths
        expected, expected_segments = [tokenizer.cls_id], [0]
        for part, (text, length) in enumerate(zip(row, kept, strict=True)):
            expected += [tokenizer.token_id(character) for character in text[:length]] + [tokenizer.sep_id]
            expected_segments += [int(part > 0 and kind == "real")] * (length + 1)
        place = slice(int(offsets[index]), int(offsets[index + 1]))
        assert ids[place].tolist() == expected
        assert segments[place].tolist() == expected_segments
        assert len(expected) <= max_length
    assert cut == expected_cut


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_tokenises(tokenizer: Tokenizer, texts: list[str]) -> None:
    encoded = tokenizer.encode_texts(texts)
    assert len(encoded) == len(texts)
    for text, one in zip(texts, encoded, strict=True):
        assert ((one.ids >= 0) & (one.ids < tokenizer.vocab_size)).all()
        assert (np.diff(one.starts) >= 0).all()
        assert (np.diff(one.ends) >= 0).all()
        assert (one.starts < one.ends).all()
        assert (one.ends <= len(text)).all()
        covered = {
            index for start, end in zip(one.starts, one.ends, strict=True) for index in range(start, end)
        }
        left_out = [text[index] for index in range(len(text)) if index not in covered]
        # what no token covers is what BERT's cleaning removes: spaces, controls, accents, U+FFFD
        assert all(
            unicodedata.category(character)[0] in "ZCM" or character == "\ufffd" for character in left_out
        )


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_rows_hold_the_same_ids_as_texts(tokenizer: Tokenizer, texts: list[str]) -> None:
    offsets, ids, _, cut = tokenizer.pair_rows([(text,) for text in texts], 4096)
    assert cut == 0
    for index, one in enumerate(tokenizer.encode_texts(texts)):
        row = ids[offsets[index] : offsets[index + 1]]
        assert row.tolist() == [tokenizer.cls_id, *one.ids.tolist(), tokenizer.sep_id]


def test_more_texts_than_one_chunk(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"第{number}条 abc" for number in range(50)]
    whole = tokenizer.pair_rows([(text,) for text in texts], 64)
    encoded = tokenizer.encode_texts(texts)
    monkeypatch.setattr("clue_runner.tokens.tokenizer._CHUNK", 7)
    assert np.array_equal(whole[1], tokenizer.pair_rows([(text,) for text in texts], 64)[1])
    for one, other in zip(encoded, tokenizer.encode_texts(texts), strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.starts, other.starts)

"""Vocabulary files as people have them: a bad line is said, another format named, ids stay line numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from clue_runner.errors import CheckpointError
from clue_runner.tokens import pieces
from clue_runner.tokens.tokenizer import Tokenizer
from clue_runner.tokens.vocabulary import SPECIAL_TOKENS, parse_vocabulary

PIECES = [*SPECIAL_TOKENS, *"的一是不了在人有我他", "un", "##able", "a", "##b", "$"]
SHIPPED = Path(__file__).parents[3] / "configs" / "models" / "vocab" / "zh.txt"


def write(folder: Path, content: list[str] | str | bytes) -> Path:
    path = folder / "vocab.txt"
    text = "".join(f"{piece}\n" for piece in content) if isinstance(content, list) else content
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def notices(path: Path, *, lowercase: bool = True) -> tuple[str, ...]:
    return Tokenizer(path, lowercase).notices


def test_the_shipped_vocabulary_has_nothing_to_say() -> None:
    assert notices(SHIPPED) == notices(SHIPPED, lowercase=False) == ()


# --- odd lines -------------------------------------------------------------------------------------


def test_of_a_repeated_piece_the_last_line_wins_and_ids_stay_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, [*PIECES, "$", "汉"])
    tokenizer = Tokenizer(path, lowercase=True)
    [one] = tokenizer.encode_texts(["$汉"])
    assert one.ids.tolist() == [len(PIECES), len(PIECES) + 1]
    assert tokenizer.vocab_size == len(PIECES) + 2
    assert tokenizer.pieces([len(PIECES) - 1, len(PIECES)]) == ["$", "$"]
    [notice] = tokenizer.notices
    assert f"vocab.txt:{len(PIECES)}: '$' is repeated on line {len(PIECES) + 1}; the last wins" in notice


def test_an_empty_line_keeps_its_number(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write(tmp_path, [*PIECES[:7], "", *PIECES[7:]]), lowercase=True)
    assert tokenizer.token_id("$") == len(PIECES)
    assert tokenizer.vocab_size == len(PIECES) + 1
    [notice] = tokenizer.notices
    assert "vocab.txt:8: 1 empty line" in notice


def test_many_bad_lines_are_another_kind_of_file(tmp_path: Path) -> None:
    many = [*PIECES, *[f"w{number}" for number in range(400)]]
    repeated = [*many, *many[5:9]]
    assert "likewise for 3 more lines" in notices(write(tmp_path, repeated))[0]
    repeated = [*many, *many[5:10]]
    with pytest.raises(CheckpointError, match="5 of 425 lines are empty or repeated") as caught:
        Tokenizer(write(tmp_path, repeated), lowercase=True)
    assert f"vocab.txt:6: piece '的' is repeated on line {len(many) + 1}" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("\ufeff" + "\n".join(PIECES), "byte order mark"),
        ("\r\n".join(PIECES) + "\r\n", "CRLF"),
        ("\n".join(PIECES) + "\n\n  \n", "2 blank lines at its end"),
        ("\n".join(PIECES) + "\n\t", "1 blank line at its end"),
    ],
)
def test_what_editors_add_is_left_out_and_said(tmp_path: Path, raw: str, said: str) -> None:
    tokenizer = Tokenizer(write(tmp_path, raw), lowercase=True)
    assert tokenizer.vocabulary.pieces == tuple(PIECES)
    [notice] = tokenizer.notices
    assert said in notice and str(tokenizer.vocab_path) in notice


def test_an_ideographic_space_at_the_end_is_a_piece(tmp_path: Path) -> None:
    assert Tokenizer(write(tmp_path, [*PIECES, "\u3000"]), lowercase=True).vocab_size == len(PIECES) + 1


# --- other formats ---------------------------------------------------------------------------------


def test_lines_of_piece_and_id_are_named(tmp_path: Path) -> None:
    lines = [f"{piece}\t{index}" for index, piece in enumerate(PIECES)]
    with pytest.raises(CheckpointError, match="a piece, a tab and an id") as caught:
        Tokenizer(write(tmp_path, lines), lowercase=True)
    assert "cut -f1 vocab.txt" in str(caught.value)
    with pytest.raises(CheckpointError, match="line 1 is the first out of order"):
        Tokenizer(write(tmp_path, lines[::-1]), lowercase=True)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 109540\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html></html>\n", "a web page"),
        (b'{"[PAD]": 0, "[UNK]": 100}', "JSON"),
        (b"<s>\n<pad>\n</s>\n<unk>\n", "<s> and </s>"),
        ("\n".join(PIECES).encode("utf-16"), "UTF-16"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, raw: bytes, named: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Tokenizer(write(tmp_path, raw), lowercase=True)
    assert named in str(caught.value) and caught.value.exit_code == 4


def test_only_regular_files_of_a_sane_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(
            CheckpointError, match="cannot be read: is a (named pipe|folder|device|socket), not"
        ):
            Tokenizer(path, lowercase=True)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(CheckpointError, match="more than 67,108,864 bytes"):
        Tokenizer(tmp_path / "large", lowercase=True)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Tokenizer(Path("a\0b"), lowercase=True)


def test_any_bytes_give_a_vocabulary_or_one_message() -> None:
    draws = np.random.default_rng(0)
    whole = "\n".join(PIECES).encode()
    for _ in range(2000):
        mutated = bytearray(whole)
        for place in draws.integers(0, len(whole), draws.integers(1, 5)):
            mutated[place] = draws.choice([0, 9, 10, 13, 32, 0xFF, draws.integers(0, 256)])
        try:
            parse_vocabulary(bytes(mutated), Path("vocab.txt"))
        except CheckpointError as error:
            assert "vocab.txt" in str(error)


# --- pieces that no text can produce ---------------------------------------------------------------


def test_pieces_that_can_never_be_made_are_counted_by_reason(tmp_path: Path) -> None:
    odd = ["中国", "##北京", "New", "##É", "a b", "x\ty", "C++", "[unused1]", "##的", "A"]
    [notice] = notices(write(tmp_path, [*PIECES, *odd]))
    assert f"7 of {len(PIECES) + len(odd)} pieces never occur in tokenised text" in notice
    assert "2 with white space or control characters ('a b', 'x\\ty')" in notice
    assert "2 with an ideograph beside other characters ('##北京', '中国')" in notice
    assert "2 with capitals or accents, which lowercase=true removes ('##É', 'New')" in notice
    assert "1 with punctuation beside other characters ('C++')" in notice
    assert "model.lowercase=false" in notice
    [cased] = notices(write(tmp_path, [*PIECES, *odd]), lowercase=False)
    assert "5 of" in cased and "capitals" not in cased and "model.lowercase" not in cased


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_the_count_says_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lowercase: bool
) -> None:
    """Every piece that is not counted is made from its own text, or continues a word that is."""
    monkeypatch.setattr(pieces, "SHOWN", 99)
    odd = ["中国", "New", "##É", "C++", "é", "中", "ß", "İ", "한", "##한", "カ", "カナ"]
    tokenizer = Tokenizer(write(tmp_path, [*PIECES, "x", *odd]), lowercase)
    counted = "".join(tokenizer.notices)
    for piece in odd:
        text = f"x{piece[2:]}" if piece.startswith("##") else piece
        made = tokenizer.pieces(tokenizer.encode_texts([text])[0].ids)
        assert (piece in made) is (repr(piece) not in counted), piece

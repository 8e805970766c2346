"""The vocabulary that ships, and the script that makes it."""

from __future__ import annotations

import importlib.util
import string
from pathlib import Path
from types import ModuleType

import pytest

from clue_runner.tokens.tokenizer import Tokenizer

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "configs" / "models" / "vocab" / "zh.txt"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vocabulary", ROOT / "scripts" / "make_vocabulary.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_same_bytes(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["make_vocabulary.py", str(tmp_path / "zh.txt")])
    script.main()
    assert (tmp_path / "zh.txt").read_bytes() == SHIPPED.read_bytes()


def test_special_tokens_have_berts_ids() -> None:
    tokenizer = Tokenizer(SHIPPED, lowercase=True)
    ids = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]
    assert ids == [0, 100, 101, 102, 103]
    assert [tokenizer.token_id(f"[unused{number}]") for number in range(1, 100)] == list(range(1, 100))


def test_every_simplified_character_and_printable_ascii_is_known(script: ModuleType) -> None:
    tokenizer = Tokenizer(SHIPPED, lowercase=False)
    characters = list(script.gb2312_characters())
    assert len(characters) == 6763
    known = (
        "".join(characters)
        + string.ascii_letters
        + string.digits
        + string.punctuation
        + "“”—…‘’，。！？、；：《》（）"
    )
    for lowercase in (True, False):
        tokenizer = Tokenizer(SHIPPED, lowercase=lowercase)
        for text, one in zip(known, tokenizer.encode_texts(list(known)), strict=True):
            assert len(one) == 1, text
            assert one.ids[0] != tokenizer.unk_id, text


def test_any_ascii_word_is_known() -> None:
    tokenizer = Tokenizer(SHIPPED, lowercase=False)
    [one] = tokenizer.encode_texts(
        [f"x{string.ascii_letters}{string.digits}q iPhone15 COVID-19 3.14% https://a.cn/?b=C_d"]
    )
    assert tokenizer.unk_id not in one.ids


def test_a_piece_is_clean_text(script: ModuleType) -> None:
    """A piece with a space or a control character inside could never be produced."""
    for piece in script.build():
        assert piece == piece.strip() != ""
        assert piece.isprintable()

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from clue_runner.errors import UsageError
from clue_runner.tokens import script
from clue_runner.tokens.script import simplified


@pytest.fixture
def new_table() -> Iterator[None]:
    script._table.cache_clear()
    yield
    script._table.cache_clear()


def test_characters_are_mapped_one_by_one() -> None:
    assert simplified("於是蘋果電腦後來發展臺灣") == "于是苹果电脑后来发展台湾"
    assert simplified("简体 ABC 123，。") == "简体 ABC 123，。"


def test_phrases_are_not_looked_at() -> None:
    """OpenCC itself keeps 乾隆 by its table of phrases; single characters have one form everywhere."""
    assert simplified("乾隆") == simplified("乾") + simplified("隆")


@pytest.mark.parametrize("text", ["", "\ud800後", "𠮷後\u200b來\n", "".join(map(chr, range(0x4E00, 0x9FFF)))])
def test_lengths_stay(text: str) -> None:
    assert len(simplified(text)) == len(text)
    # 薴 becomes 苧, which is itself the traditional form of 苎: the only such pair of its block
    assert simplified(simplified(text)) == simplified(text).replace("苧", "苎")


def test_without_opencc_the_way_out_is_named(new_table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(UsageError, match=r"need the package 'opencc'(.|\n)*data\.simplify=false"):
        simplified("後")

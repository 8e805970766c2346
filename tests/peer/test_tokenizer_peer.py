"""Ids and offsets against transformers. ``scripts/check_tokenizer.py`` compares every text."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("transformers")

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs" / "models" / "vocab" / "zh.txt"
ODD_TEXTS = [
    "",
    " ",
    "双十一花呗提额在哪",
    "iPhone15 Pro的1TB版，€999.99！",
    "ÀÉÎõü ÅNGSTRÖM e\u0301 İstanbul ß ﬁ",
    "한국어 ガギグ だぢづ Привет Ёлка ΑΒΓ",
    "a\u200bb\ufeffc\u0000d\ufffde\u00adf\u2028g\u000bh\u00a0i\u3000j",
    "😀👨‍👩‍👧 𠀀𪚥 ①②Ⅳ㎡ ＡＢＣ１２３ ￥100 100℃ ～",
    "“引号”——省略……‘单’ 「」『』 〜・",
    "x" * 100 + " " + "x" * 101 + " " + "汉" * 600,
    "http://www.example.com/a_b?c=d&e=f#g <br/>&nbsp;\t\r\n",
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_tokenizer", ROOT / "scripts" / "check_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lowercase", [True, False])
def test_odd_texts(script: ModuleType, lowercase: bool) -> None:
    tokens, different = script.compare(ODD_TEXTS, SHIPPED, lowercase)
    assert different == []
    assert tokens > 800


def test_special_names_are_the_one_difference(script: ModuleType) -> None:
    """Typed special names are text here and special ids there; also shows that compare can fail."""
    texts = ["他说[SEP]好", "普通"]
    assert script.compare(texts, SHIPPED, True)[1] == ["他说[SEP]好"]


@pytest.fixture(scope="module")
def sample(script: ModuleType) -> list[str]:
    """Every 50th text of every official zip; scripts/check_tokenizer.py takes all."""
    folder = os.environ.get("CLUE_TEST_DATA")
    paths = sorted((Path(folder) / "official").glob("*.zip")) if folder else []
    return [text for path in paths for text in script.official_texts(path)[::50]]


@pytest.mark.real_data
@pytest.mark.parametrize("vocabulary", ["bert_chinese_21128.txt", "clue_8021.txt"])
def test_a_sample_of_the_real_files(
    real_data: Path, script: ModuleType, sample: list[str], vocabulary: str
) -> None:
    assert len(sample) > 5000
    for lowercase in (True, False):
        assert script.compare(sample, real_data / "vocab" / vocabulary, lowercase)[1] == []

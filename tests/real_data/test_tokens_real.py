"""Texts of all official files tokenise, with offsets that point into them."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from clue_runner.tokens.layouts.spans import chars_to_tokens, tokens_to_chars
from clue_runner.tokens.tokenizer import Tokenizer

pytestmark = pytest.mark.real_data

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs" / "models" / "vocab" / "zh.txt"
GOOGLE = "bert_chinese_21128.txt"
SOME = 2_500  # texts of one zip
ZIPS = [
    "afqmc",
    "c3",
    "chid",
    "cluener",
    "cluewsc2020",
    "cmrc2018",
    "csl",
    "drcd",
    "iflytek",
    "ocnli",
    "tnews",
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_tokenizer", ROOT / "scripts" / "check_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ZIPS)
def test_official_texts_tokenise(real_data: Path, script: ModuleType, name: str) -> None:
    """Of large files some thousand texts from all over them; scripts/check_tokenizer.py reads every one."""
    texts = script.official_texts(real_data / "official" / f"{name}_public.zip")
    assert len(texts) > 40
    texts = texts[:: max(1, len(texts) // SOME)]
    tokenizer = Tokenizer(SHIPPED, lowercase=True)
    encoded = tokenizer.encode_texts(texts)
    lengths = np.array([len(one) for one in encoded])
    ids, starts, ends = (
        np.concatenate([getattr(one, key) for one in encoded]) for key in ("ids", "starts", "ends")
    )
    text_of = np.repeat(np.arange(len(texts)), lengths)
    assert ids.min() >= 0
    assert ids.max() < tokenizer.vocab_size
    assert not np.isin(ids, [tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]).any()
    assert starts.min() >= 0
    assert (ends <= np.array([len(text) for text in texts])[text_of]).all()
    # each token's characters are there, and tokens follow each other
    assert (ends > starts).all()
    within = np.diff(text_of) == 0
    assert (np.diff(starts)[within] >= 0).all()
    assert (np.diff(ends)[within] >= 0).all()
    # the shipped vocabulary covers real text; traditional script (DRCD) is not its purpose
    unknown = int((ends - starts)[ids == tokenizer.unk_id].sum())
    characters = sum(len(text) - sum(map(str.isspace, text)) for text in texts)
    assert unknown / characters < (0.4 if name == "drcd" else 0.004)
    # rows hold the same ids
    offsets, row_ids, _, cut = tokenizer.pair_rows([(text,) for text in texts[::20]], 4096)
    assert cut == 0
    rows = zip(np.split(row_ids, offsets[1:-1]), encoded[::20], strict=True)
    assert all(np.array_equal(row[1:-1], one.ids) for row, one in rows)


def test_published_vocabularies_load(real_data: Path) -> None:
    sizes = {GOOGLE: 21128, "clue_8021.txt": 8021}  # the second has no final newline
    for name, size in sizes.items():
        tokenizer = Tokenizer(real_data / "vocab" / name, lowercase=True)
        assert (tokenizer.vocab_size, tokenizer.cls_id, tokenizer.sep_id) == (size, 101, 102)
        # Google's own vocabulary, which most checkpoints carry, makes no noise; CLUE's has six odd pieces
        said = "".join(tokenizer.notices)
        assert "6 of 8,021 pieces never occur" in said if size == 8021 else said == ""


@pytest.mark.parametrize("split", ["train", "dev"])
def test_entities_survive_the_way_to_tokens_and_back(real_data: Path, split: str) -> None:
    with zipfile.ZipFile(real_data / "official" / "cluener_public.zip") as archive:
        lines = archive.read(f"{split}.json").decode("utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    tokenizer = Tokenizer(real_data / "vocab" / GOOGLE, lowercase=True)
    entities, kept = 0, 0
    for record, encoded in zip(
        records, tokenizer.encode_texts([one["text"] for one in records]), strict=True
    ):
        for mentions in record["label"].values():
            for mention, places in mentions.items():
                for first, last in places:
                    entities += 1
                    tokens = chars_to_tokens(encoded, first, last)
                    if tokens is not None:
                        kept += 1
                        start, end = tokens_to_chars(encoded, *tokens)
                        assert record["text"][start : end + 1] == mention
    assert (entities, kept) == {"train": (23971, 23960), "dev": (3072, 3068)}[split]

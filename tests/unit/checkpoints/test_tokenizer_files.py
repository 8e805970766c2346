"""A tokenizer that is not BERT's, a vocabulary that is not the checkpoint's: followed, refused or said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clue_runner.adapters.sections import load_run
from clue_runner.checkpoints.importer import find_vocab, read_checkpoint, read_settings
from clue_runner.checkpoints.vocabularies import refuse_other_vocabulary
from clue_runner.errors import CheckpointError
from clue_runner.tokens.tokenizer import Tokenizer

CONFIG, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"


@pytest.fixture
def folder(folders: Any, tmp_path: Path) -> Path:
    return folders.write_face(tmp_path / "model")


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def refused(folder: Path, *parts: str) -> str:
    """Every way in refuses the folder with the same message."""
    messages = set()
    for read in (read_checkpoint, read_settings, find_vocab):
        with pytest.raises(CheckpointError) as caught:
            read(folder)
        assert caught.value.exit_code == 4
        messages.add(str(caught.value))
    [message] = messages
    message.encode()  # can be printed
    for part in (str(folder), *parts):
        assert part in message
    return message


# --- keys that move boundaries ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("do_lower_case", "yes", "true, false"),
        ("do_lower_case", None, "true, false"),
        ("do_lower_case", 1, "true, false"),
        ("do_lower_case", [], "true, false"),
        ("do_lower_case", {}, "true, false"),
        ("do_lower_case", "\ud800", "true, false"),
        ("strip_accents", False, "null or true"),
        ("strip_accents", [], "null or true"),
        ("strip_accents", {"a": 1}, "null or true"),
        ("strip_accents", 1, "null or true"),
        ("tokenize_chinese_chars", False, "true"),
        ("tokenize_chinese_chars", None, "true"),
        ("tokenize_chinese_chars", 1, "true"),
        ("do_basic_tokenize", False, "true"),
        ("clean_text", False, "true"),
        ("wordpieces_prefix", "@@", '"##"'),
        ("max_input_chars_per_word", 20, "100"),
        ("never_split", ["北京"], "null or a list of special tokens"),
        ("never_split", "[CLS]", "null or a list of special tokens"),
        ("never_split", [["[CLS]"]], "null or a list of special tokens"),
        ("tokenizer_class", "RoFormerTokenizer", "BertTokenizer, "),
        ("tokenizer_class", ["BertTokenizer"], "BertTokenizer, "),
        ("auto_map", {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}, "no such key"),
        ("cls_token", "<s>", '"[CLS]"'),
        ("unk_token", {"content": "<unk>", "lstrip": False}, '"[UNK]"'),
        ("mask_token", 103, '"[MASK]"'),
    ],
)
def test_what_asks_for_another_tokenizer_is_refused(folder: Path, key: str, value: Any, allowed: str) -> None:
    write(folder, CONFIG, {"do_lower_case": True, key: value})
    shown = json.dumps(value, ensure_ascii=value == "\ud800")[:60]
    refused(folder, f"{CONFIG}: {key}", shown, f"(allowed: {allowed}")


def test_all_keys_of_both_files_are_named_at_once(folder: Path) -> None:
    write(folder, CONFIG, {"do_basic_tokenize": False, "never_split": ["的"], "tokenizer_class": "X"})
    write(folder, SPECIAL, {"sep_token": "</s>", "pad_token": {"content": "<pad>"}})
    message = refused(folder, f"{SPECIAL}: sep_token", f"{SPECIAL}: pad_token", 'got "X"')
    assert message.count(f"{CONFIG}: ") == 3


@pytest.mark.parametrize(
    "config",
    [
        {"do_lower_case": True, "strip_accents": True, "do_basic_tokenize": True, "never_split": None},
        {"tokenizer_class": "BertTokenizerFast", "clean_text": True, "tokenize_chinese_chars": True},
        {"tokenizer_class": None, "never_split": ["[CLS]"], "cls_token": "[CLS]", "mask_token": None},
        {"unk_token": {"content": "[UNK]"}, "model_max_length": 512, "backend": "tokenizers"},
        {"init_inputs": []},
    ],
)
def test_berts_own_tokenizer_has_nothing_to_say(folder: Path, config: dict) -> None:
    write(folder, CONFIG, config)
    write(folder, SPECIAL, {"cls_token": "[CLS]", "sep_token": {"content": "[SEP]"}})
    checkpoint = read_checkpoint(folder)
    assert checkpoint.lowercase is True and checkpoint.notices == ()


@pytest.mark.parametrize("name", [CONFIG, SPECIAL, ADDED])
@pytest.mark.parametrize("content", ["[]", "{", "3", '"x"', "\udcff"])
def test_a_file_that_is_no_object_is_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(folder)


def test_the_tokenizer_files_belong_to_the_identity(folder: Path) -> None:
    first = read_checkpoint(folder).sha256
    write(folder, SPECIAL, {"cls_token": "[CLS]"})
    assert read_checkpoint(folder).sha256 != first


# --- tokens beside the vocabulary ------------------------------------------------------------------


def test_added_tokens_are_named(folder: Path) -> None:
    write(folder, ADDED, {"[CLS]": 2, "新冠": 40, "阳性": 41})
    [notice] = read_checkpoint(folder).notices
    assert ADDED in notice and "2: '新冠', '阳性'" in notice
    (folder / ADDED).unlink()
    decoder = {"2": {"content": "[CLS]", "special": True}, "40": {"content": "新冠", "special": False}}
    write(folder, CONFIG, {"added_tokens_decoder": decoder, "additional_special_tokens": ["[E1]", "[SEP]"]})
    first, second = read_checkpoint(folder).notices
    assert CONFIG in first and "1: '新冠'" in first
    assert "further special tokens (1: '[E1]')" in second


@pytest.mark.parametrize("content", [{"新冠": "40"}, {"新冠": True}, {"新冠": None}, {"新冠": [1]}])
def test_added_tokens_of_another_type_are_refused(folder: Path, content: dict) -> None:
    write(folder, ADDED, content)
    with pytest.raises(CheckpointError, match=f"{ADDED}: 新冠: not a token and its id"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"added_tokens_decoder": [1]},
        {"added_tokens_decoder": {"x": {"content": "a"}}},
        {"added_tokens_decoder": {"²": {"content": "a"}}},
        {"added_tokens_decoder": {"1": 5}},
        {"added_tokens_decoder": {"1": {"content": 5}}},
        {"added_tokens_decoder": {"9" * 5000: {"content": None}}},
        {"additional_special_tokens": "x"},
        {"additional_special_tokens": [3]},
        {"extra_special_tokens": 7},
    ],
)
def test_special_tokens_of_another_type_are_refused(folder: Path, config: dict) -> None:
    write(folder, CONFIG, config)
    with pytest.raises(CheckpointError, match=next(iter(config))):
        read_checkpoint(folder)


def test_a_special_token_in_another_place_is_refused(folder: Path) -> None:
    write(folder, ADDED, {"[CLS]": 101})
    with pytest.raises(CheckpointError, match="give a special token different ids") as caught:
        read_checkpoint(folder)
    assert "[CLS], got 101 (allowed: 2, its line in vocab.txt)" in str(caught.value)


# --- the vocabulary of the weights -----------------------------------------------------------------


def take(path: Path, folder: Path, *, rows: int = 40, trusted: bool = False) -> None:
    vocabulary = Tokenizer(path, lowercase=True).vocabulary
    refuse_other_vocabulary(path, vocabulary, folder, rows, trusted=trusted)


def test_another_file_beside_the_weights_is_refused_unless_trusted(
    folders: Any, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "vocab.txt"
    other.write_text("\r\n".join(folders.PIECES), encoding="utf-8")
    take(other, folder)  # the same pieces in other bytes
    swapped = [*folders.PIECES[:-2], folders.PIECES[-1], folders.PIECES[-2]]
    folders.write_vocab(tmp_path, swapped)
    with pytest.raises(CheckpointError, match="differs from the checkpoint's own vocab.txt") as caught:
        take(other, folder)
    message = str(caught.value)
    assert f"2 pieces differ, such as {swapped[-1]!r}: id 38 there, 39 here" in message
    assert "model.vocab_trust=true" in message and str(other) in message and caught.value.exit_code == 4
    take(other, folder, trusted=True)
    folders.write_vocab(tmp_path, [*folders.PIECES, "多"])
    with pytest.raises(CheckpointError, match="longer than the token embeddings"):
        take(other, folder, trusted=True)


def test_a_run_refuses_another_vocabulary_unless_it_is_told_to_trust_it(
    folders: Any, folder: Path, tmp_path: Path
) -> None:
    from clue_runner.training.network import open_tokenizer
    from clue_runner.training.pretrained.opening import open_checkpoint

    def tokenizer(*overrides: str) -> Tokenizer:
        run = load_run(
            task="afqmc",
            card_settings={},
            model=str(folder),
            overrides=["data.max_length=16", *overrides],
            checkpoint_reader=read_settings,
        )
        return open_tokenizer(run, open_checkpoint(run))

    folders.write_vocab(tmp_path, folders.PIECES[::-1])
    other = f"model.vocab={tmp_path / 'vocab.txt'}"
    assert tokenizer().vocab_path == folder / "vocab.txt"
    with pytest.raises(CheckpointError, match="differs from the checkpoint's own"):
        tokenizer(other)
    assert tokenizer(other, "model.vocab_trust=true").cls_id == 37


def test_a_tokenizer_json_beside_the_vocabulary_counts_too(folders: Any, folder: Path) -> None:
    pieces = {piece: index for index, piece in enumerate(folders.PIECES)}
    write(folder, "tokenizer.json", {"model": {"type": "WordPiece", "vocab": pieces}})
    take(folder / "vocab.txt", folder)
    pieces |= {folders.PIECES[-1]: 38, folders.PIECES[-2]: 39}
    write(folder, "tokenizer.json", {"model": {"type": "WordPiece", "vocab": pieces}})
    with pytest.raises(CheckpointError, match="differs from the checkpoint's own tokenizer.json"):
        take(folder / "vocab.txt", folder)
    take(folder / "vocab.txt", folder, trusted=True)


@pytest.mark.parametrize(
    ("lines", "rows", "fits"),
    [
        (40, 40, True),
        (37, 40, True),  # up to a multiple of 8
        (40, 64, True),
        (40, 128, True),
        (21128, 21248, True),  # Megatron's multiple of 128
        (17964, 18000, True),  # ERNIE 1.0
        (21128, 21130, True),  # GPT2-ML
        (40, 41, False),
        (20, 40, False),
        (8021, 21128, False),  # CLUE's small vocabulary with the table of Google's
        (21128, 40000, False),
    ],
)
def test_the_word_table_may_be_longer_by_ordinary_padding(
    folders: Any, tmp_path: Path, lines: int, rows: int, fits: bool
) -> None:
    folders.write_vocab(tmp_path, [*folders.PIECES[:5], *(f"##{number}" for number in range(lines - 5))])
    if fits:
        take(tmp_path / "vocab.txt", tmp_path, rows=rows)
        return
    with pytest.raises(CheckpointError, match="too short for these token embeddings") as caught:
        take(tmp_path / "vocab.txt", tmp_path, rows=rows)
    assert f"{lines:,} lines" in str(caught.value) and f"{rows:,}" in str(caught.value)
    take(tmp_path / "vocab.txt", tmp_path, rows=rows, trusted=True)

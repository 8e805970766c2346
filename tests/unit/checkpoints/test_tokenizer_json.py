"""A folder with ``tokenizer.json`` alone, as ``transformers`` saves it: read, or refused by key."""

from __future__ import annotations

import copy
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from clue_runner.checkpoints.importer import find_vocab, read_checkpoint, read_settings
from clue_runner.errors import CheckpointError
from clue_runner.tokens.tokenizer import Tokenizer

JSON = "tokenizer.json"


def special(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def sequence(name: str) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": 0}}


def saved_today(pieces: list[str]) -> dict[str, Any]:
    """What ``BertTokenizer.save_pretrained`` of transformers 5.24 writes."""
    ids = {piece: index for index, piece in enumerate(pieces)}
    single = [special("[CLS]"), sequence("A"), special("[SEP]")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[name], "content": name, "special": True} for name in pieces[:5]],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B"), special("[SEP]")],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": dict(reversed(ids.items())),
        },
    }


@pytest.fixture
def folder(folders: Any, tmp_path: Path) -> Path:
    folder = folders.write_face(tmp_path / "model")
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()
    write(folder, saved_today(folders.PIECES))
    return folder


def write(folder: Path, content: Any, name: str = JSON) -> None:
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
    for part in (JSON, *parts):
        assert part in message
    return message


def changed(content: Any, place: str, value: Any) -> Any:
    """A copy of the content with another value at a dotted place; ``...`` removes it."""
    copied = copy.deepcopy(content)
    *way, last = place.split(".")
    inner = copied
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copied


def test_it_is_read_like_the_vocab_txt_that_it_stands_for(folders: Any, folder: Path, tmp_path: Path) -> None:
    folders.write_vocab(tmp_path)
    plain = Tokenizer(tmp_path / "vocab.txt", lowercase=True)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.vocab == folder / JSON and checkpoint.lowercase and checkpoint.notices == ()
    assert JSON in checkpoint.hashes
    path, lowercase = find_vocab(folder)
    own = Tokenizer(path, lowercase)
    assert own.vocabulary == plain.vocabulary
    assert own.vocab_bytes == plain.vocab_bytes and own.sha256 == plain.sha256


def test_lower_casing_is_the_file_s(folders: Any, folder: Path) -> None:
    cased = changed(saved_today(folders.PIECES), "normalizer.lowercase", False)
    write(folder, cased)
    assert read_settings(folder)["lowercase"] is False
    assert find_vocab(folder)[1] is False
    write(folder, {"do_lower_case": False}, "tokenizer_config.json")
    assert read_checkpoint(folder).lowercase is False
    write(folder, {"do_lower_case": True}, "tokenizer_config.json")
    refused(folder, "disagree about lower-casing", "lowercase false and do_lower_case true")


def test_beside_a_vocab_txt_it_answers_what_the_config_leaves_open(folders: Any, folder: Path) -> None:
    folders.write_vocab(folder)
    write(folder, changed(saved_today(folders.PIECES), "normalizer.lowercase", False))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.vocab == folder / "vocab.txt" and checkpoint.lowercase is False
    write(folder, {"do_lower_case": True}, "tokenizer_config.json")
    assert read_checkpoint(folder).lowercase is True


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.type", "BPE"),
        ("model.type", "Unigram"),
        ("model.type", ["WordPiece"]),
        ("model.unk_token", "<unk>"),
        ("model.continuing_subword_prefix", ""),
        ("model.max_input_chars_per_word", 200),
        ("normalizer", None),
        ("normalizer.type", "Sequence"),
        ("normalizer.clean_text", False),
        ("normalizer.handle_chinese_chars", False),
        ("normalizer.handle_chinese_chars", 1),
        ("normalizer.strip_accents", False),
        ("normalizer.lowercase", "yes"),
        ("pre_tokenizer.type", "Whitespace"),
        ("pre_tokenizer", ...),
        ("post_processor.type", "RobertaProcessing"),
        ("post_processor.single", [special("[CLS]"), sequence("A")]),
        ("post_processor.pair", []),
    ],
)
def test_what_asks_for_another_tokenizer_is_named(folders: Any, folder: Path, place: str, value: Any) -> None:
    write(folder, changed(saved_today(folders.PIECES), place, value))
    refused(folder, place)


def test_all_differences_are_named_at_once(folders: Any, folder: Path) -> None:
    content = changed(saved_today(folders.PIECES), "normalizer.clean_text", False)
    write(folder, changed(content, "pre_tokenizer.type", "Whitespace"))
    refused(
        folder,
        "normalizer.clean_text: not supported, got false",
        'pre_tokenizer.type: not supported, got "Whitespace"',
    )


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("model.type", ...),  # as tokenizers wrote in 2020
        ("post_processor", None),
        ("post_processor", {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}),
        ("truncation", {"max_length": 512}),
        ("added_tokens", []),
    ],
)
def test_what_changes_no_token_is_taken(folders: Any, folder: Path, place: str, value: Any) -> None:
    write(folder, changed(saved_today(folders.PIECES), place, value))
    assert read_checkpoint(folder).vocab_size == 40


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (None, "not a mapping"),
        ({}, "not a mapping"),
        ([["a", -1.0]], "not a mapping"),
        ({"a": True}, "not an id"),
        ({"a": -1}, "not an id"),
        ({"a": "0"}, "not an id"),
        ({"a": 0, "b": 10**12}, "the ids have gaps"),
        ({"a": 0, "b": 0}, "two pieces share an id"),
        ({"a\n": 0}, "a vocab.txt cannot hold"),
        ({"a\r": 0}, "a vocab.txt cannot hold"),
        ({"\ud800": 0}, "a vocab.txt cannot hold"),
        ({"a": 0, "\t": 1}, "a first or last piece"),
        ({"\ufeffa": 0}, "a first or last piece"),
    ],
)
def test_vocabularies_that_cannot_be_used(folders: Any, folder: Path, vocab: Any, message: str) -> None:
    write(folder, changed(saved_today(folders.PIECES), "model.vocab", vocab))
    refused(folder, "model.vocab", message)


def test_an_id_without_a_piece_is_kept_as_an_empty_line(folders: Any, folder: Path) -> None:
    content = saved_today(folders.PIECES)
    del content["model"]["vocab"][folders.PIECES[7]]
    write(folder, content)
    vocabulary = Tokenizer(find_vocab(folder)[0], lowercase=True).vocabulary
    assert vocabulary.pieces[7] == "" and vocabulary.pieces[8] == folders.PIECES[8] and len(vocabulary) == 40


def test_added_tokens_are_said_and_special_ones_compared(folders: Any, folder: Path) -> None:
    content = saved_today(folders.PIECES)
    content["added_tokens"].append({"id": 40, "content": "新冠"})
    write(folder, content)
    [notice] = read_checkpoint(folder).notices
    assert "1: '新冠'" in notice
    content["added_tokens"][2]["id"] = 7
    write(folder, content)
    with pytest.raises(CheckpointError, match="give a special token different ids"):
        read_checkpoint(folder)


def test_a_file_of_200_mb_is_refused_within_bounds(folder: Path) -> None:
    with (folder / JSON).open("r+b") as file:
        file.truncate(200 * 2**20)
    tracemalloc.start()
    try:
        refused(folder, "more than 16,777,216 bytes")
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid", b"<html>"])
def test_a_pointer_in_its_place_is_named(folder: Path, content: bytes) -> None:
    (folder / JSON).write_bytes(content)
    refused(folder, "the file was not downloaded")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"model": ' + b"[" * 100_000])
def test_damaged_files_are_named(folder: Path, content: bytes) -> None:
    (folder / JSON).write_bytes(content)
    refused(folder)


def test_a_run_takes_the_vocabulary_and_keeps_it_as_vocab_txt(folder: Path) -> None:
    from clue_runner.adapters.sections import load_run
    from clue_runner.training.network import open_tokenizer
    from clue_runner.training.pretrained.opening import open_checkpoint

    run = load_run(
        task="afqmc",
        card_settings={},
        model=str(folder),
        overrides=["data.max_length=16"],
        checkpoint_reader=read_settings,
    )
    tokenizer = open_tokenizer(run, open_checkpoint(run))
    assert tokenizer.vocab_bytes.splitlines()[2] == b"[CLS]"


def test_without_either_file_the_error_names_both(folder: Path) -> None:
    (folder / JSON).unlink()
    for call in (read_checkpoint(folder).require_vocab, lambda: find_vocab(folder)):
        with pytest.raises(CheckpointError, match=r"no vocab.txt and no tokenizer.json"):
            call()

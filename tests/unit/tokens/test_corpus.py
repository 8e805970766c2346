"""Token files: rows packed full, words marked, a held-out part, made once and trusted by their hashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clue_runner.errors import DataError, OutOfMemoryError
from clue_runner.tokens.corpus import make, pool
from clue_runner.tokens.corpus.make import Corpus, make_token_files, ordinary_ids
from clue_runner.tokens.corpus.packing import RowWriter
from clue_runner.tokens.corpus.store import MANIFEST, mapped_rows, token_folder
from clue_runner.tokens.corpus.words import WordMarker
from clue_runner.tokens.padding import padded
from clue_runner.tokens.rows import note_unknown
from clue_runner.tokens.tokenizer import Tokenizer

SENTENCES = [f"第{number}天，我们在公园里看见了{number * 7}只鸟。" for number in range(60)]


@dataclass(frozen=True)
class Held:
    """Documents in memory."""

    held: Sequence[Sequence[str]]
    label: str = "held.txt"
    sha256: str = "0" * 64

    def documents(self) -> Any:
        return iter(self.held)


def corpus(share: float = 0.3) -> Corpus:
    return Corpus([Held([[one, "公园里很安静。"] for one in SENTENCES])], share=share)


def made(folder: Path, tokenizer: Tokenizer, wanted: Corpus, length: int = 16) -> Any:
    return token_folder(
        wanted.key(tokenizer, length),
        lambda site: make_token_files(wanted, tokenizer, length, site),
        pytest.fail,
        folder,
    )


def test_rows_are_full_and_hold_every_token_once(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "AT_ONCE", 100)  # several groups
    wanted = corpus()
    folder, found = made(tmp_path, tokenizer, wanted)
    assert set(found) == {"train", "dev"} and found["train"]["documents"] + found["dev"]["documents"] == 60
    assert 8 < found["dev"]["documents"] < 30
    for split in found:
        rows = mapped_rows(folder, split, found[split]["rows"], 16, tokenizer.vocab_size)
        assert (rows.lengths[:-1] == 16).all() and rows.lengths[-1] <= 16
        ids = np.asarray(rows.tokens["token_ids"])
        assert (ids[rows.offsets[:-1]] == tokenizer.cls_id).all()
        assert (ids[rows.offsets[1:] - 1] == tokenizer.sep_id).all()
        borders = zip(rows.offsets[:-1], rows.offsets[1:], strict=True)
        stream = np.concatenate([ids[first + 1 : end - 1] for first, end in borders])
        documents = [one for kind, one in wanted.dealt() if kind == split]
        expected: list[int] = []
        for document in documents:
            expected += [int(index) for one in tokenizer.encode_texts(document) for index in one.ids]
            expected.append(tokenizer.sep_id)
        assert expected[: len(stream)] == stream.tolist() and len(expected) - len(stream) < 6
        arrays = padded(rows, np.array([0, -1]), 16)
        assert np.array_equal(arrays["token_ids"][0], ids[:16]) and "word_starts" in arrays


def test_words_begin_where_jieba_says_and_pieces_go_on(tokenizer: Tokenizer) -> None:
    ((ids, marks),) = WordMarker(tokenizer).encode(["我们在公园里 playing"])
    pieces = tokenizer.pieces(ids)
    begun = [piece for piece, mark in zip(pieces, marks.tolist(), strict=True) if mark]
    assert begun[:5] == ["我", "在", "公", "里", pieces[6]]
    assert all(not piece.startswith("##") for piece in begun)
    assert not ordinary_ids(tokenizer)[[0, tokenizer.unk_id, tokenizer.mask_id, tokenizer.sep_id]].any()
    assert ordinary_ids(tokenizer)[ids].all()


def test_what_is_held_out_follows_from_each_document_alone() -> None:
    sides = {tuple(document): split for split, document in corpus().dealt()}
    texts = [Held([[one, "公园里很安静。"] for one in SENTENCES[20:40]]), Held([["别的。"]])]
    fewer = {tuple(document): split for split, document in Corpus(texts, share=0.3).dealt()}
    assert all(sides[document] == split for document, split in fewer.items() if document in sides)
    own = Corpus([Held([["甲"]])], [Held([["乙"]])])
    assert list(own.dealt()) == [("train", ["甲"]), ("dev", ["乙"])]


def test_files_are_made_once_and_again_where_a_byte_differs(tmp_path: Path, tokenizer: Tokenizer) -> None:
    folder, first = made(tmp_path, tokenizer, corpus())
    assert made(tmp_path, tokenizer, corpus())[0] == folder
    assert made(tmp_path, tokenizer, corpus(0.4))[0] != folder
    assert made(tmp_path, tokenizer, corpus(), 32)[0] != folder
    said: list[str] = []
    key = corpus().key(tokenizer, 16)

    def again(site: Path) -> Any:
        return make_token_files(corpus(), tokenizer, 16, site)

    raw = (folder / "train.ids").read_bytes()
    for broken in (raw[:-2], bytes([raw[0] ^ 1]) + raw[1:]):
        (folder / "train.ids").write_bytes(broken)
        assert token_folder(key, again, said.append, tmp_path)[1] == first
        assert (folder / "train.ids").read_bytes() == raw
    (folder / "dev.words").unlink()
    assert token_folder(key, again, said.append, tmp_path)[1] == first
    (folder / MANIFEST).write_text("{}", encoding="utf-8")
    assert token_folder(key, again, said.append, tmp_path)[1] == first
    assert len(said) == 4 and all("tokenising again" in text for text in said)


def test_a_stop_halfway_leaves_nothing_that_is_trusted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    key = corpus().key(tokenizer, 16)

    def stopped(site: Path) -> Any:
        make_token_files(corpus(), tokenizer, 16, site)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        token_folder(key, stopped, pytest.fail, tmp_path)
    folder, found = made(tmp_path, tokenizer, corpus())
    assert (folder / MANIFEST).exists() and found["train"]["rows"] > 0


def test_a_side_without_text_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="no text to train on"):
        made(tmp_path, tokenizer, Corpus([Held([])], [Held([["乙"]])]))
    with pytest.raises(DataError, match="no text in the held-out"):
        made(tmp_path, tokenizer, Corpus([Held([["甲" * 40]])], [Held([])]))
    with pytest.raises(DataError, match="nothing is held out"):
        made(tmp_path, tokenizer, Corpus([Held([["甲" * 40]])], share=1e-9))


def test_ids_of_a_large_vocabulary_fit(tmp_path: Path) -> None:
    shape = {"length": 6, "cls_id": 2, "sep_id": 3, "vocab_size": 70_000}
    with RowWriter(tmp_path, "train", **shape) as writer:
        writer.add(np.array([69_999, 5, 6, 7, 8], np.int32), np.ones(5, np.uint8))
        writer.finish()
    rows = mapped_rows(tmp_path, "train", writer.rows, 6, 70_000)
    assert np.asarray(rows.tokens["token_ids"]).tolist() == [2, 69_999, 5, 6, 7, 3]
    assert note_unknown(rows, 5).notes == {"tokens unknown to the vocabulary": 1}
    assert writer.figures(np.ones(70_000, np.bool_))["documents"] == 1


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_one_process_and_two_write_the_same_bytes(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "AT_ONCE", 60)  # some fifty groups, so that both processes have several
    odd = [["\ud83d和\x00", "half of a pair and a null"], ["\u200b"], ["playing\u2028wordpieces " * 40]]
    wanted = Corpus([Held([*([one, "公园里很安静。"] for one in SENTENCES), *odd])], share=0.3)
    started: list[Any] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(pool.subprocess, "Popen", start)
    found, shown = {}, {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        seen: list[tuple[int, int]] = []
        figures = make_token_files(
            wanted, tokenizer, 16, folder, lambda *done, seen=seen: seen.append(done), processes=processes
        )
        found[processes], shown[processes] = (figures, files(folder)), seen
    assert found[1] == found[2] and shown[1] == shown[2] and len(shown[1]) > 20
    assert len(started) == 2 and all(one.poll() is not None for one in started)


def test_a_text_that_fails_halfway_leaves_no_process_behind(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        pool.subprocess, "Popen", lambda *words, **more: started.append(popen(*words, **more)) or started[-1]
    )
    monkeypatch.setattr(make, "AT_ONCE", 60)

    @dataclass(frozen=True)
    class Broken(Held):
        def documents(self) -> Any:
            yield from self.held
            raise DataError("not UTF-8")

    with pytest.raises(DataError, match="not UTF-8"):
        make_token_files(Corpus([Broken([[one] for one in SENTENCES])]), tokenizer, 16, tmp_path, processes=2)
    assert started and all(one.poll() is not None for one in started)


def test_a_worker_that_the_system_kills_is_one_message(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen

    def killed(*arguments: Any, **options: Any) -> Any:
        process = popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **options)
        process.wait()
        return process

    monkeypatch.setattr(pool.subprocess, "Popen", killed)
    group = make._Group([["公园里很安静。"]], ["train"], 7)
    with pytest.raises(OutOfMemoryError, match="--processes"):
        list(pool.encode_groups([group] * 9, tokenizer, 2))

"""The row cache: one entry a key, nothing half-written, never a reason to stop."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clue_runner.tokens import cache
from clue_runner.tokens.cache import cached_rows
from clue_runner.tokens.rows import GoldAnswers, Rows

KEY = {"card": "afqmc 1.0", "vocabulary": "ab12", "max_length": "128", "template": "{a}", "data": "cd34"}


def make_rows(first: int = 0) -> Rows:
    return Rows(
        offsets=np.array([0, 2, 5], np.int64),
        tokens={
            "token_ids": np.arange(first, first + 5, dtype=np.int32),
            "segment_ids": np.zeros(5, np.int32),
        },
        columns={"label": np.array([1, -1], np.int32), "spans": np.ones((2, 3), np.float32)},
        record=np.array([0, 1], np.int64),
        group=np.array([0, 1], np.int64),
        notes={"cut to 5 tokens": 1},
        host_columns=frozenset({"spans"}),
        gold=GoldAnswers(2, 1),
    )


def same(one: Rows, other: Rows) -> bool:
    pairs = [(one.offsets, other.offsets), (one.record, other.record), (one.group, other.group)]
    for mine, yours in ((one.tokens, other.tokens), (one.columns, other.columns)):
        if list(mine) != list(yours):
            return False
        pairs += [(mine[name], yours[name]) for name in mine]
    described = [(rows.notes, rows.host_columns, rows.gold) for rows in (one, other)]
    return described[0] == described[1] and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


class Maker:
    """Counts how often rows were made."""

    def __init__(self, first: int = 0) -> None:
        self.calls = 0
        self.first = first

    def __call__(self) -> Rows:
        self.calls += 1
        return make_rows(self.first)


def refuse(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def test_second_call_reads(tmp_path: Path) -> None:
    make = Maker()
    first = cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    second = cached_rows(dict(reversed(KEY.items())), make, folder=tmp_path, warn=refuse)
    assert make.calls == 1
    assert same(first, second)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_default_folder_is_in_clue_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUE_HOME", str(tmp_path))
    cached_rows(KEY, Maker(), warn=refuse)
    assert len(list((tmp_path / "cache" / "rows").iterdir())) == 1


@pytest.mark.parametrize("part", KEY)
def test_any_other_part_is_another_entry(tmp_path: Path, part: str) -> None:
    cached_rows(KEY, Maker(first=0), folder=tmp_path, warn=refuse)
    other = cached_rows(KEY | {part: KEY[part] + "x"}, Maker(first=70), folder=tmp_path, warn=refuse)
    assert other.tokens["token_ids"][0] == 70
    assert cached_rows(KEY, Maker(first=90), folder=tmp_path, warn=refuse).tokens["token_ids"][0] == 0


def test_parts_do_not_run_into_each_other(tmp_path: Path) -> None:
    cached_rows({"a": "1", "b": "23"}, Maker(), folder=tmp_path, warn=refuse)
    for key in ({"a": "12", "b": "3"}, {"a": "1", "c": "23"}, {"a": '1", "b": "23'}):
        make = Maker(first=5)
        assert cached_rows(key, make, folder=tmp_path, warn=refuse).tokens["token_ids"][0] == 5
        assert make.calls == 1


def test_new_code_makes_new_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    monkeypatch.setattr(cache, "TOKENS_VERSION", cache.TOKENS_VERSION + 1)
    cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    assert make.calls == 2


def test_disabled_neither_reads_nor_writes(tmp_path: Path) -> None:
    make = Maker()
    cached_rows(KEY, make, enabled=False, folder=tmp_path)
    cached_rows(KEY, make, enabled=False, folder=tmp_path)
    assert make.calls == 2
    assert list(tmp_path.iterdir()) == []


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    place = raw.index(make_rows().tokens["token_ids"].tobytes()) + 1  # inside a member's data
    return raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda raw: b"", lambda raw: b"no zip at all"])
def test_a_broken_entry_is_said_and_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cached_rows(KEY, Maker(), folder=tmp_path, warn=refuse)
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    said: list[str] = []
    make = Maker()
    assert same(cached_rows(KEY, make, folder=tmp_path, warn=said.append), make_rows())
    assert make.calls == 1
    assert len(said) == 1
    assert path.name in said[0]
    assert "encoding them again" in said[0]
    cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    assert make.calls == 1


def test_an_entry_under_a_wrong_name_is_not_believed(tmp_path: Path) -> None:
    cached_rows(KEY, Maker(), folder=tmp_path, warn=refuse)
    [first] = tmp_path.iterdir()
    cached_rows(KEY | {"data": "other"}, Maker(first=7), folder=tmp_path, warn=refuse)
    [second] = set(tmp_path.iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    said: list[str] = []
    rows = cached_rows(KEY | {"data": "other"}, Maker(first=7), folder=tmp_path, warn=said.append)
    assert rows.tokens["token_ids"][0] == 7
    assert "another key" in said[0]


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    cached_rows(KEY, Maker(), folder=tmp_path, warn=refuse)
    [path] = tmp_path.iterdir()
    with path.open("wb") as file:
        np.savez(file, key=np.array([object()], dtype=object))
    said: list[str] = []
    cached_rows(KEY, Maker(), folder=tmp_path, warn=said.append)
    assert "encoding them again" in said[0]


def refill(path: Path, **changes: np.ndarray) -> None:
    """Change arrays of an entry and write its hashes anew, as somebody would who knows how."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "sha256"}
    arrays |= changes
    arrays["sha256"] = np.frombuffer(cache._digest(arrays), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def entry(folder: Path) -> Path:
    cached_rows(KEY, Maker(), folder=folder, limits=LIMITS, warn=refuse)
    [path] = folder.iterdir()
    return path


LIMITS = {"token_ids": 5, "segment_ids": 2, "record": 2}


def made_again(folder: Path) -> str:
    """Ask for the rows, expect that they are made again with one warning, and return its reason."""
    said: list[str] = []
    make = Maker()
    assert same(cached_rows(KEY, make, folder=folder, limits=LIMITS, warn=said.append), make_rows())
    assert make.calls == 1 and len(said) == 1
    assert cached_rows(KEY, make, folder=folder, limits=LIMITS, warn=refuse) and make.calls == 1
    return said[0]


def test_the_bytes_of_an_entry_are_hashed(tmp_path: Path) -> None:
    """A damage that the zip's own checksums do not see: they can be written anew, as a repair tool does."""
    path = entry(tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    with path.open("wb") as file:
        np.savez(file, **{**arrays, "tokens/token_ids": arrays["tokens/token_ids"][::-1]})
    assert "do not match their hash" in made_again(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokens/token_ids": np.array([0, 1, 2, 3, 5], np.int32)}, "from 0 to 5, allowed are 0 to 4"),
        ({"tokens/token_ids": np.array([0, -1, 2, 3, 4], np.int32)}, "token_ids from -1 to 4"),
        ({"tokens/segment_ids": np.full(5, 2, np.int32)}, "segment_ids from 2"),
        ({"record": np.array([0, 2])}, "record from 0 to 2"),
        ({"offsets": np.array([0, 7, 5])}, "at least one token"),
        ({"offsets": np.array([0, 2, 2**40])}, "shape"),
        ({"columns/label": np.array(["a", "b"])}, "not numbers"),
        ({"described": np.frombuffer(b"[]", np.uint8)}, ""),
        ({"described": np.frombuffer(b"\xff", np.uint8)}, ""),
    ],
)  # fmt: skip
def test_an_entry_with_impossible_content_is_made_again(tmp_path: Path, changes: dict, reason: str) -> None:
    refill(entry(tmp_path), **changes)
    assert reason in made_again(tmp_path)


def test_a_link_or_a_pipe_is_not_an_entry(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    path = entry(folder)
    path.rename(tmp_path / "elsewhere.npz")
    path.symlink_to(tmp_path / "elsewhere.npz")
    assert "encoding them again" in made_again(folder)
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in made_again(folder)
    path.unlink()
    path.mkdir()
    said: list[str] = []  # a folder cannot be replaced by a file: said both times
    assert same(cached_rows(KEY, Maker(), folder=folder, warn=said.append), make_rows())
    assert len(said) == 2


def test_an_entry_of_another_user_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = entry(tmp_path)
    real = os.fstat
    owner = os.geteuid() + 1

    def owned_by_another(descriptor: int) -> os.stat_result:
        values = list(real(descriptor))
        values[stat.ST_UID] = owner
        return os.stat_result(values)

    monkeypatch.setattr(cache.os, "fstat", owned_by_another)
    said: list[str] = []
    assert same(cached_rows(KEY, Maker(), folder=tmp_path, warn=said.append), make_rows())
    assert f"belongs to user {owner}" in said[0] and path.name in said[0]


def test_an_entry_that_unpacks_to_far_more_is_not_unpacked(tmp_path: Path) -> None:
    path = entry(tmp_path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    with path.open("wb") as file:
        np.savez_compressed(file, **{**arrays, "tokens/extra": np.zeros(10**7, np.uint8)})
    assert path.stat().st_size < 10**6
    assert "unpack to more" in made_again(tmp_path)


def test_no_mutated_entry_gets_through(tmp_path: Path) -> None:
    """Bytes changed, cut and doubled anywhere: made again with a warning, or the same rows as before."""
    path = entry(tmp_path)
    whole = path.read_bytes()
    draws = np.random.default_rng(0)
    for _ in range(300):
        mutated = bytearray(whole)
        for place in draws.integers(0, len(whole), draws.integers(1, 6)):
            mutated[place] = draws.integers(0, 256)
        if draws.random() < 0.3:
            del mutated[draws.integers(0, len(whole)) :]
        if draws.random() < 0.3:
            mutated += mutated[draws.integers(0, len(mutated) + 1) :]
        path.write_bytes(mutated)
        said: list[str] = []
        assert same(cached_rows(KEY, Maker(), folder=tmp_path, limits=LIMITS, warn=said.append), make_rows())
        assert len(said) <= 1


def test_another_library_makes_new_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    monkeypatch.setattr(cache, "_version", lambda library: f"{library} 99")
    cached_rows(KEY, make, folder=tmp_path, warn=refuse)
    assert make.calls == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    said: list[str] = []
    assert same(cached_rows(KEY, Maker(), folder=blocked / "rows", warn=said.append), make_rows())
    assert "CLUE_HOME" in said[-1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_no_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said: list[str] = []
    try:
        assert same(cached_rows(KEY, Maker(), folder=tmp_path, warn=said.append), make_rows())
    finally:
        tmp_path.chmod(0o700)
    assert len(said) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    said: list[str] = []
    cached_rows(KEY, Maker(), folder=tmp_path, warn=said.append)
    assert "No space left" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_make_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Rows:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_rows(KEY, interrupted, folder=tmp_path, warn=refuse)
    assert list(tmp_path.iterdir()) == []


def test_without_a_listener_the_warning_is_still_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.warns(UserWarning, match="CLUE_HOME"):
        cached_rows(KEY, Maker(), folder=blocked / "rows")

"""The YAML reader: lines, and everything that it refuses."""

from pathlib import Path

import pytest

from clue_runner.config import yaml_reader
from clue_runner.config.yaml_reader import MAX_BYTES, read_yaml
from clue_runner.errors import ClueError, DataError, UsageError


def message(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_yaml(text, "f.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_values_and_lines() -> None:
    document = read_yaml("a: 1\nb:\n  c: [x, 2]\n  d:\n    - {e: no}\n1.0: '5'\n", "f.yaml")
    assert document.values == {"a": 1, "b": {"c": ["x", 2], "d": [{"e": "no"}]}, "1.0": "5"}
    assert document.where(("b", "d", 0, "e")) == "f.yaml:5"
    assert document.where(("b", "d", 0, "missing")) == "f.yaml:5"
    assert document.where(("b", "c", 1)) == "f.yaml:3"
    assert document.where(("nowhere",)) == "f.yaml"


def test_quoted_scalars_stay_text_and_blocks_keep_lines() -> None:
    document = read_yaml("a: \"1e-5\"\nb: 'null'\nc: |\n  1\n  2\nd: >-\n  x\n  y\n")
    assert document.values == {"a": "1e-5", "b": "null", "c": "1\n2\n", "d": "x y"}


def test_unicode_line_separators_in_text_are_kept() -> None:
    assert read_yaml('a: "x\u2028y\u3000z"\n').values == {"a": "x\u2028y\u3000z"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert read_yaml(text).values == {}


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:pathlib.Path.touch [MARKER]",
        "!!python/object:os.system x",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!<tag:yaml.org,2002:python/object/new:os.system> [x]",
        "!custom 1",
        "!!str 5",
        "! 5",
    ],
)
def test_tags_are_refused_with_line_and_column(payload: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    text = message(f"a: 1\nb: {payload.replace('MARKER', str(marker))}\n")
    assert "f.yaml:2:4: tag " in text
    assert not marker.exists()


def test_alias_bomb_is_refused_at_its_first_anchor() -> None:
    levels = "".join(
        f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "f.yaml:1:4: anchor &a" in message("a: &a [lol]\n" + levels)


def test_alias_without_anchor_is_refused() -> None:
    assert "f.yaml:2:8: alias *x" in message("b: 1\na: [1, *x]\n")


def test_all_duplicate_keys_are_named() -> None:
    text = message("a: 1\na: 2\nb: {c: 1, c: {d: 2}}\n")
    assert "f.yaml:2: a is given twice, first on line 1" in text
    assert "f.yaml:3: b.c is given twice, first on line 3" in text


def test_the_same_key_in_two_mappings_is_no_duplicate() -> None:
    assert read_yaml("a: {k: 1}\nb: {k: 2}\nc: [{k: 3}, {k: 4}]\n").values["c"][1] == {"k": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", "f.yaml:2:1"),
        ("a: b: c\n", "f.yaml:1:5"),
        ("\ta: 1\n", "f.yaml:1:1"),
        ("a: 1\nb: x\0y\n", "control character U+0000 in line 2"),
        ("- 1\n", "not a list"),
        ("just text\n", "single value"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("? {a: 1}\n: 1\n", "a key must be plain text"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("a: " + "[" * 30 + "]" * 30, "nested deeper"),
        ("a: " + "{b: " * 30 + "1" + "}" * 30, "nested deeper"),
        ("a: " + "x" * MAX_BYTES, "too large"),
    ],
)
def test_what_is_refused(text: str, expected: str) -> None:
    assert expected in message(text)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("\ufeffa: 中文\r\nb: 2\r\n".encode())
    assert read_yaml(path).values == {"a": "中文", "b": 2}
    path.write_bytes(b"a: 1\nb: \xd6\xd0\xce\xc4\n")
    with pytest.raises(UsageError, match=r"f\.yaml:2: not UTF-8 text, got byte 0xd6"):
        read_yaml(path)
    path.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"a: " + b"x" * 10_000_000)
    with pytest.raises(UsageError, match="too large"):
        read_yaml(path)
    with pytest.raises(DataError) as missing:
        read_yaml(tmp_path / "none.yaml")
    assert missing.value.exit_code == 3
    with pytest.raises(DataError):
        read_yaml(tmp_path)


def test_the_python_scanner_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: 1e-5\nb:\n  - {c: no}\n  - 'x'\n"
    fast = read_yaml(text)
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml_reader.yaml.SafeLoader)
    slow = read_yaml(text)
    assert (fast.values, fast.lines) == (slow.values, slow.lines)
    for bad in ("a: !!python/name:x ''\n", "a: &x 1\n", "a: [1\n", "a: \0\n", "a: 1\na: 1\n"):
        with pytest.raises(ClueError):
            read_yaml(bad)

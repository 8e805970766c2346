"""The words of pages: every key in each language, every note of encoding and answering in Chinese."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import clue_runner
from clue_runner.reports.words import noter, words

PACKAGE = Path(clue_runner.__file__).parent
PLACES = ("tokens/layouts", "tokens/rows.py", "adapters")


def _texts(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """Yield the text that an expression makes, 7 for each value filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.JoinedStr):
        parts = (next(_texts(one, constants), "7") for one in node.values)
        yield "".join(parts)
    elif isinstance(node, ast.FormattedValue):
        yield from _texts(node.value, constants)


def _constants(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            found.update((name, text) for text in _texts(node.value, found))
    return found


def _notes(tree: ast.Module) -> Iterator[str]:
    """Yield what a module writes as the key of a note."""
    constants = _constants(tree)
    for node in ast.walk(tree):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Assign | ast.keyword) and isinstance(node.value, ast.Dict | ast.IfExp):
            names = (
                [node.arg] if isinstance(node, ast.keyword) else [ast.unparse(one) for one in node.targets]
            )
            found = node.value.body if isinstance(node.value, ast.IfExp) else node.value
            keys = found.keys if names == ["notes"] and isinstance(found, ast.Dict) else []
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "notes":
            keys = [node.slice]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("._note"):
            keys = [node.args[0]]
        elif isinstance(node, ast.FunctionDef) and node.name == "answer_notes":
            keys = [key for one in ast.walk(node) if isinstance(one, ast.Dict) for key in one.keys]
        for key in keys:
            if key is not None:
                yield from _texts(key, constants)


def test_languages_have_the_same_keys_and_values() -> None:
    values = {language: words(language) for language in ("zh", "en")}
    assert values["zh"].keys() == values["en"].keys()
    for key, text in values["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", values["zh"][key])), key


def test_every_note_is_said_in_chinese() -> None:
    files = [
        file for place in PLACES for file in (sorted((PACKAGE / place).rglob("*.py")) or [PACKAGE / place])
    ]
    found = {note for file in files for note in _notes(ast.parse(file.read_text(encoding="utf-8")))}
    assert {"cut to 7 tokens", "choices that are cut", "windows without the answer"} <= found
    assert len(found) >= 25
    said = noter("zh")
    assert [note for note in sorted(found) if said(note) == note] == []


def test_a_note_keeps_its_numbers_and_an_unknown_one_its_words() -> None:
    assert noter("zh")("cut to 128 tokens") == "截断至 128 个 token"
    assert noter("zh")("of another version: 3") == "of another version: 3"
    assert noter("en")("cut to 128 tokens") == "cut to 128 tokens"

"""The house as a whole: small rooms, no circles, no name of one kind of task or network outside its place.

``test_structure.py`` looks at one file at a time; here are the claims about all of them together.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "clue_runner"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts)
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
LINES = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
FOLDERS = sorted({path.parent for path in FILES})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

ROOM_LINES, ROOM_FILES = 2_500, 20
LONG, LONG_FILES = 300, 4

FAMILIES = {path.parent.name for path in PACKAGE.glob("architectures/*/shape.py")}


def is_adapter(tree: ast.Module) -> bool:
    """Whether a module defines a kind of task."""
    bases = [base for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases]
    return any(isinstance(base, ast.Name) and base.id == "Adapter" for base in bases)


def kind_of(path: Path) -> str:
    """The name of the kind that a file of the adapters is or belongs to."""
    return path.relative_to(PACKAGE / "adapters").parts[0].removesuffix(".py")


ADAPTERS = {
    kind_of(path) for path, tree in TREES.items() if PACKAGE / "adapters" in path.parents and is_adapter(tree)
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


# How large a room and a file may be


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_a_room_holds_one_job(folder: Path) -> None:
    files = [path for path in FILES if path.parent == folder]
    if folder != PACKAGE / "cli":  # a file there is a command, and the commands are fixed
        assert len(files) <= ROOM_FILES, f"{len(files)} files"
    lines = sum(LINES[path] for path in files)
    assert lines <= ROOM_LINES, f"{lines} lines"


def test_few_files_are_long() -> None:
    long = {relative(path): lines for path, lines in LINES.items() if lines > LONG}
    assert len(long) <= LONG_FILES, long


# Circles


def module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that is not inside a function: imports there may wait for a call, these do not."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, FUNCTIONS):
            yield node
            yield from module_level(node)


def file_of(name: str) -> Path | None:
    """The file of a module of ours; None for a name inside one, or a foreign one."""
    first, *rest = name.split(".")
    if first != PACKAGE.name or not rest:
        return None
    path = PACKAGE.joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file in TREES), None)


def imported_files(nodes: Iterator[ast.AST]) -> set[Path]:
    """The files that import statements name: a submodule rather than its package."""
    files: set[Path | None] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            files |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                files.add(file_of(f"{node.module}.{alias.name}") or file_of(node.module))
    return {file for file in files if file is not None}


def circles(graph: Mapping[Path, set[Path]]) -> set[Path]:
    """The files that are left when those that need none of the others are taken away again and again."""
    left = dict(graph)
    while free := {path for path, needs in left.items() if not needs & left.keys() - {path}}:
        left = {path: needs for path, needs in left.items() if path not in free}
    return left.keys() & set().union(*left.values()) if left else set()


def test_no_files_import_each_other() -> None:
    """Types count as well (``if TYPE_CHECKING``): two files that know each other's types are one."""
    found = circles({path: imported_files(module_level(tree)) for path, tree in TREES.items()})
    assert not found, sorted(map(relative, found))


def test_a_circle_would_be_seen() -> None:
    one, two, three = Path("one"), Path("two"), Path("three")
    assert circles({one: {two}, two: {three}, three: {one}}) == {one, two, three}
    assert circles({one: {two}, two: {three}, three: set()}) == set()
    assert circles({one: {one}}) == set()  # a package's __init__ may name itself


# Names of one kind


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the constants that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


@cache
def words_of(identifier: str) -> set[str]:
    """The parts of a name: ``BertShape`` and ``bert_shape`` have "bert"."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", identifier)}


@cache
def identifiers(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and text of every name that code gives or uses, but for those that other packages gave."""
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(PACKAGE.name)
        for alias in node.names
    }
    named = [
        (getattr(node, "lineno", 0), getattr(node, field, None))
        for node in ast.walk(tree)
        for field in ("id", "attr", "arg", "name", "asname", "module")
    ]
    return [(line, text) for line, text in named if isinstance(text, str) and text not in foreign]


@cache
def strings(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and text of every string that is not a docstring."""
    skipped = docstrings(tree)
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
    ]


def names_family(text: str, family: str) -> bool:
    """Whether a string speaks of a family.

    ``bert_config.json`` and the like are file names of publishers; ``bert/`` is a scope in TensorFlow
    checkpoints that several families' publishers kept.
    """
    return bool(re.search(rf"(?<![a-z0-9_-]){family}(?![a-z0-9_/-])", text, re.IGNORECASE))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_is_named_in_its_own_folder_alone(family: str) -> None:
    """Nowhere else in an identifier, an import or a string; comments and docstrings may give a source.

    An adapter with a network of its own has the family in its name, and may ask for it.
    """
    own = PACKAGE / "architectures" / family
    wrong = []
    for path, tree in TREES.items():
        if own in path.parents or family in words_of(path.stem):
            continue
        named = [(line, text) for line, text in identifiers(tree) if family in words_of(text)]
        named += [(line, repr(text)) for line, text in strings(tree) if names_family(text, family)]
        wrong += [f"{relative(path)}:{line} {text}" for line, text in named]
    assert not wrong, "\n".join(wrong)


# Adapters' names that are also words of something else, and of what.
OTHER_MEANINGS = {
    "choice": "a column of rows, a key in C3's files",
    "entities": "a key in files of texts with spans, a shape of submissions",
}


def decisions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that ``adapter`` is compared with, or that stands with another's name."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare) and "adapter" in ast.unparse(node):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            parts = list(node.elts)
        texts = [part.value for part in parts if isinstance(part, ast.Constant)]
        kinds = [text for text in texts if text in ADAPTERS]
        if isinstance(node, ast.Compare) or len(kinds) > 1:
            yield from ((node.lineno, kind) for kind in kinds)


@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_an_adapter_is_named_in_its_own_files_alone(adapter: str) -> None:
    """No import of its module, and no string that is its name: whoever needs one asks for the card's."""
    module = f"{PACKAGE.name}.adapters.{adapter}"
    wrong = []
    for path, tree in TREES.items():
        if PACKAGE / "adapters" in path.parents and kind_of(path) == adapter:
            continue
        named = [(line, text) for line, text in identifiers(tree) if f"{text}.".startswith(f"{module}.")]
        looked_at = decisions(tree) if adapter in OTHER_MEANINGS else strings(tree)
        named += [(line, repr(text)) for line, text in looked_at if text == adapter]
        wrong += [f"{relative(path)}:{line} {text}" for line, text in named]
    assert not wrong, "\n".join(wrong)


def test_the_rules_find_names() -> None:
    assert {"bert", "dgcnn"} <= FAMILIES
    assert {"classification", "entities", "reading", "choice", "cloze", "dgcnn_reading"} <= ADAPTERS
    assert words_of("BertShape") == words_of("bert_shape") == {"bert", "shape"}
    assert words_of("roberta") == {"roberta"}
    assert names_family("a BERT-like network of bert", "bert")
    assert not names_family("bert_config.json", "bert")
    assert not names_family("bert/encoder/layer_0", "bert")
    code = """'bert'
from clue_runner.architectures import bert
from tokenizers.normalizers import BertNormalizer
x = "bert" if card.adapter == "choice" else {"choice": 1, "entities": BertNormalizer}
y = {"choice": 1}
"""
    tree = ast.parse(code)
    assert [line for line, text in identifiers(tree) if "bert" in words_of(text)] == [2]
    assert [line for line, text in strings(tree) if text == "bert"] == [4]
    assert sorted(decisions(tree)) == [(4, "choice"), (4, "choice"), (4, "entities")]


# What an adapter can is said by its class


@pytest.mark.parametrize("room", ["adapters", "training", "commands"])
def test_nothing_asks_an_object_what_it_has(room: str) -> None:
    calls = [
        f"{relative(path)}:{node.lineno} {node.func.id}"
        for path, tree in TREES.items()
        if path.relative_to(PACKAGE).parts[0] == room
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"hasattr", "getattr"}
    ]
    assert not calls, "\n".join(calls)

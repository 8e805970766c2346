"""Both READMEs show the same commands, and the commands exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    return re.findall(r"```[a-z]*\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)


def headings(name: str) -> int:
    return len(re.findall(r"^## ", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE))


def without_comments(block: str) -> list[str]:
    """Its lines without what is said about them, which each file says in its own language."""
    return [re.sub(r"\s{2,}#.*|^(  \S+)\s{2,}.*", r"\1", line) for line in block.splitlines()]


def test_both_languages_show_the_same_blocks() -> None:
    english, chinese = (list(map(without_comments, blocks(name))) for name in ("README.md", "README.zh.md"))
    assert english == chinese
    assert headings("README.md") == headings("README.zh.md")


def test_every_command_shown_is_a_command() -> None:
    commands = {path.stem for path in (ROOT / "clue_runner" / "cli").glob("[a-z]*.py")} - {"main"}
    shown = set(re.findall(r"\bclue ([a-z]+)", "\n".join(blocks("README.md"))))
    assert shown <= commands


def test_every_make_target_shown_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    shown = set(re.findall(r"\$ make ([a-z]+)", "\n".join(blocks("README.md"))))
    assert shown == {"demo", "test"} and shown <= targets


def test_recipes_named_in_the_readme_exist() -> None:
    recipes = {path.stem for path in (ROOT / "configs" / "train").glob("*.yaml")}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.search(r"recipes: (.*?)\)", text, flags=re.DOTALL)
    assert named and set(re.findall(r"`([a-z0-9-]+)`", named.group(1))) == recipes

"""The words of pages in each language: one YAML file per language in this folder, with the same keys.

In: a language, a key, values. Out: text. Knows nothing about the content of pages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

from clue_runner.config.shipped import PACKAGE
from clue_runner.config.yaml_reader import read_yaml

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
FOLDER = PACKAGE / "reports" / "words"
_NUMBER = re.compile(r"\d+")


def default_language() -> Language:
    """Return the language of ``$CLUE_LANG``, else of the locale: Chinese or English."""
    names = ("CLUE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    named = next((value for name in names if (value := os.environ.get(name))), "")
    return "zh" if named.lower().startswith("zh") else "en"


def words(language: Language) -> dict[str, str]:
    """Return key -> text of one language."""
    return _texts(language)


@cache
def _texts(file: str) -> dict[str, str]:
    """Return key -> text of a file in this folder."""
    return {str(key): str(text) for key, text in read_yaml(FOLDER / f"{file}.yaml").values.items()}


def speaker(language: Language) -> Callable[..., str]:
    """Return ``say(key, **values)``, which returns the text of a key with its values filled in.

    A key that does not exist is our bug, and fails.
    """
    known = words(language)

    def say(key: str, **values: object) -> str:
        return known[key].format(**values)

    return say


def noter(language: Language) -> Callable[[str], str]:
    """Return ``noted(what)``: a note of encoding or answering, which results hold in English, on a page."""
    if language == "en":
        return str
    known = _texts(f"notes.{language}")

    def noted(what: str) -> str:
        text = known.get(_NUMBER.sub("{}", what))
        return what if text is None else text.format(*_NUMBER.findall(what))

    return noted


def namer(language: Language) -> Callable[[str], str]:
    """Return ``named(field)``: the name of a text on a page; numbers and names of card fields are kept."""
    known = words(language)

    def named(field: str) -> str:
        name, space, number = field.partition(" ")
        word = known.get(f"field_{name}")
        return field if word is None or not (number.isdecimal() or not space) else f"{word}{space}{number}"

    return named

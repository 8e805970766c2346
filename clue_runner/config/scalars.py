"""Single YAML values, read and written by the core schema of YAML 1.2; lists inside such a value.

In: the text of one scalar, or a value. Out: the other. Knows nothing about files or the meaning of settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from clue_runner.errors import Problem

Scalar = str | int | float | bool | None

# Python refuses to read longer integers anyway; no setting needs one.
MAX_NUMBER_LENGTH = 400

# YAML 1.2.2, section 10.3.2 (core schema).
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse_scalar(text: str) -> Scalar:
    """Return the value of a plain (unquoted) YAML scalar under the 1.2 core schema.

    ``1e-5`` and ``2e5`` are numbers; ``no``, ``off``, ``12:30`` and ``1_000`` are text.
    """
    if len(text) > MAX_NUMBER_LENGTH:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL_FLOAT.fullmatch(text)
    if special:
        return float("nan") if special.group(3) else float(f"{special.group(1)}inf")
    return text


def format_scalar(value: object) -> str:
    """Return a value as a YAML 1.2 scalar; text that could be read as another type is quoted."""
    if isinstance(value, str):
        simple = value.replace("_", "").replace("-", "").replace("/", "").replace(".", "").isalnum()
        plain = simple and value[0].isalnum() and parse_scalar(value) == value
        return value if plain else _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _quoted(text: str) -> str:
    """Return a double-quoted scalar; JSON's own escapes would split rare characters into surrogates."""
    escaped = (
        f"\\{character}"
        if character in '"\\'
        else character
        if character.isprintable()
        else f"\\U{ord(character):08X}"
        for character in text
    )
    return f'"{"".join(escaped)}"'


def points_of(text: str) -> tuple[tuple[float, float], ...]:
    """Return (fraction of the run, factor) of each point: ``0:1,1:0``."""
    return tuple((float(x), float(y)) for x, y in (part.split(":") for part in text.split(",")))


def rates_of(text: str | None) -> tuple[tuple[str, float], ...]:
    """Return (pattern, factor): ``*/embeddings/*=0.1,head/*=10``."""
    parts = [part.split("=") for part in text.split(",")] if text else []
    return tuple((pattern.strip(), float(factor)) for pattern, factor in parts)


def list_problems(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong inside lists: a schedule's points go from 0 to 1, fractions of a whole sum to 1."""
    key = "model.mlm_split"
    if abs(sum(float(part) for part in values[key].split("/")) - 1) > 1e-6:
        yield Problem("the fractions must sum to 1", f"{key} ({origins[key]})", values[key], "0.8/0.1/0.1")
    if values["model.mlm_correction"] is not None and values["model.init"] == "random":
        where = f"model.mlm_correction ({origins['model.mlm_correction']})"
        yield Problem("the weights are random: there was no masked-word pre-training to correct", where)
    key = "train.schedule_points"
    shares = [share for share, _ in points_of(values[key])]
    if shares[0] != 0 or shares[-1] != 1 or any(left >= right for left, right in pairwise(shares)):
        yield Problem(
            "the fractions of the run must rise from 0 to 1",
            f"{key} ({origins[key]})",
            values[key],
            "text like 0:1,0.5:0.3,1:0",
        )

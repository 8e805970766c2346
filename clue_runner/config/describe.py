"""What the settings are: their keys, what each allows, what each means.

In: the schema. Out: a list of ``Setting``s for messages, and a JSON Schema for editors.
Knows nothing about files, layers or values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from clue_runner.config.schema import Run


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted key, what it allows in words, its meaning."""

    key: str
    allowed: str
    description: str


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a resolved run; the references that editors resolve are kept."""
    return Run.model_json_schema()


@cache
def sections() -> Mapping[str, type[BaseModel]]:
    """Return the setting groups: ``train`` -> its model."""
    return {
        name: field.annotation
        for name, field in Run.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


@cache
def setting_keys() -> tuple[str, ...]:
    """Return all dotted keys in the schema's order."""
    groups = sections()
    keys: list[str] = []
    for name in Run.model_fields:
        keys += [f"{name}.{key}" for key in groups[name].model_fields] if name in groups else [name]
    return tuple(keys)


@cache
def settings() -> Mapping[str, Setting]:
    """Return every setting by its dotted key, in the schema's order."""
    schema = json_schema()
    found: dict[str, Setting] = {}
    for key in setting_keys():
        properties = schema["properties"]
        section, _, leaf = key.rpartition(".")
        if section:
            properties = schema["$defs"][sections()[section].__name__]["properties"]
        node = properties[leaf]
        found[key] = Setting(key, in_words(node), node.get("description", ""))
    return found


def in_words(node: Mapping[str, Any]) -> str:
    """Return what a JSON Schema node allows, in words: ``a whole number above 0, or null``."""
    if "anyOf" in node:
        return ", or ".join(in_words(choice) for choice in node["anyOf"])
    if "enum" in node:
        return ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    if "pattern" in node:
        *others, last = node["examples"]
        return f"text like {', '.join(others)} or {last}"
    names = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "null": "null",
        "string": "text",
        "array": "a list",
        "object": "a mapping",
    }
    return names.get(str(node.get("type")), "a value") + _bounds(node)


def _bounds(node: Mapping[str, Any]) -> str:
    """Return `` from 0 to below 1`` for a number's limits."""
    words = [
        f" {word} {node[key]:,}" if isinstance(node[key], int) else f" {word} {node[key]:g}"
        for key, word in (
            ("exclusiveMinimum", "above"),
            ("minimum", "from"),
            ("exclusiveMaximum", "to below" if "minimum" in node else "below"),
            ("maximum", "to"),
        )
        if key in node
    ]
    if "multipleOf" in node:
        words.append(f", a multiple of {node['multipleOf']}")
    if "const" in node.get("not", {}):
        words.append(f", not {node['not']['const']:g}")
    return "".join(words)


def shown(value: object) -> str:
    """Return how a message quotes a received value: text in quotes, other kinds as YAML has them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text {value[:80]!r}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else repr(value)

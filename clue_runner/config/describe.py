"""What the settings are: their keys, what each allows and means.

In: a schema. Out: a list of ``Setting``s for messages.
Knows nothing about files, layers or values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from clue_runner.config.sections import Schema


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted key, what it allows in words, its meaning."""

    key: str
    allowed: str
    description: str


@cache
def settings(schema: Schema) -> Mapping[str, Setting]:
    """Return every setting by its dotted key, in the schema's order."""
    described = schema.run.model_json_schema()
    found: dict[str, Setting] = {}
    for key in schema.keys:
        properties = described["properties"]
        group, _, leaf = key.rpartition(".")
        if group:
            reference = properties[group]["$ref"].rpartition("/")[2]
            properties = described["$defs"][reference]["properties"]
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
    """Return how a message quotes a received value: text in quotes, other types as in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text {value[:80]!r}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else repr(value)

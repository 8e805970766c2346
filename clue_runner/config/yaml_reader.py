"""YAML as plain data with line numbers: YAML 1.2 core scalars, no tags, no aliases, no duplicate keys.

In: a file or text. Out: a ``Document``: nested dicts and lists, and the line of every key.
Knows nothing about settings or cards. Works on libyaml's event stream, so nothing is ever constructed
from a tag, an alias bomb has nothing to expand, and ``1e-5`` never passes PyYAML's 1.1 rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clue_runner.config.scalars import Scalar, parse_scalar
from clue_runner.errors import DataError, Problem, UsageError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

# The C scanner is about ten times faster; the Python one gives the same events where libyaml is absent.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """One YAML file as data.

    Attributes:
        name: its name in messages, usually its path.
        values: the root mapping; an empty file is an empty mapping.
        lines: the line (from 1) of every key and list item, by its path from the root.
    """

    name: str
    values: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """Return ``file:line`` of ``path``, or of the nearest key above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return self.name


def read_yaml(source: Path | str, name: str | None = None) -> Document:
    """Read a file (a ``Path``) or YAML text (a ``str``).

    Raises:
        DataError: the file does not exist or cannot be read.
        UsageError: it is not UTF-8, not YAML, too large or too deep, or uses what is refused here.
    """
    title = name or (str(source) if isinstance(source, Path) else "<text>")
    text = _decode(_read_bytes(source, title), title) if isinstance(source, Path) else source
    if len(text) > MAX_BYTES:
        raise _too_large(title)
    builder = _Builder(title)
    try:
        for event in yaml.parse(text.removeprefix("\ufeff"), Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(
            "not valid YAML", problems=[Problem(str(error.problem), f"{title}{line}")]
        ) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow, such as NUL
        raise UsageError("not valid YAML", problems=[Problem(_control_character(text), title)]) from error
    if builder.problems:
        raise UsageError(f"{title} cannot be read", problems=builder.problems)
    return Document(title, builder.root, builder.lines)


def _read_bytes(path: Path, title: str) -> bytes:
    """Return the file's bytes, at most one more than allowed."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {title}: {(error.strerror or str(error)).lower()}") from error
    if len(raw) > MAX_BYTES:
        raise _too_large(title)
    return raw


def _decode(raw: bytes, title: str) -> str:
    """Return the text of UTF-8 bytes, naming the line where they are not."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(
            "not UTF-8 text",
            where=f"{title}:{line}",
            received=f"byte 0x{raw[error.start]:02x}",
            next_step="save the file as UTF-8",
        ) from error


def _too_large(title: str) -> UsageError:
    """Return the error for a file too large to be written by hand."""
    return UsageError(f"{title} is too large for a YAML file", allowed=f"{MAX_BYTES:,} bytes")


def _control_character(text: str) -> str:
    """Return the message about the first character that YAML refuses."""
    for number, line in enumerate(text.split("\n"), start=1):
        for character in line:
            if not character.isprintable() and character not in "\t\r\ufeff\u2028\u2029\x85\xa0\u3000":
                return f"control character U+{ord(character):04X} in line {number}"
    return "a character that YAML does not allow"


@dataclass
class _Open:
    """A mapping or list that is being filled."""

    values: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None
    duplicate: bool = False


@dataclass
class _Builder:
    """Turns parser events into data, without recursion, noting problems and lines."""

    name: str
    root: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0

    def take(self, event: Any) -> None:
        """Use one event."""
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"alias *{event.anchor}: aliases are not allowed, write the value out")
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._refuse(event, "a second document: one file holds one document")
        if isinstance(event, yaml.NodeEvent):
            self._check_node(event)
        if isinstance(event, yaml.ScalarEvent):
            plain = bool(event.implicit[0])
            self._add(event, event.value, parse_scalar(event.value) if plain else event.value)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open(event, {})
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open(event, [])
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()

    def _check_node(self, event: Any) -> None:
        """Refuse tags, which can name code, and anchors, which only aliases need."""
        if getattr(event, "tag", None):
            self._refuse(event, f"tag {event.tag}: tags are not allowed")
        if event.anchor:
            self._refuse(event, f"anchor &{event.anchor}: anchors are not allowed")

    def _refuse(self, event: Any, what: str) -> None:
        """Stop: reading on past something hostile would only waste time."""
        mark = event.start_mark
        where = f"{self.name}:{mark.line + 1}:{mark.column + 1}"
        raise UsageError(f"{self.name} cannot be read", problems=[*self.problems, Problem(what, where)])

    def _open(self, event: Any, values: dict[str, Any] | list[Any]) -> None:
        """Start a mapping or a list."""
        if len(self.stack) >= MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if not self.stack:
            if isinstance(values, list):
                self._refuse(event, "the file must hold `key: value` lines, not a list")
            self.root = values  # type: ignore[assignment]
            self.stack.append(_Open(values, ()))
            return
        parent = self.stack[-1]
        if isinstance(parent.values, dict) and parent.key is None:
            self._refuse(event, "a key must be plain text")
        self.stack.append(_Open(values, self._place(event, values)))

    def _add(self, event: Any, text: str, value: Scalar) -> None:
        """Use a scalar: as a key, a value or a list item."""
        if not self.stack:
            if value is not None:
                self._refuse(event, "the file must hold `key: value` lines, not a single value")
            return
        parent = self.stack[-1]
        if isinstance(parent.values, dict) and parent.key is None:
            self._start_key(event, parent, text)
        else:
            self._place(event, value)

    def _start_key(self, event: Any, parent: _Open, key: str) -> None:
        """Note a key; its text counts as it is, so ``1.0:`` and ``no:`` are keys "1.0" and "no"."""
        line = event.start_mark.line + 1
        path = (*parent.path, key)
        parent.key, parent.duplicate = key, path in self.lines
        if parent.duplicate:
            dotted = ".".join(map(str, path))
            self.problems.append(
                Problem(f"{dotted} is given twice, first on line {self.lines[path]}", f"{self.name}:{line}")
            )
        else:
            self.lines[path] = line

    def _place(self, event: Any, value: Any) -> KeyPath:
        """Put a value under its parent and return its path."""
        parent = self.stack[-1]
        if isinstance(parent.values, list):
            path = (*parent.path, len(parent.values))
            self.lines[path] = event.start_mark.line + 1
            parent.values.append(value)
            return path
        assert parent.key is not None
        path = (*parent.path, parent.key)
        if not parent.duplicate:
            parent.values[parent.key] = value
        parent.key = None
        return path

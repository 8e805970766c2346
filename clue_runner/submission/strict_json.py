"""JSON read more strictly than by Python's reader, and the lines of an object's keys.

In: text. Out: values, or a ``ValueError`` whose type tells the fault.
Knows nothing about answers or files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

MAX_DEPTH = 32  # no file of answers nests deeper than 4
MAX_DIGITS = 1000  # of an integer; Python itself refuses to convert more than 4,300
SPACE = re.compile(r"[ \t\n\r]*")
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class NotANumberError(ValueError):
    """NaN or Infinity in place of a value, or a number that no float holds."""


class UnusableJsonError(ValueError):
    """Valid JSON that cannot be an answer; the message tells why."""


class RepeatedKeyError(ValueError):
    """A duplicate key in one object: which value counts would be a guess.

    Args:
        key: the first key that is repeated.
        keys: all keys of the object.
    """

    def __init__(self, key: str, keys: frozenset[str]) -> None:
        super().__init__(key)
        self.key = key
        self.keys = keys


def load_json(text: str) -> Any:
    """Return the value of one JSON text.

    Raises:
        JSONDecodeError: the text is not JSON.
        NotANumberError: it contains NaN, Infinity or a number out of range.
        RepeatedKeyError: an object has a duplicate key.
        UnusableJsonError: nested too deeply, a number too long, or half a character.
    """
    try:
        value = _STRICT.decode(text)
    except RecursionError:
        raise UnusableJsonError("nested too deeply") from None
    if _is_deep(value):
        raise UnusableJsonError("nested too deeply")
    if HALF_CHARACTER.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise UnusableJsonError("half a character (\\ud8xx without its second half)") from None
    return value


def entries(text: str) -> Iterator[tuple[int, str, Any]]:
    """Yield (line, key, value) of every pair of the object in ``text``, in one pass.

    Accepts what Python's reader accepts, including duplicate keys; integers stay strings.

    Raises:
        ValueError, RecursionError: the text cannot be read as an object from here on.
    """
    line, counted, place = 1, 0, _skip(text, 0)
    if not text.startswith("{", place):
        raise ValueError("not an object")
    place = _skip(text, place + 1)
    while not text.startswith("}", place):
        line, counted = line + text.count("\n", counted, place), place
        key, end = _PLAIN.raw_decode(text, place)
        place = _skip(text, _skip(text, end) + 1)  # past the colon
        value, end = _PLAIN.raw_decode(text, place)
        yield line, key, value
        place = _skip(text, end)
        if text.startswith(",", place):
            place = _skip(text, place + 1)


def repeats(keys: Sequence[str]) -> list[tuple[int, int]]:
    """Return (place, first place) of every duplicate key, in one pass."""
    first: dict[str, int] = {}
    places = ((place, first.setdefault(key, place)) for place, key in enumerate(keys))
    return [(place, earlier) for place, earlier in places if place != earlier]


def _is_deep(value: Any) -> bool:
    """Return whether ``value`` nests deeper than ``MAX_DEPTH``; level by level, never by recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for items in inner for child in items if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _skip(text: str, place: int) -> int:
    match = SPACE.match(text, place)
    return match.end() if match else place


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(keys[repeats(keys)[0][0]], frozenset(keys))
    return record


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotANumberError(text)
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise UnusableJsonError(f"a number of more than {MAX_DIGITS:,} digits")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise NotANumberError(name)


_STRICT = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_integer,
    object_pairs_hook=_unique_keys,
)
_PLAIN = json.JSONDecoder(parse_int=str)  # 5,000 digits are no error here; values are only scanned

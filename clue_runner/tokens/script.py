"""Traditional Chinese characters replaced by simplified ones, one by one, so that offsets stay the same.

In: a text. Out: a text of the same length. OpenCC converts single characters; phrases, which could change
the length, are not converted. Knows nothing about vocabularies or tasks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from clue_runner.errors import UsageError


def simplified(text: str) -> str:
    """Return ``text`` with every traditional character replaced; offsets stay the same.

    Raises:
        UsageError: OpenCC is not installed.
    """
    return text.translate(_table())


class _Table(dict[int, int]):
    """Code point -> code point, filled as characters occur."""

    def __init__(self, converter: Any) -> None:
        super().__init__()
        self._converter = converter

    def __missing__(self, code: int) -> int:
        """Return the simplified form, or the character itself where that is not a single character."""
        converted = "" if 0xD800 <= code < 0xE000 else str(self._converter.convert(chr(code)))
        self[code] = ord(converted) if len(converted) == 1 else code
        return self[code]


@cache
def _table() -> _Table:
    """Return the shared table; OpenCC is imported here because few tasks need it."""
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise UsageError(
            "texts in traditional characters need the package 'opencc'",
            received=str(error),
            next_step="pip install opencc, or keep the texts unchanged: --set data.simplify=false",
        ) from None
    return _Table(OpenCC("t2s"))

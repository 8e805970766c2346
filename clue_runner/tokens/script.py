"""Traditional Chinese characters to simplified ones, one to one, so that offsets stay what they are.

In: a text. Out: a text of the same length. OpenCC's table of single characters decides; phrases are not
looked at (they could change the length). Knows nothing about vocabularies or tasks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from clue_runner.errors import UsageError


def simplified(text: str) -> str:
    """Return ``text`` with each traditional character replaced; offsets are the same in both.

    Raises:
        UsageError: OpenCC is not installed.
    """
    return text.translate(_table())


class _Table(dict[int, int]):
    """Code point -> code point, filled as characters are met."""

    def __init__(self, converter: Any) -> None:
        """Keep the converter."""
        super().__init__()
        self._converter = converter

    def __missing__(self, code: int) -> int:
        """Return the simplified form; the character itself where that is none or not a single one."""
        found = "" if 0xD800 <= code < 0xE000 else str(self._converter.convert(chr(code)))
        self[code] = ord(found) if len(found) == 1 else code
        return self[code]


@cache
def _table() -> _Table:
    """Return the table; OpenCC is imported here because few tasks need it."""
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise UsageError(
            "texts in traditional characters need the package 'opencc'",
            received=str(error),
            next_step="install it, or give the texts as they are: --set data.simplify=false",
        ) from None
    return _Table(OpenCC("t2s"))

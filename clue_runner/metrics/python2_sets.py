"""The order in which CPython 2.7 iterates over a set of byte strings, reimplemented.

In: the byte strings in the order they were added. Out: the same strings in table order.
The SogouQA tool names the first best variant in that order, so its seventh column depends on it.

Source: CPython 2.7, Objects/stringobject.c (string hash without randomisation) and Objects/setobject.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

WORD = 2**64
MIN_SIZE = 8


def string_hash(text: bytes) -> int:
    """Return the 64-bit hash of a byte string as an unsigned number."""
    if not text:
        return 0
    value = text[0] << 7
    for byte in text:
        value = (1000003 * value % WORD) ^ byte
    value ^= len(text)
    return WORD - 2 if value == WORD - 1 else value


class Python2Set:
    """A set that supports only adding, copying and iterating."""

    def __init__(self, items: Iterable[bytes] = ()) -> None:
        """Add ``items`` one by one, as ``set(list)`` does."""
        self.table: list[bytes | None] = [None] * MIN_SIZE
        self.used = 0
        for item in items:
            self.add(item)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the table in slot order."""
        return iter([item for item in self.table if item is not None])

    def add(self, item: bytes) -> None:
        """Add one string; the table grows fourfold at two thirds full."""
        if self._insert(item) and self.used * 3 >= len(self.table) * 2:
            self._resize(self.used * 4)

    def copy(self) -> Python2Set:
        """Return a copy, whose table may be smaller and hence in a different order."""
        other = Python2Set()
        if self.used * 3 >= MIN_SIZE * 2:
            other._resize(self.used * 2)
        for item in self:
            other._insert(item)
        return other

    def _insert(self, item: bytes) -> bool:
        """Put ``item`` into its slot; return False if it was already present."""
        mask = len(self.table) - 1
        perturb = string_hash(item)
        slot = perturb & mask
        while self.table[slot & mask] is not None:
            if self.table[slot & mask] == item:
                return False
            slot = (slot * 5 + perturb + 1) % WORD
            perturb >>= 5
        self.table[slot & mask] = item
        self.used += 1
        return True

    def _resize(self, minimum: int) -> None:
        """Move everything into a table of the smallest power of two above ``minimum``."""
        size = MIN_SIZE
        while size <= minimum:
            size *= 2
        old = [item for item in self.table if item is not None]
        self.table, self.used = [None] * size, 0
        for item in old:
            self._insert(item)

"""Overlapping windows over a sequence that is longer than a row.

In: counts. Out: half-open intervals (start, end). Knows nothing about what the sequence holds.
"""

from __future__ import annotations


def windows(count: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Return the intervals of windows that together cover ``count`` items.

    Windows begin at 0, ``stride``, 2 ``stride``, ...; the first one that reaches the end is the last.
    An empty sequence has one empty window, so that every record has a row.

    Raises:
        ValueError: ``stride`` is below 1 or above ``size``, where items would lie between two windows.
    """
    if count < 0 or not 1 <= stride <= size:
        raise ValueError(f"windows over {count} items: size {size}, stride {stride}")
    number = 1 + max(0, -(-(count - size) // stride))
    return [(index * stride, min(index * stride + size, count)) for index in range(number)]

"""What every way of cutting text says about itself, WordPiece or characters.

In: nothing. Out: a protocol. Knows nothing about how text is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class AnyTokenizer(Protocol):
    """What every way of cutting text says about itself."""

    @property
    def vocab_size(self) -> int:
        """Return the number of ids."""

    @property
    def vocab_bytes(self) -> bytes:
        """Return the vocabulary as a file holds it."""

    @property
    def sha256(self) -> str:
        """Return the hash of everything that decides ids."""

    @property
    def lowercase(self) -> bool:
        """Return whether text is lower-cased first."""

    @property
    def unk_id(self) -> int:
        """Return the id of what the vocabulary does not hold."""

    @property
    def notices(self) -> Sequence[str]:
        """Return what the user should know about the vocabulary."""

    @property
    def id_limits(self) -> Mapping[str, int]:
        """Return name of a column -> how many ids it can hold, for rows that come from a file."""

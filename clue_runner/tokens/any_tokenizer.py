"""The interface of all tokenizers, WordPiece or characters.

In: nothing. Out: a protocol. Knows nothing about how text is tokenised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class AnyTokenizer(Protocol):
    """The interface of all tokenizers."""

    @property
    def vocab_size(self) -> int:
        """Return the number of ids."""

    @property
    def vocab_bytes(self) -> bytes:
        """Return the vocabulary as the bytes of a file."""

    @property
    def sha256(self) -> str:
        """Return the hash of everything that decides ids."""

    @property
    def lowercase(self) -> bool:
        """Return whether text is lower-cased first."""

    @property
    def unk_id(self) -> int:
        """Return the id of tokens outside the vocabulary."""

    @property
    def notices(self) -> Sequence[str]:
        """Return notices about the vocabulary for the user."""

    @property
    def id_limits(self) -> Mapping[str, int]:
        """Return name of a column -> how many ids it can hold, for rows that come from a file."""

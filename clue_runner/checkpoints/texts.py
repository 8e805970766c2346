"""A checkpoint's tokenizer as a plain callable: texts in, the padded arrays of its encoder out.

In: texts, or pairs of texts. Out: token ids, segment ids and lengths as numpy arrays.
Knows nothing about weights, records or tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.raw_config import shown
from clue_runner.errors import UsageError
from clue_runner.tokens.tokenizer import Tokenizer

Ids = NDArray[np.int32]


class LoadedTokenizer(Tokenizer):
    """A tokenizer for use with a ``LoadedBackbone``."""

    def __call__(
        self, texts: str | Sequence[str | Sequence[str]], *, max_length: int = 512
    ) -> tuple[Ids, Ids, Ids]:
        """Return texts as one padded batch: ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]`` in each row.

        Args:
            texts: one text, or a sequence in which each element is a text or a pair of texts.
            max_length: most tokens in a row; longer ones lose tokens from the end of their longest part.

        Returns:
            token ids (rows, length), segment ids (rows, length) and lengths (rows,), int32.

        Raises:
            UsageError: there is no text, an element is neither a text nor texts, or ``max_length`` is too
                small.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        rows = [tuple(one) if isinstance(one, list | tuple) else (one,) for one in given]
        if not rows or not all(row and all(isinstance(part, str) for part in row) for row in rows):
            raise UsageError(
                "the tokenizer takes texts",
                received=shown(texts),
                allowed="a text, or a list of texts or pairs",
            )
        fewest = 1 + max(map(len, rows))
        if max_length < fewest:
            raise UsageError(
                "no room for the special tokens",
                where="max_length",
                received=str(max_length),
                allowed=f"{fewest} or more",
            )
        offsets, ids, segments, _ = self.pair_rows(rows, max_length)
        lengths = np.diff(offsets).astype(np.int32)
        inside = np.arange(lengths.max()) < lengths[:, None]
        token_ids = np.full(inside.shape, self.pad_id, np.int32)
        segment_ids = np.zeros(inside.shape, np.int32)
        token_ids[inside], segment_ids[inside] = ids, segments
        return token_ids, segment_ids, lengths

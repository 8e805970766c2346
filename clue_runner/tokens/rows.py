"""Encoded examples as a few flat numpy arrays: what adapters encode into and batches are cut from.

In: ragged token columns (one flat array each, shared ``offsets``) and one-value-a-row columns.
Out: ``Rows``, which can be taken apart and saved. Knows nothing about tasks or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths in flat arrays.

    Args:
        offsets: (rows + 1,) int64; row i holds tokens ``offsets[i]:offsets[i + 1]``.
        tokens: name -> (total tokens,) array: ``token_ids`` int32, ``segment_ids`` int32, ...
        columns: name -> (rows, ...) array: ``label`` int32 (-1 where there is none), ...
        record: (rows,) int64, the record each row came from.
        group: (rows,) int64, non-decreasing; rows of one group are one example and stay together.
    """

    offsets: IntArray
    tokens: Mapping[str, Array]
    columns: Mapping[str, Array]
    record: IntArray
    group: IntArray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Return (rows,) int64, tokens in each row."""
        return np.diff(self.offsets)

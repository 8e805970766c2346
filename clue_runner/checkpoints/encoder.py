"""A checkpoint's encoder as a plain callable on numpy arrays, for inference.

In: token ids, segment ids and lengths. Out: hidden states and pooled vectors.
Knows nothing about where the weights lie or which backend computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.config.lengths import row_too_long
from clue_runner.errors import Problem, UsageError

Floats = NDArray[np.float32]
ANY = 2**31  # no table sets a limit


@dataclass(frozen=True)
class LoadedBackbone:
    """An encoder with its checkpoint's weights, for inference.

    Args:
        checkpoint: where the weights come from; its ``report`` has the use of every tensor.
        settings: shape and options, ``run.model`` of a run that would use it.
        layer: the Keras layer, for training it yourself.
    """

    checkpoint: Checkpoint
    settings: Any
    layer: Any

    def __call__(
        self, token_ids: ArrayLike, segment_ids: ArrayLike | None = None, lengths: ArrayLike | None = None
    ) -> tuple[Floats, Floats | None]:
        """Encode a padded batch.

        Args:
            token_ids: (rows, length) integers.
            segment_ids: (rows, length) integers; None: all 0.
            lengths: (rows,) integers, tokens before the padding; None: no row is padded.

        Returns:
            sequence (rows, length, hidden) and pooled (rows, hidden), float32; pooled is None where the
            checkpoint has no pooler. Vectors at padded places have no meaning.

        Raises:
            UsageError: an array of the wrong shape or type, or a number outside its table.
        """
        ids = np.asarray(token_ids)
        rows, length = ids.shape if ids.ndim == 2 else (0, 0)
        segments = np.zeros_like(ids) if segment_ids is None else np.asarray(segment_ids)
        sizes = np.full((rows,), length) if lengths is None else np.asarray(lengths)
        self._check(ids, segments, sizes)
        import keras

        # Plain tensors stand in for the variables: TensorFlow refuses variables inside hand-written gradients
        # outside a graph.
        values = [(weight, keras.ops.stop_gradient(weight.value)) for weight in self.layer.weights]
        with keras.StatelessScope(state_mapping=values):
            tokens = {"token_ids": ids.astype(np.int32), "segment_ids": segments.astype(np.int32)}
            seen = np.arange(length) < sizes[:, None]
            encoded = self.layer(tokens, mask=seen)
        return _floats(encoded.sequence), None if encoded.pooled is None else _floats(encoded.pooled)

    def _check(self, ids: NDArray[Any], segments: NDArray[Any], sizes: NDArray[Any]) -> None:
        """Refuse ids for which the tables would give another row's vector, or none."""
        problems: list[Problem] = []
        rows, length = ids.shape if ids.ndim == 2 else (0, 0)
        arrays = (
            ("token_ids", ids, (rows, length), self.checkpoint.vocab_size),
            # without a segment table, segment ids are not read
            ("segment_ids", segments, (rows, length), self.settings.num_segments or ANY),
            ("lengths", sizes, (rows,), length + 1),
        )
        for name, array, shape, end in arrays:
            if array.shape != shape or not array.size:
                wanted = "(rows, length)" if name == "token_ids" else str(shape)
                problems.append(Problem("wrong shape", name, str(array.shape), f"{wanted}, not empty"))
            elif array.dtype.kind not in "iu":
                problems.append(Problem("not integers", name, str(array.dtype)))
            elif not 0 <= array.min() <= array.max() < end:
                problems.append(
                    Problem("out of range", name, f"{array.min()} to {array.max()}", f"0 to {end - 1}")
                )
        if length > self.settings.position_limit:
            problems.append(row_too_long(self.settings, "token_ids", length))
        if problems:
            raise UsageError("the batch cannot be encoded", problems=problems)


def _floats(tensor: Any) -> Floats:
    """Return a backend's tensor as float32 numpy."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))

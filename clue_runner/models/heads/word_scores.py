"""Scores of the vocabulary from a token's vector, by tied token embeddings, as in a masked-word head.

In: vectors. Out: float32 logits. Knows nothing about which words are right.

An encoder's vectors go through the transform of its pre-training (dense, activation, norm), whose weights
have the names of that head, so that a checkpoint that has them gives them. A decoder's table is its output
layer as it is.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from clue_runner.models.kernels import dense, layer_norm
from clue_runner.models.part import Part
from clue_runner.models.transformer import ACTIVATIONS


class WordScores(Part):
    """Logits over the vocabulary; the output matrix is the token embeddings of the backbone.

    Args:
        backbone: whose ``embeddings.word`` is the table.
        transform: map the vectors first, and add a bias to each word's score.
        seed: source of the initial weights.
    """

    def __init__(self, backbone: Any, *, transform: bool, seed: int) -> None:
        super().__init__("head/masked_words", seed, backbone.dtype_policy.name)
        self.word, self.transform = backbone.embeddings.word, transform
        vocabulary, width = self.word.shape
        if transform:
            options = backbone.options
            self.activation = ACTIVATIONS[options.activation]
            self.epsilon = options.layer_norm_epsilon
            self.kernel = self.weight("transform/kernel", (backbone.width, width))
            self.bias = self.weight("transform/bias", (width,), "zeros")
            self.scale = self.weight("transform/norm/scale", (width,), "ones")
            self.offset = self.weight("transform/norm/offset", (width,), "zeros")
            self.output_bias = self.weight("output/bias", (vocabulary,), "zeros")

    def call(self, vectors: Any) -> Any:
        """Return (tokens, vocabulary) float32 for vectors (tokens, width) in the compute type."""
        return self.scored(self.mapped(vectors))

    def mapped(self, vectors: Any) -> Any:
        """Return (tokens, width of the token embeddings): what the table is multiplied by."""
        if not self.transform:
            return vectors
        inner = self.activation(dense(vectors, self.cast(self.kernel), self.cast(self.bias)))
        scale, offset = ops.cast(self.scale, "float32"), ops.cast(self.offset, "float32")
        return self.cast(layer_norm(ops.cast(inner, "float32"), scale, offset, self.epsilon))

    def scored(self, vectors: Any) -> Any:
        """Return (tokens, vocabulary) float32 for what ``mapped`` gave."""
        scores = ops.cast(ops.matmul(vectors, ops.transpose(self.cast(self.word))), "float32")
        return scores + ops.cast(self.output_bias, "float32") if self.transform else scores

"""A checkpoint's decoder, compiled, with its tokenizer: what comes after a text, token by token.

In: a checkpoint, where and how to compute. Out: a ``Decoder`` that reads a prompt and gives logits.
Knows nothing about argv, sampling or how a text is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clue_runner.architectures.base import architecture_names, load_architecture
from clue_runner.architectures.settings import make_shape
from clue_runner.checkpoints.checkpoint import Checkpoint
from clue_runner.checkpoints.importer import read_checkpoint
from clue_runner.checkpoints.load import first_values_of, require_whole
from clue_runner.config.model_choice import find_model
from clue_runner.config.presets import Preset
from clue_runner.config.shipped import clue_home
from clue_runner.engines import compiled
from clue_runner.engines.devices import Backend, choose_device, choose_precision, set_backend
from clue_runner.engines.quiet import chatter_to
from clue_runner.errors import CheckpointError, Problem, UsageError
from clue_runner.tokens.tokenizer import Tokenizer

# Names of special tokens, which stand for no text: never written.
SILENT = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
# Axes that change from step to step: of tokens (rows, length), of a cache (rows, heads, length, width).
TEXTS = ((0, 1), (0, 2), ())


@dataclass(frozen=True)
class Loaded:
    """A decoder and what belongs to it.

    Args:
        backbone: the Keras layer.
        tokenizer: with the checkpoint's vocabulary.
        backend: the one that computes.
        limit: tokens that a text can have.
        described: device and precision, in words.
    """

    backbone: Any
    tokenizer: Tokenizer
    backend: str
    limit: int
    described: str

    def ids(self, text: str) -> list[int]:
        """Return a text's tokens, without [CLS] and [SEP]."""
        return [int(one) for one in self.tokenizer.encode_texts([text])[0].ids]

    def read(self, text: str) -> tuple[list[int], tuple[str, ...]]:
        """Return the tokens of a text, and its words that are not in the vocabulary, each once."""
        encoded, unknown = self.tokenizer.encode_texts([text])[0], self.tokenizer.unk_id
        found = zip(encoded.ids.tolist(), encoded.starts, encoded.ends, strict=True)
        words = dict.fromkeys(text[start:end] for one, start, end in found if one == unknown)
        return encoded.ids.tolist(), tuple(words)

    @cached_property
    def longer(self) -> Callable[..., Any]:
        """Return ``decoding.network.longer`` on this network, compiled once for all texts."""
        from clue_runner.models.decoding.network import longer

        return compiled(self.backend, self.backbone, partial(longer, self.backbone), (1,), TEXTS)

    def end_id(self, stop: str | None) -> int:
        """Return the token that ends a text: a piece of this vocabulary; None: [SEP].

        Raises:
            UsageError: it is not a single piece.
        """
        if stop is None:
            return self.tokenizer.sep_id
        found = [self.tokenizer.token_id(stop)] if stop in self.tokenizer.vocabulary.ids else self.ids(stop)
        if len(found) != 1 or found[0] == self.tokenizer.unk_id:
            raise UsageError(
                "the stop text must be one piece of the model's vocabulary",
                where="--stop",
                received=repr(stop),
                next_step="use one character, such as --stop 。",
            )
        return found[0]

    @property
    def rows(self) -> int:
        """Return the rows of the word table, which may be more than the vocabulary has pieces."""
        return int(self.backbone.embeddings.word.shape[0])

    @property
    def forbidden(self) -> list[int]:
        """Return the tokens that stand for no text: special ones, and rows without a piece."""
        special = [self.tokenizer.token_id(piece) for piece in SILENT]
        return special + list(range(self.tokenizer.vocab_size, self.rows))


class Decoder:
    """One text at a time, several continuations side by side."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded, self._next = loaded, loaded.longer

    def read(self, ids: Sequence[int], rows: int, length: int) -> NDArray[np.float32]:
        """Return (rows, vocabulary) logits of what comes after a text.

        Args:
            ids: the text's tokens; at least one.
            rows: continuations to write.
            length: the most tokens of text and continuation.
        """
        from keras import ops

        from clue_runner.models.decoding.network import empty_cache, tensors_of

        cache = tensors_of(empty_cache(self.loaded.backbone, 1, length))
        text = ops.convert_to_tensor(np.asarray([ids], np.int32))
        logits, cache = self._next(text, cache, ops.zeros((), "int32"))
        self._cache = tuple(ops.repeat(tensor, rows, axis=0) for tensor in cache) if rows > 1 else cache
        self._filled = len(ids)
        return np.repeat(np.asarray(logits, np.float32), rows, axis=0)

    def write(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits after one more token of each row."""
        from keras import ops

        column = ops.convert_to_tensor(np.asarray(tokens, np.int32)[:, None])
        filled = ops.convert_to_tensor(np.int32(self._filled))
        logits, self._cache = self._next(column, self._cache, filled)
        self._filled += 1
        return np.asarray(logits, np.float32)


def find_checkpoint(model: str, backend: Backend) -> Checkpoint:
    """Return the checkpoint that ``--model`` names, which must be a decoder's.

    Args:
        model: as on the command line.
        backend: Keras must know it before a TensorFlow checkpoint loads TensorFlow, and Keras with it.

    Raises:
        CheckpointError: there is none, it cannot be used, or its tokens attend to later ones.
    """
    found = find_model(model)
    if isinstance(found, Preset):
        if not found.local_folder.exists():
            ways = [way for way in found.ways_to_get() if "random" not in way]
            raise CheckpointError(
                f"{found.name} has no checkpoint on this machine",
                problems=[Problem(way) for way in ways or ["pass a checkpoint folder: --model DIR"]],
            )
        found = found.local_folder
    set_backend(backend)
    with chatter_to(clue_home() / "logs" / f"{backend}-start.log"):
        checkpoint = read_checkpoint(found)
    if not checkpoint.shape.WRITES:
        writers = [name for name in architecture_names() if load_architecture(name).shape.WRITES]
        raise CheckpointError(
            "the model is bidirectional and cannot continue a text",
            where=str(checkpoint.folder),
            received=checkpoint.architecture.name,
            allowed=", ".join(writers),
            next_step="use a decoder, or train this one to write: clue train --task csl_title",
        )
    return checkpoint


def load(checkpoint: Checkpoint, *, backend: Backend, device: str, precision: str) -> Loaded:
    """Return a checkpoint's decoder, ready to compute; each weight is held once, in its final type.

    Raises:
        UsageError: the backend or device does not exist.
        CheckpointError: the checkpoint has no vocabulary, or one that cannot be used.
    """
    tokenizer = Tokenizer(checkpoint.require_vocab(), checkpoint.lowercase)
    with chatter_to(clue_home() / "logs" / f"{backend}-start.log"):
        place = choose_device(backend, device)
    choice = choose_precision(precision, place)
    from clue_runner.models.naming import named_variables
    from clue_runner.models.part import STORED

    shape = make_shape(checkpoint.architecture.name, **checkpoint.shape.model_dump())
    with first_values_of(checkpoint):
        backbone = checkpoint.architecture.build(
            shape,
            checkpoint.vocab_size,
            precision=STORED if choice.value == "bfloat16" else choice.value,
            seed=0,
            pooler=False,
        )
    require_whole(named_variables(backbone), checkpoint)
    described = f"{place.text}, {choice.value}: {choice.reason}"
    return Loaded(backbone, tokenizer, backend, checkpoint.shape.position_limit, described)

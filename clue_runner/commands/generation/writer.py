"""A loaded decoder that continues texts, token by token or as complete continuations.

In: a decoder with its tokenizer, options. Out: what each token adds to which continuation, or complete texts.
Knows nothing about argv, weight files or how a text is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from clue_runner.commands.generation.decoder import Decoder, Loaded
from clue_runner.commands.generation.options import Options
from clue_runner.engines import compiled
from clue_runner.errors import CheckpointError, UsageError
from clue_runner.models.decoding.sampling import generator_of
from clue_runner.tokens.layouts.joining import Joiner, joined


@dataclass(frozen=True)
class Written:
    """One token of one continuation."""

    sample: int
    token: int


@dataclass(frozen=True)
class Start:
    """A prompt as a model sees it: its tokens, the token that ends a text, and the unknown words."""

    ids: list[int]
    end: int
    unknown: tuple[str, ...]


class Writer:
    """A decoder with its tokenizer; one text after another, or several at once.

    Args:
        loaded: the decoder.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def start(self, options: Options) -> Start:
        """Return the prompt's tokens.

        Raises:
            UsageError: invalid options, a prompt without a known token, or more tokens than positions.
        """
        options.require_possible()
        ids, unknown = self.loaded.read(options.prompt)
        if all(one == self.loaded.tokenizer.unk_id for one in ids):
            raise UsageError("no token of the prompt is in the model's vocabulary", where="--prompt")
        if max(ids) >= self.loaded.rows:
            raise CheckpointError(
                "the prompt needs a piece of the vocabulary that has no row in the word table",
                where=str(self.loaded.tokenizer.vocab_path),
                received=self.loaded.tokenizer.pieces([max(ids)])[0],
                next_step="use the vocab.txt that belongs to the weights",
            )
        total, limit = len(ids) + options.max_length, self.loaded.limit
        if total > limit:
            room = limit - len(ids)
            raise UsageError(
                "prompt and continuation together exceed the model's positions",
                where="--max-length",
                received=f"{len(ids)} + {options.max_length} tokens",
                allowed=f"{limit} in all",
                next_step=f"--max-length {room}" if room > 0 else "shorten the prompt",
            )
        return Start(ids, self.loaded.end_id(options.stop), unknown)

    def stream(self, options: Options) -> Iterator[tuple[int, str]]:
        """Yield (number of a continuation, what a token adds to it) as tokens are sampled.

        Raises:
            UsageError: as in ``start``; or beam search, whose texts are known only when it is complete.
        """
        if options.beam is not None:
            raise UsageError(
                "beam search cannot be streamed", where="beam", next_step="use write(...) instead"
            )
        return self._added(options, self.start(options))  # errors are raised here, not at the first token

    def _added(self, options: Options, start: Start) -> Iterator[tuple[int, str]]:
        """Yield what ``stream`` does."""
        joiners = [Joiner(options.prompt) for _ in range(options.samples)]
        tokenizer = self.loaded.tokenizer
        for one in self._written(options, start):
            if one.token == tokenizer.sep_id:
                yield one.sample, ""
            else:
                yield one.sample, joiners[one.sample].add(tokenizer.pieces([one.token])[0])

    def _written(self, options: Options, start: Start) -> Iterator[Written]:
        """Yield the tokens of all continuations as they are sampled; the end token is yielded too.

        A continuation is a function of the seed and its number: with more of them, the first stay the same up
        to the last bits of the logits.
        """
        rows, sampling = options.samples, options.sampling
        generators = [generator_of(options.seed, number) for number in range(rows)]
        texts = [list(start.ids) for _ in range(rows)]
        going = set(range(rows))
        decoder = Decoder(self.loaded)
        logits = decoder.read(start.ids, rows, len(start.ids) + options.max_length)
        for count in range(1, options.max_length + 1):
            for row in sorted(going):
                found = logits[row].astype(np.float64)
                found[self.loaded.forbidden] = -np.inf
                if count < options.min_length:
                    found[start.end] = -np.inf
                token = sampling.draw(found, texts[row], generators[row])
                texts[row].append(token)
                yield Written(row, token)
                if token == start.end:
                    going.discard(row)
            if not going or count == options.max_length:
                return
            logits = decoder.write([text[-1] for text in texts])

    def beams(self, options: Options) -> tuple[list[str], int]:
        """Return the most probable continuations, best first, and the number of their tokens.

        Raises:
            UsageError: as in ``start``.
        """
        from keras import ops

        start, loaded = self.start(options), self.loaded
        search = self._search(options, start.end)
        sequences, _ = search(ops.convert_to_tensor(np.asarray([start.ids], np.int32)))
        texts, count = [], 0
        for sequence in np.asarray(sequences)[0, : options.samples].tolist():
            kept = sequence[: sequence.index(start.end)] if start.end in sequence else sequence
            if options.stop is not None and start.end in sequence:
                kept = [*kept, start.end]
            count += len(kept)
            text = joined([options.prompt, *loaded.tokenizer.pieces(kept)])
            texts.append(text.removeprefix(options.prompt))
        return texts, count

    def _search(self, options: Options, end: int) -> Any:
        """Return the compiled search."""
        from clue_runner.models.decoding.beam import Beam
        from clue_runner.models.decoding.network import best_continuations
        from clue_runner.models.kernels import NEGATIVE

        loaded = self.loaded
        beam = Beam(options.beam or 1, options.max_length, end, options.length_penalty, options.min_length)
        forbidden = np.zeros(loaded.rows, np.float32)
        forbidden[loaded.forbidden] = NEGATIVE
        find = partial(best_continuations, loaded.backbone, beam, forbidden)
        return compiled(loaded.backend, loaded.backbone, find)


def texts_of(added: Sequence[tuple[int, str]], samples: int) -> list[str]:
    """Return the continuations that the parts of a stream make up."""
    return ["".join(text for number, text in added if number == sample) for sample in range(samples)]

"""A loaded decoder that goes on with texts, piece by piece or as whole continuations.

In: a decoder with its tokenizer, options. Out: what each token adds to which continuation, or whole texts.
Knows nothing about argv, files of weights or how a text is shown.
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
from clue_runner.errors import UsageError
from clue_runner.models.decoding.sampling import generator_of
from clue_runner.tokens.layouts.joining import Joiner, joined


@dataclass(frozen=True)
class Written:
    """One token of one continuation."""

    sample: int
    token: int


@dataclass(frozen=True)
class Start:
    """What a prompt is to a model: its tokens, the token that ends a text, and words it does not know."""

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
            UsageError: options that cannot be, a prompt without a known token, or a text that the positions
                do not reach.
        """
        options.require_possible()
        ids, unknown = self.loaded.read(options.prompt)
        if all(one == self.loaded.tokenizer.unk_id for one in ids):
            raise UsageError("the prompt has no token of the model's vocabulary", where="--prompt")
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
        """Yield (number of a continuation, what a token adds to it) as tokens are drawn.

        Raises:
            UsageError: as ``start``; or beam search, which knows a text when it has ended.
        """
        if options.beam is not None:
            raise UsageError(
                "beam search knows a text when it has ended", where="beam", next_step="ask for whole texts"
            )
        return self._added(options, self.start(options))  # a mistake is raised here, not at the first token

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
        """Yield the tokens of all continuations as they are drawn; the end token is yielded too.

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
            UsageError: as ``start``.
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
        forbidden = np.zeros(loaded.backbone.embeddings.word.shape[0], np.float32)
        forbidden[loaded.forbidden] = NEGATIVE
        find = partial(best_continuations, loaded.backbone, beam, forbidden)
        return compiled(loaded.backend, loaded.backbone, find)


def texts_of(added: Sequence[tuple[int, str]], samples: int) -> list[str]:
    """Return the continuations that a stream's parts make up."""
    return ["".join(text for number, text in added if number == sample) for sample in range(samples)]

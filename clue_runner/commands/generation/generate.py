"""``clue generate``: a decoder continues a text, shown while it is written.

In: the command's options as plain values. Out: the continuations, streamed, and as one mapping.
Knows nothing about argv, files of weights or networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from clue_runner.commands.generation.decoder import Decoder, Loaded, find_checkpoint, load
from clue_runner.console import Console
from clue_runner.engines import compiled
from clue_runner.engines.devices import Backend
from clue_runner.errors import Problem, UsageError
from clue_runner.models.decoding.sampling import Sampling, TopPRule, generator_of
from clue_runner.tokens.layouts.joining import Joiner, joined


@dataclass(frozen=True)
class GenerateRequest:
    """The options of ``clue generate``, named as on the command line."""

    model: str
    prompt: str
    samples: int = 1
    seed: int = 42
    max_length: int = 128
    min_length: int = 1
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    top_p_rule: TopPRule = "crossing"
    repetition_penalty: float = 1.0
    no_repeat: int | None = None
    beam: int | None = None
    length_penalty: float = 1.0
    stop: str | None = None
    backend: Backend = "tensorflow"
    device: str = "auto"
    precision: str = "auto"

    @property
    def sampling(self) -> Sampling:
        """Return how tokens are sampled."""
        return Sampling(
            self.temperature,
            self.top_k,
            self.top_p,
            self.top_p_rule,
            self.repetition_penalty,
            self.no_repeat,
        )


@dataclass(frozen=True)
class Written:
    """One token of one continuation."""

    sample: int
    token: int


def fulfil(request: GenerateRequest, console: Console) -> dict[str, Any]:
    """Write the continuations, show them, and return the result event's content.

    Raises:
        UsageError: options that contradict each other, an empty prompt, or more tokens than positions.
        CheckpointError: no decoder, or one that cannot be used.
    """
    _check(request)
    checkpoint = find_checkpoint(request.model, request.backend)
    for notice in checkpoint.notices:
        console.warn(notice)
    loaded = load(checkpoint, backend=request.backend, device=request.device, precision=request.precision)
    ids, end = loaded.ids(request.prompt), loaded.end_id(request.stop)
    _check_length(request, ids, loaded)
    console.rows_on_stdout = True  # other programs read the text; everything else goes to stderr
    console.say(f"{checkpoint.folder.name} on {loaded.described}")
    started = time.monotonic()
    write = _beams if request.beam is not None else _samples
    texts, count = write(request, loaded, ids, end, console)
    seconds = time.monotonic() - started
    result = {
        "ok": True,
        "prompt": request.prompt,
        "samples": texts,
        "seed": request.seed,
        "tokens": count,
        "seconds": round(seconds, 3),
    }
    console.event({"event": "result", **result})
    return result


def written(request: GenerateRequest, decoder: Decoder, ids: list[int], end: int) -> Iterator[Written]:
    """Yield the tokens of all continuations as they are sampled, including the end token.

    A continuation is a function of the seed and its number: with more of them, the first stay the same up to
    the last bits of the logits.
    """
    rows, sampling = request.samples, request.sampling
    generators = [generator_of(request.seed, number) for number in range(rows)]
    texts = [list(ids) for _ in range(rows)]
    going = set(range(rows))
    logits = decoder.read(ids, rows, len(ids) + request.max_length)
    forbidden = decoder.loaded.forbidden
    for count in range(1, request.max_length + 1):
        for row in sorted(going):
            found = logits[row].astype(np.float64)
            found[forbidden] = -np.inf
            if count < request.min_length:
                found[end] = -np.inf
            token = sampling.draw(found, texts[row], generators[row])
            texts[row].append(token)
            yield Written(row, token)
            if token == end:
                going.discard(row)
        if not going or count == request.max_length:
            return
        logits = decoder.write([text[-1] for text in texts])


def _samples(
    request: GenerateRequest, loaded: Loaded, ids: list[int], end: int, console: Console
) -> tuple[list[str], int]:
    """Sample the continuations; the first is shown token by token, the others when all are complete."""
    joiners = [Joiner(request.prompt) for _ in range(request.samples)]
    decoder, count = Decoder(loaded), 0
    show = _shower(console)
    show(request.prompt)
    for one in written(request, decoder, ids, end):
        count += 1
        if one.token == loaded.tokenizer.sep_id:
            continue
        added = joiners[one.sample].add(loaded.tokenizer.pieces([one.token])[0])
        if one.sample == 0:
            show(added)
    show("\n")
    for joiner in joiners[1:]:
        show(f"\n{joiner.text}\n")
    return [joiner.text.removeprefix(request.prompt) for joiner in joiners], count


def _beams(
    request: GenerateRequest, loaded: Loaded, ids: list[int], end: int, console: Console
) -> tuple[list[str], int]:
    """Search for the most probable continuations; shown when found, best first."""
    from keras import ops

    from clue_runner.models.decoding.beam import Beam
    from clue_runner.models.decoding.network import best_continuations
    from clue_runner.models.kernels import NEGATIVE

    beam = Beam(request.beam or 1, request.max_length, end, request.length_penalty, request.min_length)
    forbidden = np.zeros(loaded.backbone.embeddings.word.shape[0], np.float32)
    forbidden[loaded.forbidden] = NEGATIVE
    search = compiled(
        loaded.backend, loaded.backbone, partial(best_continuations, loaded.backbone, beam, forbidden)
    )
    sequences, _ = search(ops.convert_to_tensor(np.asarray([ids], np.int32)))
    texts, count, show = [], 0, _shower(console)
    for sequence in np.asarray(sequences)[0, : request.samples].tolist():
        kept = sequence[: sequence.index(end)] if end in sequence else sequence
        if request.stop is not None and end in sequence:
            kept = [*kept, end]
        count += len(kept)
        text = joined([request.prompt, *loaded.tokenizer.pieces(kept)])
        texts.append(text.removeprefix(request.prompt))
        show(f"{text}\n")
    return texts, count


def _shower(console: Console) -> Callable[[str], None]:
    """Return the callback that shows text as it grows; with ``--json`` the last line holds all of it."""
    return (lambda text: None) if console.json else console.rows


def _check(request: GenerateRequest) -> None:
    """Refuse options that contradict each other."""
    problems = []
    if not request.prompt.strip():
        problems.append(Problem("the prompt is empty", "--prompt"))
    if request.min_length > request.max_length:
        problems.append(
            Problem(
                "longer than --max-length", "--min-length", str(request.min_length), str(request.max_length)
            )
        )
    if request.beam is not None:
        drawn = {
            "--top-k": request.top_k is not None,
            "--top-p": request.top_p is not None,
            "--temperature": request.temperature != 1,
            "--repetition-penalty": request.repetition_penalty != 1,
            "--no-repeat": request.no_repeat is not None,
        }
        problems += [
            Problem("beam search does not sample and does not limit repetition", name)
            for name, given in drawn.items()
            if given
        ]
        if request.samples > request.beam:
            problems.append(
                Problem(
                    "more continuations than beams", "--samples", str(request.samples), f"1 to {request.beam}"
                )
            )
    if problems:
        raise UsageError("these options do not go together", problems=problems)


def _check_length(request: GenerateRequest, ids: list[int], loaded: Loaded) -> None:
    """Refuse a prompt without tokens, or a text longer than the model's positions."""
    if not ids:
        raise UsageError("the prompt has no token of the model's vocabulary", where="--prompt")
    total = len(ids) + request.max_length
    if total > loaded.limit:
        raise UsageError(
            "prompt and continuation together exceed the model's positions",
            where="--max-length",
            received=f"{len(ids)} + {request.max_length} tokens",
            allowed=f"{loaded.limit} in all",
            next_step=f"--max-length {max(1, loaded.limit - len(ids))}",
        )

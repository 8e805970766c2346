"""``clue generate``: a decoder continues a text, which is shown while it is generated.

In: the command's options as plain values. Out: the continuations, streamed, and as one mapping.
Knows nothing about argv, weight files or networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clue_runner.commands.generation.decoder import find_checkpoint, load
from clue_runner.commands.generation.options import Options
from clue_runner.commands.generation.writer import Writer, texts_of
from clue_runner.console import Console
from clue_runner.engines.devices import Backend

SHOWN_UNKNOWN = 10  # unknown words of a prompt that a warning names


@dataclass(frozen=True, kw_only=True)
class GenerateRequest(Options):
    """The options of ``clue generate``, named as on the command line."""

    model: str
    backend: Backend = "tensorflow"
    device: str = "auto"
    precision: str = "auto"


def fulfil(request: GenerateRequest, console: Console, *, show: bool = True) -> dict[str, Any]:
    """Generate the continuations, show them if wanted, and return the content of the result event.

    Raises:
        UsageError: options that contradict each other, an empty prompt, or more tokens than positions.
        CheckpointError: there is no decoder, or it cannot be used.
    """
    request.require_possible()
    checkpoint = find_checkpoint(request.model, request.backend)
    for notice in checkpoint.notices:
        console.warn(notice)
    loaded = load(checkpoint, backend=request.backend, device=request.device, precision=request.precision)
    writer = Writer(loaded)
    unknown = writer.start(request).unknown
    if unknown:
        console.warn(f"not in the model's vocabulary, read as [UNK]: {_named(unknown)}")
    console.rows_on_stdout = True  # the text is what other programs read; all else goes to stderr
    console.say(f"{checkpoint.name} on {loaded.described}")
    started = time.monotonic()
    write = _beams if request.beam is not None else _samples
    # with --json the last line contains all of the text
    texts, count = write(request, writer, console.rows if show and not console.json else _silent)
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


def _samples(request: Options, writer: Writer, show: Callable[[str], None]) -> tuple[list[str], int]:
    """Draw the continuations; the first is shown token by token, the others once all are complete."""
    parts: list[tuple[int, str]] = []
    show(request.prompt)
    for sample, added in writer.stream(request):
        parts.append((sample, added))
        if sample == 0 and added:
            show(added)
    show("\n")
    texts = texts_of(parts, request.samples)
    for text in texts[1:]:
        show(f"\n{request.prompt}{text}\n")
    return texts, len(parts)


def _beams(request: Options, writer: Writer, show: Callable[[str], None]) -> tuple[list[str], int]:
    """Search for the most probable continuations; they are shown once found, best first."""
    texts, count = writer.beams(request)
    for text in texts:
        show(f"{request.prompt}{text}\n")
    return texts, count


def _silent(text: str) -> None:
    """Show nothing."""


def _named(unknown: tuple[str, ...]) -> str:
    """Return the unknown words of a prompt as a warning lists them."""
    shown = ", ".join(unknown[:SHOWN_UNKNOWN])
    rest = len(unknown) - SHOWN_UNKNOWN
    return f"{shown} and {rest} more" if rest > 0 else shown

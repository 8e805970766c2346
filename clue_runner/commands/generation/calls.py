"""A decoder as a Python object: loaded once, it continues any number of texts.

In: a checkpoint, prompts, the options of ``clue generate``. Out: texts, complete or token by token.
Knows nothing about argv or how a decoder computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clue_runner.errors import Problem, UsageError

if TYPE_CHECKING:
    from clue_runner.commands.generation.options import Options
    from clue_runner.commands.generation.writer import Writer


@dataclass(frozen=True)
class LoadedDecoder:
    """A decoder with the weights of its checkpoint.

    Args:
        writer: continues texts.
        notices: what a user should know about the checkpoint, in sentences.
    """

    writer: Writer
    notices: tuple[str, ...]

    def write(self, prompt: str, **options: Any) -> list[str]:
        """Return the continuations of a text, without the text.

        Args:
            prompt: the text to continue.
            options: those of ``clue generate``, by name: ``samples``, ``seed``, ``max_length``,
                ``min_length``, ``temperature``, ``top_k``, ``top_p``, ``top_p_rule``,
                ``repetition_penalty``, ``no_repeat``, ``beam``, ``length_penalty``, ``stop``.

        Raises:
            UsageError: invalid options, an empty prompt, or more tokens than positions.
        """
        from clue_runner.commands.generation.writer import texts_of

        asked = _options(prompt, options)
        if asked.beam is not None:
            return self.writer.beams(asked)[0]
        return texts_of(list(self.writer.stream(asked)), asked.samples)

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Yield what each token adds to a text, as it is sampled; joined, this is what ``write`` returns.

        Args:
            prompt: the text to continue.
            options: as in ``write``; one continuation, no beam search.

        Raises:
            UsageError: as in ``write``; at the call, not at the first token.
        """
        asked = _options(prompt, options)
        if asked.samples != 1:
            raise UsageError(
                "a stream has a single continuation",
                where="samples",
                received=str(asked.samples),
                allowed="1",
                next_step="use write(...) for several",
            )
        return (text for _, text in self.writer.stream(asked) if text)


def load_decoder(
    model: str | Path,
    *,
    backend: Literal["tensorflow", "jax"] | None = None,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> LoadedDecoder:
    """Load the checkpoint of a decoder, each weight once and in its final type.

    Args:
        model: the name of a preset, a checkpoint folder or an ``hf:`` name.
        backend: None: the one that is loaded, else $KERAS_BACKEND, else TensorFlow.
        device: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
        precision: what weights are stored in and computed with.

    Raises:
        CheckpointError: there is none, it cannot be used, or its tokens attend to later ones.
        UsageError: the backend or device is not available.
    """
    from clue_runner.commands.generation.decoder import find_checkpoint, load
    from clue_runner.commands.generation.writer import Writer
    from clue_runner.engines.devices import current_backend

    chosen = backend or current_backend()
    checkpoint = find_checkpoint(str(model), chosen)
    loaded = load(checkpoint, backend=chosen, device=device, precision=precision)
    return LoadedDecoder(Writer(loaded), checkpoint.notices)


def _options(prompt: str, options: dict[str, Any]) -> Options:
    """Return the options; unknown names are refused."""
    from clue_runner.commands.generation.options import Options

    known = [field.name for field in fields(Options) if field.name != "prompt"]
    problems = [
        Problem("no such option", name, allowed=", ".join(known)) for name in options if name not in known
    ]
    if problems:
        raise UsageError("unknown options", problems=problems)
    return Options(prompt=prompt, **options)

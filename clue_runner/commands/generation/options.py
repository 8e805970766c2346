"""How a text is continued; validated in one place for the command line and for Python calls.

In: a prompt and the decoding options, as plain values. Out: the options, or all problems at once.
Knows nothing about argv, models or vocabularies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, get_args

from clue_runner.errors import Problem, UsageError
from clue_runner.models.decoding.sampling import Sampling, TopPRule

MOST_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to continue, and how; named as on the command line."""

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

    @property
    def sampling(self) -> Sampling:
        """Return how tokens are drawn."""
        return Sampling(
            self.temperature,
            self.top_k,
            self.top_p,
            self.top_p_rule,
            self.repetition_penalty,
            self.no_repeat,
        )

    def require_possible(self) -> None:
        """Refuse invalid options.

        Raises:
            UsageError: values out of range, an empty prompt, or options that contradict each other.
        """
        problems = [*_out_of_range(self)]
        if not problems:
            problems = [*_contradictions(self)]
        if problems:
            raise UsageError("these options cannot be used together", problems=problems)


def option(name: str) -> str:
    """Return a field's name as on the command line."""
    return f"--{name.replace('_', '-')}"


def _whole(least: int, most: float = math.inf) -> Callable[[Any], bool]:
    """Return a test for whole numbers from ``least`` to ``most``."""
    return lambda value: type(value) is int and least <= value <= most


def _number(inside: Callable[[float], bool]) -> Callable[[Any], bool]:
    """Return a test for finite numbers that satisfy ``inside``."""
    return lambda value: type(value) in {int, float} and math.isfinite(value) and inside(value)


# Field -> a test for allowed values, and their description. None is allowed where it is the default.
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "samples": (_whole(1, MOST_SAMPLES), f"a whole number from 1 to {MOST_SAMPLES}"),
    "seed": (_whole(0), "a whole number from 0"),
    "max_length": (_whole(1), "a whole number from 1"),
    "min_length": (_whole(1), "a whole number from 1"),
    "temperature": (_number(lambda value: value >= 0), "a number from 0"),
    "top_k": (_whole(1), "a whole number from 1"),
    "top_p": (_number(lambda value: 0 < value <= 1), "a number above 0, at most 1"),
    "top_p_rule": (lambda value: value in get_args(TopPRule), " or ".join(get_args(TopPRule))),
    "repetition_penalty": (_number(lambda value: value > 0), "a number above 0"),
    "no_repeat": (_whole(1), "a whole number from 1"),
    "beam": (_whole(1), "a whole number from 1"),
    "length_penalty": (_number(lambda value: True), "a number"),
}


def _out_of_range(options: Options) -> Iterator[Problem]:
    """Yield the problems of single values."""
    prompt: object = options.prompt
    if not isinstance(prompt, str):
        yield Problem("not text", "--prompt", repr(prompt))
    elif not prompt.strip():
        yield Problem("the prompt is empty", "--prompt")
    given = vars(options)
    for field in fields(Options):
        value = given[field.name]
        if field.name not in RANGES or (value is None and field.default is None):
            continue
        is_allowed, allowed = RANGES[field.name]
        if not is_allowed(value):
            yield Problem("the value is not allowed", option(field.name), repr(value), allowed)


def _contradictions(options: Options) -> Iterator[Problem]:
    """Yield the options that contradict each other."""
    if options.min_length > options.max_length:
        longest = str(options.max_length)
        yield Problem("greater than --max-length", "--min-length", str(options.min_length), longest)
    if options.beam is None:
        return
    drawn = ("top_k", "top_p", "temperature", "repetition_penalty", "no_repeat")
    given, default = vars(options), {field.name: field.default for field in fields(Options)}
    for name in drawn:
        if given[name] != default[name]:
            yield Problem("beam search does not sample and does not limit repetition", option(name))
    if options.samples > options.beam:
        allowed = f"1 to {options.beam}"
        yield Problem("more continuations than beams", "--samples", str(options.samples), allowed)

"""An untrusted config.json, read value by value with all its problems collected.

In: the JSON object and its path. Out: checked values, or one error that names every problem.
Knows nothing about families: which keys there are, and what they mean, their ``shape.py`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from clue_runner.errors import CheckpointError, Problem

Value = TypeVar("Value")
LARGEST_VOCABULARY = 4_194_304
AGAIN = "copy or download the checkpoint again"


class RawConfig:
    """The JSON object of a bert_config.json (Google) or a config.json (Hugging Face).

    Args:
        raw: the object.
        where: its path, for messages.
    """

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw, self.where = raw, where
        self.problems: list[Problem] = []
        self.unsupported: list[Problem] = []
        self.vocab_size = self.count("vocab_size", LARGEST_VOCABULARY)

    def count(self, key: str, largest: int, default: int | None = None, *, least: int = 1) -> int:
        """Return a whole number from ``least``; above ``largest`` it could exhaust memory: not believed."""
        value = self.raw.get(key, default)
        allowed = f"an integer, {least} to {largest}"
        if value is None:
            self.problems.append(Problem("missing key", key, allowed=allowed))
        elif type(value) is not int or not least <= value <= largest:
            self.problems.append(Problem("impossible value", key, shown(value), allowed))
        else:
            return value
        return 1

    def number(self, key: str, below: float, default: float, *, least: float = 0.0) -> float:
        """Return a number in [least, below)."""
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < below:
            allowed = f"a number, {least:g} to below {below:g}"
            self.problems.append(Problem("impossible value", key, shown(value), allowed))
            return default
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            self.problems.append(Problem("impossible value", key, shown(value), "true or false"))
        return value is True

    def choice(self, key: str, ours: Mapping[str, Value], default: str) -> Value:
        """Return our value for theirs."""
        value = self.raw.get(key, default)
        if isinstance(value, str) and value in ours:
            return ours[value]
        self.problems.append(Problem("unknown value", key, shown(value), ", ".join(ours)))
        return ours[default]

    def require(self, key: str, allowed: Sequence[Any], what: str = "not supported yet") -> None:
        """Refuse a key that asks for another network: it must be absent, null, or one of the values."""
        value = self.raw.get(key)
        if value is not None and not any(type(value) is type(one) and value == one for one in allowed):
            words = " or ".join(map(repr, allowed)) or "absent"
            self.unsupported.append(Problem(what, key, shown(value), words))

    def finish(self, *, advice: str) -> None:
        """Raise where there was a problem.

        Args:
            advice: what to take where the config asks for another network.

        Raises:
            CheckpointError: it asks for another network, or has missing or impossible values; all at once.
        """
        if self.unsupported:
            raise CheckpointError(
                "this network is not supported yet",
                where=self.where,
                problems=self.unsupported,
                next_step=advice,
            )
        if self.problems:
            raise CheckpointError(
                "the config cannot be used", where=self.where, problems=self.problems, next_step=AGAIN
            )


def shown(value: Any) -> str:
    """Return a value as a message shows it, whatever its length."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number with thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."

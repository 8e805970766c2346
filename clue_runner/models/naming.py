"""Stable names of weights: the keys of states, checkpoints and initial values.

In: Keras variables of a network. Out: a mapping name -> variable.
Knows nothing about files or other libraries' names.
"""

from __future__ import annotations

from typing import Any

_ATTRIBUTE = "_clue_name"
_LOOKUP = "_clue_lookup"


def give_name(variable: Any, name: str, *, lookup: bool = False) -> None:
    """Attach the stable ``name`` to a Keras variable; ``lookup``: a table read by row, few rows per step."""
    setattr(variable, _ATTRIBUTE, name)
    setattr(variable, _LOOKUP, lookup)


def is_lookup(variable: Any) -> bool:
    """Return whether the variable is a table of which a step reads few rows."""
    return bool(getattr(variable, _LOOKUP, False))


def name_of(variable: Any) -> str:
    """Return a variable's stable name; Keras's own path where a layer gave none."""
    return str(getattr(variable, _ATTRIBUTE, variable.path))


def named_variables(layer: Any) -> dict[str, Any]:
    """Return the weights of a Keras layer by stable name, in the order of creation.

    Raises:
        ValueError: two weights share a name; states could not tell them apart.
    """
    named: dict[str, Any] = {}
    for variable in layer.weights:
        name = name_of(variable)
        if name in named:
            raise ValueError(f"two weights are called {name}")
        named[name] = variable
    return named


def decays(name: str) -> bool:
    """Return whether weight decay moves this weight: not biases, not layer norms."""
    return not (name.endswith("/bias") or "/norm/" in name)

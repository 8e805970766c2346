"""Finds the class that a module of a folder defines, by the module's name: there is no list to maintain.

In: a package, a base class, a name. Out: the class, or the existing names.
Knows nothing about what the classes do.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from types import ModuleType
from typing import TypeVar

from clue_runner.errors import UsageError, suggest

Kind = TypeVar("Kind")


def class_names(package: ModuleType, base: type[Kind]) -> tuple[str, ...]:
    """Return the names of all classes derived from ``base`` that the folder's modules define."""
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(name for name in modules if _class_in(package, base, name) is not None)


def class_named(package: ModuleType, base: type[Kind], name: str, *, kind: str, where: str) -> type[Kind]:
    """Return the class of the module ``name``.

    Args:
        package: the folder.
        base: what the class derives from.
        name: the user's.
        kind: the kind of class, for the message.
        where: the setting that names it, for the message.

    Raises:
        UsageError: there is none; the message names those there are.
        RuntimeError: the module defines several.
    """
    known = _class_in(package, base, name) if name.isidentifier() else None
    if known is None:
        names = class_names(package, base)
        guess = suggest(name, names)
        raise UsageError(
            f"no {kind} called {name!r}",
            where=where,
            allowed=", ".join(names) or "none: there is no such file yet",
            next_step=f"did you mean {guess}?" if guess else f"omit {where} to use the default",
        )
    return known


def _class_in(package: ModuleType, base: type[Kind], name: str) -> type[Kind] | None:
    full = f"{package.__name__}.{name}"
    if importlib.util.find_spec(full) is None:
        return None
    classes = [
        value
        for value in vars(importlib.import_module(full)).values()
        if inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)
        if value.__module__ == full and value is not base
    ]
    if len(classes) > 1:
        raise RuntimeError(f"{full} defines {len(classes)} classes, and its name can mean only one")
    return classes[0] if classes else None

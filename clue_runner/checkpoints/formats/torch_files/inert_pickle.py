"""A pickle read as data: an interpreter of its opcodes that imports nothing and calls nothing.

In: bytes. Out: numbers, texts, lists, mappings and records of tensors. Names of functions are mere text here:
those that a state dict needs are understood, every other one ends the reading before what follows it is
looked at. Knows nothing about files.

The library's own reader is not used, not even with a filter: what it never sees it cannot run.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clue_runner.checkpoints.formats.torch_files.records import (
    MOST_AXES,
    STORAGES,
    RecordError,
    Storage,
    make_storage,
    make_tensor,
)

LARGEST = 4 * 2**20  # bytes of a pickle; a model of 400 tensors has 60,000
MOST_STEPS = 200_000  # opcodes; a model of 400 tensors has 15,000, its optimizer's state three times that
MOST_COPIED = 50_000  # pairs of lists that become mappings
REBUILD = "torch._utils._rebuild_tensor_v2"
REBUILD_OLD = "torch._utils._rebuild_tensor"
PARAMETER = "torch._utils._rebuild_parameter"
ORDERED = "collections.OrderedDict"
SIZE = "torch.Size"
KNOWN = frozenset({REBUILD, REBUILD_OLD, PARAMETER, ORDERED, SIZE, *STORAGES})

VALUES = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "STRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: Mapping[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
KEYS = (str, int, float, bytes, type(None))


class CodeError(ValueError):
    """A pickle that asks for a function or a class that no weights need; the text names it."""


class PickleError(ValueError):
    """Bytes that are not a pickle, or one with something other than weights; the text says how."""


@dataclass(frozen=True)
class Function:
    """The name of a function or class; it refers to nothing."""

    name: str


MARK = object()


def read_pickle(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Return what one pickle holds, and the storages that it names; the stream is left behind it.

    Raises:
        CodeError: it would run code.
        PickleError: it is damaged, too long, or holds something other than weights.
    """
    machine = Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number >= MOST_STEPS:
                raise PickleError(f"it has more than {MOST_STEPS:,} steps")
            if opcode.name == "STOP":
                return machine.stack[-1], machine.storages
            machine.step(opcode.name, argument)
    except (CodeError, PickleError):
        raise
    except RecordError as error:
        raise PickleError(f"it describes {error}") from error
    except (ValueError, LookupError, TypeError, OverflowError, AttributeError) as error:
        raise PickleError("it is damaged") from error
    raise PickleError("it is truncated")


class Machine:
    """The stack and the memory of one pickle."""

    def __init__(self) -> None:
        """Start empty."""
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.copied = 0

    def step(self, name: str, argument: Any) -> None:
        """Execute one opcode, as far as it makes data."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name == "MARK":
            self.stack.append(MARK)
        elif name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo[argument])
        elif name in {"GLOBAL", "STACK_GLOBAL"}:
            self._function(argument)
        elif name in {"PROTO", "FRAME"}:
            return
        elif name in STEPS:
            STEPS[name](self)
        else:
            raise CodeError(f"the opcode {name}")

    def _function(self, argument: str | None) -> None:
        """Take a function's name, or stop at one that no weights need."""
        if argument is None:
            module, attribute = self._last(2)
            if not (isinstance(module, str) and isinstance(attribute, str)):
                raise PickleError("it is damaged")
        else:
            module, _, attribute = argument.partition(" ")
        name = f"{module}.{attribute}"
        if name not in KNOWN:
            raise CodeError(name[:100].encode("ascii", "backslashreplace").decode())
        self.stack.append(Function(name))

    def _above_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise PickleError("it is damaged")
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def _last(self, count: int) -> tuple[Any, ...]:
        """Take the last values."""
        if len(self.stack) < count:
            raise PickleError("it is damaged")
        taken = tuple(self.stack[-count:])
        del self.stack[-count:]
        return taken

    def _extend(self, values: list[Any]) -> None:
        """Append to the list on the stack."""
        if not isinstance(self.stack[-1], list):
            raise PickleError("it appends to something other than a list")
        self.stack[-1].extend(values)

    def _fill(self, values: list[Any]) -> None:
        """Put keys and values into the mapping on the stack."""
        _put(self.stack[-1], values)

    def _mapping(self, values: list[Any]) -> None:
        """Make a mapping of keys and values."""
        made: dict[Any, Any] = {}
        _put(made, values)
        self.stack.append(made)

    def _call(self) -> None:
        """Understand what a known function would have made of its arguments."""
        function, arguments = self._last(2)
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise PickleError("it calls something other than a function")
        if function.name == ORDERED and arguments and isinstance(arguments[0], list):
            self.copied += len(arguments[0])
        if self.copied > MOST_COPIED:
            raise PickleError("it copies one list again and again")
        self.stack.append(_made(function.name, arguments))

    def _state(self) -> None:
        """Pass over the attributes of an ordered mapping: the versions of modules."""
        target, _ = self._last(2)
        if not isinstance(target, dict):
            raise CodeError("the attributes of an object")
        self.stack.append(target)

    def _storage(self) -> None:
        """Take the storage of a persistent id."""
        [persistent] = self._last(1)
        if isinstance(persistent, tuple) and len(persistent) <= MOST_AXES:
            persistent = tuple(part.name if isinstance(part, Function) else part for part in persistent)
        storage = make_storage(persistent)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise PickleError("it gives one storage two sizes or types")
        self.stack.append(storage)


def _put(target: object, values: list[Any]) -> None:
    """Put alternating keys and values into a mapping."""
    if not isinstance(target, dict) or len(values) % 2:
        raise PickleError("it fills something other than a mapping")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, KEYS):
            raise PickleError("a mapping has keys that are not names")
        target[key] = value


def _made(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what a known function makes."""
    if name in {REBUILD, REBUILD_OLD}:
        return make_tensor(arguments)
    if name == PARAMETER and arguments:
        return arguments[0]
    if name == SIZE and len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        if len(arguments[0]) <= MOST_AXES:
            return tuple(arguments[0])
    elif name == ORDERED and (not arguments or (len(arguments) == 1 and isinstance(arguments[0], list))):
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments else ():
            _put(made, list(pair) if isinstance(pair, tuple | list) and len(pair) == 2 else [pair])
        return made
    raise PickleError(f"it calls {name} in a way that does not make weights")


STEPS: Mapping[str, Callable[[Machine], Any]] = {
    "POP": lambda machine: machine._last(1),
    "POP_MARK": lambda machine: machine._above_mark(),
    "DUP": lambda machine: machine.stack.append(machine.stack[-1]),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine._above_mark())),
    "TUPLE1": lambda machine: machine.stack.append(machine._last(1)),
    "TUPLE2": lambda machine: machine.stack.append(machine._last(2)),
    "TUPLE3": lambda machine: machine.stack.append(machine._last(3)),
    "LIST": lambda machine: machine.stack.append(machine._above_mark()),
    "DICT": lambda machine: machine._mapping(machine._above_mark()),
    "APPEND": lambda machine: machine._extend(list(machine._last(1))),
    "APPENDS": lambda machine: machine._extend(machine._above_mark()),
    "SETITEM": lambda machine: machine._fill(list(machine._last(2))),
    "SETITEMS": lambda machine: machine._fill(machine._above_mark()),
    "REDUCE": Machine._call,
    "BUILD": Machine._state,
    "BINPERSID": Machine._storage,
}

"""Pickles read as data: a machine of lists, dictionaries and names that can call nothing.

A pickle is a program. Here its opcodes are walked with `pickletools`, containers are built, and whatever
the program would import stays a `Name`, whatever it would call a `Call`: inert records, that a reader of one
format may recognise. No module is imported and no function of the file's choice is ever run.
"""

import io
import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dysonjax.checks import InputError

_MARK = object()
_MOST_OPCODES = 50_000_000


@dataclass(frozen=True)
class Name:
    """Something that the pickle would import."""

    path: str


@dataclass(eq=False)
class Call:
    """Something that the pickle would call or make."""

    function: Any
    arguments: Any
    state: Any = None
    items: dict = field(default_factory=dict)
    """what the pickle would set in it, where it is a kind of dictionary"""
    elements: list = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.function.path if isinstance(self.function, Name) else "a nested call"


@dataclass(frozen=True)
class Persistent:
    """A reference to something kept outside the pickle, such as the bytes of a tensor."""

    id: Any


def parse(data: bytes) -> Any:
    """What the pickle holds, as inert data. Raises InputError if it is damaged or of an unusual kind."""
    return parse_next(io.BytesIO(data))


def parse_next(file: BinaryIO, persistent: list[Persistent] | None = None) -> Any:
    """The pickle that begins where the file stands, which then stands behind it. persistent: filled with the
    references to what is kept outside. Raises InputError as `parse` does."""
    try:
        return _run(file, [] if persistent is None else persistent)
    except InputError:
        raise
    except RecursionError:
        raise InputError("its pickle is nested too deeply") from None
    except Exception as error:  # a damaged pickle can fail in any operation of the machine
        raise InputError(f"its pickle is damaged ({type(error).__name__}: {error})") from None


def _run(file: BinaryIO, persistent: list[Persistent]) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        for at in range(len(stack) - 1, -1, -1):
            if stack[at] is _MARK:
                items = stack[at + 1 :]
                del stack[at:]
                return items
        raise InputError("its pickle is damaged (no mark)")

    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > _MOST_OPCODES:
            raise InputError("its pickle is longer than that of any checkpoint")
        name = opcode.name
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _FRESH:
            stack.append(_FRESH[name]())
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name in ("LIST", "FROZENSET"):
            stack.append(since_mark())
        elif name == "DICT":
            items = since_mark()
            stack.append(_pairs({}, items))
        elif name == "APPEND":
            value = stack.pop()
            _elements(stack[-1]).append(value)
        elif name in ("APPENDS", "ADDITEMS"):
            values = since_mark()
            _elements(stack[-1]).extend(values)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _pairs(_items(stack[-1]), [key, value])
        elif name == "SETITEMS":
            values = since_mark()
            _pairs(_items(stack[-1]), values)
        elif name == "GLOBAL":
            stack.append(Name(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Name(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(Call(function, arguments))
        elif name == "NEWOBJ_EX":
            named, arguments, function = stack.pop(), stack.pop(), stack.pop()
            stack.append(Call(function, (arguments, named)))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Call):
                stack[-1].state = state
        elif name == "BINPERSID":
            stack.append(Persistent(stack.pop()))
            persistent.append(stack[-1])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "STOP":
            return stack.pop()
        else:
            raise InputError(f"its pickle uses {name}, which no state dictionary needs")
    raise InputError("its pickle is truncated")


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_FRESH = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


def _items(target: Any) -> dict:
    if isinstance(target, dict):
        return target
    if isinstance(target, Call):
        return target.items
    raise InputError("its pickle is damaged (an item set in what is no dictionary)")


def _elements(target: Any) -> list:
    if isinstance(target, list):
        return target
    if isinstance(target, Call):
        return target.elements
    raise InputError("its pickle is damaged (an element added to what is no list)")


def _pairs(target: dict, items: list) -> dict:
    for key, value in zip(items[::2], items[1::2], strict=True):
        # A key that Python cannot hash, or an inert record, is kept by its text.
        target[key if isinstance(key, str | int | float | bytes) else str(key)[:80]] = value
    return target

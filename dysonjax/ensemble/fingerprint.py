"""What a value consists of, as text: two values with one fingerprint do the same.

Functions of this package are known by where they stand in it and by what they close over; those of JAX, NumPy
and Python by their public names. A function of somebody else is known, within one process and if it is asked
for, by its bytecode, by what it closes over and by the globals that it reads. Whatever else a value holds
makes it `Unknown`: nobody can say from outside what an object of a user's class does.
"""

import builtins
import dataclasses
import dis
import functools
import hashlib
import importlib
import sys
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import jax
import numpy as np

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name
LIBRARIES = frozenset((NAME, "builtins", "functools", "jax", "math", "numpy", "operator", "optax", "scipy"))
PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)
MOST_BYTES = 2**27  # of one array: reading more takes longer than tracing


class Unknown(Exception):
    """A value may be anything; the message says what kind of value it is."""


class _Seen(dict):
    """Functions that are being written out, by their identity: a function may close over itself."""

    def __init__(self, others: bool):
        self.others = others


def of(value: Any, others: bool = False) -> str:
    """The fingerprint of a value; raises Unknown.

    others: whether functions of other people may be part of it. What such a function does may depend on files
    and versions that no fingerprint holds, so that this one says nothing about another process.
    """
    return "".join(_words(value, _Seen(others)))


def _words(value: Any, seen: _Seen) -> list[str]:
    if type(value) in PLAIN:
        return [f"{type(value).__name__} {value!r};"]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return [_array(value)]
    if isinstance(value, np.dtype):
        return [f"dtype {value.str};"]
    if type(value) in (list, tuple):
        return _several(type(value).__name__, value, seen)
    if type(value) in (dict, MappingProxyType):
        return _several("mapping", [part for item in value.items() for part in item], seen)
    if type(value) in (set, frozenset):
        return ["set[", *sorted("".join(_words(part, seen)) for part in value), "]"]
    if type(value) is functools.partial:
        return _several("partial", [value.func, value.args, value.keywords], seen)
    if _named(value):
        return [f"name {value.__module__}.{value.__qualname__};"]
    if isinstance(value, FunctionType):
        return _function(value, seen)
    if isinstance(value, ModuleType) and value.__name__.split(".")[0] in LIBRARIES:
        return [f"module {value.__name__};"]
    if _named(type(value)):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if dataclasses.is_dataclass(value):
            parts = [part for f in dataclasses.fields(value) for part in (f.name, getattr(value, f.name))]
            return _several(kind, parts, seen)
        if isinstance(value, tuple):
            return _several(kind, value, seen)
    raise Unknown(f"a {type(value).__module__}.{type(value).__qualname__}")


def _several(kind: str, values: Any, seen: _Seen) -> list[str]:
    return [f"{kind}[", *(word for value in values for word in _words(value, seen)), "]"]


def _array(value) -> str:
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {jax.random.key_impl(value)} {_array(np.asarray(jax.random.key_data(value)))}"
    if value.dtype.hasobject:
        raise Unknown("an array of objects")
    if value.nbytes > MOST_BYTES:
        raise Unknown(f"an array of {value.nbytes / 1e6:.0f} MB")
    values = np.asarray(value)
    mark = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    kind = "jax" if isinstance(value, jax.Array) else type(value).__name__
    weak = getattr(value, "weak_type", False)
    return f"{kind} {values.dtype.str} {values.shape} {weak} {mark};"


def _named(value: Any) -> bool:
    """Whether a value is what a module that is known calls by its name: a function, class, ufunc, ..."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module.split(".")[0] not in LIBRARIES:
        return False
    try:
        found = builtins if module == "builtins" else importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is value


def _function(function: FunctionType, seen: _Seen) -> list[str]:
    """A function without a public name: its code, defaults, and what it closes over."""
    code, module = function.__code__, function.__globals__.get("__name__")
    where = getattr(sys.modules.get(str(module)), "__dict__", None)
    ours = where is function.__globals__ and Path(code.co_filename).is_relative_to(PACKAGE)
    if not ours and not seen.others:
        raise Unknown(f"the function {function.__qualname__} of {module}")
    if id(function) in seen:
        return [f"again {seen[id(function)]};"]
    seen[id(function)] = len(seen)
    cells: list[Any] = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells += [name, cell.cell_contents]
        except ValueError:  # not filled yet
            cells += [name]
    parts = [function.__defaults__, function.__kwdefaults__, vars(function), cells]
    words = _several("", parts, seen)
    return [_place(code) if ours else _code(code, function.__globals__, seen), *words]


def _place(code: CodeType) -> str:
    """Of a function of this package, whose code is that of the package's version."""
    place = f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_firstlineno} {code.co_qualname}"
    columns = hashlib.sha256(code.co_code + repr(list(code.co_positions())).encode()).hexdigest()
    return f"function {place} {columns}"


def _code(code: CodeType, scope: dict[str, Any], seen: _Seen) -> str:
    """Of a function of somebody else: bytecode, constants, and the values of the globals that it reads."""
    constants: list[Any] = []
    for constant in code.co_consts:
        constants += [_code(constant, scope, seen)] if isinstance(constant, CodeType) else [constant]
    read: list[Any] = []
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname == "IMPORT_NAME" and name.split(".")[0] not in LIBRARIES:
            raise Unknown(f"the module {name}")
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and name not in read[::2]:
            read += [name, scope.get(name, getattr(builtins, name, None))]
    kind = (code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    names = (code.co_names, code.co_varnames, code.co_exceptiontable)
    words = _several("", [code.co_code, *kind, *names, constants, read], seen)
    return f"function {code.co_qualname} {''.join(words)}"

"""What a value consists of, as text: two values with one fingerprint do the same.

Functions of this package are known by where they stand in it and by what they close over; those of JAX, NumPy
and Python by their public names. Whatever else a value holds makes it `Unknown`: nobody can say from outside
what a user's function does.
"""

import builtins
import dataclasses
import functools
import hashlib
import importlib
import sys
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

import jax
import numpy as np

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name
LIBRARIES = frozenset((NAME, "builtins", "jax", "math", "numpy", "operator"))
PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Unknown(Exception):
    """A value may be anything; the message says what kind of value it is."""


def of(value: Any) -> str:
    """The fingerprint of a value; raises Unknown."""
    return "".join(_words(value, {}))


def _words(value: Any, seen: dict[int, int]) -> list[str]:
    """seen: functions that are being written out, by their identity; a function may close over itself."""
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
    if type(value).__module__.split(".")[0] == NAME and _named(type(value)):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if dataclasses.is_dataclass(value):
            parts = [part for f in dataclasses.fields(value) for part in (f.name, getattr(value, f.name))]
            return _several(kind, parts, seen)
        if isinstance(value, tuple):
            return _several(kind, value, seen)
    raise Unknown(f"a {type(value).__module__}.{type(value).__qualname__}")


def _several(kind: str, values: Any, seen: dict[int, int]) -> list[str]:
    return [f"{kind}[", *(word for value in values for word in _words(value, seen)), "]"]


def _array(value) -> str:
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"key {jax.random.key_impl(value)} {_array(np.asarray(jax.random.key_data(value)))}"
    if value.dtype.hasobject:
        raise Unknown("an array of objects")
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


def _function(function: FunctionType, seen: dict[int, int]) -> list[str]:
    """A function without a public name: its place in this package, defaults, and what it closes over."""
    code, module = function.__code__, function.__globals__.get("__name__")
    where = getattr(sys.modules.get(str(module)), "__dict__", None)
    if where is not function.__globals__ or not Path(code.co_filename).is_relative_to(PACKAGE):
        raise Unknown(f"the function {function.__qualname__} of {module}")
    if id(function) in seen:
        return [f"again {seen[id(function)]};"]
    seen[id(function)] = len(seen)
    place = f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_firstlineno} {code.co_qualname}"
    columns = hashlib.sha256(code.co_code + repr(list(code.co_positions())).encode()).hexdigest()
    cells = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells += [name, cell.cell_contents]
        except ValueError:  # not filled yet
            cells += [name]
    parts = [function.__defaults__, function.__kwdefaults__, vars(function), cells]
    return [f"function {place} {columns}", *_several("", parts, seen)]

"""`.msgpack`, `.flax`: what `flax.serialization.to_bytes` writes, walked without unpacking the whole.

The walker knows the few kinds of msgpack that flax uses. The msgpack library would build every array of
the file; here the place of each is noted and its entries are read when asked for.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, whole_file
from dysonjax.weights.dtypes import numpy_dtype
from dysonjax.weights.tensor import Checkpoint, Tensor, checked_shape, element_count, tensor_of, unreadable

_DEEPEST = 60
_CHUNKED = "__msgpack_chunked_array__"


@dataclass(frozen=True)
class _Array:
    """The payload of an ndarray: an extension of code 1 holding (shape, name of the dtype, bytes)."""

    start: int
    size: int


def read(path: Path) -> Checkpoint:
    source = whole_file(path)
    try:
        data = source.mapped()
        walker = _Walker(data)
        content = walker.value(0)
        if not isinstance(content, dict):
            raise InputError("it holds no dictionary of parameters")
        if walker.at != source.size:
            raise InputError(f"{source.size - walker.at} bytes follow its end")
        tensors = tuple(_tensors(source, data, content, ()))
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a flax msgpack file that can be read: {error}") from None
    return Checkpoint(path, "flax msgpack", "flax", tensors)


class _Walker:
    """Reads the skeleton of a msgpack file: maps, lists, texts and numbers, and where the arrays lie."""

    def __init__(self, data, at: int = 0):
        self.data, self.at = data, at

    def take(self, form: str) -> int:
        start = self._skip(struct.calcsize(form))
        return struct.unpack_from(form, self.data, start)[0]

    def _skip(self, size: int) -> int:
        start = self.at
        if size > len(self.data) - start:
            raise InputError("it is truncated")
        self.at += size
        return start

    def _text(self, size: int) -> str:
        start = self._skip(size)
        return self.data[start : start + size].decode()

    def value(self, depth: int):
        if depth > _DEEPEST:
            raise InputError("it is nested without end")
        code = self.take("B")
        if code < 0x80 or code >= 0xE0:
            return code
        if code < 0x90:
            return self._map(code & 15, depth)
        if code < 0xA0:
            return self._list(code & 15, depth)
        if code < 0xC0:
            return self._text(code & 31)
        if code in _SIMPLE:
            return _SIMPLE[code]
        if code in _LENGTHS:
            kind, form = _LENGTHS[code]
            return getattr(self, f"_{kind}")(self.take(form), depth)
        if code in _NUMBERS:
            return self.take(_NUMBERS[code])
        if 0xD4 <= code <= 0xD8:
            return self._ext(1 << (code - 0xD4), depth)
        raise InputError(f"it has the byte {code:#x} where a value should begin")

    def _map(self, count: int, depth: int) -> dict:
        result = {}
        for _ in range(count):  # a lying count ends at the end of the file
            key = self.value(depth + 1)
            result[str(key)] = self.value(depth + 1)
        return result

    def _list(self, count: int, depth: int) -> list:
        return [self.value(depth + 1) for _ in range(count)]

    def _str(self, size: int, depth: int) -> str:
        return self._text(size)

    def _bin(self, size: int, depth: int) -> None:
        self._skip(size)

    def _ext(self, size: int, depth: int) -> "_Array | None":
        code = self.take("b")
        start = self._skip(size)
        return _Array(start, size) if code == 1 else None


_SIMPLE = {0xC0: None, 0xC2: False, 0xC3: True}
_LENGTHS = {
    0xC4: ("bin", ">B"),
    0xC5: ("bin", ">H"),
    0xC6: ("bin", ">I"),
    0xC7: ("ext", ">B"),
    0xC8: ("ext", ">H"),
    0xC9: ("ext", ">I"),
    0xD9: ("str", ">B"),
    0xDA: ("str", ">H"),
    0xDB: ("str", ">I"),
    0xDC: ("list", ">H"),
    0xDD: ("list", ">I"),
    0xDE: ("map", ">H"),
    0xDF: ("map", ">I"),
}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}


def _tensors(source: Source, data, value, path: tuple[str, ...]) -> Iterator[Tensor]:
    name = "/".join(path)
    if isinstance(value, _Array):
        yield _single(source, data, name, value)
    elif isinstance(value, dict) and value.get(_CHUNKED) is True:
        yield _chunked(source, data, name, value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(source, data, item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _tensors(source, data, item, (*path, str(index)))


def _single(source: Source, data, name: str, array: _Array) -> Tensor:
    try:
        shape, label, start = _payload(data, array)
    except InputError as error:
        return unreadable(name, (), "?", str(error))
    dtype = numpy_dtype(label)
    if dtype is None:
        return unreadable(name, shape, label, f"the type {label} is not known; save it as float32")
    return tensor_of(name, dtype, shape, lambda: source.array(dtype, shape, start), label)


def _payload(data, array: _Array) -> tuple[tuple[int, ...], str, int]:
    """Shape, name of the dtype and place of the entries."""
    walker = _Walker(data, array.start)
    if walker.take("B") != 0x93:  # a list of three
        raise InputError("its record is damaged")
    shape, label = checked_shape("it", walker.value(0)), str(walker.value(0))
    form = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}.get(walker.take("B"))
    if form is None:
        raise InputError("its record is damaged")
    size = walker.take(form)
    dtype = numpy_dtype(label)
    end = array.start + array.size
    if walker.at + size > end or (dtype is not None and size != element_count(shape) * dtype.itemsize):
        raise InputError(f"it claims the shape {shape} and has {size} bytes, the file is damaged")
    return shape, label, walker.at


def _chunked(source: Source, data, name: str, value: dict) -> Tensor:
    """Arrays above 1 GiB are written as flat parts."""
    try:
        numbers = value["shape"]
        numbers = [numbers[str(i)] for i in range(len(numbers))] if isinstance(numbers, dict) else numbers
        shape = checked_shape("it", numbers)
        chunks = [_payload(data, value["chunks"][str(i)]) for i in range(len(value["chunks"]))]
        labels = {label for _, label, _ in chunks}
        if len(labels) != 1 or sum(element_count(part) for part, _, _ in chunks) != element_count(shape):
            raise InputError("its parts do not make the shape that it claims")
    except (KeyError, TypeError, AttributeError):
        return unreadable(name, (), "?", "its record is damaged")
    except InputError as error:
        return unreadable(name, (), "?", str(error))
    (label,) = labels
    dtype = numpy_dtype(label)
    if dtype is None:
        return unreadable(name, shape, label, f"the type {label} is not known; save it as float32")

    def read() -> np.ndarray:
        flat = np.empty(element_count(shape), dtype)
        at = 0
        for part, _, start in chunks:
            count = element_count(part)
            flat[at : at + count] = source.array(dtype, (count,), start)
            at += count
        return flat.reshape(shape)

    return tensor_of(name, dtype, shape, read, label)

"""A checkpoint as a list of named tensors that are read when asked for."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.dtypes import kind_of


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file. Its entries are read on demand, so that one at a time is in memory."""

    name: str
    """as in the file; of nested containers the path, joined by `/` or `.` as the framework does"""
    shape: tuple[int, ...]
    """lengths of its axes"""
    dtype: str
    """name of the type of the entries, as the file gives it"""
    kind: str
    """`float`, `integer`, `bool`, `complex` or `other`"""
    read: Callable[[], np.ndarray] = field(repr=False)
    """the array of that shape; raises InputError with the reason if it cannot be read"""
    problem: str = ""
    """why it cannot be read, where that is known from the outside"""
    note: str = ""
    """what a reader should know about how it was read"""
    storage: Hashable = None
    """equal for tensors that share their memory, such as tied embeddings; None where the file cannot tell"""
    layout: str = ""
    """one letter an axis, where the format itself says what they are, by the operation that uses it"""
    members: bool = False
    """whether the first axis counts the members of an ensemble"""

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=object))


@dataclass(frozen=True)
class Checkpoint:
    """All that a file or folder holds."""

    path: Path | None
    """of the file or folder; None for what is in memory"""
    format: str
    """such as `safetensors` or `torch zip`"""
    framework: str | None
    """`torch`, `keras`, `flax`, `onnx` or `mlx` if the format or its metadata say so"""
    tensors: tuple[Tensor, ...]
    """in the order of the file, or of the numbers in their names"""
    notes: tuple[str, ...] = ()
    """what was left aside, such as files beside the index of shards"""
    config: dict = field(default_factory=dict, repr=False)
    """the configuration beside the weights, where there is one"""


def tensor_of(name: str, dtype: np.dtype, shape, read, label: str = "", **more) -> Tensor:
    """A tensor of a NumPy dtype. label: the name of the type in the file, where it differs."""
    shape = tuple(int(n) for n in shape)
    return Tensor(name, shape, label or dtype.name, kind_of(dtype), read, **more)


def unreadable(name: str, shape, dtype: str, problem: str) -> Tensor:
    """A tensor that is in the file but cannot be read: it is listed with the reason."""

    def read() -> np.ndarray:
        raise InputError(problem)

    return Tensor(name, tuple(shape), dtype, "other", read, problem=problem)


def in_memory(name: str, array: np.ndarray, **more) -> Tensor:
    """A tensor that is an array already."""
    return tensor_of(name, array.dtype, array.shape, lambda: array, **more)


def prefixed(tensors, prefix: str) -> list[Tensor]:
    return [replace(tensor, name=f"{prefix}{tensor.name}") for tensor in tensors]


def checked_shape(what: str, shape) -> tuple[int, ...]:
    """A shape that a header claims, as non-negative integers."""
    good = isinstance(shape, list | tuple) and all(type(n) is int and 0 <= n < 2**62 for n in shape)
    if not good or len(shape) > 32:
        raise InputError(f"{what} claims the shape {str(shape)[:80]}, the file is damaged")
    return tuple(shape)


def element_count(shape) -> int:
    """Exact, where a product in int64 would overflow for a lying header."""
    return int(np.prod(shape, dtype=object)) if len(shape) else 1

"""`.npy` and `.npz`, read member by member and never unpickled."""

import ast
import struct
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, whole_file, zip_members
from dysonjax.weights.dtypes import stored_dtype
from dysonjax.weights.tensor import Checkpoint, Tensor, checked_shape, element_count, tensor_of, unreadable

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 100_000


def read_npy(path: Path) -> Checkpoint:
    tensor = _tensor(path.stem, whole_file(path))
    if tensor.problem:
        raise InputError(f"{path} cannot be read: {tensor.problem}")
    return Checkpoint(path, "npy", None, (tensor,))


def read_npz(path: Path) -> Checkpoint:
    tensors = []
    for name, source in zip_members(path).items():
        if name.endswith(".npy"):
            try:
                tensors.append(_tensor(name.removesuffix(".npy"), source))
            except InputError as error:
                tensors.append(unreadable(name.removesuffix(".npy"), (), "?", str(error)))
        else:
            tensors.append(unreadable(name, (), "?", "it is not an array"))
    return Checkpoint(path, "npz", None, tuple(tensors))


def _tensor(name: str, source: Source) -> Tensor:
    header, start = _header(source)
    try:
        shape = checked_shape("its header", header["shape"])
        descr, fortran = header["descr"], bool(header["fortran_order"])
    except (TypeError, KeyError):
        raise InputError("its header is damaged") from None
    if not isinstance(descr, str):
        return unreadable(name, shape, "record", "it is a table of records, not an array of numbers")
    dtype, note = stored_dtype(descr)
    if dtype is None:
        return unreadable(name, shape, descr, note)
    needed = start + element_count(shape) * dtype.itemsize
    if needed > source.length:
        return unreadable(name, shape, dtype.name, f"it is truncated: {source.length} of {needed} bytes")

    def read() -> np.ndarray:
        flat = np.frombuffer(source.verified(), dtype, element_count(shape), start)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)

    return tensor_of(name, dtype, shape, read, note=note)


def _header(source: Source) -> tuple[dict, int]:
    start = source.read(0, min(12, source.length))
    if start[:6] != MAGIC or len(start) < 12:
        raise InputError("it is not a .npy array (pickled data are never loaded)")
    # Version 1 has two bytes of length, versions 2 and 3 four.
    wide = start[6] > 1
    length = struct.unpack("<I" if wide else "<H", start[8 : 12 if wide else 10])[0]
    at = 12 if wide else 10
    if length > _LONGEST_HEADER:
        raise InputError(f"its header claims {length} bytes, it is damaged")
    try:
        header = ast.literal_eval(source.read(at, length).decode("utf-8" if start[6] > 2 else "latin-1"))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("its header is damaged") from None
    if not isinstance(header, dict):
        raise InputError("its header is damaged")
    return header, at + length

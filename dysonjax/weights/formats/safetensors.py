"""`.safetensors`: a JSON header and raw bytes, read here because the library gives NumPy neither bfloat16
nor the 8- and 4-bit floats."""

import json
import re
import struct
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, whole_file
from dysonjax.weights.dtypes import numpy_dtype, unpack_nibbles
from dysonjax.weights.tensor import Checkpoint, Tensor, checked_shape, element_count, tensor_of, unreadable

_LONGEST_HEADER = 100_000_000  # as the library's own limit


def looks_like(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes with these first 9 bytes can be one."""
    return len(start) >= 9 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8


def read(path: Path) -> Checkpoint:
    source = whole_file(path)
    header, data = _header(path, source)
    metadata = header.pop("__metadata__", None)
    written_by = metadata.get("format") if isinstance(metadata, dict) else None
    frameworks = {"pt": "torch", "flax": "flax", "tf": "keras", "mlx": "mlx"}
    tensors = [_tensor(source, data, name, entry) for name, entry in header.items()]
    return Checkpoint(path, "safetensors", frameworks.get(written_by), tuple(tensors))


def _header(path: Path, source: Source) -> tuple[dict, int]:
    bad = f"{path} is truncated or not a .safetensors file"
    if source.size < 8:
        raise InputError(bad)
    length = struct.unpack("<Q", source.read(0, 8))[0]
    if length > min(source.size - 8, _LONGEST_HEADER):
        raise InputError(f"{bad} (its header claims {length} of {source.size} bytes)")
    try:
        header = json.loads(source.read(8, length))
    except (ValueError, RecursionError):
        raise InputError(f"{bad} (its header is not JSON)") from None
    if not isinstance(header, dict):
        raise InputError(f"{bad} (its header is not a JSON object)")
    return header, 8 + length


def _tensor(source: Source, data: int, name: str, entry) -> Tensor:
    try:
        label, (begin, end) = str(entry["dtype"]), entry["data_offsets"]
        shape = checked_shape("the header", entry["shape"])
        if not (type(begin) is type(end) is int and 0 <= begin <= end):
            raise InputError(f"the header claims the bytes {begin!s:.20} to {end!s:.20}, the file is damaged")
    except (TypeError, KeyError, ValueError) as error:
        problem = str(error) if isinstance(error, InputError) else "its entry in the header is damaged"
        return unreadable(name, (), "?", problem)
    dtype = numpy_dtype(label)
    if label.startswith("F6_"):
        return unreadable(name, shape, label, f"{label} packs four entries in three bytes; convert it to F16")
    if dtype is None and re.fullmatch(r"[IU][1-7]", label):
        return unreadable(name, shape, label, "integers, perhaps quantised: dequantise first")
    if dtype is None:
        return unreadable(name, shape, label, f"the type {label} is not known; convert it to F16 or F32")
    count = element_count(shape)
    nibbles = label == "F4"
    if end - begin != ((count + 1) // 2 if nibbles else count * dtype.itemsize):
        problem = f"its header is damaged: {end - begin} bytes for {label} of shape {shape}"
        return unreadable(name, shape, label, problem)
    if data + end > source.size:
        return unreadable(name, shape, label, "the file is truncated")

    def read() -> np.ndarray:
        if nibbles:
            packed = source.array(np.dtype(np.uint8), (end - begin,), data + begin)
            return unpack_nibbles(packed, count).reshape(shape)
        return source.array(dtype, shape, data + begin)

    return tensor_of(name, dtype, shape, read, label)

"""`.gguf`: weights of llama.cpp through the package gguf, quantised ones by its own dequantisation."""

import re
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.dtypes import numpy_dtype
from dysonjax.weights.tensor import Checkpoint, Tensor, tensor_of, unreadable

MAGIC = b"GGUF"
_PLAIN = ("F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64")


def read(path: Path) -> Checkpoint:
    """Tensors as PyTorch has them, (outputs, inputs). The file is mapped, and read where it is looked at."""
    gguf = _library(path)
    try:
        tensors = tuple(_tensor(gguf, tensor) for tensor in gguf.GGUFReader(path, "r").tensors)
    except Exception as error:  # a damaged file can fail in any part of its header
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if unknown := re.search(r"(\d+)\)? is not a valid GGMLQuantizationType", reason):
            raise InputError(
                f"{path} has tensors of the type {unknown[1]}, which this version of gguf does not "
                "know; update it, or quantise the model to another type"
            ) from None
        raise InputError(f"{path} is truncated or not a GGUF file ({reason})") from None
    return Checkpoint(path, "gguf", "torch", tensors)


def _library(path: Path):
    try:
        import gguf
    except ImportError:
        raise InputError(
            f"{path} is a GGUF file, which needs the package gguf: pip install 'dysonjax[gguf]'"
        ) from None
    return gguf


def _tensor(gguf, tensor) -> Tensor:
    name, label = tensor.name, tensor.tensor_type.name
    shape = tuple(int(n) for n in reversed(tensor.shape))
    plain = label in _PLAIN
    if not (plain or _can_dequantise(gguf, tensor.tensor_type)):
        problem = f"the package gguf cannot dequantise {label}; quantise the model to another type"
        return unreadable(name, shape, label, problem)

    def read() -> np.ndarray:
        if plain and label != "BF16":
            return np.asarray(tensor.data).reshape(shape)
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)

    stored = numpy_dtype(label) if plain and label != "BF16" else None
    dtype = np.dtype(np.float32) if stored is None else stored  # float32 is what dequantising makes
    note = "" if plain else f"dequantised from {label}: its rounding is part of the spectrum"
    return tensor_of(name, dtype, shape, read, label, note=note)


def _can_dequantise(gguf, kind) -> bool:
    """Whether one block of zeros can be; the package has no list of what it can."""
    if kind not in gguf.GGML_QUANT_SIZES:
        return False
    try:
        gguf.quants.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True

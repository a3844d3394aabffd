"""Types of entries by the names that files give them, and what each is good for."""

import re
from functools import cache

import numpy as np

# Names as in the files (safetensors, ONNX, torch, zarr) where they differ from those of NumPy and ml_dtypes.
_ALIASES = {
    "bool": "bool",
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "bf16": "bfloat16",
    "c64": "complex64",
    "c128": "complex128",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f8_e4m3": "float8_e4m3fn",
    "f8_e4m3fn": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2",
    "f8_e8m0": "float8_e8m0fnu",
    "f8_e4m3fnuz": "float8_e4m3fnuz",
    "f8_e5m2fnuz": "float8_e5m2fnuz",
    "f4": "float4_e2m1fn",
}


@cache
def numpy_dtype(name: str) -> np.dtype | None:
    """The dtype of that name, little-endian; None for a name that neither NumPy nor ml_dtypes knows."""
    import ml_dtypes

    name = _ALIASES.get(name.lower(), name.lower())
    if name.startswith(("bfloat", "float8_", "float6_", "float4_", "int2", "int4", "uint2", "uint4")):
        found = getattr(ml_dtypes, name, None)
        return None if found is None else np.dtype(found)
    # Not all that NumPy understands: to it `i4` has four bytes, to a file of weights four bits.
    if not re.fullmatch(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)", name):
        return None
    return np.dtype(name).newbyteorder("<")


def kind_of(dtype: np.dtype) -> str:
    """`float`, `integer`, `bool`, `complex` or `other`."""
    name = dtype.name
    if dtype.kind == "f" or name.startswith(("bfloat", "float")):
        return "float"
    if dtype.kind in "iu" or name.startswith(("int", "uint")):
        return "integer"
    return {"b": "bool", "c": "complex"}.get(dtype.kind, "other")


def stored_dtype(descr: str) -> tuple[np.dtype | None, str]:
    """The dtype that a `.npy` header means, and a sentence where NumPy lost it.

    NumPy writes the extension types of JAX and PyTorch as raw bytes. Two of them can be told by their size
    and letter; a single byte can be any of a dozen types, and guessing would give wrong spectra.
    """
    import ml_dtypes

    code = descr.lstrip("<>|=")
    if code == "V2":
        return np.dtype(ml_dtypes.bfloat16), f"stored by NumPy as {descr}, read as bfloat16"
    if code == "f1":
        return np.dtype(ml_dtypes.float8_e5m2), f"stored by NumPy as {descr}, read as float8_e5m2"
    if code == "V1":
        return None, (
            f"its type was lost when NumPy stored it as {descr}: a float8, int4 or other 1-byte type; "
            "save it again with .astype('float32')"
        )
    try:
        found = np.dtype(descr)
    except TypeError:
        return None, f"its type {descr} is unknown to NumPy; save it again with .astype('float32')"
    if found.hasobject:
        return None, "it holds pickled objects, which are never loaded"
    if found.kind not in "biufc":
        return None, f"entries of type {descr} are not numbers"
    return found, ""


def unpack_nibbles(packed: np.ndarray, count: int) -> np.ndarray:
    """4-bit floats (E2M1), two in a byte with the first in the low half, as float32 of shape (count,)."""
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    table = np.concatenate([table, -table])
    codes = np.stack([packed & 15, packed >> 4], axis=-1).ravel()[:count]
    return table[codes]

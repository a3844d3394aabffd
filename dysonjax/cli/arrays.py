"""Matrices and data sets that the user names as files."""

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dysonjax.checks import InputError, finite_array, memory
from dysonjax.checks import path as checked


def read_array(name: str, path: Path) -> np.ndarray:
    """The array of a .npy file, of a .npz file that holds one array, or of a .csv file of numbers.

    A .csv may have one header line. Raises InputError if the file cannot be read, is of another kind, holds
    several arrays or none, claims to be larger than memory, or holds complex numbers, NaN or infinity.
    """
    path = checked(name, path)
    readers = {".npy": _npy, ".npz": _npz, ".csv": _csv}
    if path.suffix not in readers:
        raise InputError(f"{name} must be a .npy, .npz or .csv file, got {path}")
    try:
        array = readers[path.suffix](path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: {path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError):
        raise InputError(f"{name}: {path} is truncated or damaged") from None
    except (ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: {path} holds no array of numbers: {reason}") from None
    if not array.size:
        raise InputError(f"{name}: {path} holds no numbers (its shape is {array.shape})")
    return finite_array(name, array)


def claimed_shape(file: IO[bytes], what: str) -> None:
    """Raise InputError if the header of an .npy file promises more than memory, or more than there is."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    shape, _, dtype = read(file)
    memory(
        f"{what}, an array of shape {shape},", math.prod(shape) * dtype.itemsize, "its header may be wrong"
    )


def _npy(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        raise EOFError
    with path.open("rb") as file:
        claimed_shape(file, str(path))
        file.seek(0)
        return np.load(file, allow_pickle=False)


def _npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            held = ", ".join(name.removesuffix(".npy") for name in names) or "none"
            raise InputError(f"{path} must hold one array, but it holds {held}")
        with archive.open(names[0]) as file:
            claimed_shape(file, str(path))
    with np.load(path, allow_pickle=False) as archive:
        return archive[archive.files[0]]


def _csv(path: Path) -> np.ndarray:
    with open(path, encoding="utf-8-sig") as lines:
        first = lines.readline()
    if not first:
        raise EOFError
    cells = [_is_number(cell) for cell in first.split(",")]
    if any(cells) and not all(cells):
        raise InputError(
            f"the first line of {path} is half numbers, half words; give a header of words, or none"
        )
    return np.loadtxt(path, delimiter=",", skiprows=0 if all(cells) else 1, ndmin=2, encoding="utf-8-sig")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

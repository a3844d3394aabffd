"""Matrices and data sets that the user names as files."""

from pathlib import Path

import numpy as np

from dysonjax.checks import InputError, finite_array


def read_array(name: str, path: Path) -> np.ndarray:
    """The array of a .npy file, of a .npz file that holds one array, or of a .csv file of numbers.

    A .csv may have one header line. Raises InputError if the file cannot be read, is of another kind, holds
    several arrays, or holds NaN or infinity.
    """
    path = Path(path)
    readers = {".npy": _npy, ".npz": _npz, ".csv": _csv}
    if path.suffix not in readers:
        raise InputError(f"{name} must be a .npy, .npz or .csv file, got {path}")
    try:
        array = readers[path.suffix](path)
    except OSError as error:
        raise InputError(f"{name}: {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{name}: {path} holds no array of numbers: {error}") from None
    return finite_array(name, array)


def _npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            raise InputError(f"{path} must hold one array, but it holds {', '.join(archive.files)}")
        return archive[archive.files[0]]


def _csv(path: Path) -> np.ndarray:
    with open(path, encoding="utf-8") as lines:
        first = lines.readline()
    try:
        [float(cell) for cell in first.split(",")]
        header = 0
    except ValueError:
        header = 1
    return np.loadtxt(path, delimiter=",", skiprows=header, ndmin=2)

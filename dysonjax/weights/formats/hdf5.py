"""`.h5` and `.keras`: HDF5 through h5py; links and data outside the file are not followed."""

from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, whole_file, zip_members
from dysonjax.weights.tensor import Checkpoint, Tensor, element_count, tensor_of, unreadable

MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_WEIGHTS = "model.weights.h5"
_BEST_RATIO = 1032  # of deflate


def read(path: Path) -> Checkpoint:
    return _read(path, whole_file(path), "hdf5")


def read_keras(path: Path) -> Checkpoint:
    """A `.keras` archive: its weights are an HDF5 file inside the zip."""
    members = zip_members(path)
    return _read(path, members[KERAS_WEIGHTS], "keras archive")


def _read(path: Path, source: Source, form: str) -> Checkpoint:
    h5py = _library(path)
    try:
        with source.open() as raw, h5py.File(raw, "r") as file:
            found: list[tuple[str, Tensor]] = []

            def visit(name: str, item) -> None:
                if isinstance(item, h5py.Dataset):
                    found.append((name, _tensor(source, name, item)))

            file.visititems(visit)  # follows hard links alone, and each object once
            keras = form == "keras archive" or "keras_version" in file.attrs or _has_keras_names(found)
            notes = _other_links(h5py, file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is truncated or not an HDF5 file ({reason})") from None
    tensors = tuple(tensor for _, tensor in found)
    return Checkpoint(path, form, "keras" if keras else None, tensors, tuple(notes))


def _library(path: Path):
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"reading {path} needs the package h5py; install dysonjax[hdf5] (pip install 'dysonjax[hdf5]')"
        ) from None
    return h5py


def _has_keras_names(found) -> bool:
    names = [name for name, _ in found]
    return any(name.endswith(":0") or "/vars/" in name or name.startswith("model_weights/") for name in names)


def _other_links(h5py, file) -> list[str]:
    notes = []

    def look(name: str, link) -> None:
        if isinstance(link, h5py.ExternalLink):
            notes.append(f"{name} lies in another file and is not followed")

    file.visititems_links(look)
    return notes


def _tensor(source: Source, name: str, data) -> Tensor:
    dtype = data.dtype
    shape = data.shape
    if shape is None or dtype.kind not in "biufcV" or dtype.names:
        return unreadable(name, shape or (), str(dtype), f"entries of type {dtype} are not numbers")
    if data.external or data.is_virtual:
        return unreadable(name, shape, dtype.name, "its entries lie in another file, which is not followed")
    if dtype.kind == "V":
        return unreadable(name, shape, str(dtype), f"the type {dtype} is not known; save it as float32")
    nbytes = element_count(shape) * dtype.itemsize
    stored = min(data.id.get_storage_size(), source.length)
    most = stored if data.chunks is None else _BEST_RATIO * stored
    if nbytes > most:
        problem = f"it claims {nbytes} bytes and stores {stored}; the file is damaged or was never filled"
        return unreadable(name, shape, dtype.name, problem)

    def read() -> np.ndarray:
        h5py = _library(source.path)
        try:
            with source.open() as raw, h5py.File(raw, "r") as file:
                return np.asarray(file[name][()])
        except (OSError, KeyError, RuntimeError) as error:
            raise InputError(f"it cannot be read, it is damaged ({str(error).splitlines()[0]})") from None

    return tensor_of(name, dtype, shape, read)

"""Named weight tensors from a checkpoint file or a run store. Nothing is ever unpickled."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError

FORMATS = ".safetensors, .npz, .npy or a run folder"


@dataclass(frozen=True)
class Tensor:
    """A tensor that is read when asked for, so that one layer at a time is in memory."""

    name: str
    read: Callable[[], np.ndarray]
    """the array; raises InputError with the reason if it cannot be read"""
    members: bool = False
    """whether the first axis counts the members of an ensemble"""


def open_weights(path: Path) -> list[Tensor]:
    """The tensors of a file, in its order. Raises InputError if it is not what its name claims."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a {FORMATS}")
    if path.is_dir():
        return _run_store(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
    if path.suffix not in readers:
        hint = "; convert pickled checkpoints to .safetensors" if path.suffix in _PICKLED else ""
        raise InputError(f"{path} has the unknown suffix {path.suffix!r}; give a {FORMATS}{hint}")
    return readers[path.suffix](path)


_PICKLED = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")


def _npy(path: Path) -> list[Tensor]:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise InputError(f"{path} is not a .npy array (pickled data are never loaded)")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(_reason(path, error)) from None
    return [Tensor(path.stem, lambda: array)]


def _npz(path: Path) -> list[Tensor]:
    try:
        archive = np.load(path, allow_pickle=False) if zipfile.is_zipfile(path) else None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(_reason(path, error)) from None
    if archive is None:
        raise InputError(f"{path} is truncated or not a .npz archive (pickled data are never loaded)")

    def reader(name: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            try:
                array = archive[name]
            except Exception as error:  # zlib, zip and header errors: all mean that this one is damaged
                raise InputError(_reason(name, error)) from None
            if not isinstance(array, np.ndarray):
                raise InputError(f"{name} is not an array")
            return array

        return read

    return [Tensor(name, reader(name)) for name in archive.files]


def _reason(what, error: Exception) -> str:
    if "pickle" in str(error):
        return f"{what} holds pickled objects, which are never loaded"
    return f"{what} cannot be read, it is truncated or damaged"


def _safetensors(path: Path) -> list[Tensor]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise InputError(
            "reading .safetensors needs the package safetensors; install dysonjax[spectrum]"
        ) from None
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is truncated or not a .safetensors file ({error})") from None

    def reader(name: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            # NumPy lacks bfloat16 and the 8-bit floats; JAX has them.
            for framework in ("np", "flax"):
                try:
                    with safe_open(path, framework=framework) as file:
                        tensor = file.get_tensor(name)
                    return np.asarray(tensor if framework == "np" else tensor.astype("float32"))
                except Exception as error:
                    reason = error
            raise InputError(f"{name} cannot be read ({reason})")

        return read

    return [Tensor(name, reader(name)) for name in names]


def _run_store(path: Path) -> list[Tensor]:
    """Variables `weights` and `weights_*` of a run: one ensemble over the seeds at every grid point."""
    import xarray as xr

    store = path / "run.zarr" if (path / "run.zarr").exists() else path
    try:
        data = xr.open_zarr(store, chunks=None)
    except Exception as error:  # zarr raises a different type for every way in which a folder is no store
        raise InputError(f"{path} is not a run folder that can be opened ({error})".splitlines()[0]) from None
    names = [str(n) for n in data.data_vars if n == "weights" or str(n).startswith("weights_")]
    if not names:
        raise InputError(f"{path} holds no weights; train with --keep-weights last")
    return [tensor for name in names for tensor in _grid_points(data[name])]


def _grid_points(variable) -> Iterator[Tensor]:
    over = [dim for dim in variable.dims[:-2] if dim != "seed"]
    for index in np.ndindex(*(variable.sizes[dim] for dim in over)):
        point = variable.isel(dict(zip(over, index, strict=True)))
        at = ", ".join(f"{dim}={_value(point, dim, i)}" for dim, i in zip(over, index, strict=True))

        def read(point=point) -> np.ndarray:
            array = np.asarray(point.values)
            array = array if array.ndim == 3 else array[None]
            # A diverged member is stored as NaN and is data about itself, not about the others.
            alive = np.isfinite(array).all(axis=(1, 2))
            if not alive.any():
                raise InputError("every member diverged")
            return array[alive]

        yield Tensor(f"{variable.name} [{at}]" if at else variable.name, read, members=True)


def _value(point, dim: str, index: int) -> str:
    return f"{point[dim].item():g}" if dim in point.coords else str(index)

"""The weights that a run of this library kept: one ensemble over the seeds at every grid point and record."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.tensor import Checkpoint, Tensor, tensor_of


def is_run(path: Path) -> bool:
    return (path / "run.zarr").exists() or (path / "zarr.json").exists()


def read(path: Path) -> Checkpoint:
    data = open_run(path)
    names = [str(n) for n in data.data_vars if n == "weights" or str(n).startswith("weights_")]
    if not names:
        raise InputError(f"{path} holds no weights; train with --keep-weights last")
    tensors = tuple(tensor for name in names for tensor in _grid_points(data[name]))
    return Checkpoint(path, "run", None, tensors)


def open_run(path: Path):
    """The dataset of a run folder."""
    import xarray as xr

    store = path / "run.zarr" if (path / "run.zarr").exists() else path
    try:
        # Consolidated metadata are an optional extra, and of a run in progress they would be out of date.
        return xr.open_zarr(store, chunks=None, consolidated=False)
    except Exception as error:  # zarr raises a different type for every way in which a folder is no store
        raise InputError(f"{path} is not a run folder that can be opened ({error})".splitlines()[0]) from None


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

        name = f"{variable.name} [{at}]" if at else str(variable.name)
        shape = point.shape if point.ndim == 3 else (1, *point.shape)
        yield tensor_of(name, variable.dtype, shape, read, members=True)


def _value(point, dim: str, index: int) -> str:
    return f"{point[dim].item():g}" if dim in point.coords else str(index)

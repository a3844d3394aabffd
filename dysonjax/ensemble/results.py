"""The labelled results of a run: one xarray.Dataset, in memory and in a Zarr store that grows as it goes.

All arrays are allocated at the start at their full size, and only whole chunks are written, so that a reader
(`xarray.open_zarr`) finds a consistent store at any moment, with NaN where nothing has been computed yet.
"""

import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import xarray as xr
import zarr

import dysonjax
from dysonjax.checks import InputError
from dysonjax.ensemble.grid import Grid

CHUNK_BYTES = 2**20  # seeds are gathered in a chunk until it has about this size

COORDINATES = {
    "batch_size": "mini-batch size |B|",
    "lr": "learning rate α",
    "sigma_w": "initial weight width σ_W: weights start from N(0, σ_W²/n_in)",
    "seed": "index of the seed",
    "record": "training step of the record",
    "mode": "index of the eigenvalue, ascending",
}


def allocate(
    grid: Grid,
    records: tuple[int, ...],
    variables: dict[str, tuple],
    attributes: dict,
    long_names: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """An empty dataset. variables: name -> (dims, extra ones with lengths, dtype, fill value, long name).

    long_names: those of the grid's scalars.
    """
    lengths = dict(zip(grid.dims, grid.shape, strict=True)) | {"record": len(records)}
    data = {}
    for name, (dims, dtype, fill, long_name) in variables.items():
        shape = tuple(lengths.get(dim) or dims[dim] for dim in dims)
        data[name] = xr.Variable(tuple(dims), np.full(shape, fill, dtype), {"long_name": long_name})
        lengths.update({dim: length for dim, length in dims.items() if length})
    coordinates = {
        "batch_size": np.array(grid.batch_size),
        "lr": np.array(grid.lr),
        "sigma_w": np.array(grid.sigma_w),
        **{name: np.array(values) for name, values in grid.scalars.items()},
        "seed": np.arange(grid.first_seed, grid.first_seed + grid.seeds),
        "record": np.array(records),
    }
    coordinates |= {dim: np.arange(n) for dim, n in lengths.items() if dim not in coordinates}
    dataset = xr.Dataset(data, coords=coordinates, attrs=attributes)
    for name, long_name in (COORDINATES | dict(long_names or {})).items():
        if name in dataset.coords:
            dataset[name].attrs = {"long_name": long_name, "units": "1"}
    return dataset


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {
        "dysonjax": dysonjax.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


class Store:
    """The Zarr store of a run folder. All writes go through `flush`."""

    def __init__(self, folder: Path, dataset: xr.Dataset):
        self.dataset = dataset
        self.path = folder / "run.zarr"
        seeds = dataset.sizes["seed"]
        self.seeds_per_chunk = {}
        encoding = {}
        for name, variable in dataset.data_vars.items():
            bytes_per_seed = variable.nbytes / seeds / dataset.sizes["batch_size"]
            chunk = int(np.clip(CHUNK_BYTES // max(bytes_per_seed, 1), 1, seeds))
            self.seeds_per_chunk[name] = chunk
            sizes = {"batch_size": 1, "seed": chunk}
            encoding[name] = {"chunks": tuple(sizes.get(d, n) for d, n in variable.sizes.items())}
        dataset.to_zarr(self.path, mode="w", encoding=encoding, zarr_format=3, consolidated=False)
        self._consolidate()
        self.group = zarr.open_group(self.path, mode="r+")

    def flush(self, batch_index: int, seed_indices: np.ndarray) -> None:
        """Write the chunks that hold these seeds at one batch size."""
        for name, chunk in self.seeds_per_chunk.items():
            variable, array = self.dataset[name], self.group[name]
            axis = variable.get_axis_num("seed")
            for first in sorted({int(seed) // chunk * chunk for seed in seed_indices}):
                region = [slice(None)] * variable.ndim
                region[variable.get_axis_num("batch_size")] = slice(batch_index, batch_index + 1)
                region[axis] = slice(first, min(first + chunk, variable.shape[axis]))
                array[tuple(region)] = variable.values[tuple(region)]

    def finish(self) -> None:
        """Store the final attributes, such as the wall time."""
        self.group.attrs.update(self.dataset.attrs)
        self._consolidate()

    def _consolidate(self) -> None:
        """Gather the metadata in one place, as xarray expects (not yet in the Zarr specification)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(self.path)


def read(folder: str | Path) -> xr.Dataset:
    """The dataset of a run folder, finished or not. Raises InputError if the folder holds no run."""
    path = Path(folder) / "run.zarr"
    if not path.is_dir():
        raise InputError(f"{folder} holds no run (there is no run.zarr in it)")
    return xr.open_zarr(path)


def configuration(dataset: xr.Dataset) -> dict:
    """The complete configuration with which a run was made."""
    return json.loads(dataset.attrs["config"])

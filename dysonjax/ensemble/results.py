"""The labelled results of a run: one xarray.Dataset, in memory or in a Zarr store that grows as it goes.

With a store, only blocks under way are in memory (see `store`); a block that is complete is written and let
go. A reader (`xarray.open_zarr`) finds a consistent store at any moment, with NaN where nothing has been
computed yet.
"""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

import dysonjax
from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.ensemble import schema
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.interrupts import resume_command
from dysonjax.ensemble.store import Store, missing_chunks, of_the_machine, present
from dysonjax.ensemble.sums import checked

LOAD_BYTES = 2**30  # results up to this size are in memory after a run, larger ones are read where needed

COORDINATES = {
    "batch_size": "mini-batch size |B|",
    "lr": "learning rate α",
    "sigma_w": "initial weight width σ_W: weights start from N(0, σ_W²/n_in)",
    "seed": "index of the seed",
    "record": "training step of the record",
    "mode": "index of the eigenvalue, ascending",
}


def template(
    grid: Grid,
    records: tuple[int, ...],
    variables: dict[str, tuple],
    attributes: dict,
    long_names: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """A dataset of fill values that takes no memory.

    variables: name -> (dims, extra ones with lengths, dtype, fill value, long name). long_names: those of the
    grid's scalars.
    """
    lengths = dict(zip(grid.dims, grid.shape, strict=True)) | {"record": len(records)}
    data = {}
    for name, (dims, dtype, fill, long_name) in variables.items():
        shape = tuple(lengths.get(dim) or dims[dim] for dim in dims)
        values = np.broadcast_to(np.array(fill, dtype), shape)
        data[name] = xr.Variable(tuple(dims), values, {"long_name": long_name}, {"fill_value": fill})
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
    from dysonjax.compile import compiler_version  # with JAX, for which who only reads a run need not wait

    return {
        "dysonjax": dysonjax.__version__,
        "jax": importlib.metadata.version("jax"),
        "jaxlib": importlib.metadata.version("jaxlib"),
        "optax": importlib.metadata.version("optax"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "c_compiler": compiler_version() or "none",
    }


class Results:
    """The values of a run, block by block; without a store, one block a batch size, kept to the end."""

    def __init__(self, template: xr.Dataset, grid: Grid, store: Store | None):
        self.template, self.grid, self.store = template, grid, store
        self.seeds_per_block = store.seeds_per_block if store else grid.seeds
        self.blocks: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        self.dirty: set[tuple[int, int]] = set()

    @property
    def kept(self) -> Store:
        """The store of a run that has a folder."""
        assert self.store is not None, "a run without a folder has no store"
        return self.store

    def put(
        self, name: str, batch_index: int, members: np.ndarray, values, record: int | None = None
    ) -> None:
        """Store one value (or array) a member; members: places in the grid of one batch size."""
        if not len(members):
            return
        *point, seed = np.unravel_index(members, self.grid.shape[1:])
        number = seed // self.seeds_per_block
        for block in np.unique(number):
            here = number == block
            place = (*(axis[here] for axis in point), seed[here] - block * self.seeds_per_block)
            place = place if record is None else (*place, record)
            self._block(batch_index, int(block))[name][place] = values[here]
            self.dirty.add((batch_index, int(block)))

    def flush(self, complete: np.ndarray) -> None:
        """Write what has changed; let go of blocks whose members are complete (batch sizes, members)."""
        if self.store is None:
            return
        for batch_index, block in sorted(self.dirty):
            self.store.write(batch_index, block, self.blocks[batch_index, block])
            self.dirty.discard((batch_index, block))
        for key in list(self.blocks):
            if complete[key[0], self.members(key[1])].all():
                del self.blocks[key]

    def restore(self, batch_index: int, block: int) -> None:
        """Bring a block of an interrupted run back into memory; raises `store.Damaged`."""
        self.blocks[batch_index, block] = self.kept.read(batch_index, block)

    def members(self, block: int) -> np.ndarray:
        """The places of a block's members in the grid of one batch size."""
        first = block * self.seeds_per_block
        seeds = np.arange(first, min(first + self.seeds_per_block, self.grid.seeds))
        points = int(np.prod(self.grid.shape[1:-1]))
        return (np.arange(points)[:, None] * self.grid.seeds + seeds).ravel()

    def dataset(self) -> xr.Dataset:
        """Everything recorded, in memory if it is not too large."""
        if self.store is not None:
            found = xr.open_zarr(checked(self.store.path.parent), chunks=None)
            return found.load() if found.nbytes <= LOAD_BYTES else found
        dataset = self.template.copy()
        for name, variable in self.template.data_vars.items():
            parts = [self._block(b, 0)[str(name)] for b in range(len(self.grid.batch_size))]
            dataset[name] = xr.Variable(variable.dims, np.stack(parts), variable.attrs)
        return dataset

    def _block(self, batch_index: int, block: int) -> dict[str, np.ndarray]:
        if (batch_index, block) not in self.blocks:
            first = block * self.seeds_per_block
            seeds = slice(first, first + self.seeds_per_block)
            empty = self.template.isel(batch_size=batch_index, seed=seeds)
            self.blocks[batch_index, block] = {str(n): v.values.copy() for n, v in empty.data_vars.items()}
        return self.blocks[batch_index, block]


def read(folder: str | Path) -> xr.Dataset:
    """Open the dataset of a run folder, finished or not.

    Parameters
    ----------
    folder : str or Path
        Of the run.

    Returns
    -------
    Dataset
        Its values are read where they are needed.

    Raises
    ------
    InputError
        If the folder holds no run, or a finished run has lost a part of its results. Reading a chunk that was
        altered or stands in another's place raises it too: all have checksums.
    OSError, MemoryError
        As they come: they say nothing about the run.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=3), 2, 2, out="run")
    >>> bool((dj.read("run").eigenvalues == run.dataset.eigenvalues).all())
    True
    """
    folder = checks.path("folder", folder)
    path = folder / "run.zarr"
    if not present(path):
        what = "there is no run.zarr in it" if folder.is_dir() else "there is no such folder"
        raise InputError(f"{folder} holds no run ({what})")
    try:
        dataset = xr.open_zarr(checked(folder))
    except InputError:
        raise
    except Exception as error:  # what broken metadata raise depends on where they break
        if of_the_machine(error):
            raise
        raise InputError(f"the metadata of {path} are damaged: {_repair(folder)}") from None
    schema.attributes(dataset.attrs, path)
    lost = missing_chunks(path, dataset) if "summary" in dataset.attrs else []
    if lost:
        raise InputError(f"{path} has lost {len(lost)} chunks, {lost[0]} first: {_repair(folder)}")
    return dataset


def intact(folder: str | Path) -> bool:
    """Whether a run is finished and all that it recorded is there; raises OSError if that cannot be told."""
    try:
        dataset = read(folder)
        for name in dataset.data_vars if "summary" in dataset.attrs else ():
            dataset[name].copy().load()  # a copy: what is loaded does not stay in memory
        return "summary" in dataset.attrs
    except ValueError:  # an InputError, or a wrong checksum
        return False


def _repair(folder: str | Path) -> str:
    return f"{resume_command(folder)} computes what is lost again"


def configuration(dataset: xr.Dataset) -> dict:
    """The complete configuration with which a run was made."""
    return json.loads(dataset.attrs["config"])

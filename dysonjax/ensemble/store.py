"""The Zarr store of a run folder, written by whole blocks.

A block is all that is recorded of a few seeds at one batch size: one chunk of every variable. Chunks are
written aside and renamed, carry a checksum for any reader, and exist from the first write on even where they
hold nothing but fill values: a chunk that is torn, altered or gone is told from one that was never written,
and by the sums that are kept beside (see `sums`) also one that stands in another's place. Nothing is ever
appended, and no two processes write one block.
"""

import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from dysonjax.checks import InputError
from dysonjax.ensemble import checkpoints, schema
from dysonjax.ensemble.schema import difference
from dysonjax.ensemble.sealed import Damaged
from dysonjax.ensemble.sums import METADATA, Overlay, Sums, block_name, checked, put

FORMAT = 1  # of the run folder; raised when older folders could not be gone on with
CHUNK_BYTES = 2**20  # seeds are gathered in a block until its largest chunk has about this size
BLOCKS = 16  # at least, if there are as many seeds, so that many processes can share a run


class Store:
    """The store of one run. `create` and `open` make one; blocks go in with `write`."""

    def __init__(self, path: Path, template: xr.Dataset, seeds_per_block: int):
        self.path, self.template, self.seeds_per_block = path, template, seeds_per_block
        self.sums, self.collected = Sums(path.parent), Overlay(LocalStore(path))
        with zarr.config.set({"array.write_empty_chunks": True}):
            self.arrays = self._open(self.collected)
        self.stored = self._open(LocalStore(path, read_only=True))

    def _open(self, store) -> dict[str, Any]:
        group = zarr.open_group(store, mode="r" if store.read_only else "r+")
        return {str(name): group[str(name)] for name in self.template.data_vars}

    def write(self, batch_index: int, block: int, values: dict[str, np.ndarray]) -> None:
        """Write one block; values: by variable, without the batch axis."""
        for name, array in self.arrays.items():
            array[self._region(name, batch_index, block)] = values[name][None]
        self._put(block_name(batch_index, block))

    def _put(self, name: str) -> None:
        """Bring what was collected to disk, with its sums if this store has any."""
        files = dict(self.collected.written)
        self.collected.written.clear()
        if self.sums.kept:
            self.sums.write(name, files)
        else:
            for key, content in files.items():
                put(self.path / key, content)

    def read(self, batch_index: int, block: int) -> dict[str, np.ndarray]:
        """One block as it was written; raises Damaged."""
        values = {}
        for name, array in self.stored.items():
            file = self._file(name, batch_index, block)
            try:
                content = file.read_bytes()
                if self.sums.kept:
                    self.sums.check(block_name(batch_index, block), str(file.relative_to(self.path)), content)
                values[name] = np.array(array[self._region(name, batch_index, block)])[0]
            except FileNotFoundError:
                raise Damaged(f"chunk {file.relative_to(self.path)} is missing") from None
            except (Damaged, ValueError):  # its checksum is wrong; nothing else is damage
                raise Damaged(f"chunk {file.relative_to(self.path)} is damaged") from None
        return values

    def set_attributes(self, attributes: dict) -> None:
        """Add attributes, such as the summary of a finished run."""
        zarr.open_group(self.collected, mode="r+").attrs.update(attributes)
        consolidate(self.collected)
        self._put(METADATA)

    def remove_summary(self) -> None:
        """Mark a store whose results are computed again as unfinished."""
        attributes = zarr.open_group(self.collected, mode="r+").attrs
        if "summary" in attributes:
            del attributes["summary"]
            consolidate(self.collected)
            self._put(METADATA)

    def _region(self, name: str, batch_index: int, block: int) -> tuple[slice, ...]:
        first = block * self.seeds_per_block
        chosen = {
            "batch_size": slice(batch_index, batch_index + 1),
            "seed": slice(first, min(first + self.seeds_per_block, self.template.sizes["seed"])),
        }
        return tuple(chosen.get(str(dim), slice(None)) for dim in self.template[name].dims)

    def _file(self, name: str, batch_index: int, block: int) -> Path:
        number = {"batch_size": batch_index, "seed": block}
        return self.path.joinpath(name, "c", *(str(number.get(str(d), 0)) for d in self.template[name].dims))


def seeds_per_block(template: xr.Dataset, processes: int = 1) -> int:
    """How many seeds a block of a new store holds."""
    seeds = template.sizes["seed"]
    largest = max(v.nbytes / seeds / v.sizes["batch_size"] for v in template.data_vars.values())
    return int(np.clip(CHUNK_BYTES // max(largest, 1), 1, max(1, seeds // max(BLOCKS, processes))))


def create(folder: Path, template: xr.Dataset, processes: int = 1) -> Store:
    """A store with coordinates, attributes and no block; it appears as a whole."""
    size = seeds_per_block(template, processes)
    partial = folder / f".store-{uuid.uuid4().hex}"
    try:
        _write_metadata(partial, template, size)
        Sums(folder).announce(METADATA, _content(partial), fresh=True)
        partial.rename(folder / "run.zarr")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Store(folder / "run.zarr", template, size)


def reopen(folder: Path, template: xr.Dataset) -> Store:
    """A store that is known to be intact."""
    path = folder / "run.zarr"
    attributes = read_attributes(path) or {}
    return Store(path, template, int(attributes["seeds_per_block"]))


def open_again(folder: Path, template: xr.Dataset, say: Callable[[str], None]) -> Store:
    """The store of an interrupted run of the same configuration; lost metadata are written anew.

    Raises InputError if there is none or it belongs to another configuration or format.
    """
    path = folder / "run.zarr"
    if not present(path):
        say(f"{folder} was stopped before it had a store; starting it")
        return create(folder, template)
    found = _attributes(folder)
    if found is not None and found.format != FORMAT:
        raise InputError(f"{path} has format {found.format}; this version goes on with format {FORMAT} only")
    config = configuration(folder)
    if config is None:
        raise InputError(
            f"the metadata of {path} are damaged, and no checkpoint says with which configuration the run "
            "was made; start it again in another folder"
        )
    if config != template.attrs["config"]:
        raise InputError(f"{folder} was made with {difference(config, template.attrs['config'])}")
    size = None if found is None else found.seeds_per_block
    try:
        if size is None:
            raise ValueError
        with xr.open_zarr(checked(folder)) as dataset:
            dataset[list(dataset.coords)].load()
            if dataset.sizes != template.sizes or set(dataset.data_vars) != set(template.data_vars):
                raise ValueError
        apart = zarr.open_group(path, mode="r", use_consolidated=False)
        for name in template.variables:
            apart[str(name)]  # also whole for readers that do not know consolidated metadata
        return Store(path, template, size)
    except Exception as error:  # what broken metadata raise depends on where they break
        if of_the_machine(error):
            raise
        say(f"the metadata of {path} are damaged; writing them anew")
    size = _block_size_of_arrays(path, template) if size is None else size
    partial = folder / f".store-{uuid.uuid4().hex}"
    try:
        _write_metadata(partial, template, size)
        sums, files = Sums(folder), _content(partial)
        if sums.kept:
            sums.announce(METADATA, files, fresh=True)
        for key, content in files.items():
            put(path / key, content)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Store(path, template, size)


def configuration(folder: Path) -> str | None:
    """With which configuration a run was made, by its store or by its newest checkpoint that is whole."""
    found = _attributes(folder)
    return checkpoints.configuration(folder / "checkpoints") if found is None else found.text


def _attributes(folder: Path) -> schema.Attributes | None:
    """The attributes of a run's store; None if they are damaged."""
    try:
        return schema.attributes(read_attributes(folder / "run.zarr"), folder / "run.zarr")
    except InputError:
        return None


def read_attributes(path: Path) -> dict | None:
    """The attributes of a store, None if they are not there or damaged; raises OSError if that is unknown."""
    try:
        return dict(json.loads((path / "zarr.json").read_text())["attributes"])
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def of_the_machine(error: Exception) -> bool:
    """Whether an error tells of the machine (memory, permission, a failing disk), not of the file read."""
    absent = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and not isinstance(error, absent))


def present(path: Path) -> bool:
    """Whether there is something at a path; raises OSError if that cannot be told."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def missing_chunks(path: Path, dataset: xr.Dataset) -> list[str]:
    """Chunks that a finished store should hold and does not: Zarr itself would read them as fill values."""
    size = int(dataset.attrs.get("seeds_per_block", 0))
    if not size:
        return []
    blocks = -(-dataset.sizes["seed"] // size)
    missing = []
    for name, variable in dataset.data_vars.items():
        for batch_index in range(dataset.sizes["batch_size"]):
            for block in range(blocks):
                number = {"batch_size": batch_index, "seed": block}
                key = "/".join([str(name), "c", *(str(number.get(str(dim), 0)) for dim in variable.dims)])
                if not present(path / key):
                    missing.append(key)
    return missing


def _block_size_of_arrays(path: Path, template: xr.Dataset) -> int:
    """The block size of a store whose own metadata are lost, from those of its arrays."""
    for name in template.data_vars:
        try:
            content = json.loads((path / str(name) / "zarr.json").read_text())
            shape = content["chunk_grid"]["configuration"]["chunk_shape"]
            return int(shape[template[name].dims.index("seed")])
        except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, RecursionError):
            continue
    raise InputError(f"the metadata of {path} are lost; start the run again")


def _write_metadata(path: Path, template: xr.Dataset, seeds_per_block: int) -> None:
    coordinates = template.drop_vars(list(template.data_vars))
    coordinates.attrs = template.attrs | {"format": FORMAT, "seeds_per_block": seeds_per_block}
    coordinates.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    for name, variable in template.data_vars.items():
        sizes = {"batch_size": 1, "seed": seeds_per_block}
        group.create_array(
            str(name),
            shape=variable.shape,
            chunks=tuple(sizes.get(str(dim), length) for dim, length in variable.sizes.items()),
            dtype=variable.dtype,
            fill_value=variable.encoding["fill_value"],
            dimension_names=[str(dim) for dim in variable.dims],
            attributes=variable.attrs,
            compressors=[ZstdCodec(), Crc32cCodec()],
        )
    consolidate(path)


def _content(path: Path) -> dict[str, bytes]:
    """The files of a folder, by their places."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def consolidate(path) -> None:
    """Gather the metadata in one place, as xarray expects (not yet in the Zarr specification)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)

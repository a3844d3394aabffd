"""Folders of orbax, read array by array with TensorStore, in which orbax itself stores them."""

import json
from pathlib import Path

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.dtypes import numpy_dtype
from dysonjax.weights.tensor import Checkpoint, Tensor, element_count, prefixed, tensor_of, unreadable

_MARK = "_METADATA"
# Compression can be strong, but an array of a thousand times the folder is a lying header.
_BEST_RATIO = 2000
_ALWAYS = 2**24


def is_orbax(path: Path) -> bool:
    return bool(_items(path)) or (path / "_CHECKPOINT_METADATA").exists() or bool(_steps(path))


def read(path: Path) -> Checkpoint:
    notes = []
    folder = path
    if steps := _steps(path):
        folder = steps[-1]
        if len(steps) > 1:
            notes.append(f"the newest of {len(steps)} steps, {folder.name}; name a step's folder for another")
    items = _items(folder)
    if not items:
        raise InputError(f"{path} is a folder of orbax without the {_MARK} of a tree of arrays")
    tensors: list[Tensor] = []
    for item in items:
        found = _tree(item)
        tensors += found if item == folder or len(items) == 1 else prefixed(found, f"{item.name}/")
    return Checkpoint(path, "orbax", "flax", tuple(tensors), tuple(notes))


def _items(folder: Path) -> list[Path]:
    """The trees of arrays: the folder itself, or its parts such as `default` or `state`."""
    if (folder / _MARK).is_file():
        return [folder]
    return sorted(child for child in folder.iterdir() if child.is_dir() and (child / _MARK).is_file())


def _steps(path: Path) -> list[Path]:
    """Folders of steps that a manager of checkpoints made, by number."""
    found = [
        child for child in path.iterdir() if child.is_dir() and child.name.rpartition("_")[2].isdecimal()
    ]
    found = [child for child in found if _items(child)]
    return sorted(found, key=lambda child: int(child.name.rpartition("_")[2]))


def _tree(folder: Path) -> list[Tensor]:
    try:
        metadata = json.loads((folder / _MARK).read_bytes())
        entries = list(metadata["tree_metadata"].values())
        driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
        keys = [[str(part["key"]) for part in entry["key_metadata"]] for entry in entries]
        kinds = [entry["value_metadata"]["value_type"] for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{folder / _MARK} is damaged") from None
    ocdbt = metadata.get("use_ocdbt", (folder / "manifest.ocdbt").exists())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return [
        _tensor(folder, key, driver, ocdbt, size)
        for key, kind in zip(keys, kinds, strict=True)
        if kind not in ("scalar", "string", "None")
    ]


def _tensor(folder: Path, key: list[str], driver: str, ocdbt: bool, size: int) -> Tensor:
    import tensorstore

    # Names come from the file: no part may lead out of the folder.
    inner, name = ".".join(key), "/".join(key)
    if ".." in inner or "/" in inner or not inner:
        return unreadable(name, (), "?", "its name leads out of the folder")
    base = f"file://{folder.resolve()}/"
    kvstore = {"driver": "ocdbt", "base": base, "path": f"{inner}/"} if ocdbt else f"{base}{inner}/"
    spec = {"driver": driver, "kvstore": kvstore, "open": True}
    try:
        store = tensorstore.open(spec, read=True).result()
    except Exception as error:  # TensorStore raises ValueError and more for what is missing or damaged
        return unreadable(name, (), "?", f"it cannot be opened ({str(error).split('[')[0].strip()[:200]})")
    shape, dtype = tuple(store.shape), numpy_dtype(store.dtype.name)
    if dtype is None:
        return unreadable(
            name, shape, store.dtype.name, f"entries of type {store.dtype.name} are not numbers"
        )
    if element_count(shape) * dtype.itemsize > max(_ALWAYS, _BEST_RATIO * size):
        return unreadable(name, shape, dtype.name, "it claims more entries than the folder can hold")

    def read() -> np.ndarray:
        try:
            return np.asarray(tensorstore.open(spec, read=True).result().read().result())
        except Exception as error:
            raise InputError(f"it cannot be read ({str(error).split('[')[0].strip()[:200]})") from None

    return tensor_of(name, dtype, shape, read)

"""Folders as they are published: an index and its shards, or single files beside their configuration."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dysonjax.checks import InputError
from dysonjax.weights.tensor import Checkpoint, Tensor, prefixed, unreadable

# In the order in which they are preferred: a folder often holds the same weights in several formats.
_INDEXES = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "flax_model.msgpack.index.json",
)
_SINGLE = (
    *("model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors"),
    *("pytorch_model.bin", "diffusion_pytorch_model.bin", "adapter_model.bin", "flax_model.msgpack"),
    *("tf_model.h5", "model.onnx"),
)
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".keras", ".npz", ".onnx")
_LARGEST_INDEX = 200_000_000


def read(path: Path, open_file) -> Checkpoint:
    """A folder of weights. open_file: Path -> Checkpoint, for each of its files."""
    files = {child.name: child for child in sorted(path.iterdir()) if child.is_file()}
    indexes = [name for name in _INDEXES if name in files]
    indexes += [name for name in files if name.endswith(".index.json") and name not in indexes]
    if indexes:
        found, used = _sharded(path, files[indexes[0]], open_file)
    else:
        chosen = _chosen(path, files)
        parts = _told_apart([open_file(file) for file in chosen])
        found = Checkpoint(
            path,
            f"folder of {parts[0].format}",
            _common(part.framework for part in parts),
            tuple(tensor for part in parts for tensor in part.tensors),
            tuple(note for part in parts for note in part.notes),
        )
        used = {file.name for file in chosen}
    weights = [name for name in files if name.lower().endswith(_SUFFIXES) and name not in used]
    beside = [f"{name} lies beside and is not read" for name in weights]
    config: dict[str, Any] = {}
    for name in ("config.json", "adapter_config.json"):
        config |= _json(files[name]) if name in files else {}
    return Checkpoint(path, found.format, found.framework, found.tensors, (*found.notes, *beside), config)


def _told_apart(parts: list[Checkpoint]) -> list[Checkpoint]:
    """Files that are no shards of one model share names, which then begin with that of their file."""
    names = [tensor.name for part in parts for tensor in part.tensors]
    if len(names) == len(set(names)):
        return parts
    stems = [part.path.stem if part.path else "" for part in parts]
    return [
        replace(part, tensors=tuple(prefixed(part.tensors, f"{stem}/")))
        for part, stem in zip(parts, stems, strict=True)
    ]


def _chosen(path: Path, files: dict[str, Path]) -> list[Path]:
    for name in _SINGLE:
        if name in files:
            return [files[name]]
    for suffix in _SUFFIXES:
        same = [file for name, file in files.items() if name.lower().endswith(suffix)]
        if same and suffix == ".safetensors":  # shards whose index was lost hold different tensors
            return same
        if len(same) == 1:
            return same
        if same:
            names = ", ".join(file.name for file in same[:5])
            raise InputError(f"{path} holds {len(same)} files of weights; name one of them: {names}")
    inside = [c.name for c in sorted(path.iterdir()) if c.is_dir() and _has_weights(c)]
    if inside:
        raise InputError(f"{path} holds no weights itself; name one of its folders: {', '.join(inside)}")
    raise InputError(
        f"{path} is not a run folder, and holds no weights: no .safetensors with their index, no folder of "
        "orbax, no file of weights"
    )


def _has_weights(folder: Path) -> bool:
    return any(child.name.lower().endswith(_SUFFIXES) for child in folder.iterdir())


def _sharded(path: Path, index: Path, open_file) -> tuple[Checkpoint, set[str]]:
    where = _json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(name, str) for name in where.values()):
        raise InputError(f"{index} is damaged: it has no weight_map from tensors to files")
    shards: dict[str, Checkpoint | str] = {}
    for name in dict.fromkeys(where.values()):
        file = path / name
        # A name may not lead out of the folder.
        if Path(name).name != name:
            shards[name] = f"its shard {name!r} lies outside the folder"
        elif not file.is_file():
            shards[name] = f"its shard {name} is missing"
        else:
            try:
                shards[name] = open_file(file)
            except InputError as error:
                shards[name] = str(error)
    read = {name: shard for name, shard in shards.items() if isinstance(shard, Checkpoint)}
    held = {(name, tensor.name): tensor for name, shard in read.items() for tensor in shard.tensors}
    tensors: list[Tensor] = []
    for tensor_name, shard in where.items():
        tensor = held.pop((shard, tensor_name), None)
        if tensor is None:
            absent = f"it is not in its shard {shard}, though the index says so"
            problem = absent if shard in read else str(shards[shard])
            tensor = unreadable(tensor_name, (), "?", problem)
        tensors.append(tensor)
    tensors += held.values()
    notes = [f"{name} is in {shard} and not in the index" for shard, name in held]
    notes += [note for shard in read.values() for note in shard.notes]
    form = next(iter(read.values())).format if read else "shards"
    framework = _common(shard.framework for shard in read.values())
    label = f"{form}, {len(shards)} shards"
    return Checkpoint(path, label, framework, tuple(tensors), tuple(notes)), {index.name, *where.values()}


def _common(frameworks) -> str | None:
    names = set(frameworks)
    return names.pop() if len(names) == 1 else None


def _json(file: Path) -> dict:
    if file.stat().st_size > _LARGEST_INDEX:
        raise InputError(f"{file} is too large for a configuration or an index")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{file} is damaged: it is not JSON") from None
    return content if isinstance(content, dict) else {}

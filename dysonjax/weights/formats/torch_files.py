"""`.pt`, `.pth`, `.bin`, `.ckpt`: state dictionaries of PyTorch, tensors only.

They lie in a zip container, or in the row of pickles that `torch.save` wrote before version 1.6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, zip_members
from dysonjax.weights.dtypes import numpy_dtype
from dysonjax.weights.formats.pickles import Call, Name, Persistent, parse, parse_next
from dysonjax.weights.tensor import Checkpoint, Tensor, checked_shape, element_count, tensor_of, unreadable

LEGACY_NUMBER = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_DEEPEST = 40
_MOST_NODES = 500_000
_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_DICTIONARIES = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "torch.nn.modules.container.ParameterDict",
}
Order = Literal["<", ">"]  # of bytes, as NumPy writes it


def is_container(members) -> bool:
    """Whether these names of a zip archive are those of `torch.save`."""
    return any(name.rpartition("/")[2] == "data.pkl" for name in members)


def bare_pickle(path: Path) -> InputError:
    """What to say of a pickle with a name of PyTorch that `torch.save` did not write."""
    return InputError(
        f"{path} is a pickle that is not of torch.save, which is never loaded; convert it with python -c "
        f"\"import torch; torch.save(torch.load('{path.name}', map_location='cpu', weights_only=True), "
        f"'{path.stem}-zip.pt')\""
    )


def read(path: Path) -> Checkpoint:
    members = zip_members(path)
    pickled = next(name for name in members if name.rpartition("/")[2] == "data.pkl")
    root = pickled.removesuffix("data.pkl")
    if any(name.startswith(f"{root}code/") for name in members) or f"{root}constants.pkl" in members:
        raise InputError(
            f'{path} is a TorchScript program, which is never run; convert it with python -c "import torch; '
            f"torch.save(torch.jit.load('{path.name}', map_location='cpu').state_dict(), "
            f"'{path.stem}-weights.pt')\""
        )
    order = members[f"{root}byteorder"].read().strip() if f"{root}byteorder" in members else b"little"
    try:
        content = parse(members[pickled].verified())
    except InputError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    storages = _Storages(members, root, ">" if order == b"big" else "<")
    return _checkpoint(path, "torch zip", content, storages)


def _checkpoint(path: Path, form: str, content: Any, storages: "_Storages") -> Checkpoint:
    if isinstance(content, Call) and not _is_dictionary(content) and _rebuilder(content) is None:
        raise InputError(
            f"{path} holds an object of {content.path}, which is never made; save its state_dict() instead"
        )
    tensors = [_named(name, value, storages) for name, value in _walk(content)]
    return Checkpoint(path, form, "torch", tuple(t for t in tensors if t is not None))


def read_legacy(path: Path) -> Checkpoint:
    """Five pickles in a row (a number, a version, facts of the machine, the content, the keys of the
    storages), then every storage as the number of its entries and their bytes."""
    persistent: list[Persistent] = []
    try:
        with path.open("rb") as file:
            _, version, facts = (parse_next(file) for _ in range(3))
            content, keys = parse_next(file, persistent), parse_next(file)
            start = file.tell()
        if version != 1001 or not (isinstance(keys, list) and isinstance(facts, dict)):
            raise InputError(f"it is of version {version!s:.40}, or damaged")
        order: Order = "<" if facts.get("little_endian", True) else ">"
        members = _in_a_row(path, start, keys, _types(persistent), order)
    except InputError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return _checkpoint(path, "torch legacy", content, _Storages(members, "", order))


def _types(persistent: list[Persistent]) -> dict[str, np.dtype]:
    """The type of every storage by its key."""
    found = {}
    for reference in persistent:
        if isinstance(reference.id, tuple) and len(reference.id) > 4 and reference.id[0] == "storage":
            dtype = numpy_dtype(_storage_type(reference.id[1]))
            if dtype is not None:
                found[str(reference.id[2])] = dtype
    return found


def _in_a_row(
    path: Path, start: int, keys: list, types: dict[str, np.dtype], order: Order
) -> dict[str, Source]:
    """Where every storage lies; those behind one that is cut off or of an unknown type are missing."""
    found, total = {}, path.stat().st_size
    with path.open("rb") as file:
        for key in map(str, keys):
            file.seek(start)
            header = file.read(8)
            if len(header) < 8 or key not in types:
                break
            size = int.from_bytes(header, "little" if order == "<" else "big", signed=True)
            size *= types[key].itemsize
            if not 0 <= size <= total - start - 8:
                break
            found[f"data/{key}"] = Source(path, start + 8, size)
            start += 8 + size
    return found


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor and every unknown object under its path; plain values are no weights and are left out."""
    nodes = 0
    stack: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while stack:
        path, value = stack.pop()
        nodes += 1
        if nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise InputError("its pickle is nested without end, the file is damaged")
        if isinstance(value, dict) or _is_dictionary(value):
            items = value if isinstance(value, dict) else _entries(value)
            stack.extend(((*path, str(key)), item) for key, item in reversed(items.items()))
        elif isinstance(value, list | tuple):
            stack.extend(((*path, str(i)), value[i]) for i in range(len(value) - 1, -1, -1))
        elif isinstance(value, Call):
            yield ".".join(path) or "tensor", value


def _entries(call: Call) -> dict:
    """Of a kind of dictionary: those given to it when it is made, as Python 2 wrote them, and those set."""
    given = call.arguments[-1] if isinstance(call.arguments, tuple) and call.arguments else []
    pairs = given.items() if isinstance(given, dict) else given if isinstance(given, list) else []
    pairs = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    return {str(key): value for key, value in pairs} | call.items


def _is_dictionary(value: Any) -> bool:
    return isinstance(value, Call) and value.path in _DICTIONARIES


def _rebuilder(call: Call) -> str | None:
    name = call.path.removeprefix("torch._utils.")
    return name if name.startswith("_rebuild") else None


# Calls that are no tensors and say nothing about weights.
_PLAIN = {
    "torch.device",
    "torch.Size",
    "builtins.set",
    "builtins.slice",
    "builtins.complex",
    "pathlib.PosixPath",
}


def _named(name: str, call: Call, storages: "_Storages") -> Tensor | None:
    if call.path in _PLAIN:
        return None
    rebuild = _rebuilder(call)
    try:
        if rebuild in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            inner = call.arguments[0]
            if not isinstance(inner, Call):
                raise InputError("its parameter is damaged")
            return _named(name, inner, storages)
        if rebuild in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return storages.tensor(name, call.arguments, rebuild)
        if rebuild == "_rebuild_qtensor":
            raise InputError("integers, perhaps quantised: dequantise first")
        if rebuild is not None:
            raise InputError(f"{rebuild} is not a plain tensor (sparse or of a subclass); save it dense")
        raise InputError(f"an object of {call.path}, which is never made")
    except InputError as error:
        return unreadable(name, (), "object" if rebuild is None else "tensor", str(error))
    except (TypeError, ValueError, IndexError, AttributeError):
        return unreadable(name, (), "tensor", "its record in the pickle is damaged")


@dataclass(frozen=True)
class _Storages:
    members: dict[str, Source]
    root: str
    order: Order

    def tensor(self, name: str, arguments: tuple, rebuild: str) -> Tensor:
        storage, offset, size, stride = arguments[:4]
        if not (isinstance(storage, Persistent) and storage.id[0] == "storage"):
            raise InputError("its storage is not in this file")
        kind, key = storage.id[1:3]
        if storage.id[5:] not in ((), (None,)):
            raise InputError("its storage is a view, as PyTorch before 0.4 wrote it; load and save it anew")
        label = arguments[6].path if rebuild == "_rebuild_tensor_v3" else _storage_type(kind)
        label = label.removeprefix("torch.")
        shape = checked_shape("the pickle", _plain(size))
        stride = checked_shape("the pickle", _plain(stride))
        dtype = numpy_dtype(label)
        if dtype is None:
            return unreadable(name, shape, label, f"the type {label} is not known; save it as float32")
        dtype = dtype.newbyteorder(self.order)
        source = self.members.get(f"{self.root}data/{key}")
        if source is None:
            return unreadable(name, shape, label, f"its storage {key!r} is missing, the file is damaged")
        count = element_count(shape)
        # First and last entry of the storage that the view touches.
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        reach = last + 1 if count else offset
        if type(offset) is not int or offset < 0 or reach * dtype.itemsize > source.length:
            return unreadable(name, shape, label, "it reaches beyond its storage, the file is truncated")
        if count > reach - offset:
            return unreadable(name, shape, label, "it is an expanded view; save it with .contiguous()")

        def read() -> np.ndarray:
            data = source.read(offset * dtype.itemsize, max(reach - offset, 0) * dtype.itemsize)
            return np.ndarray(shape, dtype, data, strides=[step * dtype.itemsize for step in stride])

        return tensor_of(name, dtype, shape, read, label, storage=(key, offset, shape, stride))


def _storage_type(kind: Any) -> str:
    if not isinstance(kind, Name):
        raise InputError("its storage is damaged")
    name = kind.path.rpartition(".")[2].removesuffix("Storage")
    return _STORAGES.get(name, name)


def _plain(value: Any) -> Any:
    """A torch.Size is a call of it with one tuple."""
    return value.arguments[0] if isinstance(value, Call) and value.path == "torch.Size" else value

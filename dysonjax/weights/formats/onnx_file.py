"""`.onnx`: the initialisers and constants of a graph, each found in the file and read by itself.

The format is a protocol buffer with a dozen fields that matter here. The onnx package reads a model into
memory as a whole and weighs more than this reader; nothing else of it is needed.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import Source, whole_file
from dysonjax.weights.dtypes import numpy_dtype, unpack_nibbles
from dysonjax.weights.formats.protobuf import Message, signed
from dysonjax.weights.tensor import Checkpoint, Tensor, checked_shape, element_count, tensor_of, unreadable

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
}
_DEEPEST = 8


def read(path: Path) -> Checkpoint:
    source = whole_file(path)
    try:
        model = Message(source.mapped(), 0, source.size)
        graphs = [v for n, v in model.fields() if n == 7 and isinstance(v, Message)]
        if not graphs:
            raise InputError("it has no graph")
        tensors: list[Tensor] = []
        for graph in graphs:
            tensors += _graph(path, graph, 0)
    except InputError as error:
        raise InputError(f"{path} is not an ONNX model that can be read: {error}") from None
    return Checkpoint(path, "onnx", "onnx", tuple(tensors))


def _graph(path: Path, graph: Message, depth: int) -> Iterator[Tensor]:
    if depth > _DEEPEST:
        raise InputError("its graphs are nested without end")
    nodes, initialisers = [], []
    for number, value in graph.fields():
        if number == 1 and isinstance(value, Message):  # NodeProto
            nodes.append(value)
        elif number == 5 and isinstance(value, Message):  # TensorProto
            initialisers.append(value)
    used = _weights_of(nodes)
    for proto in initialisers:
        tensor = _tensor(path, proto, "")
        rank = len(tensor.shape)
        layout = used.get(tensor.name, "")
        layout = layout[:2] + "k" * (rank - 2) if layout[2:] else "e" * (rank - 2) + layout
        # Two axes need no order, and a convolution of a tensor made elsewhere has none here.
        yield replace(tensor, layout=layout) if rank > 2 and tensor.name in used else tensor
    for node in nodes:
        yield from _constants(path, node, depth)


# What the second input of an operation is: outputs and inputs before the positions, or a stack of matrices.
_OPERATIONS = {"Conv": "oik", "ConvTranspose": "iok", "MatMul": "io", "LSTM": "oi", "GRU": "oi", "RNN": "oi"}


def _weights_of(nodes: list[Message]) -> dict[str, str]:
    """Names of weights -> the beginning of their layout, by the operations that use them."""
    found = {}
    for node in nodes:
        inputs, kind = [], ""
        for number, value in node.fields():
            if number == 1 and isinstance(value, Message):
                inputs.append(value.text())
            elif number == 4 and isinstance(value, Message):
                kind = value.text()
        for place in (1, 2) if kind in ("LSTM", "GRU", "RNN") else (1,):
            if kind in _OPERATIONS and len(inputs) > place:
                found[inputs[place]] = _OPERATIONS[kind]
    return found


def _constants(path: Path, node: Message, depth: int) -> Iterator[Tensor]:
    """Values of `Constant` nodes, and the graphs inside control flow."""
    outputs, kind, attributes = [], "", []
    for number, value in node.fields():
        if number == 2 and isinstance(value, Message):
            outputs.append(value.text())
        elif number == 4 and isinstance(value, Message):
            kind = value.text()
        elif number == 5 and isinstance(value, Message):
            attributes.append(value)
    for attribute in attributes:
        for number, value in attribute.fields():
            if number == 5 and kind == "Constant" and isinstance(value, Message):
                yield _tensor(path, value, outputs[0] if outputs else "constant")
            elif number in (6, 11) and isinstance(value, Message):
                yield from _graph(path, value, depth + 1)


def _tensor(path: Path, proto: Message, name: str) -> Tensor:
    shape: list[int] = []
    lists: dict[int, Any] = {}
    number_of_type, raw, external, elsewhere = 0, None, {}, False
    for number, value in proto.fields():
        if number == 1:
            shape += [signed(value)] if isinstance(value, int) else [signed(v) for v in value.varints()]
        elif number == 2 and isinstance(value, int):
            number_of_type = value
        elif number == 8 and isinstance(value, Message):
            name = value.text() or name
        elif number == 9 and isinstance(value, Message):
            raw = value
        elif number in (4, 5, 7, 10, 11):
            lists.setdefault(number, []).append(value)
        elif number == 13 and isinstance(value, Message):
            entry = {n: v.text() for n, v in value.fields() if isinstance(v, Message)}
            external[entry.get(1, "")] = entry.get(2, "")
        elif number == 14:
            elsewhere = value == 1
    label = _TYPES.get(number_of_type, f"type {number_of_type}")
    try:
        dims = checked_shape("it", shape)
        if label in ("uint4", "int4"):
            return unreadable(name, dims, label, "integers, perhaps quantised: dequantise first")
        dtype = numpy_dtype(label)
        if dtype is None:
            return unreadable(name, dims, label, f"entries of type {label} are not numbers")
        if elsewhere:
            source, start, size = _external(path, external)
        elif raw is not None:
            source, start, size = whole_file(path), raw.start, raw.end - raw.start
        else:
            return _listed(name, dims, dtype, lists)
    except InputError as error:
        return unreadable(name, tuple(shape), label, str(error))
    count, nibbles = element_count(dims), label == "float4_e2m1fn"
    needed = (count + 1) // 2 if nibbles else count * dtype.itemsize
    if size != needed or start + size > source.length:
        return unreadable(name, dims, label, f"it is truncated: {size} of {needed} bytes")

    def read() -> np.ndarray:
        if nibbles:
            packed = source.array(np.dtype(np.uint8), (needed,), start)
            return unpack_nibbles(packed, count).reshape(dims)
        return source.array(dtype, dims, start)

    return tensor_of(name, dtype, dims, read, label)


def _external(path: Path, entries: dict[str, str]) -> tuple[Source, int, int]:
    """Weights in a file beside the model; only in its own folder."""
    location = entries.get("location", "")
    file = path.parent / location
    if not location or Path(location).is_absolute() or ".." in Path(location).parts:
        raise InputError(f"its entries lie in {location!r}, outside the folder of the model")
    if not file.resolve().is_relative_to(path.parent.resolve()) or not file.is_file():
        raise InputError(f"its entries lie in {location!r}, which is missing beside the model")
    source = whole_file(file)
    try:
        start = int(entries.get("offset", "0"))
        size = int(entries.get("length", source.size - start))
    except ValueError:
        raise InputError("its reference to the file beside the model is damaged") from None
    if start < 0:
        raise InputError("its reference to the file beside the model is damaged")
    return source, start, size


# Typed lists instead of raw bytes: field number -> dtype of the packed entries, None for varints.
_LISTS = {4: "<f4", 5: None, 7: None, 10: "<f8", 11: None}


def _listed(name: str, shape: tuple[int, ...], dtype: np.dtype, lists: dict) -> Tensor:
    """Entries given one by one: 16-bit and smaller floats as the bits of an integer."""
    for number, values in lists.items():
        if number not in _LISTS:
            continue

        def read(values=values, packed=_LISTS[number]) -> np.ndarray:
            if packed is not None:
                flat = np.frombuffer(b"".join(value.bytes() for value in values), packed)
                if dtype.kind == "c":
                    flat = flat.view(dtype)
            else:
                each = ([v] if isinstance(v, int) else v.varints() for v in values)
                flat = np.array([signed(v) for part in each for v in part], np.int64)
                if dtype.kind not in "biu":
                    flat = flat.astype(f"<u{dtype.itemsize}").view(dtype)
            if flat.size != element_count(shape):
                raise InputError(f"it is truncated: {flat.size} of {element_count(shape)} entries")
            return flat.astype(dtype).reshape(shape)

        return tensor_of(name, dtype, shape, read)
    if element_count(shape):
        return unreadable(name, shape, dtype.name, "it has no entries, the file is damaged")
    return tensor_of(name, dtype, shape, lambda: np.zeros(shape, dtype))

"""The same tensors written in every format, by the library that owns it where that is light."""

import json
import struct
import zipfile

import numpy as np


def npz(path, tensors):
    np.savez(path, **tensors)


def npz_compressed(path, tensors):
    np.savez_compressed(path, **tensors)


def safetensors(path, tensors, metadata=None):
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(a) for name, a in tensors.items()}, path, metadata)


def raw_safetensors(path, entries, metadata=None):
    """entries: name -> (dtype as the format calls it, shape, bytes). Types that the NumPy writer lacks."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in entries.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


_STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int8": "CharStorage",
    "bool": "BoolStorage",
}


def _text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value):
    return b"J" + struct.pack("<i", value)


def _numbers(values):
    return b"(" + b"".join(_number(v) for v in values) + b"t"


def torch_tensor(key, array, offset=0, shape=None, stride=None, storage_size=None):
    """Opcodes of one tensor as `torch.save` writes them."""
    shape = array.shape if shape is None else shape
    stride = [s // array.itemsize for s in array.strides] if stride is None else stride
    storage = (
        b"("
        + _text("storage")
        + f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode()
        + _text(key)
        + _text("cpu")
        + _number(storage_size or array.size)
        + b"tQ"
    )
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = storage + _number(offset) + _numbers(shape) + _numbers(stride) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def torch_zip(path, tensors, objects=None, storages=None, name="archive", deflate=False):
    """A state dictionary in the container of `torch.save`. objects: name -> opcodes of anything else.
    storages: key -> bytes, in place of those of the tensors."""
    body = b"}("
    written = {} if storages is None else dict(storages)
    for number, (key, array) in enumerate(tensors.items()):
        body += _text(key) + torch_tensor(str(number), array)
        written.setdefault(str(number), np.ascontiguousarray(array).tobytes())
    for key, opcodes in (objects or {}).items():
        body += _text(key) + opcodes
    torch_container(path, b"\x80\x02" + body + b"u.", written, name, deflate)


LEGACY_NUMBER = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def torch_legacy(path, tensors, objects=None, cut=0):
    """A state dictionary as `torch.save` wrote it before version 1.6. cut: bytes left out at the end."""
    body = b"}("
    for number, (key, array) in enumerate(tensors.items()):
        # The sixth of what names a storage is None unless the storage is a view of another.
        opcodes = torch_tensor(str(number), array).replace(b"tQ", b"NtQ", 1)
        body += _text(key) + opcodes
    for key, opcodes in (objects or {}).items():
        body += _text(key) + opcodes
    content = LEGACY_NUMBER + b"\x80\x02M\xe9\x03."
    content += b"\x80\x02}" + _text("little_endian") + b"\x88s."
    content += b"\x80\x02" + body + b"u."
    content += b"\x80\x02](" + b"".join(_text(str(number)) for number in range(len(tensors))) + b"e."
    for array in tensors.values():
        content += struct.pack("<q", array.size) + np.ascontiguousarray(array).tobytes()
    path.write_bytes(content[: len(content) - cut])


def torch_container(path, pickled, storages, name="archive", deflate=False):
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{name}/data.pkl", pickled)
        archive.writestr(f"{name}/byteorder", b"little")
        for key, content in storages.items():
            archive.writestr(f"{name}/data/{key}", content)
        archive.writestr(f"{name}/version", b"3\n")


def hdf5(path, tensors):
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in tensors.items():
            file[name.replace(".", "/")] = array


def keras(path, tensors):
    inner = path.with_name("inner.h5")
    hdf5(inner, tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(inner, "model.weights.h5")
    inner.unlink()


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


ONNX_TYPES = {"float32": 1, "int8": 3, "int64": 7, "bool": 9, "float16": 10, "float64": 11, "bfloat16": 16}


def onnx_tensor(name, array, raw=True):
    proto = b"".join(_field(1, n) for n in array.shape)
    proto += _field(2, ONNX_TYPES[array.dtype.name]) + _field(8, name.encode())
    return proto + (_field(9, array.tobytes()) if raw else _field(4, array.astype("<f4").tobytes()))


def onnx_model(path, *tensors, nodes=()):
    """nodes: (operation, names of its inputs)."""
    graph = b""
    for kind, inputs in nodes:
        node = (
            b"".join(_field(1, name.encode()) for name in inputs) + _field(2, b"y") + _field(4, kind.encode())
        )
        graph += _field(1, node)
    graph += _field(2, b"graph") + b"".join(_field(5, tensor) for tensor in tensors)
    path.write_bytes(_field(1, 8) + _field(2, b"test") + _field(7, graph))


def onnx(path, tensors):
    onnx_model(path, *(onnx_tensor(name, np.ascontiguousarray(a)) for name, a in tensors.items()))


def nested(tensors, separator="."):
    tree = {}
    for name, array in tensors.items():
        *parents, leaf = name.split(separator)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = array
    return tree


def msgpack(path, tensors):
    from flax.serialization import msgpack_serialize

    path.write_bytes(msgpack_serialize(nested(tensors)))


def orbax(path, tensors, ocdbt=True):
    import orbax.checkpoint as ocp

    ocp.PyTreeCheckpointer(use_ocdbt=ocdbt).save(path.resolve(), nested(tensors))


def shards(path, tensors):
    """A folder as it is published: an index and two files."""
    path.mkdir()
    where = {}
    names = list(tensors)
    for number, chunk in enumerate((names[::2], names[1::2])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        safetensors(path / file, {name: tensors[name] for name in chunk}, {"format": "pt"})
        where |= dict.fromkeys(chunk, file)
    index = {"metadata": {}, "weight_map": {name: where[name] for name in names}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))

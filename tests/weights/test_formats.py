"""Every format gives back the tensors that were planted in it, and lists each of them."""

import importlib.util
import sys

import ml_dtypes
import numpy as np
import pytest
import writers

from dysonjax import InputError
from dysonjax.weights import open_checkpoint, plan

RNG = np.random.default_rng(0)
PLANTED = {
    "layer.weight": RNG.normal(size=(20, 12)).astype(np.float32),
    "layer.bias": RNG.normal(size=20).astype(np.float32),
    "conv.weight": RNG.normal(size=(8, 4, 3, 3)),
    "half.weight": RNG.normal(size=(6, 5)).astype(np.float16),
    "brain.weight": RNG.normal(size=(6, 5)).astype(ml_dtypes.bfloat16),
    "table": np.arange(12).reshape(3, 4),
}
LOST = ("brain.weight",)  # NumPy's own formats and HDF5 do not keep bfloat16 by name
WRITERS = {
    "npz": ("f.npz", writers.npz),
    "npz in capitals": ("F.NPZ", lambda path, tensors: writers.npz(path.open("wb"), tensors)),
    "npz compressed": ("f.npz", writers.npz_compressed),
    "safetensors": ("f.safetensors", writers.safetensors),
    "pt": ("f.pt", writers.torch_zip),
    "pth of the old kind": ("old.pth", writers.torch_legacy),
    "bin in capitals": ("pytorch_model.BIN", writers.torch_zip),
    "ckpt compressed": ("f.ckpt", lambda path, tensors: writers.torch_zip(path, tensors, deflate=True)),
    "h5": ("f.h5", writers.hdf5),
    "keras": ("f.keras", writers.keras),
    "onnx": ("f.onnx", writers.onnx),
    "msgpack": ("f.msgpack", writers.msgpack),
    "orbax": ("folder", writers.orbax),
    "orbax, a file a tensor": ("folder", lambda path, tensors: writers.orbax(path, tensors, ocdbt=False)),
    "shards": ("folder", writers.shards),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_planted_tensors_come_back(kind, tmp_path):
    name, write = WRITERS[kind]
    if kind in ("h5", "keras") and importlib.util.find_spec("h5py") is None:
        pytest.skip("needs h5py")
    write_all = kind not in ("h5", "keras")
    planted = {n: a for n, a in PLANTED.items() if write_all or n not in LOST}
    write(tmp_path / name, planted)
    checkpoint = open_checkpoint(tmp_path / name)
    found = {tensor.name.replace("/", "."): tensor for tensor in checkpoint.tensors}
    assert set(found) == set(planted)
    for key, array in planted.items():
        assert found[key].shape == array.shape
        read = found[key].read()
        assert read.dtype == array.dtype and read.shape == array.shape
        np.testing.assert_array_equal(read.astype(float), array.astype(float))


@pytest.mark.parametrize("kind", WRITERS)
def test_every_tensor_of_a_file_is_accounted_for(kind, tmp_path):
    name, write = WRITERS[kind]
    if kind in ("h5", "keras") and importlib.util.find_spec("h5py") is None:
        pytest.skip("needs h5py")
    planted = {n: a for n, a in PLANTED.items() if kind not in ("h5", "keras") or n not in LOST}
    write(tmp_path / name, planted)
    planned = plan(open_checkpoint(tmp_path / name))
    accounts = {account.name.replace("/", "."): account for account in planned.accounts}
    assert set(accounts) == set(planted) and all(account.why for account in accounts.values())
    assert accounts["layer.bias"].done == "skipped" and accounts["layer.bias"].why == "a bias"
    assert "quantised" in accounts["table"].why
    assert {m.name.replace("/", ".") for m in planned.matrices} == {
        n for n in planted if n.endswith("weight")
    }


@pytest.mark.parametrize(
    "label, dtype",
    [
        ("F64", np.float64),
        ("F32", np.float32),
        ("F16", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
        ("F8_E8M0", ml_dtypes.float8_e8m0fnu),
        ("F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz),
        ("F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
        ("I64", np.int64),
        ("I32", np.int32),
        ("I16", np.int16),
        ("I8", np.int8),
        ("U64", np.uint64),
        ("U32", np.uint32),
        ("U16", np.uint16),
        ("U8", np.uint8),
        ("BOOL", np.bool_),
        ("C64", np.complex64),
    ],
)
def test_every_type_of_safetensors_is_read(label, dtype, tmp_path):
    values = np.array([[0.5, 1, 2], [4, 1, 0.25]]).astype(dtype)
    writers.raw_safetensors(tmp_path / "f.safetensors", {"w": (label, (2, 3), values.tobytes())})
    (tensor,) = open_checkpoint(tmp_path / "f.safetensors").tensors
    read = tensor.read()
    assert read.dtype == dtype and tensor.dtype == label
    np.testing.assert_array_equal(read, values)


def test_four_bit_floats_are_unpacked_and_six_bit_ones_refused_by_name(tmp_path):
    values = np.array([[0, 0.5, 1, 1.5, 2], [3, 4, -6, -0.5, -2]], ml_dtypes.float4_e2m1fn)
    codes = values.view(np.uint8).ravel()
    packed = (codes[::2] | codes[1::2] << 4).tobytes()
    entries = {
        "w": ("F4", (2, 5), packed),
        "six": ("F6_E2M3", (4, 4), bytes(12)),
        "new": ("F3", (2, 2), bytes(2)),
    }
    writers.raw_safetensors(tmp_path / "f.safetensors", entries)
    new, six, w = open_checkpoint(tmp_path / "f.safetensors").tensors
    np.testing.assert_array_equal(w.read(), values.astype(np.float32))
    for tensor in (six, new):
        with pytest.raises(InputError, match=tensor.dtype):
            tensor.read()


def test_types_that_numpy_lost_are_recognised_or_explained(tmp_path):
    w = np.random.default_rng(1).normal(size=(4, 3))
    np.savez(
        tmp_path / "f.npz",
        brain=w.astype(ml_dtypes.bfloat16),
        wide=w.astype(ml_dtypes.float8_e5m2),
        narrow=w.astype(ml_dtypes.float8_e4m3fn),
    )
    brain, wide, narrow = open_checkpoint(tmp_path / "f.npz").tensors
    np.testing.assert_array_equal(brain.read(), w.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(wide.read(), w.astype(ml_dtypes.float8_e5m2))
    assert "bfloat16" in brain.note and "float8_e5m2" in wide.note
    with pytest.raises(InputError, match=r"lost when NumPy stored it.*float8.*astype"):
        narrow.read()


def test_order_of_axes_and_bytes_of_npy_are_kept(tmp_path):
    w = np.random.default_rng(2).normal(size=(3, 4, 5))
    for name, array in {"fortran": np.asfortranarray(w), "big": w.astype(">f4")}.items():
        np.save(tmp_path / f"{name}.npy", array)
        (tensor,) = open_checkpoint(tmp_path / f"{name}.npy").tensors
        np.testing.assert_array_equal(tensor.read(), array)


def test_missing_shards_are_named_in_every_tensor_of_theirs(tmp_path):
    writers.shards(tmp_path / "folder", PLANTED)
    (tmp_path / "folder" / "model-00002-of-00002.safetensors").unlink()
    tensors = open_checkpoint(tmp_path / "folder").tensors
    assert len(tensors) == len(PLANTED)
    problems = [t.problem for t in tensors if t.problem]
    assert len(problems) == 3 and all("model-00002-of-00002.safetensors is missing" in p for p in problems)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    writers.safetensors(tmp_path / "secret.safetensors", {"w": np.eye(3)})
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"w": "../secret.safetensors"}}')
    (tensor,) = open_checkpoint(folder).tensors
    assert "outside the folder" in tensor.problem


def test_a_folder_prefers_safetensors_and_names_what_lies_beside(tmp_path):
    writers.safetensors(tmp_path / "model.safetensors", {"w": np.eye(3)})
    writers.torch_zip(tmp_path / "pytorch_model.bin", {"w": np.zeros((3, 3))})
    checkpoint = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(checkpoint.tensors[0].read(), np.eye(3))
    assert "pytorch_model.bin lies beside and is not read" in checkpoint.notes


def test_newest_step_of_a_manager_of_orbax_is_read(tmp_path):
    for step in (2, 10):
        writers.orbax(tmp_path / "run" / str(step) / "default", {"w": np.full((3, 3), float(step))})
    checkpoint = open_checkpoint(tmp_path / "run")
    assert checkpoint.tensors[0].read()[0, 0] == 10 and "10" in checkpoint.notes[0]


def test_lists_of_entries_and_external_files_of_onnx(tmp_path):
    w = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    (tmp_path / "weights.data").write_bytes(b"\0" * 16 + w.tobytes())
    field = writers._field
    entry = {"location": "weights.data", "offset": "16", "length": str(w.nbytes)}
    external = b"".join(field(1, n) for n in w.shape) + field(2, 1) + field(8, b"out")
    outside = external.replace(b"out", b"far")
    external += b"".join(field(13, field(1, k.encode()) + field(2, v.encode())) for k, v in entry.items())
    external += field(14, 1)
    outside += field(13, field(1, b"location") + field(2, b"../weights.data")) + field(14, 1)
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "weights.data").rename(inner / "weights.data")
    writers.onnx_model(inner / "f.onnx", writers.onnx_tensor("listed", w, raw=False), external, outside)
    listed, out, far = open_checkpoint(inner / "f.onnx").tensors
    np.testing.assert_array_equal(listed.read(), w)
    np.testing.assert_array_equal(out.read(), w)
    assert "outside the folder" in far.problem


def test_large_arrays_of_flax_come_in_parts(tmp_path, monkeypatch):
    import flax.serialization

    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 64)
    writers.msgpack(tmp_path / "f.msgpack", PLANTED)
    found = {t.name.replace("/", "."): t for t in open_checkpoint(tmp_path / "f.msgpack").tensors}
    for name, array in PLANTED.items():
        np.testing.assert_array_equal(found[name].read().astype(float), array.astype(float))


@pytest.mark.parametrize("kind", ["safetensors", "pt", "npz", "h5", "onnx", "msgpack", "shards"])
def test_one_tensor_at_a_time_is_in_memory(kind, tmp_path):
    """Twelve tensors of a megabyte: reading all in turn never holds three of them."""
    import tracemalloc

    if kind == "h5":
        pytest.importorskip("h5py")
    name, write = WRITERS[kind]
    tensors = {f"l{i}.weight": np.full((512, 512), float(i), np.float32) for i in range(12)}
    write(tmp_path / name, tensors)
    list(open_checkpoint(tmp_path / name).tensors)  # libraries are imported
    tracemalloc.start()
    means = [float(matrix.read().mean()) for matrix in plan(open_checkpoint(tmp_path / name)).matrices]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(means) == list(range(12)) and peak < 3.2e6


@pytest.mark.parametrize("kind", ["safetensors", "shards", "h5", "msgpack", "orbax", "npz", "pt"])
def test_layers_come_in_their_order_and_not_in_that_of_letters(kind, tmp_path):
    """Formats that sort names would put layer 10 before layer 2; the others keep the order of the model."""
    if kind == "h5":
        pytest.importorskip("h5py")
    name, write = WRITERS[kind]
    write(tmp_path / name, {f"h.{i}.w": np.ones((2, 2), np.float32) for i in (*range(12), 12)})
    found = [tensor.name.replace("/", ".") for tensor in open_checkpoint(tmp_path / name).tensors]
    assert found == [f"h.{i}.w" for i in range(13)]
    if kind in ("npz", "pt"):
        write(tmp_path / name, {key: np.ones((2, 2)) for key in ("z", "a", "m")})
        assert [tensor.name for tensor in open_checkpoint(tmp_path / name).tensors] == ["z", "a", "m"]


def test_ordered_dictionaries_of_python_2_hold_their_tensors(tmp_path):
    """There an OrderedDict is made from a list of pairs instead of being filled."""
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    pair = b"](" + writers._text("w") + writers.torch_tensor("0", w) + b"e"
    pickled = b"\x80\x02ccollections\nOrderedDict\n](" + pair + b"e\x85R."
    writers.torch_container(tmp_path / "f.pt", pickled, {"0": w.tobytes()})
    (tensor,) = open_checkpoint(tmp_path / "f.pt").tensors
    assert tensor.name == "w"
    np.testing.assert_array_equal(tensor.read(), w)


def _gguf_file(gguf, path, tensors):
    """tensors: name -> (array as it is written, its type or None)"""
    writer = gguf.GGUFWriter(path, "llama")
    for name, (data, kind) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# Largest error over the largest entry: half a step of a type, a little more where blocks are coarse.
GGUF_ERRORS = {
    **{"F32": 0, "F16": 5e-4, "BF16": 4e-3, "Q8_0": 4e-3, "Q5_1": 0.035, "Q5_0": 0.07},
    **{"Q4_1": 0.07, "Q4_0": 0.13},
}


@pytest.mark.parametrize("label", GGUF_ERRORS)
def test_gguf_types_keep_a_planted_spike(tmp_path, label):
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(n, 1)))[0] for n in (96, 64))
    w = (rng.normal(size=(96, 64)) + 40 * u @ v.T).astype(np.float32)
    kind = gguf.GGMLQuantizationType[label]
    packed = w if label == "F32" else w.astype(np.float16)
    if label not in ("F32", "F16"):
        packed = gguf.quants.quantize(w, kind)
    _gguf_file(gguf, tmp_path / "m.gguf", {"blk.0.ffn_up.weight": (packed, kind)})
    (matrix,) = plan(open_checkpoint(tmp_path / "m.gguf")).matrices
    read = matrix.read()[0].T.astype(np.float64)
    assert np.abs(read - w).max() <= GGUF_ERRORS[label] * np.abs(w).max()
    left, s, right = np.linalg.svd(read)
    assert s[0] == pytest.approx(np.linalg.norm(w, 2), rel=0.01) and s[1] < s[0] / 2
    assert abs(left[:, 0] @ u[:, 0]) > 0.9 and abs(right[0] @ v[:, 0]) > 0.9


def _gguf_quantised():
    """Types that the package dequantises, and those that it only knows by name."""
    try:
        import gguf
    except ImportError:
        return [], []
    plain = {"F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64"}
    able, unable = [], []
    for kind, (_, size) in gguf.GGML_QUANT_SIZES.items():
        try:
            gguf.quants.dequantize(np.zeros((1, size), np.uint8), kind)
            able.append(kind.name)
        except NotImplementedError:
            unable.append(kind.name)
    return [name for name in able if name not in plain], [name for name in unable if name not in plain]


@pytest.mark.parametrize("label", _gguf_quantised()[0])
def test_gguf_rows_of_every_quantisation_keep_their_place(tmp_path, label):
    """Forty rows that repeat three different ones have rank three, whatever a type makes of its bytes."""
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[label]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(2)
    # No byte from 0x3c on: scales in half precision stay finite.
    three = rng.integers(0, 0x3C, size=(3, 256 // block * size), dtype=np.uint8)
    order = np.concatenate([[0, 1, 2], rng.integers(3, size=37)])
    _gguf_file(gguf, tmp_path / "m.gguf", {"blk.0.ffn_up.weight": (three[order], kind)})
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    (tensor,) = checkpoint.tensors
    assert tensor.shape == (40, 256) and label in tensor.note and tensor.dtype == label
    (matrix,) = plan(checkpoint).matrices
    rows = matrix.read()[0].T
    expected = np.stack([gguf.quants.dequantize(row, kind) for row in three])
    np.testing.assert_array_equal(rows, expected[order])
    s = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    assert s[2] > 1e-6 * s[0] > 1e3 * s[3]


@pytest.mark.parametrize("label", _gguf_quantised()[1])
def test_gguf_types_that_cannot_be_dequantised_are_refused_by_name(tmp_path, label):
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[label]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    packed = np.zeros((4, 256 // block * size), np.uint8)
    _gguf_file(gguf, tmp_path / "m.gguf", {"blk.0.ffn_up.weight": (packed, kind)})
    (account,) = plan(open_checkpoint(tmp_path / "m.gguf")).accounts
    assert account.done == "refused" and label in account.why and account.shape == (4, 256)


def test_gguf_of_an_unknown_type_says_so(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    _gguf_file(gguf, path, {"w": (np.zeros((4, 32), np.float32), None)})
    data = path.read_bytes()
    # The name, two axes, their sizes, then the type.
    at = data.index(b"\x01\0\0\0\0\0\0\0w") + 9 + 4 + 16
    path.write_bytes(data[:at] + (99).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(InputError, match="of the type 99, which this version of gguf"):
        open_checkpoint(path)


def test_gguf_is_read_and_dequantised_by_the_package_that_owns_it(tmp_path, monkeypatch):
    gguf = pytest.importorskip("gguf")
    w = np.random.default_rng(0).normal(size=(48, 64)).astype(np.float32)
    packed = gguf.quants.quantize(w, gguf.GGMLQuantizationType.Q8_0)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", w)
    writer.add_tensor("blk.1.ffn_up.weight", w.astype(np.float16))
    writer.add_tensor("blk.2.ffn_up.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    found = {tensor.name: tensor for tensor in checkpoint.tensors}
    assert {tensor.shape for tensor in found.values()} == {(48, 64), (64,)}
    np.testing.assert_array_equal(found["blk.0.ffn_up.weight"].read(), w)
    np.testing.assert_array_equal(found["blk.1.ffn_up.weight"].read(), w.astype(np.float16))
    rounded = found["blk.2.ffn_up.weight"].read()
    # Q8_0 rounds to 1/127 of the largest of 32 entries; a wrong order of entries would be off by all of it.
    assert 0 < np.abs(rounded - w).max() < 0.6 * np.abs(w).max() / 127
    assert "dequantised from Q8_0" in found["blk.2.ffn_up.weight"].note
    matrices = plan(checkpoint).matrices
    assert [(m.inputs, m.outputs) for m in matrices] == [(64, 48)] * 3
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"dysonjax\[gguf\]"):
        open_checkpoint(tmp_path / "m.gguf")


@pytest.mark.parametrize("label", ["I4", "U4", "I2", "U1"])
def test_packed_integers_are_not_read_as_numpy_would(tmp_path, label):
    """`i4` is an integer of 32 bits to NumPy; in these files it has 4."""
    data = np.zeros(64, np.uint8).tobytes()
    writers.raw_safetensors(tmp_path / "f.safetensors", {"w": (label, (4, 4), data)})
    (account,) = plan(open_checkpoint(tmp_path / "f.safetensors")).accounts
    assert account.done == "refused" and account.why == "integers, perhaps quantised: dequantise first"


def test_files_of_a_folder_that_share_names_are_told_apart(tmp_path):
    w = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    writers.safetensors(tmp_path / "first.safetensors", {"fc.weight": w, "fc.bias": np.zeros(20)})
    writers.safetensors(tmp_path / "second.safetensors", {"fc.weight": 2 * w, "fc.bias": np.zeros(20)})
    result = plan(open_checkpoint(tmp_path))
    assert [matrix.name for matrix in result.matrices] == ["first/fc.weight", "second/fc.weight"]
    first, second = (matrix.read() for matrix in result.matrices)
    np.testing.assert_array_equal(second, 2 * first)
    assert len({account.name for account in result.accounts}) == 4

"""What is not read is refused in one sentence; nothing of a file is executed, no lying header is believed."""

import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import writers

from dysonjax import InputError
from dysonjax.weights import open_checkpoint, plan

W = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)


class _Bomb:
    def __reduce__(self):
        return (_explode, ())


def _explode():
    raise AssertionError("unpickled")


def read_all(path):
    for tensor in open_checkpoint(path).tensors:
        try:
            tensor.read()
        except InputError:
            pass


BOMB = b"ctests\nexplode\n)R"
SYSTEM = b"cos\nsystem\n" + writers._text("touch /nowhere") + b"\x85R"


@pytest.mark.parametrize("opcodes", [BOMB, SYSTEM, b"cbuiltins\neval\n" + writers._text("1/0") + b"\x85R"])
def test_a_pickle_is_never_executed(opcodes, tmp_path, monkeypatch):
    """Neither by unpickling nor by looking up what it names."""

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr("os.system", refuse)
    writers.torch_zip(tmp_path / "f.pt", {"w": W}, objects={"evil": opcodes})
    checkpoint = open_checkpoint(tmp_path / "f.pt")
    np.testing.assert_array_equal(checkpoint.tensors[0].read(), W)
    (evil,) = [account for account in plan(checkpoint).accounts if account.name == "evil"]
    assert evil.done == "skipped" and "never made" in evil.why
    named = opcodes.split(b"\n")[0][1:].decode() + "." + opcodes.split(b"\n")[1].decode()
    assert named in evil.why
    with pytest.raises(AssertionError):  # the guard works
        pickle.loads(pickle.dumps(_Bomb()))


def test_whole_models_scripts_and_bare_pickles_name_the_line_that_converts_them(tmp_path):
    module = b"\x80\x02ctorch.nn\nLinear\n)\x81}b."
    writers.torch_container(tmp_path / "model.pt", module, {})
    with pytest.raises(InputError, match=r"torch\.nn\.Linear.*state_dict\(\)"):
        open_checkpoint(tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", module)
        archive.writestr("script/constants.pkl", b"\x80\x02).")
        archive.writestr("script/code/__torch__.py", "")
    with pytest.raises(InputError, match=r"TorchScript.*torch\.jit\.load.*state_dict\(\)"):
        open_checkpoint(tmp_path / "script.pt")
    for name in ("old.pt", "old.bin"):
        (tmp_path / name).write_bytes(pickle.dumps([1, 2]))
        with pytest.raises(InputError, match=r"not of torch\.save.*torch\.load.*weights_only=True"):
            open_checkpoint(tmp_path / name)


def test_legacy_files_run_nothing_and_miss_nothing_that_is_there(tmp_path):
    w, v = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(6.0).reshape(2, 3)
    bomb = b"cos\nsystem\n(" + writers._text("touch bang") + b"tR"
    writers.torch_legacy(tmp_path / "old.pth", {"w": w, "v": v}, {"evil": bomb})
    found = {tensor.name: tensor for tensor in open_checkpoint(tmp_path / "old.pth").tensors}
    np.testing.assert_array_equal(found["w"].read(), w)
    np.testing.assert_array_equal(found["v"].read(), v)
    assert "os.system" in found["evil"].problem
    writers.torch_legacy(tmp_path / "cut.pth", {"w": w, "v": v}, cut=8)
    found = {tensor.name: tensor for tensor in open_checkpoint(tmp_path / "cut.pth").tensors}
    np.testing.assert_array_equal(found["w"].read(), w)
    assert "missing" in found["v"].problem
    whole = (tmp_path / "old.pth").read_bytes()
    for size in (14, 30, 90, 200):
        (tmp_path / "short.pth").write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read"):
            open_checkpoint(tmp_path / "short.pth")
    (tmp_path / "number.weird").write_bytes(writers.LEGACY_NUMBER + pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="cannot be read"):
        open_checkpoint(tmp_path / "number.weird")


REFUSED = {
    "pointer.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n",
        "git lfs pull",
    ),
    "pointer.bin": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs pull"),
    "q.gguf": (b"GGUF\x63\0\0\0" + bytes(50), "truncated or not a GGUF"),
    "cut.gguf": (b"GGUF\x03\0\0\0" + b"\x05" + bytes(15), "truncated or not a GGUF"),
    "p.pkl": (pickle.dumps({"a": 1}), r"never loaded.*np\.savez"),
    "model.ckpt.index": (b"\0\0\x12", r"tf\.train\.load_checkpoint"),
    "model.ckpt.data-00000-of-00001": (bytes(64), r"tf\.train\.load_checkpoint"),
    "m.tflite": (b"\x1c\0\0\0TFL3", "not read"),
    "a.mat": (b"MATLAB 5.0 MAT-file", r"scipy\.io"),
    "x.weird": (b"hello", "unknown suffix"),
    "n.h5": (b"hello hello", "not an HDF5 file"),
    "n.pt": (b"hello hello", "not a zip archive of torch.save"),
    "n.onnx": (b"hello hello", "not an ONNX model"),
    "n.msgpack": (b"hello hello", "not a flax msgpack"),
    "n.safetensors": (b"hello hello", "not a .safetensors"),
    "n.keras": (b"hello hello", "not an archive of Keras"),
    "NOISE.NPZ": (b"hello hello", "not a .npz"),
    "empty.onnx": (b"", "is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_the_remedy(name, tmp_path):
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path / name)


def test_folders_without_weights_say_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"holds no weights"):
        open_checkpoint(tmp_path)
    (tmp_path / "unet").mkdir()
    writers.safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", {"w": W})
    with pytest.raises(InputError, match=r"name one of its folders: unet"):
        open_checkpoint(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(InputError, match=r"TensorFlow"):
        open_checkpoint(tmp_path)
    (tmp_path / "m.ckpt-3.index").write_bytes(b"x")
    with pytest.raises(InputError, match=r"tf\.train\.load_checkpoint"):
        open_checkpoint(tmp_path / "m.ckpt-3")


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "f.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"h5py.*dysonjax\[hdf5\]"):
        open_checkpoint(tmp_path / "f.h5")


HUGE = 2**40


def _lying(kind, path):
    """A file of a few hundred bytes whose header claims terabytes."""
    if kind == "npy":
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({HUGE}, 4), }}".ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + bytes(64))
    elif kind == "npz":
        inner = path.with_suffix(".npy")
        _lying("npy", inner)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w.npy", inner.read_bytes())
    elif kind == "safetensors":
        entry = {"dtype": "F32", "shape": [HUGE, 4], "data_offsets": [0, HUGE * 16]}
        text = json.dumps({"w": entry}).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    elif kind == "safetensors-length":
        path.write_bytes(struct.pack("<Q", HUGE) + b"{}" + bytes(64))
    elif kind == "pt":
        tensor = writers.torch_tensor("0", W, shape=(2**30, 2**30), stride=(2**30, 1))
        writers.torch_container(path, b"\x80\x02}(" + writers._text("w") + tensor + b"u.", {"0": bytes(64)})
    elif kind == "pt-expanded":
        tensor = writers.torch_tensor("0", W, shape=(2**30, 2**30), stride=(0, 0))
        writers.torch_container(path, b"\x80\x02}(" + writers._text("w") + tensor + b"u.", {"0": bytes(64)})
    elif kind == "pt-memo":  # a memo index that would make the usual machine allocate gigabytes
        writers.torch_container(path, b"\x80\x02}r" + struct.pack("<I", 2**31) + b".", {})
    elif kind == "pt-nested":  # lists of twice the same list: 2^60 paths
        body = b"\x80\x02]q\x00" + b"".join(
            b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
        )
        writers.torch_container(path, body + b".", {})
    elif kind == "onnx":
        proto = (
            writers._field(1, HUGE) + writers._field(1, 4) + writers._field(2, 1) + writers._field(8, b"w")
        )
        writers.onnx_model(path, proto + writers._field(9, bytes(64)))
    elif kind == "msgpack":
        import msgpack

        inner = msgpack.packb(((HUGE, 4), "float32", bytes(64)))
        path.write_bytes(msgpack.packb({"w": msgpack.ExtType(1, inner)}))
    elif kind == "msgpack-map":
        path.write_bytes(b"\xdf\xff\xff\xff\xff\xa1a\x01")


@pytest.mark.parametrize(
    "kind",
    ["npy", "npz", "safetensors", "safetensors-length", "pt", "pt-expanded", "pt-memo", "pt-nested", "onnx",
     "msgpack", "msgpack-map"],
)  # fmt: skip
def test_a_lying_header_allocates_nothing(kind, tmp_path):
    path = tmp_path / f"f.{kind.split('-')[0]}"
    _lying(kind, path)
    tracemalloc.start()
    try:
        matrices = plan(open_checkpoint(path)).matrices
    except InputError:
        matrices = ()
    assert not matrices
    try:
        read_all(path)
    except InputError:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6 if kind == "pt-nested" else peak < 5e6


def test_h5_that_claims_more_than_it_stores_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("huge", shape=(2**20, 2**20), chunks=(64, 64), dtype="f4", compression="gzip")
        file["w"] = W
        file["link"] = h5py.ExternalLink("elsewhere.h5", "/w")
    checkpoint = open_checkpoint(tmp_path / "f.h5")
    by_name = {tensor.name: tensor for tensor in checkpoint.tensors}
    np.testing.assert_array_equal(by_name["w"].read(), W)
    assert "claims" in by_name["huge"].problem
    assert any("link lies in another file" in note for note in checkpoint.notes)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt", "h5", "onnx", "msgpack", "orbax"])
def test_damage_never_raises_anything_but_input_errors(kind, tmp_path):
    """Bytes flipped and ends cut at random places: a sentence, or tensors of the announced shapes."""
    if kind == "h5":
        pytest.importorskip("h5py")
    write = {"pt": writers.torch_zip, "h5": writers.hdf5}.get(kind) or getattr(writers, kind)
    good = tmp_path / ("good" if kind == "orbax" else f"good.{kind}")
    write(good, {"layer.weight": W, "layer.bias": W[0]})
    files = [p for p in good.rglob("*") if p.is_file() and p.stat().st_size] if kind == "orbax" else [good]
    rng = np.random.default_rng(1)
    for _ in range(60 if kind != "orbax" else 20):
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        damaged = bytearray(content)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            for at in rng.integers(len(damaged), size=3):
                damaged[at] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            for matrix in plan(open_checkpoint(good)).matrices:
                try:
                    assert matrix.read().shape == (matrix.members, matrix.inputs, matrix.outputs)
                except InputError:
                    pass
        except InputError:
            pass
        file.write_bytes(content)
    assert plan(open_checkpoint(good)).matrices


def test_what_stands_beside_the_weights_leads_to_their_folder(tmp_path):
    writers.safetensors(tmp_path / "model.safetensors", {"w": W})
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config.json holds no weights but stands beside them"):
        open_checkpoint(tmp_path / "config.json")

"""Any file or folder of weights -> a `Checkpoint`, by what it holds rather than by what it is called."""

import os
import re
from dataclasses import replace
from pathlib import Path

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.weights.bytes_of import zip_members
from dysonjax.weights.formats import (
    flax_msgpack,
    folders,
    gguf_file,
    hdf5,
    numpy_files,
    onnx_file,
    orbax_folder,
    run_store,
    safetensors,
    torch_files,
)
from dysonjax.weights.tensor import Checkpoint, Tensor

FORMATS = (
    ".safetensors, .npz, .npy, .pt/.pth/.bin/.ckpt of PyTorch, .h5/.keras, .onnx, .gguf, .msgpack of flax, a "
    "folder of shards or of orbax, or a run folder"
)
_POINTER = b"version https://git-lfs"


def open_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """List the tensors of a file or folder. None of them is read yet, and nothing of it is ever executed.

    Parameters
    ----------
    path : str or Path
        The file or folder: .safetensors, .npz, .npy, .pt/.pth/.bin/.ckpt of PyTorch, .h5/.keras, .onnx,
        .gguf, .msgpack of flax, a folder of shards or of orbax, or a run folder. What it holds decides, not
        its name.

    Returns
    -------
    Checkpoint
        Its tensors, and what format and metadata say about them.

    Raises
    ------
    InputError
        If the file does not exist, is of a format that is not read (with the line that converts it), or is
        not what its name claims.

    Examples
    --------
    >>> np.savez("weights.npz", layer=np.zeros((4, 3)), bias=np.zeros(3))
    >>> from dysonjax.weights import open_checkpoint
    >>> [(tensor.name, tensor.shape) for tensor in open_checkpoint("weights.npz").tensors]
    [('layer', (4, 3)), ('bias', (3,))]
    """
    path = checks.path("file", path)
    if not path.exists():
        if Path(f"{path}.index").exists():  # the common prefix by which TensorFlow names a checkpoint
            raise _tensorflow(path)
        raise InputError(f"{path} does not exist; give a {FORMATS}")
    return _in_order(_folder(path) if path.is_dir() else _file(path))


def _in_order(checkpoint: Checkpoint) -> Checkpoint:
    """Layers by their numbers, in formats that sort names by letters: layer 2 before layer 10."""
    if not checkpoint.format.startswith(("safetensors", "hdf5", "keras", "flax", "orbax", "folder of")):
        return checkpoint

    def natural(tensor: Tensor) -> list:
        # Words and numbers alternate, so that a number is never compared with a word.
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", tensor.name)]

    return replace(checkpoint, tensors=tuple(sorted(checkpoint.tensors, key=natural)))


def _folder(path: Path) -> Checkpoint:
    if run_store.is_run(path):
        return run_store.read(path)
    if (
        (path / "saved_model.pb").exists()
        or list(path.glob("*.ckpt*.index"))
        or (path / "checkpoint").is_file()
    ):
        raise _tensorflow(path)
    if orbax_folder.is_orbax(path):
        return orbax_folder.read(path)
    return folders.read(path, _file)


def _file(path: Path) -> Checkpoint:
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty")
    with path.open("rb") as file:
        start = file.read(200)
    suffix = path.suffix.lower()
    if start.startswith(_POINTER):
        raise InputError(
            f"{path} is a pointer of Git LFS, not the weights; fetch them with "
            f"git lfs pull --include {path.name}"
        )
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _archive(path)
    for magic, read in (
        (numpy_files.MAGIC, numpy_files.read_npy),
        (hdf5.MAGIC, hdf5.read),
        (gguf_file.MAGIC, gguf_file.read),
    ):
        if start.startswith(magic):
            return read(path)
    if suffix == ".safetensors" or (suffix not in _BY_SUFFIX and safetensors.looks_like(start, size)):
        return safetensors.read(path)
    if start[:1] == b"\x80" and (start[1:2] in b"\x02\x03\x04\x05") and suffix not in (".msgpack", ".flax"):
        if torch_files.LEGACY_NUMBER in start[:20]:
            return torch_files.read_legacy(path)
        raise _pickle(path)
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix](path)
    if suffix in (".index", ".meta") or ".data-0" in path.name:
        raise _tensorflow(path.with_suffix(""))
    if suffix in _CONVERTED:
        raise InputError(f"{path} is of a format that is not read; {_CONVERTED[suffix]}")
    if any(path.parent.glob("*.safetensors")):
        raise InputError(f"{path} holds no weights but stands beside them; give its folder, {path.parent}")
    raise InputError(f"{path} has the unknown suffix {path.suffix!r}; give a {FORMATS}")


def _archive(path: Path) -> Checkpoint:
    members = zip_members(path)
    if torch_files.is_container(members):
        return torch_files.read(path)
    if hdf5.KERAS_WEIGHTS in members:
        return hdf5.read_keras(path)
    if path.suffix.lower() == ".npz" or any(name.endswith(".npy") for name in members):
        return numpy_files.read_npz(path)
    shown = ", ".join(list(members)[:3]) or "nothing"
    raise InputError(f"{path} is a zip archive without weights (it holds {shown}); give a {FORMATS}")


def _not(kind: str):
    def refuse(path: Path) -> Checkpoint:
        raise InputError(f"{path} is truncated or not {kind} (pickled data are never loaded)")

    return refuse


_TORCH = "a zip archive of torch.save"
_BY_SUFFIX = {
    ".onnx": onnx_file.read,
    ".msgpack": flax_msgpack.read,
    ".flax": flax_msgpack.read,
    ".npy": _not("a .npy array"),
    ".npz": _not("a .npz archive"),
    ".h5": _not("an HDF5 file"),
    ".hdf5": _not("an HDF5 file"),
    ".keras": _not("an archive of Keras"),
    ".pt": _not(_TORCH),
    ".pth": _not(_TORCH),
    ".bin": _not(_TORCH),
    ".ckpt": _not(_TORCH),
}
_NUMPY = "convert it with python -c \"import numpy as np; np.savez('weights.npz', **arrays)\""
_CONVERTED = {
    ".tflite": f"its weights are packed for inference: give the model that it was made from, or {_NUMPY}",
    ".pb": "convert it with python -c \"import tensorflow as tf; tf.saved_model.load('FOLDER')\" and "
    "np.savez",
    ".mat": 'convert it with python -c "import scipy.io, numpy as np; '
    "np.savez('weights.npz', **{k: v for k, v in scipy.io.loadmat('FILE').items() if k[0] != '_'})\"",
    ".eqx": f"equinox writes arrays without names; load it and {_NUMPY}",
    ".mlmodel": f"load it with coremltools and {_NUMPY}",
    ".joblib": "it is a pickle, which is never loaded; load it yourself and save the arrays with np.savez",
}


def _pickle(path: Path) -> InputError:
    if path.suffix.lower() in (".pt", ".pth", ".bin", ".ckpt"):
        return torch_files.bare_pickle(path)
    return InputError(
        f"{path} is a pickle, which is never loaded (it could run any program); convert it where you trust "
        f"it: python -c \"import pickle, numpy as np; np.savez('{path.stem}.npz', "
        f"**pickle.load(open('{path.name}', 'rb')))\""
    )


def _tensorflow(path: Path) -> InputError:
    return InputError(
        f"{path} is a checkpoint of TensorFlow, which only TensorFlow reads; convert it with python -c "
        '"import tensorflow as tf, numpy as np; '
        f"r = tf.train.load_checkpoint('{path}'); "
        "np.savez('weights.npz', **{n: r.get_tensor(n) for n in r.get_variable_to_shape_map()})\""
    )

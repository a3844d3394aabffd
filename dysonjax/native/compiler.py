"""The system's C compiler, and a folder of what it has compiled."""

import atexit
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dysonjax import cache

LANES = 16
LINE = 128  # bytes to which arrays are aligned: a vector of doubles


class CompilerError(RuntimeError):
    """There is no C compiler, or it failed."""


def compiler_path() -> str | None:
    """The C compiler's path, or None; the environment variable CC names another one."""
    return shutil.which(os.environ.get("CC", "cc"))


def load(source: str, headers: tuple[Path, ...] = (), flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The library that the compiler makes of a source, from the user's cache if it is there.

    Raises CompilerError if there is no C compiler or if it fails.
    """
    cc = compiler_path()
    if cc is None:
        raise CompilerError("there is no C compiler; install one or set CC to its path")
    flags = ("-O3", "-funroll-loops", "-march=native", "-fno-math-errno", "-fno-trapping-math", *flags)
    mark = hashlib.sha256(source.encode())
    for header in headers:
        mark.update(header.read_bytes())
    mark.update(" ".join((cc, *flags, cache.processor())).encode())
    name = f"{mark.hexdigest()[:20]}.so"
    try:
        library = _folder(cache.root()) / name
        if not library.exists():
            includes = [f"-I{header.parent}" for header in headers]
            _compile([cc, *flags, *includes, "-shared", "-fPIC", "-Wno-psabi"], source, library)
        return ctypes.CDLL(str(library))
    except OSError as error:  # no space, or a damaged library
        raise CompilerError(f"the library of a compiled step cannot be made: {error}") from None


def _compile(command: list[str], source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as partial:
        code, target = Path(partial) / "kernel.c", Path(partial) / "kernel.so"
        code.write_text(source)
        result = subprocess.run(
            [*command, str(code), "-o", str(target), "-lm"], capture_output=True, text=True
        )
        if result.returncode:
            lines = result.stderr.splitlines()
            first = next((line for line in lines if "error" in line), f"exit status {result.returncode}")
            raise CompilerError(f"the C compiler {command[0]} failed: {first.strip()}")
        target.replace(library)  # whole or not at all


def aligned(shape, dtype) -> np.ndarray:
    """An uninitialised array at an address that a vector register can be loaded from."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    space = np.empty(size + LINE, np.uint8)
    first = -space.ctypes.data % LINE
    return space[first : first + size].view(dtype).reshape(shape)


def _folder(root: Path | None) -> Path:
    """Where libraries are kept: in the user's cache, or as long as this process lives if there is none."""
    if root is not None:
        try:
            (root / "native").mkdir(parents=True, exist_ok=True)
            if os.access(root / "native", os.W_OK):
                return root / "native"
        except OSError:
            pass
    return _temporary_folder()


@functools.cache
def _temporary_folder() -> Path:
    place = tempfile.mkdtemp(prefix="dysonjax-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)

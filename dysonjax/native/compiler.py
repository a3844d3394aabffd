"""The system's C compiler, and a folder of what it has compiled."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

LANES = 16


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
    flags = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", *flags)
    mark = hashlib.sha256(source.encode())
    for header in headers:
        mark.update(header.read_bytes())
    mark.update(" ".join((cc, *flags, _processor())).encode())
    library = _folder() / f"{mark.hexdigest()[:20]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as partial:
            code, target = Path(partial) / "kernel.c", Path(partial) / "kernel.so"
            code.write_text(source)
            includes = [f"-I{header.parent}" for header in headers]
            command = [
                cc,
                *flags,
                *includes,
                "-shared",
                "-fPIC",
                "-Wno-psabi",
                str(code),
                "-o",
                str(target),
                "-lm",
            ]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                lines = result.stderr.splitlines()
                first = next((line for line in lines if "error" in line), f"exit status {result.returncode}")
                raise CompilerError(f"the C compiler {cc} failed: {first.strip()}")
            target.replace(library)
    return ctypes.CDLL(str(library))


def aligned(shape, dtype) -> np.ndarray:
    """An uninitialised array at an address that a vector register can be loaded from."""
    dtype, line = np.dtype(dtype), 128
    size = int(np.prod(shape)) * dtype.itemsize
    space = np.empty(size + line, np.uint8)
    first = -space.ctypes.data % line
    return space[first : first + size].view(dtype).reshape(shape)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dysonjax" / "native"


@functools.cache
def _processor() -> str:
    """What a library compiled for this processor needs: folders are shared between machines of a cluster."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    return f"{platform.system()} {platform.machine()} {flags}"

"""Hand-written C kernels of the training steps: what this processor can do, as a limit to compare with.

The sources lie beside this file, one a model, networks in the vector lanes. They are compiled by the
system's C compiler when they are needed, into a folder of the user's cache, and run with one thread a core.
The numbers are the engine's: the same weights, data and random bits (tested).
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

LANES = 16
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-shared", "-fPIC")
FOLDER = Path(__file__).parent


def compiler() -> str | None:
    """The C compiler's path, or None."""
    return shutil.which(os.environ.get("CC", "cc"))


def load(name: str, inputs: str = "float") -> ctypes.CDLL:
    """The compiled kernels of one source file; `inputs`: "float" for shared data, "lane" for own data.

    Raises RuntimeError if there is no C compiler or if it fails.
    """
    cc = compiler()
    if cc is None:
        raise RuntimeError("there is no C compiler; install one or set CC to its path")
    sources = (FOLDER / "lanes.h").read_bytes() + (FOLDER / f"{name}.c").read_bytes()
    label = " ".join((cc, *FLAGS, inputs, platform.node(), platform.processor()))
    mark = hashlib.sha256(sources + label.encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dysonjax" / "limits"
    library = folder / f"{name}-{mark}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            target = Path(partial) / "kernel.so"
            command = [cc, *FLAGS, "-Wno-psabi", f"-DINPUT={inputs}", str(FOLDER / f"{name}.c")]
            result = subprocess.run([*command, "-o", str(target), "-lm"], capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(f"{cc} failed on {name}.c: {result.stderr.strip()}")
            target.replace(library)
    return ctypes.CDLL(str(library))


def aligned(values) -> np.ndarray:
    """A float32 copy at an address that a vector register can be loaded from."""
    values = np.asarray(values, np.float32)
    space = np.empty(values.size + LANES, np.float32)
    first = (-space.ctypes.data // 4) % LANES
    copy = space[first : first + values.size].reshape(values.shape)
    copy[...] = values
    return copy


def call(function, *arguments) -> None:
    """Call a kernel: integers as long, floats as float, arrays by address."""
    kinds = {int: ctypes.c_long, float: ctypes.c_float}
    function(*(kinds[type(a)](a) if type(a) in kinds else ctypes.c_void_p(a.ctypes.data) for a in arguments))


def on_all_cores(work, cores: int) -> None:
    """Run `work(core)` in one thread a core; ctypes lets go of the interpreter while a kernel runs."""
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, range(cores)))

"""Hand-written C kernels: what this processor can do, as a limit to compare with.

The sources lie beside this file, one a benchmark, networks or members in the vector lanes. They are compiled
by the system's C compiler when they are needed, into a folder of the user's cache, and run with one thread a
core, those of the statistics in one thread. The numbers are the engine's (tested): the same weights, data and
random bits in training; the same distances and tails in the statistics, which draw by themselves.
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dysonjax.compile import LANES as LANES
from dysonjax.compile import empty_aligned, toolchain

FLAGS = ("-ffast-math", "-fno-finite-math-only")
FOLDER = Path(__file__).parent


def load(name: str, inputs: str = "float") -> ctypes.CDLL:
    """The compiled kernels of one source file; `inputs`: "float" for shared data, "lane" for own data.

    Raises RuntimeError if there is no C compiler or if it fails.
    """
    source = (FOLDER / f"{name}.c").read_text()
    return toolchain.load(source, (FOLDER / "lanes.h",), (*FLAGS, f"-DINPUT={inputs}"))


def aligned(values) -> np.ndarray:
    """A float32 copy at an address that a vector register can be loaded from."""
    values = np.asarray(values, np.float32)
    copy = empty_aligned(values.shape, np.float32)
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

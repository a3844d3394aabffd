"""From the step of one large network to a compiled function."""

import ctypes
import platform
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from dysonjax.compile import graph, lower, toolchain
from dysonjax.compile.memory import aligned, in_memory
from dysonjax.compile.schedule import store
from dysonjax.compile.simplify import with_reciprocals
from dysonjax.compile.whole import source

HERE = Path(__file__).parents[1] / "c"
HEADERS = tuple(HERE / name for name in ("large.h", "products.h", "rows.h", "lanes.h", "eigh.h"))


class Kernel:
    """A compiled step of one network. Arrays have the shapes that the step gives them, truth values int32."""

    def __init__(self, written: source.Source):
        self.function = load(written.text)
        self.constants = [aligned(in_memory(value, False)) for value in written.constants]
        self.space = written.space

    def __call__(
        self, fixed: Sequence[np.ndarray], carried: Sequence[np.ndarray], space: np.ndarray, first, count
    ):
        """Advance the network by `count` steps in place; space: `self.space` bytes that nobody else uses."""
        lists = [
            (ctypes.c_void_p * max(1, len(a)))(*(x.ctypes.data for x in a))
            for a in (fixed, carried, self.constants)
        ]
        self.function(*lists, ctypes.c_void_p(space.ctypes.data), ctypes.c_long(first), ctypes.c_long(count))


def load(text: str):
    """The compiled function of a source. Raises CompilerError if there is no compiler or if it fails."""
    # Unrolled, it is compiled twice as long and 1 % faster; the other two hide from GCC that it could choose
    # between two values without a branch, as vectors do.
    flags = ["-fopenmp-simd", "-fno-unroll-loops", "-fno-tree-sink", "-fno-thread-jumps"]
    if platform.machine() in ("x86_64", "AMD64"):
        flags.append("-mprefer-vector-width=512")
    return toolchain.load(text, HEADERS, tuple(flags)).advance


def write_step(step, fixed, carried, stopped: int) -> source.Source:
    """The C source of `step(fixed, carried, index) -> carried` for one network.

    As `compile.write_step`, with shapes and types for `fixed`.
    """
    inputs = [graph.source(i.shape, i.dtype, graph.WORLD, False) for i in fixed]
    states = [graph.source(s.shape, s.dtype, graph.NETWORK, False) for s in carried]
    index = graph.source((), np.int32, graph.STEP, False)
    jaxpr = jax.make_jaxpr(step)(list(fixed), list(carried), jax.ShapeDtypeStruct((), np.int32))
    outputs = with_reciprocals(lower.build(jaxpr, [*inputs, *states, index]))
    stores = [store(new, old) for new, old in zip(outputs, states, strict=True) if new is not old]
    if not stores:
        raise graph.Unsupported("a step that changes nothing")
    return source.write(graph.topological(stores), inputs, states, index, states[stopped])

"""From the step of one network to a compiled function of many."""

import ctypes
import platform
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax.compile import graph, lower, toolchain
from dysonjax.compile.emit import lanes, whole
from dysonjax.compile.emit.functions import Copied
from dysonjax.compile.memory import aligned, empty_aligned, in_memory
from dysonjax.compile.schedule import Costs, plan, stores_of
from dysonjax.compile.simplify import simplified


class Input(NamedTuple):
    """An array that a step reads and does not change."""

    shape: tuple[int, ...]
    dtype: Any
    scope: int  # graph.WORLD: of all networks of a call; graph.NETWORK: of each
    varying: bool  # whether it differs between the networks of a vector


class Way(NamedTuple):
    """How C is written for a target, and compiled."""

    write: Callable  # plan, inputs, state, index, stopped -> text, long constants, bytes of scratch
    costs: Costs
    flags: tuple[str, ...] = ()
    varying: bool = True  # whether networks stand in the lanes of a vector


# Unrolled, a large step is compiled twice as long and 1 % faster; the other two hide from GCC that it could
# choose between two values without a branch, as vectors do.
LARGE = ("-fopenmp-simd", "-fno-unroll-loops", "-fno-tree-sink", "-fno-thread-jumps")
WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()
IN_LANES = Way(lanes.write, Costs(inline=True))
WHOLE = Way(whole.write, Costs(inline=False), (*LARGE, *WIDE), varying=False)
HEADERS = tuple(
    Path(__file__).parent / "c" / name for name in ("lanes.h", "eigh.h", "large.h", "products.h", "rows.h")
)
QUICK = ("-O2", "-fno-unroll-loops")  # half the time of the compiler


class Source(NamedTuple):
    """A step in C."""

    text: str
    used: tuple[bool, ...]  # which of the inputs it reads at all
    tables: list[np.ndarray]  # long constants
    scratch: int  # bytes
    flags: tuple[str, ...]


class Kernel:
    """A compiled step. Truth values are as `memory.in_memory` makes them; arrays of `IN_LANES` are
    (networks, elements, 16), those of `WHOLE` have the shapes that the step gives them.

    seldom: it runs a few times only, so that a quick compilation is worth more than the last third of speed.
    Raises CompilerError if there is no C compiler or if it fails.
    """

    def __init__(self, step: Source, seldom: bool = False):
        self.used = step.used
        flags = (*step.flags, *(QUICK if seldom else ()))
        self._function = toolchain.load(step.text, HEADERS, flags).advance
        self._tables = [aligned(in_memory(table, False)) for table in step.tables]
        self._bytes, self._scratch = step.scratch, threading.local()

    def __call__(
        self, inputs: Sequence[np.ndarray | None], state: Sequence[np.ndarray], first: int, count: int
    ) -> None:
        """Advance the networks by `count` steps in place; inputs: None for what is not used."""
        if not hasattr(self._scratch, "space"):  # kept by a thread: clearing it anew takes time
            self._scratch.space = empty_aligned(max(self._bytes, 1), np.uint8)
        arrays = (_pointers(values) for values in (self._tables, inputs, state))
        longs = (
            ctypes.c_long(number) for number in (first, count, state[0].shape[0] if state[0].ndim else 1)
        )
        self._function(*arrays, ctypes.c_void_p(self._scratch.space.ctypes.data), *longs)


def _pointers(arrays: Sequence[np.ndarray | None]) -> ctypes.Array:
    addresses = (None if array is None else array.ctypes.data for array in arrays)
    return (ctypes.c_void_p * max(1, len(arrays)))(*addresses)


class Step(NamedTuple):
    """The graph of a step of one network."""

    inputs: list[graph.Node]
    states: list[graph.Node]
    index: graph.Node  # type: ignore[assignment]  # hides `tuple.index`, which nobody needs
    outputs: list[graph.Node]
    stopped: int | None  # which of the states is an integer that is negative as long as steps change it


def traced(
    function: Callable,
    inputs: Sequence[Input],
    state: Sequence[jax.ShapeDtypeStruct],
    stopped: int | None = None,
    varying: bool = True,
) -> Step:
    """The graph of `function(inputs, state, index) -> state`, see `write_step`.

    varying: whether networks stand side by side, so that their states differ. Raises Unsupported.
    """
    nodes = [graph.source(i.shape, i.dtype, i.scope, i.varying) for i in inputs]
    states = [graph.source(s.shape, s.dtype, graph.NETWORK, varying) for s in state]
    index = graph.source((), np.int32, graph.STEP, False)
    shapes = [jax.ShapeDtypeStruct(i.shape, i.dtype) for i in inputs]
    jaxpr = jax.make_jaxpr(function)(shapes, list(state), jax.ShapeDtypeStruct((), np.int32))
    outputs = simplified(lower.lower(jaxpr, [*nodes, *states, index]))
    return Step(nodes, states, index, outputs, stopped)


def write_step(
    function: Callable,
    inputs: Sequence[Input],
    state: Sequence[jax.ShapeDtypeStruct],
    stopped: int | None = None,
    way: Way = IN_LANES,
    most_scratch: int | None = None,
) -> Source:
    """`function(inputs, state, index) -> state` in C.

    inputs, state: lists of arrays of ONE network; index: the number of the step. stopped: which of the state
    is an integer that is negative as long as steps change the network (None: they always do). most_scratch:
    bytes that large intermediate arrays may take. Raises Unsupported if the step holds something that cannot
    be written in C, or if they take more.
    """
    step = traced(function, inputs, state, stopped, way.varying)
    stores = stores_of(step.outputs, step.states)
    last = None if stopped is None else step.states[stopped]
    copied: frozenset[graph.Node] = frozenset()
    while True:
        try:
            planned = plan(stores, way.costs, copied)
            text, tables, scratch = way.write(planned, step.inputs, step.states, step.index, last)
            break
        except Copied as view:
            copied |= {view.node}
    if most_scratch is not None and scratch > most_scratch:
        raise graph.Unsupported(f"{scratch} bytes of intermediate arrays")
    return Source(text, tuple(node in planned.read for node in step.inputs), tables, scratch, way.flags)

"""From the step of one network to a compiled function of many."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax.compile import graph, lower, toolchain
from dysonjax.compile.emit import function
from dysonjax.compile.memory import empty_aligned
from dysonjax.compile.schedule import plan, store
from dysonjax.compile.simplify import with_small_factors

HEADERS = tuple(Path(__file__).parent / "c" / name for name in ("lanes.h", "eigh.h"))
QUICK = ("-O2", "-fno-unroll-loops")  # half the time of the compiler
SCRATCH = 2**20  # bytes of intermediate arrays of sixteen networks that a level-2 cache may hold


class Input(NamedTuple):
    """An array that a step reads and does not change."""

    shape: tuple[int, ...]
    dtype: Any
    scope: int  # graph.WORLD: of all networks of a call; graph.NETWORK: of each
    varying: bool  # whether it differs between the lanes


class Source(NamedTuple):
    """A step in C."""

    text: str
    used: tuple[bool, ...]  # which of the fixed inputs it reads at all
    tables: list[np.ndarray]  # long constants
    scratch: int  # bytes


class Kernel:
    """A compiled step. Arrays in lanes are (..., elements, LANES), truth values as `in_memory` makes them.

    seldom: it runs a few times only, so that a quick compilation is worth more than the last third of speed.
    Raises CompilerError if there is no C compiler or if it fails.
    """

    def __init__(self, step: Source, seldom: bool = False):
        self.used, self._scratch = step.used, step.scratch
        self._function = toolchain.load(step.text, HEADERS, QUICK if seldom else ()).advance
        kinds = (np.int32 if table.dtype == bool else table.dtype for table in step.tables)
        self._tables = [np.ascontiguousarray(t, kind) for t, kind in zip(step.tables, kinds, strict=True)]

    def __call__(
        self, fixed: Sequence[np.ndarray | None], carried: Sequence[np.ndarray], first: int, count: int
    ):
        """Advance the networks by `count` steps in place; fixed: None for what is not used."""
        arrays = (_pointers(values) for values in (self._tables, fixed, carried))
        longs = (ctypes.c_long(number) for number in (first, count, carried[0].shape[0]))
        scratch = empty_aligned(self._scratch, np.uint8)
        self._function(*arrays, ctypes.c_void_p(scratch.ctypes.data), *longs)


def _pointers(arrays: Sequence[np.ndarray | None]) -> ctypes.Array:
    addresses = (None if array is None else array.ctypes.data for array in arrays)
    return (ctypes.c_void_p * max(1, len(arrays)))(*addresses)


def write_step(step, fixed, carried, stopped: int | None = None, most_scratch: int = SCRATCH) -> Source:
    """`step(fixed, carried, index) -> carried` in C.

    fixed, carried: lists of arrays of ONE network; index: the number of the step. stopped: which of the
    carried arrays is an integer that is negative as long as steps change the network (None: they always do).
    Raises Unsupported if the step holds something that cannot be written in C, or if large intermediate
    arrays of sixteen networks take more than `most_scratch` bytes.
    """
    inputs = [graph.source(i.shape, i.dtype, i.scope, i.varying) for i in fixed]
    states = [graph.source(s.shape, s.dtype, graph.NETWORK, True) for s in carried]
    index = graph.source((), np.int32, graph.STEP, False)
    shapes = [jax.ShapeDtypeStruct(i.shape, i.dtype) for i in fixed]
    jaxpr = jax.make_jaxpr(step)(shapes, list(carried), jax.ShapeDtypeStruct((), np.int32))
    outputs = with_small_factors(lower.build(jaxpr, [*inputs, *states, index]))
    stores = [store(new, old) for new, old in zip(outputs, states, strict=True) if new is not old]
    if not stores:
        raise graph.Unsupported("a step that changes nothing")
    planned = plan(stores)
    # What the networks share in a step is computed once for all of them if it is more than a look-up.
    shared = sum(root.size for root in planned.roots if root.scope == graph.STEP)
    last = None if stopped is None else states[stopped]
    text, tables, scratch = function.write(planned, inputs, states, index, last, steps_outside=shared > 16)
    if scratch > most_scratch:
        raise graph.Unsupported(f"{scratch} bytes of intermediate arrays")
    return Source(text, tuple(node in planned.read for node in inputs), tables, scratch)

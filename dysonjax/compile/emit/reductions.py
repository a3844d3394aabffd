"""Sums, maxima and other reductions over axes."""

import math
from typing import TYPE_CHECKING

import numpy as np

from dysonjax.compile.emit.expressions import c_type, neutral_in_lanes, reducer
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import Index, add

if TYPE_CHECKING:
    from dysonjax.compile.emit.lanes import Writer

WRITTEN_OUT = 16  # terms up to which a reduction is one expression


def reduced(writer: "Writer", root: Node, index: tuple[Index, ...]) -> str:
    """An element of a reduction, of several partial results: one addition need not wait for the other."""
    (operand,), axes = root.inputs, root.params["axes"]
    extents = [operand.shape[axis] for axis in axes]
    combine, neutral = reducer(root)

    def at(inner):
        full, rest = [0] * len(operand.shape), iter(index)
        for axis in range(len(full)):
            full[axis] = inner[axes.index(axis)] if axis in axes else next(rest)
        return writer.value(operand, tuple(full))

    if math.prod(extents) <= WRITTEN_OUT:
        values = [at(tuple(map(int, inner))) for inner in np.ndindex(*extents)]
        while len(values) > 1:
            pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(values) - len(values) % 2 :]
        return values[0] if values else neutral_in_lanes(root, neutral)
    ways = next(w for w in (4, 3, 2, 1) if extents[-1] % w == 0)
    sums = [writer.name() for _ in range(ways)]
    kind = c_type(root)
    start = neutral_in_lanes(root, neutral)
    writer.line(f"{kind} " + ", ".join(f"{name} = {start}" for name in sums) + ";")
    outside, writer.known = writer.known, dict(writer.known)
    inner = []
    for number, extent in enumerate(extents):
        name, by = writer.name("i"), ways if number == len(extents) - 1 else 1
        inner.append(name)
        writer.line(f"for (int {name} = 0; {name} < {extent}; {name} += {by}) {{")
    for way, name in enumerate(sums):
        writer.line(f"{name} = {combine(name, at((*inner[:-1], add(inner[-1], way))))};")
    writer.line("}" * len(extents))
    writer.known = outside
    while len(sums) > 1:
        sums = [combine(sums[0], sums[1]), *sums[2:]]
    return sums[0]

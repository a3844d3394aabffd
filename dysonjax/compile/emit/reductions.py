"""Sums, maxima and other reductions over axes: an element of several partial results, in lanes."""

import math

import numpy as np

from dysonjax.compile.emit.writer import Writer
from dysonjax.compile.expressions import c_type, neutral_in_lanes, reducer
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import Index, add

WRITTEN_OUT = 16  # terms up to which a reduction is one expression


def reduced(writer: Writer, root: Node, index: tuple[Index, ...]) -> str:
    """An element of a reduction, of several partial results: one addition need not wait for the other."""
    (operand,), axes = root.inputs, root.params["axes"]
    extents = [operand.shape[axis] for axis in axes]
    combine, neutral = reducer(root)

    def at(inner):
        inside, rest = dict(zip(axes, inner, strict=True)), iter(index)
        full = (inside[a] if a in inside else next(rest) for a in range(len(operand.shape)))
        return writer.value(operand, tuple(full))

    if math.prod(extents) <= WRITTEN_OUT:
        values = [at(tuple(map(int, inner))) for inner in np.ndindex(*extents)]
        while len(values) > 1:
            pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
            values = pairs + values[len(values) - len(values) % 2 :]
        return values[0] if values else neutral_in_lanes(root, neutral)
    ways = next(w for w in (4, 3, 2, 1) if extents[-1] % w == 0)
    sums = [writer.name() for _ in range(ways)]
    start = neutral_in_lanes(root, neutral)
    writer.line(f"{c_type(root)} " + ", ".join(f"{name} = {start}" for name in sums) + ";")
    outside, writer.known = writer.known, dict(writer.known)
    inner = [writer.loop_over(extent) for extent in extents[:-1]]
    last = writer.loop_over(extents[-1], step=ways)
    for way, name in enumerate(sums):
        writer.line(f"{name} = {combine(name, at((*inner, add(last, way))))};")
    writer.line("}" * len(extents))
    writer.known = outside
    while len(sums) > 1:
        sums = [combine(sums[0], sums[1]), *sums[2:]]
    return sums[0]

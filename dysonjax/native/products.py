"""Matrix products in blocks whose sums stay in registers."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dysonjax.native.expressions import c_type, in_lanes
from dysonjax.native.graph import Node
from dysonjax.native.indices import Index, add
from dysonjax.native.plan import length

if TYPE_CHECKING:
    from dysonjax.native.writer import Writer

UNROLLED = 64  # multiplications up to which a product is written out
ACCUMULATORS = 16  # sums of a block
LOADS = {True: 1.0, False: 0.5}  # cost of reading a vector, or a number for all lanes, in multiplications


class Axes(NamedTuple):
    """The axes of a product: of both factors those that are summed over, shared, and left free."""

    summed: tuple[tuple[int, ...], tuple[int, ...]]
    shared: tuple[tuple[int, ...], tuple[int, ...]]
    rows: list[int]  # free axes of the left factor; in the result they follow the shared ones
    columns: list[int]  # free axes of the right factor, last in the result


def write_product(writer: "Writer", node: Node) -> None:
    """Write the loops of a product, with what the writer's root makes of each of its elements."""
    left, right = node.inputs
    axes = _axes(node)
    written_out = node.size * length(node) <= UNROLLED
    row = len(axes.shared[0]) + len(axes.rows) - 1 if axes.rows else None  # axes of the result that are
    column = len(node.shape) - 1 if axes.columns else None  # cut into blocks
    height = 1 if row is None else node.shape[row]
    width = 1 if column is None else node.shape[column]
    if written_out:
        tall, wide = height, width
    else:
        tall, wide = _block(height, width, left.lanes, right.lanes)
    outer = [1 if axis in (row, column) else extent for axis, extent in enumerate(node.shape)]

    def blocks(index):
        for top, rows in _starts(writer, height, tall):
            for start, columns in _starts(writer, width, wide):
                members = []
                for a in range(rows):
                    for b in range(columns):
                        member = list(index)
                        if row is not None:
                            member[row] = add(top, a)
                        if column is not None:
                            member[column] = add(start, b)
                        members.append(tuple(member))
                _write_block(writer, node, axes, members, written_out)

    if written_out:
        for index in np.ndindex(*outer):
            blocks(tuple(map(int, index)))
    else:
        writer.nest(outer, blocks, unrolled=1)


def _write_block(writer: "Writer", node: Node, axes: Axes, members: list[tuple], written_out: bool) -> None:
    """The sums of some elements, side by side, then the rest of the root's operation on each."""
    kind, left = c_type(node), node.inputs[0]
    extents = [left.shape[a] for a in axes.summed[0]]
    writer.line("{")
    outside = writer.known
    writer.known = dict(outside)
    sums = {index: writer.name() for index in members}
    total, start = writer.plan.starts.get(node, (node, None))
    for index, name in sums.items():
        writer.here = index
        first = f"({kind}){{0}}"
        if start is not None:
            first = writer.operand(start, index)
            first = in_lanes(first, start) if node.lanes else first
        writer.line(f"{kind} {name} = {first};")
    sign = "-" if total.op == "sub" else "+"
    if written_out:
        terms = [tuple(map(int, term)) for term in np.ndindex(*extents)]
    else:
        terms = [tuple(writer.name("i") for _ in extents)]
        for name, extent in zip(terms[0], extents, strict=True):
            writer.line(f"for (int {name} = 0; {name} < {extent}; {name}++) {{")
    for term in terms:
        factors: dict[tuple, str] = {}
        for index, name in sums.items():
            pair = []
            for factor, place in zip(node.inputs, _operands(node, axes, index, term), strict=True):
                if (factor, place) not in factors:
                    factors[factor, place] = writer.named(factor, writer.value(factor, place))
                pair.append(factors[factor, place])
            writer.line(f"{name} {sign}= {pair[0]} * {pair[1]};")
    if not written_out:
        writer.line("}" * len(extents))
    writer.known = dict(outside)
    for index, name in sums.items():
        writer.known[total, index] = name
        if writer.root is total:
            writer.put(index, name)
        else:
            writer.element(index)
    writer.known = outside
    writer.line("}")


def _axes(node: Node) -> Axes:
    left, right = node.inputs
    summed, shared = node.params["dimension_numbers"]
    rows = [a for a in range(len(left.shape)) if a not in (*summed[0], *shared[0])]
    columns = [a for a in range(len(right.shape)) if a not in (*summed[1], *shared[1])]
    return Axes(summed, shared, rows, columns)


def _operands(
    node: Node, axes: Axes, index: tuple[Index, ...], term: tuple[Index, ...]
) -> tuple[tuple, tuple]:
    """Indices of both factors for an element of the result and a term of its sum."""
    places: tuple[dict, dict] = ({}, {})
    for side in (0, 1):
        places[side].update(zip(axes.shared[side], index, strict=False))
        places[side].update(zip(axes.summed[side], term, strict=True))
    free = index[len(axes.shared[0]) :]
    places[0].update(zip(axes.rows, free, strict=False))
    places[1].update(zip(axes.columns, free[len(axes.rows) :], strict=True))
    left, right = (tuple(places[s][a] for a in range(len(node.inputs[s].shape))) for s in (0, 1))
    return left, right


def _starts(writer: "Writer", extent: int, size: int) -> Iterator[tuple[Index, int]]:
    """Where the blocks of an axis start, and their size: a loop over whole ones, then what is left."""
    whole = extent // size * size
    if whole > size:
        name = writer.name("i")
        writer.line(f"for (int {name} = 0; {name} < {whole}; {name} += {size}) {{")
        yield name, size
        writer.line("}")
    elif whole:
        yield 0, size
    if extent > whole:
        yield whole, extent - whole


def _block(height: int, width: int, left_lanes: bool, right_lanes: bool) -> tuple[int, int]:
    """Rows and columns of a block: few loads for each multiplication, and few blocks of another size."""

    def cost(block):
        tall, wide = block
        loads = (tall * LOADS[left_lanes] + wide * LOADS[right_lanes]) / (tall * wide)
        uneven = (height % tall > 0) + (width % wide > 0)
        waiting = 0.3 if tall * wide < 4 else 0  # for the addition before
        return max(loads, 1.0) + 0.1 * loads + 0.1 * uneven + waiting

    sizes = [(t, w) for t in range(1, min(height, 8) + 1) for w in range(1, min(width, 8) + 1)]
    return min((size for size in sizes if math.prod(size) <= ACCUMULATORS), key=cost)

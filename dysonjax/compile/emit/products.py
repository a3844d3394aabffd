"""Matrix products in blocks whose sums stay in registers."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dysonjax.compile.emit.writer import Writer
from dysonjax.compile.expressions import c_type, in_lanes
from dysonjax.compile.graph import Node
from dysonjax.compile.schedule import length
from dysonjax.compile.shapes import Index, add, bounds, variable

UNROLLED = 64  # multiplications up to which a product is written out
ACCUMULATORS = 16  # sums of a block
HELD = 16  # elements of a factor that stay in registers
SQUARE = 4  # rows and columns of a block of a symmetric product
LOADS = {True: 1.0, False: 0.5}  # cost of reading a vector, or a number for all lanes, in multiplications


class Axes(NamedTuple):
    """The axes of a product: of both factors those that are summed over, shared, and left free."""

    summed: tuple[tuple[int, ...], tuple[int, ...]]
    shared: tuple[tuple[int, ...], tuple[int, ...]]
    rows: list[int]  # free axes of the left factor; in the result they follow the shared ones
    columns: list[int]  # free axes of the right factor, last in the result


class Blocking(NamedTuple):
    """How a product is cut into blocks whose sums are in registers."""

    tall: int  # rows of a block
    wide: int  # columns
    held: int | None = None  # the factor whose part stays in registers from block to block


def write_product(writer: Writer, node: Node) -> None:
    """Write the loops of a product, with what the writer's root makes of each of its elements."""
    left, right = node.inputs
    axes, terms = _axes(node), length(node)
    written_out = node.size * terms <= UNROLLED
    row = len(axes.shared[0]) + len(axes.rows) - 1 if axes.rows else None  # axes of the result that are
    column = len(node.shape) - 1 if axes.columns else None  # cut into blocks
    height = 1 if row is None else node.shape[row]
    width = 1 if column is None else node.shape[column]
    if written_out:
        blocking = Blocking(height, width)
    else:
        blocking = _blocking(height, width, terms, left.varying, right.varying)
    outer = [1 if axis in (row, column) else extent for axis, extent in enumerate(node.shape)]

    def block(index, top, rows, start, columns):
        """The indices of a block."""
        members = []
        for a in range(rows):
            for b in range(columns):
                member = list(index)
                if row is not None:
                    member[row] = add(top, a)
                if column is not None:
                    member[column] = add(start, b)
                members.append(tuple(member))
        return members

    def blocks(index):
        for top, rows in _starts(writer, height, blocking.tall):
            for start, columns in _starts(writer, width, blocking.wide):
                _write_block(writer, node, axes, block(index, top, rows, start, columns), written_out, {})

    def rows_of_held(index):
        """The right factor's part of some columns stays in registers while rows pass by."""
        for start, columns in _starts(writer, width, blocking.wide):
            held = _held(writer, node, axes, block(index, 0, 1, start, columns), 1)
            for top, rows in _starts(writer, height, blocking.tall):
                _write_block(writer, node, axes, block(index, top, rows, start, columns), True, held)

    def columns_of_held(index):
        for top, rows in _starts(writer, height, blocking.tall):
            held = _held(writer, node, axes, block(index, top, rows, 0, 1), 0)
            for start, columns in _starts(writer, width, blocking.wide):
                _write_block(writer, node, axes, block(index, top, rows, start, columns), True, held)

    def lower_triangle(index):
        """Blocks up to the diagonal; what they hold stands above it, too."""
        side = min(SQUARE, height)
        for top, rows in _starts(writer, height, side):
            for start, columns in _up_to(writer, top, rows, side):
                members = block(index, top, rows, start, columns)
                _write_block(writer, node, axes, members, False, {}, mirrored=True)

    write = {None: blocks, 0: columns_of_held, 1: rows_of_held}[blocking.held]
    if not written_out and _is_symmetric(writer, node, axes):
        write = lower_triangle
    if written_out:
        for index in np.ndindex(*outer):
            write(tuple(map(int, index)))
    else:
        writer.nest(outer, write, unrolled=1)


def _write_block(
    writer: Writer,
    node: Node,
    axes: Axes,
    members: list[tuple],
    written_out: bool,
    held: dict[tuple, str],
    mirrored: bool = False,
) -> None:
    """The sums of some elements, side by side, then the rest of the root's operation on each.

    held: the names of elements of factors, by factor and index, that need not be read. mirrored: the elements
    are those of the transposed indices as well.
    """
    kind = c_type(node)
    extents = _extents(node, axes)
    writer.line("{")
    outside = writer.known
    writer.known = dict(outside)
    sums = {index: writer.name() for index in members}
    total, start = writer.plan.starts.get(node, (node, None))
    for index, name in sums.items():
        first = f"ZERO({kind})"
        if start is not None:
            first = writer.operand(start, index)
            first = in_lanes(first, start) if node.varying else first
        writer.line(f"{kind} {name} = {first};")
    sign = "-" if total.op == "sub" else "+"
    terms: list[tuple[Index, ...]]
    if written_out:
        terms = [tuple(map(int, term)) for term in np.ndindex(*extents)]
    else:
        terms = [tuple(writer.loop_over(extent) for extent in extents)]
    for term in terms:
        factors = dict(held)
        for index, name in sums.items():
            pair = []
            for factor, place in zip(node.inputs, _operands(node, axes, index, term), strict=True):
                if (factor, place) not in factors:
                    factors[factor, place] = _read(writer, factor, place, often=len(sums) > 1)
                pair.append(factors[factor, place])
            writer.line(f"{name} {sign}= {pair[0]} * {pair[1]};")
    if not written_out:
        writer.line("}" * len(extents))
    writer.known = dict(outside)
    for place, name in sums.items():
        for index in dict.fromkeys((place, place[::-1])) if mirrored else (place,):
            writer.known[total, index] = name
            if writer.root is total:
                writer.put(index, name)
            else:
                writer.element(index)
    writer.known = outside
    writer.line("}")


def _held(writer: Writer, node: Node, axes: Axes, members: list[tuple], side: int) -> dict[tuple, str]:
    """Every element of one factor that a block reads, in variables."""
    outside, writer.known = writer.known, dict(writer.known)
    held, factor = {}, node.inputs[side]
    for index in members:
        for term in np.ndindex(*_extents(node, axes)):
            place = _operands(node, axes, index, tuple(map(int, term)))[side]
            held[factor, place] = _read(writer, factor, place, often=True)
    writer.known = outside
    return held


def _read(writer: Writer, factor: Node, place: tuple[Index, ...], often: bool) -> str:
    """The name of an element; often: it is multiplied several times."""
    name = writer.named(factor, writer.value(factor, place))
    if often and factor.varying and factor.dtype == np.float32:
        writer.line(f"IN_REGISTER({name});")
    return name


def _extents(node: Node, axes: Axes) -> list[int]:
    """The extents of the axes that are summed over."""
    return [node.inputs[0].shape[axis] for axis in axes.summed[0]]


def _is_symmetric(writer: Writer, node: Node, axes: Axes) -> bool:
    """Whether a product is that of a matrix and its transpose, and may be written in any order."""
    if axes.shared[0] or len(axes.rows) != 1 or len(axes.columns) != 1 or node.shape[0] != node.shape[1]:
        return False
    # A store reads what it writes over, and sums that start with something else are not symmetric.
    if writer.root.op == "store" or node in writer.plan.starts:
        return False
    term = tuple(variable(f"k{number}", extent - 1) for number, extent in enumerate(_extents(node, axes)))
    a, b = (variable(letter, node.shape[0] - 1) for letter in "ab")
    left, _ = _operands(node, axes, (a, b), term)
    _, right = _operands(node, axes, (b, a), term)
    lines, outside = len(writer.lines), writer.known
    writer.known = dict(outside)
    same = writer.value(node.inputs[0], left) == writer.value(node.inputs[1], right)
    same = same and len(writer.lines) == lines
    del writer.lines[lines:]
    writer.known = outside
    return same


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


def _starts(writer: Writer, extent: int, size: int) -> Iterator[tuple[Index, int]]:
    """Where the blocks of an axis start, and their size: a loop over whole ones, then what is left."""
    whole = extent // size * size
    if whole > size:
        yield writer.loop_over(whole, step=size), size
        writer.line("}")
    elif whole:
        yield 0, size
    if extent > whole:
        yield whole, extent - whole


def _up_to(writer: Writer, top: Index, rows: int, size: int) -> Iterator[tuple[Index, int]]:
    """Where the blocks of a row of blocks start, up to the one on the diagonal, and their size."""
    if isinstance(top, int):
        yield from _starts(writer, top + rows, size)
        return
    name = writer.name("i")
    writer.line(f"for (int {name} = 0; {name} <= {top}; {name} += {size}) {{")
    yield variable(name, bounds(top)[1]), size
    writer.line("}")


def _blocking(height: int, width: int, terms: int, left_lanes: bool, right_lanes: bool) -> Blocking:
    """Few loads for each multiplication, and few blocks of another size."""
    left, right = LOADS[left_lanes], LOADS[right_lanes]

    def cost(blocking):
        tall, wide, held = blocking
        # What is held is read once for all rows, or columns, that pass by.
        loads = (left / (width if held == 0 else wide)) + (right / (height if held == 1 else tall))
        uneven = (height % tall > 0) + (width % wide > 0)
        waiting = 0.3 if held is None and tall * wide < 4 else 0  # for the addition before
        return max(loads, 1.0) + 0.1 * loads + 0.1 * uneven + waiting

    sizes = [(t, w) for t in range(1, min(height, 8) + 1) for w in range(1, min(width, 8) + 1)]
    found = [Blocking(t, w) for t, w in sizes if t * w <= ACCUMULATORS]
    if left_lanes:
        found += [Blocking(t, 1, 0) for t in range(1, min(height, 8) + 1) if t * terms <= HELD]
    if right_lanes:
        found += [Blocking(1, w, 1) for w in range(1, min(width, 8) + 1) if w * terms <= HELD]
    return min(found, key=cost)

"""A matrix product as calls of the kernel in `products.h`, written for the strides of its arrays."""

from collections.abc import Sequence

from dysonjax.compile.emit.expressions import c_type
from dysonjax.compile.graph import Node
from dysonjax.compile.whole.loops import Axis, Loop, Writer, merged
from dysonjax.compile.whole.views import place

SMALL = 2**15  # multiplications of a product that is written out for its numbers


def write_product(writer: Writer, root: Node) -> Loop:
    """The loops around the kernel for the axes that are left when neighbours have become one."""
    left, right = (place(writer.base(node), *writer.view(node)) for node in root.inputs)
    memory = writer.memory(root)
    out = place(root, memory, memory)
    summed, shared = root.params["dimension_numbers"]
    free = [
        [axis for axis in range(len(node.shape)) if axis not in (*summed[side], *shared[side])]
        for side, node in enumerate(root.inputs)
    ]
    zero = (0,) * len(root.shape)
    first, second = len(shared[0]), len(shared[0]) + len(free[0])

    def strides(of, axes):
        return [of.strides[axis] for axis in axes]

    # Of each class of axes: the strides of the left factor, of the right one, and of the result.
    batch = merged(
        root.shape[:first],
        [strides(left, shared[0]), strides(right, shared[1]), strides(out, range(first))],
        2,
    )
    rows = merged(
        root.shape[first:second],
        [strides(left, free[0]), zero[first:second], strides(out, range(first, second))],
        2,
    )
    columns = merged(
        root.shape[second:],
        [zero[second:], strides(right, free[1]), strides(out, range(second, len(root.shape)))],
        2,
    )
    terms = merged(
        [root.inputs[0].shape[axis] for axis in summed[0]],
        [strides(left, summed[0]), strides(right, summed[1]), [0] * len(summed[0])],
        0,
    )
    sides = [(0, left, rows), (1, right, columns)]
    unit = [bool(axes) and axes[-1].strides[2] == 1 for _, _, axes in sides]
    if unit[0] and not unit[1]:
        sides.reverse()  # the columns of the result are those that lie side by side
    (a, left, rows), (b, right, columns) = sides
    one = Axis(1, (0, 0, 0))
    *outer_rows, row = rows or [one]
    *outer_columns, column = columns or [one]
    *outer_terms, term = terms or [one]
    if column.strides[2] != 1 and column.extent > 1:
        outer_columns, column = [*outer_columns, column], one
    outer = [*batch, *outer_rows, *outer_columns]
    buffers = tuple(dict.fromkeys((root, left.buffer, right.buffer)))
    kind = c_type(root)
    axes = [*outer, *outer_terms]
    at = [
        _at(f"p{buffers.index(p.buffer)}", p.offset, [axis.strides[side] for axis in axes])
        for p, side in ((out, 2), (left, a), (right, b))
    ]
    adds = ", " + (" || ".join(f"i{len(outer) + n}" for n in range(len(outer_terms))) or "0")
    how = "product"
    if not outer_terms and row.extent * column.extent * term.extent <= SMALL:
        how, adds = "small", ""
    call = (
        f"{kind}_{how}({row.extent}, {column.extent}, {term.extent}, "
        f"{at[1]}, {row.strides[a]}, {term.strides[a]}, {at[2]}, {term.strides[b]}, {column.strides[b]}, "
        f"{at[0]}, {row.strides[2]}{adds});"
    )
    lines = [f"for (int i{n} = 0; i{n} < {axis.extent}; i{n}++)" for n, axis in enumerate(axes)]
    arguments = [f"{kind} *restrict p0"] + [f"const {kind} *p{n}" for n in range(1, len(buffers))]
    return Loop("\n".join([f"static void FUNCTION({', '.join(arguments)}) {{", *lines, call, "}"]), buffers)


def _at(name: str, offset: int, strides: Sequence[int]) -> str:
    terms = [f"i{n} * {stride}" for n, stride in enumerate(strides) if stride]
    return " + ".join([name, *terms, *([str(offset)] if offset else [])])

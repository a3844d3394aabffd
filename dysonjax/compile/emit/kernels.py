"""A product of large matrices as calls of the kernel in products.h, written for the strides of its arrays."""

from collections.abc import Sequence

from dysonjax.compile.emit.axes import Axis, merged
from dysonjax.compile.emit.functions import FunctionWriter
from dysonjax.compile.expressions import c_type
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import Index, add, dot, stride, variable

SMALL = 2**15  # multiplications of a product that is written out for its numbers


def write_product(writer: FunctionWriter, root: Node) -> None:
    """The loops around the kernel for the axes that are left when neighbours have become one."""
    summed, shared = root.params["dimension_numbers"]
    free = [
        [axis for axis in range(len(node.shape)) if axis not in (*summed[side], *shared[side])]
        for side, node in enumerate(root.inputs)
    ]
    # One variable an axis: of the result, then of the sums.
    first, second, end = len(shared[0]), len(shared[0]) + len(free[0]), len(root.shape)
    extents = [*root.shape, *(root.inputs[0].shape[axis] for axis in summed[0])]
    along = [variable(f"along{number}", extent - 1) for number, extent in enumerate(extents)]
    found = []
    for side, node in enumerate(root.inputs):
        own = along[first:second] if side == 0 else along[second:end]
        at = dict(zip(shared[side], along[:first], strict=True))
        at |= dict(zip(free[side], own, strict=True)) | dict(zip(summed[side], along[end:], strict=True))
        found.append(writer.located(node, tuple(at[axis] for axis in range(len(node.shape)))))
    (left, left_place), (right, right_place) = found
    places = (left_place, right_place, writer.place(root, along[:end]))
    strides = [[stride(place, i) for i in along] for place in places]

    def axes(begin: int, end: int, by: int) -> list[Axis]:
        return merged(extents[begin:end], [each[begin:end] for each in strides], by)

    batch, terms = axes(0, first, 2), axes(end, len(extents), 0)
    sides = [(0, axes(first, second, 2)), (1, axes(second, end, 2))]
    unit = [bool(axes) and axes[-1].strides[2] == 1 for _, axes in sides]
    if unit[0] and not unit[1]:
        sides.reverse()  # the columns of the result are those that lie side by side
    (a, rows), (b, columns) = sides
    one = Axis(1, (), (0, 0, 0))
    *outer_rows, row = rows or [one]
    *outer_columns, column = columns or [one]
    *outer_terms, term = terms or [one]
    if column.strides[2] != 1 and column.extent > 1:
        outer_columns, column = [*outer_columns, column], one
    outer = [*batch, *outer_rows, *outer_columns]
    loops = [*outer, *outer_terms]
    adds = ", " + (" || ".join(f"i{len(outer) + n}" for n in range(len(outer_terms))) or "0")
    how = "product"
    if not outer_terms and row.extent * column.extent * term.extent <= SMALL:
        how, adds = "small", ""
    kind = c_type(root)

    def write():
        def pointer(buffer: Node, place: Index, side: int) -> str:
            start = 0 if isinstance(place, int) else place.number
            moved = dot([variable(f"i{n}", axis.extent - 1) for n, axis in enumerate(loops)], of(side))
            return " + ".join(str(part) for part in (writer.argument(buffer), add(moved, start)) if part != 0)

        def of(side: int) -> Sequence[int]:
            return [axis.strides[side] for axis in loops]

        at = [pointer(left, left_place, 0), pointer(right, right_place, 1), pointer(root, places[2], 2)]
        for n, axis in enumerate(loops):
            writer.line(f"for (int i{n} = 0; i{n} < {axis.extent}; i{n}++)")
        writer.line(
            f"{kind}_{how}({row.extent}, {column.extent}, {term.extent}, "
            f"{at[a]}, {row.strides[a]}, {term.strides[a]}, {at[b]}, {term.strides[b]}, {column.strides[b]}, "
            f"{at[2]}, {row.strides[2]}{adds});"
        )

    writer.function(write, (left, right))

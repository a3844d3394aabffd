"""Slices and rows whose place is known only when the step runs, and elements at places from a table."""

from collections.abc import Sequence

import numpy as np

from dysonjax.compile.emit.expressions import c_type, reducer
from dysonjax.compile.graph import Node, constant
from dysonjax.compile.whole.loops import Loop, Writer
from dysonjax.compile.whole.views import place


def slice_at(writer: Writer, root: Node) -> tuple[Loop, dict[Node, str]]:
    """`dynamic_slice`: a loop, and what is added to the pointers that it is called with."""
    operand, *starts = root.inputs
    array, view = writer.view(operand)
    part = view[tuple(map(slice, root.shape))]
    memory = writer.memory(root)
    loop = writer.copy(root, memory, memory, writer.base(operand), array, part)
    return loop, {writer.base(operand): _shift(writer, starts, operand.shape, root.shape, view.strides)}


def update_at(writer: Writer, root: Node) -> tuple[Loop, dict[Node, str]]:
    """The second half of `dynamic_update_slice`, for a root that holds a copy of the whole already."""
    _, part, *starts = root.inputs
    memory = writer.memory(root)
    loop = writer.assign(root, memory[tuple(map(slice, part.shape))], memory, part)
    return loop, {root: _shift(writer, starts, root.shape, part.shape, memory.strides)}


def rows_at(writer: Writer, root: Node) -> tuple[list[int], Loop, dict[Node, str]]:
    """`gather`: the extents of the loops around the call, the loop over one slice, shifts of its pointers."""
    operand, indices = root.inputs
    numbers, sizes = root.params["dimension_numbers"], root.params["slice_sizes"]
    array, view = writer.view(operand)
    table, where = writer.view(indices)
    memory = writer.memory(root)
    outer = [axis for axis in range(len(root.shape)) if axis not in numbers.offset_dims]
    into = memory[tuple(slice(1) if axis in outer else slice(None) for axis in range(len(root.shape)))]
    into = into.squeeze(tuple(outer))
    part = view[tuple(map(slice, sizes))].squeeze(tuple(numbers.collapsed_slice_dims))
    loop = writer.copy(root, into, memory, writer.base(operand), array, part)
    names = [f"b{n}" for n in range(len(outer))]
    row = _sum(f"{name} * {where.strides[n]}" for n, name in enumerate(names))
    base = where.__array_interface__["data"][0] - table.__array_interface__["data"][0]
    shift = _sum(
        f"{_inside(indices)}({writer.name(writer.base(indices))}[{row} + {base + n * where.strides[-1]}], "
        f"{operand.shape[axis] - sizes[axis]}) * {view.strides[axis]}"
        for n, axis in enumerate(numbers.start_index_map)
    )
    here = _sum(f"{name} * {memory.strides[axis]}" for name, axis in zip(names, outer, strict=True))
    return [root.shape[axis] for axis in outer], loop, {root: here, writer.base(operand): shift}


def rows_added(writer: Writer, root: Node) -> Loop:
    """The second half of `add_rows`, for a root that holds a copy of the whole already."""
    _, rows, places = root.inputs
    (count, size), total = root.shape, writer.memory(root)
    row, at = (place(writer.base(node), *writer.view(node)) for node in (rows, places))
    target = f"p0[i * {total.strides[0]} + j * {total.strides[1]}]"
    combine, _ = reducer(root)
    added = combine(target, f"p1[k * {row.strides[0]} + j * {row.strides[1]} + {row.offset}]")
    text = (
        f"static void FUNCTION({c_type(root)} *restrict p0, const {c_type(rows)} *p1, "
        f"const {c_type(places)} *p2) {{\n"
        f"for (long k = 0; k < {places.size}; k++) {{\n"
        f"const {c_type(places)} i = p2[k * {at.strides[0]} + {at.offset}];\n"
        f"if (i >= 0 && i < {count}) for (long j = 0; j < {size}; j++) {target} = {added};\n}}\n}}"
    )
    return Loop(text, (root, writer.base(rows), writer.base(places)))


def take(writer: Writer, root: Node) -> Loop:
    """Elements at known places."""
    (operand,) = root.inputs
    array, view = writer.view(operand)
    offset = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
    index = np.unravel_index(root.params["places"].ravel(), operand.shape)
    places = offset + sum(np.asarray(i) * s for i, s in zip(index, view.strides, strict=True))
    kind = c_type(root)
    text = (
        f"static void FUNCTION({kind} *restrict p0, const {kind} *p1, const int32_s *p2) {{\n"
        f"for (int i = 0; i < {root.size}; i++) p0[i] = p1[p2[i]];\n}}"
    )
    table = constant(np.broadcast_to(places, (root.size,)).astype(np.int32))
    return Loop(text, (root, writer.base(operand), table))


def _shift(writer: Writer, starts: Sequence[Node], whole, part, strides) -> str:
    """Where a slice begins, moved so that it lies inside, as JAX has it."""
    return _sum(
        f"{_inside(start)}({writer.scalar(start)}, {n - size}) * {stride}"
        for start, n, size, stride in zip(starts, whole, part, strides, strict=True)
        if n > size
    )


def _inside(start: Node) -> str:
    """The function of large.h that moves a position into an array."""
    return "inside_unsigned" if start.dtype.kind == "u" else "inside"


def _sum(terms) -> str:
    return " + ".join(terms) or "0"

"""Arrays put together from parts: joined, padded, with a part replaced, with rows added; and eigenvectors."""

import dataclasses
from collections.abc import Callable

from dysonjax.compile.emit.writer import Writer, unknown
from dysonjax.compile.expressions import c_type, reducer
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import add, times


def filled(writer: Writer, root: Node, whole: Node) -> None:
    """Write the array that is changed afterwards."""
    writer.nest(root.shape, lambda index: writer.put(index, writer.in_kind(whole, index, root)))


def concatenated(writer: Writer, root: Node) -> None:
    """Write the loops over the parts, one after the other."""
    axis, start = root.params["dimension"], 0
    for part in root.inputs:

        def body(index, part=part, start=start):
            moved = (*index[:axis], add(index[axis], start), *index[axis + 1 :])
            writer.put(moved, writer.in_kind(part, index, root))

        writer.nest(part.shape, body)
        start += part.shape[axis]


def padded(writer: Writer, root: Node) -> None:
    """Write the filling everywhere, then the array over it."""
    (part, filling), config = root.inputs, root.params["padding_config"]
    filled(writer, root, filling)

    def body(index):
        moved = (add(times(i, between + 1), low) for i, (low, _, between) in zip(index, config, strict=True))
        writer.put(tuple(moved), writer.in_kind(part, index, root))

    writer.nest(part.shape, body)


def with_slice(writer: Writer, root: Node) -> None:
    """Write the whole array, then the part over it."""
    whole, part, *starts = root.inputs
    filled(writer, root, whole)

    def body(index):
        firsts = writer.firsts(root, [(start, ()) for start in starts], part.shape)
        writer.put(tuple(map(add, index, firsts)), writer.in_kind(part, index, root))

    writer.nest(part.shape, body)


def with_rows(writer: Writer, root: Node) -> None:
    """Write the whole array, then add rows to some of its rows; those that lie outside are dropped."""
    whole, rows, places = root.inputs
    filled(writer, root, whole)
    count, size = root.shape
    combine, _ = reducer(dataclasses.replace(root, varying=root.varying and not places.varying))

    def add_row(index):
        place, outside = writer.value(places, index), writer.known
        if places.varying:
            lane = writer.name("l")
            writer.line(f"EACH_LANE({lane}) {{")
            place = f"AT({place}, {lane})"
        writer.line(f"if ({place} >= 0 && {place} < {count}) {{")
        writer.known = dict(outside)
        column = writer.loop_over(size)
        target = writer.read(root, writer.place(root, (unknown(f"(long){place}"), column)))
        added = writer.in_kind(rows, (*index, column), root)
        if places.varying:
            target, added = f"AT({target}, {lane})", f"AT({added}, {lane})"
        writer.line(f"{target} = {combine(target, added)};")
        writer.line("}" * (3 if places.varying else 2))
        writer.known = outside

    writer.nest(places.shape, add_row, vector=False)


def eigenvectors(writer: Writer, root: Node) -> None:
    """Copy the matrix to where vectors and values are to be, and call the solver of eigh.h there."""
    (matrix,) = root.inputs
    writer.nest(matrix.shape, lambda index: writer.put(index, writer.in_kind(matrix, index, root)))
    writer.line(f"{c_type(root)}_eigh({matrix.shape[0]}, {writer.names[root]});")


MOVES: dict[str, Callable[[Writer, Node], None]] = {
    "concatenate": concatenated,
    "pad": padded,
    "dynamic_update_slice": with_slice,
    "add_rows": with_rows,
    "eigh": eigenvectors,
}

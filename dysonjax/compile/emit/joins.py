"""Arrays put together from parts: joined along an axis, padded, or with a part that is replaced."""

from typing import TYPE_CHECKING

from dysonjax.compile.emit.lookups import position
from dysonjax.compile.graph import Node
from dysonjax.compile.shapes import add, times

if TYPE_CHECKING:
    from dysonjax.compile.emit.lanes import Writer


def concatenated(writer: "Writer", root: Node) -> None:
    """Write the loops over the parts, one after the other."""
    axis, start = root.params["dimension"], 0
    for part in root.inputs:

        def body(index, part=part, start=start):
            moved = (*index[:axis], add(index[axis], start), *index[axis + 1 :])
            writer.put(moved, writer.in_kind(part, index, root))

        writer.nest(part.shape, body)
        start += part.shape[axis]


def padded(writer: "Writer", root: Node) -> None:
    """Write the filling everywhere, then the array over it."""
    (part, filling), config = root.inputs, root.params["padding_config"]
    writer.nest(root.shape, lambda index: writer.put(index, writer.in_kind(filling, (), root)))

    def body(index):
        moved = tuple(
            add(times(i, between + 1), low) for i, (low, _, between) in zip(index, config, strict=True)
        )
        writer.put(moved, writer.in_kind(part, index, root))

    writer.nest(part.shape, body)


def with_slice(writer: "Writer", root: Node) -> None:
    """Write the whole array, then the part over it."""
    whole, part, *starts = root.inputs
    writer.nest(root.shape, lambda index: writer.put(index, writer.in_kind(whole, index, root)))

    def body(index):
        room = (extent - size for extent, size in zip(whole.shape, part.shape, strict=True))
        firsts = [position(writer, start, (), last) for start, last in zip(starts, room, strict=True)]
        writer.put(tuple(map(add, index, firsts)), writer.in_kind(part, index, root))

    writer.nest(part.shape, body)

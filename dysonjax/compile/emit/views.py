"""Views: where in another array an element comes from."""

from typing import TYPE_CHECKING

from dysonjax.compile.graph import Node, constant
from dysonjax.compile.shapes import Index, add, through_reshape, times, unflatten

if TYPE_CHECKING:
    from dysonjax.compile.emit.lanes import Writer


def through(writer: "Writer", node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
    """Where the element of a view comes from."""
    shape, params = node.inputs[0].shape, node.params
    match node.op:
        case "broadcast_in_dim":
            places = params["broadcast_dimensions"]
            return tuple(0 if n == 1 else index[p] for n, p in zip(shape, places, strict=True))
        case "squeeze" | "expand_dims":
            return through_reshape(index, node.shape, shape)
        case "transpose":
            moved = [0] * len(shape)
            for here, there in enumerate(params["permutation"]):
                moved[there] = index[here]
            return tuple(moved)
        case "slice":
            strides = params["strides"] or (1,) * len(shape)
            starts = params["start_indices"]
            return tuple(add(times(i, s), o) for i, s, o in zip(index, strides, starts, strict=True))
        case "rev":
            turned = params["dimensions"]
            return tuple(
                add(times(i, -1), n - 1) if axis in turned else i
                for axis, (i, n) in enumerate(zip(index, shape, strict=True))
            )
        case "take":
            return unflatten(_place(writer, node, index), shape)
    raise AssertionError(node.op)


def _place(writer: "Writer", node: Node, index: tuple[Index, ...]) -> Index:
    """The position that an element of a "take" comes from."""
    places = node.params["places"]
    if all(isinstance(i, int) for i in index):
        return int(places[index])
    table = writer.tables_of.setdefault(node, constant(places))
    return writer.constant(table, index)

"""Where the elements of a view lie in memory, worked out by NumPy.

An array without contents takes the same views as the real one; its address and strides then say where the
real elements are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile.graph import Node

# Reading an array in another order; the other `graph.VIEWS` depend on data or on tables.
STRIDED = frozenset("broadcast_in_dim reshape squeeze expand_dims transpose slice rev".split())


class Stretch(NamedTuple):
    """A number, or an extent of 1, stands for all: the view that an elementwise operation takes of it."""

    shape: tuple[int, ...]


class Copied(Exception):
    """NumPy cannot reshape this view in place; the node that is being reshaped needs memory of its own."""

    def __init__(self, node: Node):
        super().__init__(f"the reshaped array {node.op}{node.shape}")
        self.node = node


class Place(NamedTuple):
    """Where the elements of an array lie in a buffer, counted in elements."""

    buffer: Node
    offset: int
    strides: tuple[int, ...]


def blank(node: Node, layout: Sequence[int] | None = None) -> np.ndarray:
    """An array without contents for a buffer; layout: its axes in the order in which they lie in memory."""
    layout = tuple(range(len(node.shape))) if layout is None else tuple(layout)
    memory = np.empty([node.shape[axis] for axis in layout], np.int8)
    return memory.transpose(np.argsort(layout)) if layout else memory


def place(node: Node, array: np.ndarray, view: np.ndarray) -> Place:
    """Where a view of the blank array of a node lies."""
    begin, here = (a.__array_interface__["data"][0] for a in (array, view))
    return Place(node, here - begin, view.strides)


def look(array: np.ndarray, view: Node | Stretch) -> np.ndarray:
    """The array through one view. Raises Copied."""
    if isinstance(view, Stretch):
        return np.broadcast_to(array, view.shape)
    params = view.params
    match view.op:
        case "broadcast_in_dim":
            new = [axis for axis in range(len(view.shape)) if axis not in params["broadcast_dimensions"]]
            return np.broadcast_to(np.expand_dims(array, tuple(new)), view.shape)
        case "transpose":
            return array.transpose(params["permutation"])
        case "rev":
            return np.flip(array, params["dimensions"])
        case "slice":
            starts, strides = params["start_indices"], params["strides"] or (1,) * array.ndim
            ends = [
                start + (n - 1) * stride + 1 if n else start
                for start, n, stride in zip(starts, view.shape, strides, strict=True)
            ]
            return array[tuple(map(slice, starts, ends, strides))]
    result = array.reshape(view.shape)
    if array.size and not np.may_share_memory(result, array):
        raise Copied(view.inputs[0])
    return result

"""What an operation becomes when its arrays are cut over the threads of a network, see `partition`."""

import functools
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dysonjax.compile.cuts import WHOLE
from dysonjax.compile.graph import Node
from dysonjax.compile.operations import ELEMENTWISE, THREADS

# Reductions, what they are between threads, and the number that changes nothing.
BETWEEN = {
    "reduce_sum": "sum_over_threads",
    "reduce_max": "max_over_threads",
    "reduce_min": "min_over_threads",
    "reduce_or": "or_over_threads",
    "reduce_and": "and_over_threads",
}
SAME_NUMBERS = ("reshape", "squeeze", "expand_dims")
EXCHANGE = 4  # what sending a number to another thread takes, in additions


class Holder(Protocol):
    """Who holds what, see `partition.Partition`."""

    threads: int
    scatter: bool
    levels: int  # of exchanges for a sum over threads
    new: dict[Node, Node]  # of a thread
    axis: dict[Node, int | None]  # along which it is cut

    def whole(self, node: Node) -> Node: ...
    def part(self, node: Node, axis: int) -> Node: ...
    def operand(self, operand: Node, node: Node, axis: int) -> Node: ...
    def make(self, node: Node, inputs: Sequence[Node], axis: int | None) -> Node: ...
    def masked(self, part: Node, axis: int, extent: int, neutral) -> Node: ...
    def summed(self, local: Node) -> tuple[Node, int | None]: ...
    def over_threads(self, local: Node, op: str) -> Node: ...
    def price_of_whole(self, node: Node) -> int: ...
    def price_of_part(self, node: Node, axis: int) -> int: ...


def pushed(work: Holder, node: Node, axis: int) -> Node | None:
    """The part of an operation as the operation on parts, where that needs no exchange."""
    if node.op in ELEMENTWISE and node.inputs and node.op not in THREADS:
        return work.make(node, [work.operand(i, node, axis) for i in node.inputs], axis)
    if work.axis[node] is not WHOLE or any(work.axis[i] is not WHOLE for i in node.inputs):
        return None
    if node.op == "dot_general":
        return _product_of_part(work, node, axis)
    if node.op not in ("broadcast_in_dim", "transpose", *BETWEEN, *SAME_NUMBERS):
        return None
    (inner,) = node.inputs
    if node.op in BETWEEN:
        left = [a for a in range(len(inner.shape)) if a not in node.params["axes"]]
        return work.make(node, [work.part(inner, left[axis])], axis)
    if node.op == "broadcast_in_dim":
        places = list(node.params["broadcast_dimensions"])
        if axis not in places or inner.shape[places.index(axis)] == 1:
            return work.make(node, [work.whole(inner)], axis)
        return work.make(node, [work.part(inner, places.index(axis))], axis)
    if node.op == "transpose":
        return work.make(node, [work.part(inner, node.params["permutation"][axis])], axis)
    same = _same_axis(node.shape, axis, inner.shape)
    return None if same is None else work.make(node, [work.part(inner, same)], axis)


def _product_of_part(work: Holder, node: Node, axis: int) -> Node:
    """This thread's part of a product whose factors are whole."""
    summed, shared = node.params["dimension_numbers"]
    if axis < len(shared[0]):
        factors = [work.part(f, s[axis]) for f, s in zip(node.inputs, shared, strict=True)]
        return work.make(node, factors, axis)
    for side, factor in enumerate(node.inputs):
        for own in range(len(factor.shape)):
            if own not in (*summed[side], *shared[side]) and _free(node, side, own) == axis:
                factors = [
                    work.part(f, own) if s == side else work.whole(f) for s, f in enumerate(node.inputs)
                ]
                return work.make(node, factors, axis)
    raise AssertionError(axis)


def rule(work: Holder, node: Node) -> tuple[Node, int | None]:
    op, inputs = node.op, node.inputs
    axes = [work.axis[i] for i in inputs]
    if all(axis is WHOLE for axis in axes):
        return work.make(node, [work.new[i] for i in inputs], WHOLE), WHOLE
    found = None
    if op in ELEMENTWISE:
        found = _elementwise(work, node)
    elif op == "dot_general":
        found = _product(work, node)
    elif op in BETWEEN:
        found = _reduction(work, node)
    elif op == "concatenate":
        found = _joined(work, node)
    elif axes[0] is not WHOLE and all(axis is WHOLE for axis in axes[1:]):
        found = _moved(work, node)
    return found or (work.make(node, [work.whole(i) for i in inputs], WHOLE), WHOLE)


def _cut(work: Holder, node: Node) -> int:
    """The axis along which a node that is not whole is cut."""
    axis = work.axis[node]
    assert axis is not None
    return axis


def _elementwise(work: Holder, node: Node):
    cuts = [
        axis
        for i in node.inputs
        if (axis := work.axis[i]) is not None
        and len(i.shape) == len(node.shape)
        and i.shape[axis] == node.shape[axis]
    ]
    if not cuts:
        return None
    axis = max(dict.fromkeys(cuts), key=cuts.count)
    return work.make(node, [work.operand(i, node, axis) for i in node.inputs], axis), axis


def _reduction(work: Holder, node: Node):
    (inner,), over = node.inputs, node.params["axes"]
    cut_axis = _cut(work, inner)
    if cut_axis not in over:
        axis = cut_axis - sum(a < cut_axis for a in over)
        return work.make(node, [work.new[inner]], axis), axis
    neutral = _neutral(node.op, inner.dtype)
    part = work.masked(work.new[inner], cut_axis, inner.shape[cut_axis], neutral)
    local = work.make(node, [part], WHOLE)
    if node.op == "reduce_sum":
        return work.summed(local)
    return work.over_threads(local, BETWEEN[node.op]), WHOLE


def _joined(work: Holder, node: Node):
    """Parts of arrays that are joined along another axis."""
    axes = {axis for i in node.inputs if (axis := work.axis[i]) is not None}
    axis = min(axes)
    if len(axes) > 1 or axis == node.params["dimension"]:
        return None
    return work.make(node, [work.part(i, axis) for i in node.inputs], axis), axis


def _moved(work: Holder, node: Node):
    """Operations on one array that keep an axis as it is."""
    inner, *rest = node.inputs
    old = _cut(work, inner)
    axis: int | None = None
    match node.op:
        case "broadcast_in_dim":
            axis = node.params["broadcast_dimensions"][old]
        case "transpose":
            axis = node.params["permutation"].index(old)
        case "reshape" | "squeeze" | "expand_dims":
            axis = _same_axis(inner.shape, old, node.shape)
        case "slice":
            strides = node.params["strides"] or (1,) * len(inner.shape)
            if node.shape[old] == inner.shape[old] and strides[old] == 1:
                axis = old
        case "rev":
            axis = None if old in node.params["dimensions"] else old
        case "pad":
            axis = old if node.params["padding_config"][old] == (0, 0, 0) else None
    if axis is None:
        return None
    return work.make(node, [work.new[inner], *map(work.whole, rest)], axis), axis


def _product(work: Holder, node: Node):
    """The way to multiply that takes the fewest additions and exchanges of numbers."""
    summed, shared = node.params["dimension_numbers"]
    terms = math.prod(node.inputs[0].shape[a] for a in summed[0])
    share = node.size * terms / work.threads

    def of_whole():
        return work.make(node, [work.whole(f) for f in node.inputs], WHOLE), WHOLE

    def over_cut(number):
        factors = [
            work.masked(work.part(f, s[number]), s[number], f.shape[s[number]], 0)
            for f, s in zip(node.inputs, summed, strict=True)
        ]
        return work.summed(work.make(node, factors, WHOLE))

    def of_parts(number):
        factors = [work.part(f, s[number]) for f, s in zip(node.inputs, shared, strict=True)]
        return work.make(node, factors, number), number

    def free(side):
        axis = _free(node, side, _cut(work, node.inputs[side]))
        factors = [work.new[f] if s == side else work.whole(f) for s, f in enumerate(node.inputs)]
        return work.make(node, factors, axis), axis

    exchange = work.levels if not work.scatter else 2
    options = [(node.size * terms + sum(map(work.price_of_whole, node.inputs)), of_whole)]
    for side, factor in enumerate(node.inputs):
        cut_axis, other = work.axis[factor], node.inputs[1 - side]
        if cut_axis is WHOLE:
            continue
        if cut_axis in summed[side]:
            number = list(summed[side]).index(cut_axis)
            price = work.price_of_part(other, summed[1 - side][number]) + EXCHANGE * exchange * node.size
            options.append((share + price, functools.partial(over_cut, number)))
        elif cut_axis in shared[side]:
            number = list(shared[side]).index(cut_axis)
            price = work.price_of_part(other, shared[1 - side][number])
            options.append((share + price, functools.partial(of_parts, number)))
        else:
            options.append((share + work.price_of_whole(other), functools.partial(free, side)))
    return min(options, key=lambda option: option[0])[1]()


def _same_axis(shape: Sequence[int], axis: int, other: Sequence[int]) -> int | None:
    """The axis of another shape of the same numbers that has the positions of `axis`."""
    before = math.prod(shape[:axis])
    fits = (b for b, n in enumerate(other) if n == shape[axis] and math.prod(other[:b]) == before)
    return next(fits, None)


def _free(node: Node, side: int, axis: int) -> int:
    """The axis of a product that a free axis of a factor becomes."""
    (summed, shared), factors = node.params["dimension_numbers"], node.inputs
    free = [
        [a for a in range(len(f.shape)) if a not in (*summed[s], *shared[s])] for s, f in enumerate(factors)
    ]
    return len(shared[0]) + (len(free[0]) if side else 0) + free[side].index(axis)


def _neutral(op: str, dtype: np.dtype):
    if op in ("reduce_sum", "reduce_or"):
        return 0
    if op == "reduce_and":
        return True if dtype.kind == "b" else -1
    if dtype.kind == "b":
        return op == "reduce_min"
    if dtype.kind == "f":
        return -np.inf if op == "reduce_max" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if op == "reduce_max" else limits.max

"""From the graph of ONE network to the graph of one of its T threads.

Every array of a network is held whole by each of its threads, or cut along one axis. What all networks share
stays whole, in memory that all threads read. A cut array has n = ceil(N / T) positions of its axis in a
thread, those from min(n t, N - n) on for thread t: if T does not divide N, some positions are held by two
threads, which compute the same there, and a sum over the axis leaves the second ones out.

New operations: `sum_over_threads` and its like (elementwise, over the threads of a network), `scatter_sum`
(the same, but a thread gets its part of the sums alone), `gather_parts` (parts to the whole), and slices at a
position that depends on the thread (the part of something whole).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile import graph
from dysonjax.compile.graph import NETWORK, Node, Unsupported, constant, topological
from dysonjax.compile.operations import ELEMENTWISE

# Reductions, what they are between threads, and the number that changes nothing.
BETWEEN = {
    "reduce_sum": "sum_over_threads",
    "reduce_max": "max_over_threads",
    "reduce_min": "min_over_threads",
    "reduce_or": "or_over_threads",
    "reduce_and": "and_over_threads",
}
SAME_NUMBERS = ("reshape", "squeeze", "expand_dims")
WHOLE = None  # the axis of what is not cut
EXCHANGE = 4  # what sending a number to another thread takes, in additions


def part_extent(extent: int, threads: int) -> int:
    """Positions of a cut axis that a thread holds."""
    return -(-extent // threads)


def first_position(extent: int, threads: int, thread: int) -> int:
    """The first one of a thread."""
    n = part_extent(extent, threads)
    return min(n * thread, extent - n)


def place_of(extent: int, threads: int, position: int) -> tuple[int, int]:
    """The thread that a position is taken from, and the place there."""
    thread = position // part_extent(extent, threads)
    return thread, position - first_position(extent, threads, thread)


class Cut(NamedTuple):
    """How a network is cut."""

    threads: int
    axes: tuple[int | None, ...]  # along which each state is; None: it is whole in every thread
    scatter: bool = False  # whether sums over threads are left in parts where they can be


def cut(outputs: Sequence[Node], states: Sequence[Node], how: Cut) -> "Parts":
    """The graph of a thread. Raises Unsupported if a network cannot be cut like that."""
    axes = how.axes
    work = _Partition(how, dict(zip(states, axes, strict=True)))
    for node in topological(outputs):
        work.visit(node)
    for state in states:
        if state not in work.new:
            work.visit(state)
    local = [work.new[state] for state in states]
    new = [
        out if out is state else work.held(out, axis)
        for out, state, axis in zip(outputs, states, axes, strict=True)
    ]
    new = [loc if out is state else n for n, out, state, loc in zip(new, outputs, states, local, strict=True)]
    return Parts(how, new, local, work.thread, work.exchanged)


@dataclasses.dataclass(frozen=True)
class Parts:
    """The graph of one thread."""

    how: Cut
    outputs: list[Node]
    states: list[Node]  # inputs
    thread: Node  # the number of the thread, an input
    exchanged: int  # shuffles of a step


class _Partition:
    def __init__(self, how: Cut, layouts: Mapping[Node, int | None]):
        threads = how.threads
        self.threads, self.scatter, self.layouts = threads, how.scatter, layouts
        self.new: dict[Node, Node] = {}  # of a thread
        self.axis: dict[Node, int | None] = {}  # along which it is cut
        self.parts: dict[tuple[Node, int], Node] = {}
        self.wholes: dict[Node, Node] = {}
        self.masks: dict[int, Node] = {}  # by extent, of cut axes that T does not divide
        self.thread = graph.source((), np.int32, graph.WORLD, True)
        self.exchanged = 0
        self.levels = max(threads.bit_length() - 1, 0)  # of a sum over threads

    # -- what a thread holds ---------------------------------------------------------------------------

    def held(self, node: Node, axis: int | None) -> Node:
        return self.whole(node) if axis is WHOLE else self.part(node, axis)

    def whole(self, node: Node) -> Node:
        """The node as every thread holds it whole."""
        axis = self.axis[node]
        if axis is WHOLE:
            return self.new[node]
        if node not in self.wholes:
            self.exchanged += node.size
            params = {"axis": axis, "extent": node.shape[axis], "threads": self.threads}
            self.wholes[node] = Node(
                "gather_parts", (self.new[node],), node.shape, node.dtype, NETWORK, True, params
            )
        return self.wholes[node]

    def part(self, node: Node, axis: int) -> Node:
        """This thread's part of a node along an axis."""
        if self.axis[node] == axis:
            return self.new[node]
        key = node, axis
        if key not in self.parts:
            self.parts[key] = self.pushed(node, axis) or self.sliced(node, axis)
        return self.parts[key]

    def operand(self, operand: Node, node: Node, axis: int) -> Node:
        """What an elementwise operation on parts needs; an extent of 1 stands for all."""
        fits = len(operand.shape) == len(node.shape) and operand.shape[axis] == node.shape[axis]
        return self.part(operand, axis) if fits else self.whole(operand)

    def sliced(self, node: Node, axis: int) -> Node:
        whole, extent = self.whole(node), node.shape[axis]
        shape = self.shape(node, axis)
        if whole.varying and whole.scope == NETWORK:  # in registers, which have no addresses
            self.exchanged += node.size
            params = {"axis": axis, "extent": extent, "threads": self.threads}
            return Node("part_of", (whole, self.thread), shape, node.dtype, NETWORK, True, params)
        zero, first = constant(np.int32(0)), self.times_thread(part_extent(extent, self.threads))
        starts = [first if a == axis else zero for a in range(len(node.shape))]
        scope = graph.WORLD if whole.scope <= graph.WORLD else NETWORK
        found = Node("dynamic_slice", (whole, *starts), shape, node.dtype, scope, True)
        return kept(found) if scope == graph.WORLD else found

    def pushed(self, node: Node, axis: int) -> Node | None:
        """The part of an operation as the operation on parts, where that needs no exchange."""
        if node.op in ELEMENTWISE and node.inputs and node.op not in BETWEEN.values():
            return self.make(node, [self.operand(i, node, axis) for i in node.inputs], axis)
        if self.axis[node] is not WHOLE or any(self.axis[i] is not WHOLE for i in node.inputs):
            return None
        if node.op == "dot_general":
            return self.product_of_part(node, axis)
        if node.op not in ("broadcast_in_dim", "transpose", *BETWEEN, *SAME_NUMBERS):
            return None
        (inner,) = node.inputs
        if node.op in BETWEEN:
            left = [a for a in range(len(inner.shape)) if a not in node.params["axes"]]
            return self.make(node, [self.part(inner, left[axis])], axis)
        if node.op == "broadcast_in_dim":
            places = list(node.params["broadcast_dimensions"])
            if axis not in places or inner.shape[places.index(axis)] == 1:
                return self.make(node, [self.whole(inner)], axis)
            return self.make(node, [self.part(inner, places.index(axis))], axis)
        if node.op == "transpose":
            return self.make(node, [self.part(inner, node.params["permutation"][axis])], axis)
        same = _same_axis(node.shape, axis, inner.shape)
        return None if same is None else self.make(node, [self.part(inner, same)], axis)

    def product_of_part(self, node: Node, axis: int) -> Node:
        """This thread's part of a product whose factors are whole."""
        summed, shared = node.params["dimension_numbers"]
        if axis < len(shared[0]):
            factors = [self.part(f, s[axis]) for f, s in zip(node.inputs, shared, strict=True)]
            return self.make(node, factors, axis)
        for side, factor in enumerate(node.inputs):
            for own in range(len(factor.shape)):
                if own not in (*summed[side], *shared[side]) and _free(node, side, own) == axis:
                    factors = [
                        self.part(f, own) if s == side else self.whole(f) for s, f in enumerate(node.inputs)
                    ]
                    return self.make(node, factors, axis)
        raise AssertionError(axis)

    def times_thread(self, n: int) -> Node:
        if n == 1:
            return self.thread
        return Node("mul", (self.thread, constant(np.int32(n))), (), np.dtype(np.int32), graph.WORLD, True)

    def masked(self, part: Node, axis: int, extent: int, neutral) -> Node:
        """A part in which positions that the thread before holds as well have another value."""
        if extent % self.threads == 0:
            return part
        if extent not in self.masks:
            n = part_extent(extent, self.threads)
            first, integer = self.times_thread(n), np.dtype(np.int32)

            def node(op, *inputs, dtype=integer, shape=(n,)):
                return Node(op, inputs, shape, dtype, graph.WORLD, True)

            start = node("min", first, constant(np.int32(extent - n)), shape=())
            places = node("add", _spread(start, (n,), ()), constant(np.arange(n, dtype=np.int32)))
            owned = node("ge", places, _spread(first, (n,), ()), dtype=np.dtype(bool))
            self.masks[extent] = kept(owned)
        mask = _spread(self.masks[extent], part.shape, (axis,))
        other = constant(np.full(part.shape, neutral, part.dtype))
        scope = NETWORK if part.scope > graph.WORLD else graph.WORLD
        return Node("select_n", (mask, other, part), part.shape, part.dtype, scope, True)

    # -- operations --------------------------------------------------------------------------------------

    def shape(self, node: Node, axis: int | None) -> tuple[int, ...]:
        return tuple(
            part_extent(n, self.threads) if place == axis else n for place, n in enumerate(node.shape)
        )

    def make(self, node: Node, inputs: Sequence[Node], axis: int | None) -> Node:
        """The node with other inputs, cut along an axis."""
        varying = node.varying or any(i.varying for i in inputs)
        scope = max([node.scope, *(i.scope for i in inputs)])
        scope = NETWORK if varying and scope > graph.WORLD else scope
        return dataclasses.replace(
            node, inputs=tuple(inputs), shape=self.shape(node, axis), scope=scope, varying=varying
        )

    def over_threads(self, local: Node, op: str) -> Node:
        self.exchanged += self.levels * local.size
        return dataclasses.replace(local, op=op, inputs=(local,), params={}, scope=NETWORK, varying=True)

    def summed(self, local: Node) -> tuple[Node, int | None]:
        """The sum of what the threads have, and how it is held."""
        threads = self.threads
        axes = [a for a, n in enumerate(local.shape) if part_extent(n, threads) * threads <= 2 * n]
        if not self.scatter or not axes or threads == 1:
            return self.over_threads(local, "sum_over_threads"), WHOLE
        axis = min(axes, key=lambda a: (local.shape[a] % threads != 0, -a))
        extent, shape = local.shape[axis], self.shape(local, axis)
        self.exchanged += math.prod(shape) * (threads - 1)
        params = {"axis": axis, "extent": extent, "threads": threads}
        inputs = (local, self.thread)
        return Node("scatter_sum", inputs, shape, local.dtype, NETWORK, True, params), axis

    def visit(self, node: Node) -> None:
        """Say how a node is held, by what its inputs are."""
        if node.op == "input":
            axis = self.layouts.get(node)
            new = node if axis is WHOLE else dataclasses.replace(node, shape=self.shape(node, axis))
        elif not node.varying:
            new, axis = node, WHOLE
        else:
            new, axis = self.rule(node)
        self.new[node], self.axis[node] = new, axis

    def rule(self, node: Node) -> tuple[Node, int | None]:
        op, inputs = node.op, node.inputs
        axes = [self.axis[i] for i in inputs]
        if all(axis is WHOLE for axis in axes):
            return self.make(node, [self.new[i] for i in inputs], WHOLE), WHOLE
        found = None
        if op in ELEMENTWISE:
            found = self.elementwise(node)
        elif op == "dot_general":
            found = self.product(node)
        elif op in BETWEEN:
            found = self.reduction(node)
        elif op == "concatenate":
            found = self.joined(node)
        elif axes[0] is not WHOLE and all(axis is WHOLE for axis in axes[1:]):
            found = self.moved(node)
        return found or (self.make(node, [self.whole(i) for i in inputs], WHOLE), WHOLE)

    def elementwise(self, node: Node):
        cuts = [
            self.axis[i]
            for i in node.inputs
            if self.axis[i] is not WHOLE
            and len(i.shape) == len(node.shape)
            and i.shape[self.axis[i]] == node.shape[self.axis[i]]
        ]
        if not cuts:
            return None
        axis = max(dict.fromkeys(cuts), key=cuts.count)
        return self.make(node, [self.operand(i, node, axis) for i in node.inputs], axis), axis

    def reduction(self, node: Node):
        (inner,), over = node.inputs, node.params["axes"]
        cut_axis = self.axis[inner]
        if cut_axis not in over:
            axis = cut_axis - sum(a < cut_axis for a in over)
            return self.make(node, [self.new[inner]], axis), axis
        neutral = _neutral(node.op, inner.dtype)
        part = self.masked(self.new[inner], cut_axis, inner.shape[cut_axis], neutral)
        local = self.make(node, [part], WHOLE)
        if node.op == "reduce_sum":
            return self.summed(local)
        return self.over_threads(local, BETWEEN[node.op]), WHOLE

    def joined(self, node: Node):
        """Parts of arrays that are joined along another axis."""
        axes = {self.axis[i] for i in node.inputs if self.axis[i] is not WHOLE}
        axis = min(axes)
        if len(axes) > 1 or axis == node.params["dimension"]:
            return None
        return self.make(node, [self.part(i, axis) for i in node.inputs], axis), axis

    def moved(self, node: Node):
        """Operations on one array that keep an axis as it is."""
        inner, *rest = node.inputs
        old, axis = self.axis[inner], None
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
        return self.make(node, [self.new[inner], *map(self.whole, rest)], axis), axis

    def product(self, node: Node):
        """The way to multiply that takes the fewest additions and exchanges of numbers."""
        summed, shared = node.params["dimension_numbers"]
        terms = math.prod(node.inputs[0].shape[a] for a in summed[0])
        share = node.size * terms / self.threads

        def of_whole():
            return self.make(node, [self.whole(f) for f in node.inputs], WHOLE), WHOLE

        def over_cut(number):
            factors = [
                self.masked(self.part(f, s[number]), s[number], f.shape[s[number]], 0)
                for f, s in zip(node.inputs, summed, strict=True)
            ]
            return self.summed(self.make(node, factors, WHOLE))

        def of_parts(number):
            factors = [self.part(f, s[number]) for f, s in zip(node.inputs, shared, strict=True)]
            return self.make(node, factors, number), number

        def free(side):
            axis = _free(node, side, self.axis[node.inputs[side]])
            factors = [self.new[f] if s == side else self.whole(f) for s, f in enumerate(node.inputs)]
            return self.make(node, factors, axis), axis

        exchange = self.levels if not self.scatter else 2
        options = [(node.size * terms + sum(map(self.price_of_whole, node.inputs)), of_whole)]
        for side, factor in enumerate(node.inputs):
            cut_axis, other = self.axis[factor], node.inputs[1 - side]
            if cut_axis is WHOLE:
                continue
            if cut_axis in summed[side]:
                number = list(summed[side]).index(cut_axis)
                price = self.price_of_part(other, summed[1 - side][number]) + EXCHANGE * exchange * node.size
                options.append((share + price, functools.partial(over_cut, number)))
            elif cut_axis in shared[side]:
                number = list(shared[side]).index(cut_axis)
                price = self.price_of_part(other, shared[1 - side][number])
                options.append((share + price, functools.partial(of_parts, number)))
            else:
                options.append((share + self.price_of_whole(other), functools.partial(free, side)))
        return min(options, key=lambda option: option[0])[1]()

    def price_of_whole(self, node: Node) -> int:
        return 0 if self.axis[node] is WHOLE or node in self.wholes else EXCHANGE * node.size

    def price_of_part(self, node: Node, axis: int) -> int:
        if self.axis[node] == axis or (node, axis) in self.parts:
            return 0
        free = self.axis[node] is WHOLE and not self.new[node].varying
        return 0 if free else self.price_of_whole(node) + 2 * node.size


def kept(node: Node) -> Node:
    """The same numbers as a node of their own, which is computed once: -0 is what changes no number."""
    zero = constant(np.zeros((), bool)) if node.dtype == bool else constant(-np.zeros((), node.dtype))
    op = "or" if node.dtype == bool else "add"
    return Node(op, (node, zero), node.shape, node.dtype, node.scope, node.varying)


def _spread(node: Node, shape: tuple[int, ...], places: tuple[int, ...]) -> Node:
    params = {"broadcast_dimensions": places}
    return Node("broadcast_in_dim", (node,), shape, node.dtype, node.scope, node.varying, params)


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


__all__ = ["Cut", "Parts", "Unsupported", "cut", "first_position", "kept", "part_extent", "place_of"]

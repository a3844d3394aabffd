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
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dysonjax.compile import graph
from dysonjax.compile.cut_rules import EXCHANGE, pushed, rule
from dysonjax.compile.cuts import WHOLE, Cut, kept, part_extent
from dysonjax.compile.graph import NETWORK, Node, constant, topological


def cut(outputs: Sequence[Node], states: Sequence[Node], how: Cut) -> "Parts":
    """The graph of a thread. Raises Unsupported if a network cannot be cut like that."""
    axes = how.axes
    work = Partition(how, dict(zip(states, axes, strict=True)))
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


class Partition:
    """Who holds what: of every node the one of a thread, and the axis along which that is cut."""

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
            self.parts[key] = pushed(self, node, axis) or self.sliced(node, axis)
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
            new, axis = rule(self, node)
        self.new[node], self.axis[node] = new, axis

    def price_of_whole(self, node: Node) -> int:
        return 0 if self.axis[node] is WHOLE or node in self.wholes else EXCHANGE * node.size

    def price_of_part(self, node: Node, axis: int) -> int:
        if self.axis[node] == axis or (node, axis) in self.parts:
            return 0
        free = self.axis[node] is WHOLE and not self.new[node].varying
        return 0 if free else self.price_of_whole(node) + 2 * node.size


def _spread(node: Node, shape: tuple[int, ...], places: tuple[int, ...]) -> Node:
    params = {"broadcast_dimensions": places}
    return Node("broadcast_in_dim", (node,), shape, node.dtype, node.scope, node.varying, params)

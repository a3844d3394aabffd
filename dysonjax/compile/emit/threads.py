"""The loops of a thread of a network, by the writer of lanes: its arrays are registers, what the networks of
a world share lies in the block's shared memory.

What differs between threads is written as in lanes, with the loops unrolled. What all share is computed by
the threads of a block together, a chunk of steps at once: a loop over the elements of an array and the steps
of a chunk, element e by thread e. What is only looked up in the data of a world is copied there instead.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile.buffers import reads
from dysonjax.compile.cuts import first_position, kept, place_of
from dysonjax.compile.emit import products
from dysonjax.compile.emit.lanes import UNROLLED, LanesWriter
from dysonjax.compile.expressions import c_type
from dysonjax.compile.graph import STEP, Node, Unsupported, topological
from dysonjax.compile.operations import VIEWS
from dysonjax.compile.schedule import Plan
from dysonjax.compile.shapes import Index, add, divided, through, times, unflatten, variable

ALIGNED = 16  # bytes of the longest copy


class Shared(NamedTuple):
    """An array in the shared memory of a block."""

    name: str
    kind: str
    bytes: int  # of a step
    of_steps: bool  # whether every step of a chunk has its own
    twice: bool  # whether a chunk is made while the one before it is used
    copied: bool  # whether it arrives by itself


def staged(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with what a network looks up in the data of its world as arrays of their own."""
    new: dict[Node, Node] = {}
    shown: dict[Node, Node] = {}  # views of what all share, as networks see them

    def seen(node: Node) -> Node:
        if node.varying or node.scope != STEP or node.op not in VIEWS or node.size < 2:
            return node
        if node not in shown:
            inner = node.inputs[0]
            if inner.scope < STEP:  # a look-up at a position of this step
                shown[node] = kept(node)
            else:
                shown[node] = dataclasses.replace(node, inputs=(seen(inner), *node.inputs[1:]))
        return shown[node]

    for node in topological(outputs):
        inputs = tuple(new[operand] for operand in node.inputs)
        inputs = tuple(map(seen, inputs)) if node.varying else inputs
        new[node] = node if inputs == node.inputs else dataclasses.replace(node, inputs=inputs)
    return [new[node] for node in outputs]


class ThreadWriter(LanesWriter):
    """Writes bodies of a thread; `shared` says afterwards what a block has in shared memory."""

    def __init__(self, plan: Plan, names, index: Node):
        super().__init__(plan, names, index)
        self.shared: list[Shared] = []
        self.together = False  # whether the threads of a block share the loop that is being written
        roots = frozenset(plan.roots)
        self.of_networks = {node for root in roots if root.varying for node in reads(root, roots)}
        for root in plan.roots:
            if root.op == "eigh" or (root.op == "add_rows" and not root.varying):
                raise Unsupported(f"the operation {root.op} between the threads of a network")

    def declare(self, root: Node) -> None:
        kind, name, size = c_type(root), self.names[root], max(root.size, 1)
        if root.varying:
            self.line(f"{kind} {name}[{size}];")
            return
        of_steps = root.scope == STEP
        size_bytes = size * (4 if root.dtype == bool else root.dtype.itemsize)
        twice, copied = of_steps and root in self.of_networks, _source(root) is not None
        self.shared.append(Shared(name, kind, size_bytes, of_steps, twice, copied and twice))
        if of_steps:
            self.names[root] = f"({name} + s * {size})"

    def loops(self, root: Node) -> None:
        self.together = not root.varying
        if not self.together:
            super().loops(root)
        elif self.shared[-1].copied:
            self.copy(root)
        elif root in self.plan.products:
            product = self.plan.products[root]
            self.known = {}
            self.nest(root.shape, lambda index: self.summed(product, index))
        else:
            super().loops(root)
        self.together = False

    def loop(self, root: Node) -> None:
        if root.op == "scatter_sum":
            self.scattered(root)
        else:
            super().loop(root)

    def nest(
        self, shape: Sequence[int], body: Callable, vector: bool = True, unrolled: int = UNROLLED
    ) -> None:
        if not self.together:
            super().nest(shape, body, vector, unrolled)
            return
        size, outside = max(math.prod(shape), 1), self.known
        self.known = {}
        body(unflatten(self.elements(size), shape))
        self.line("}")
        self.line("BARRIER;")
        self.known = outside

    def elements(self, size: int) -> Index:
        """Begin a loop of all threads over the elements of an array, for every step that is made ahead."""
        element = self.name("e")
        if self.root.scope != STEP:
            self.line(f"TOGETHER({element}, {size}) {{")
            return variable(element, size - 1)
        place = self.name("i")
        self.line(f"TOGETHER({element}, here * {size}) {{")
        self.line(f"const int s = {element} / {size}, {place} = {element} % {size};")
        self.line("const int32_s index = start + s;")
        return variable(place, size - 1)

    def summed(self, product: Node, index: tuple[Index, ...]) -> None:
        """An element of a product of what all share."""
        axes = products._axes(product)
        total, start = self.plan.starts.get(product, (product, None))
        name = self.name()
        first = self.operand(start, index) if start is not None else "0"
        self.line(f"{c_type(product)} {name} = {first};")
        outside, self.known = self.known, dict(self.known)
        term = tuple(map(self.loop_over, products._extents(product, axes)))
        places = products._operands(product, axes, index, term)
        left, right = (self.value(f, place) for f, place in zip(product.inputs, places, strict=True))
        self.line(f"{name} {'-' if total.op == 'sub' else '+'}= {left} * {right};" + "}" * len(term))
        self.known = outside
        self.known[total, index] = name
        if self.root is total:
            self.put(index, name)
        else:
            self.element(index)

    def copy(self, root: Node) -> None:
        """An array that is looked up in the data of a world: copies arrive while the networks go on."""
        source, width, many = _source(root), root.dtype.itemsize, 1
        assert source is not None, "of a root that is a copy"
        if _contiguous(root):
            # A world's data and every block of it begin at a multiple of what is copied at once.
            whole = math.gcd(root.size * width, source.size * width, ALIGNED)
            many = max(n for n in (1, 2, 4) if whole % (n * width) == 0 or n == 1)
        self.known = {}
        place = times(self.elements(root.size // many), many)
        node, index = root.inputs[0], unflatten(place, root.shape)
        while node is not source:
            if node.op == "dynamic_slice":
                firsts = self.firsts(node, [(start, ()) for start in node.inputs[1:]], node.shape)
                index = tuple(map(add, index, firsts))
            else:
                index = through(node, index)
            node = node.inputs[0]
        there = self.read(source, self.place(source, index))
        self.line(f"COPY(&{self.read(root, place)}, &{there}, {many * width});")
        self.line("}")

    def scattered(self, root: Node) -> None:
        """Sums over the threads, of which each gets its part: at every level it sends half of them away.

        The terms of a sum are added in the same order wherever it arrives.
        """
        axis, extent, threads = (root.params[name] for name in ("axis", "extent", "threads"))
        local, kind = root.inputs[0], c_type(root)
        levels = [threads >> level for level in range(1, threads.bit_length())]
        upper = {}
        for distance in levels:
            upper[distance] = self.name()
            truth = f"TRUTH((thread[0] & {distance}) != ZERO(int32_v))"
            mask = truth if root.dtype.itemsize == 4 else f"CONVERT(int{8 * root.dtype.itemsize}_v, {truth})"
            self.line(f"const int{8 * root.dtype.itemsize}_v {upper[distance]} = {mask};")
        for index in np.ndindex(*root.shape):
            index = tuple(map(int, index))
            values = [
                self.value(
                    local,
                    (*index[:axis], first_position(extent, threads, t) + index[axis], *index[axis + 1 :]),
                )
                for t in range(threads)
            ]
            for distance in levels:
                sums = []
                for low, high in zip(values[:distance], values[distance:], strict=True):
                    kept_value, sent = self.name(), self.name()
                    mask = upper[distance]
                    self.line(f"const {kind} {kept_value} = {kind}_choose({mask}, {high}, {low});")
                    self.line(f"const {kind} {sent} = {kind}_choose({mask}, {low}, {high});")
                    sums.append(f"({kept_value} + {kind}_from_other({sent}, {distance}))")
                values = [self.named(root, total) for total in sums]
            self.put(index, values[0])

    def computed(self, node: Node, index: tuple[Index, ...]) -> str:
        if node.op == "gather_parts":
            return self.from_parts(node, index)
        if node.op == "part_of":
            return self.part(node, index)
        return super().computed(node, index)

    def part(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of this thread's part of an array in registers, chosen among those of all threads."""
        axis, extent, threads = (node.params[name] for name in ("axis", "extent", "threads"))
        inner, kind = index[axis], c_type(node)
        firsts = {first_position(extent, threads, t): t for t in reversed(range(threads))}
        values = {
            t: self.value(node.inputs[0], (*index[:axis], add(inner, first), *index[axis + 1 :]))
            for first, t in firsts.items()
        }
        first, *others = sorted(values)
        found = values[first]
        for t in others:
            truth = f"TRUTH(thread[0] >= {t} + ZERO(int32_v))"
            if node.dtype.itemsize != 4 and node.dtype.kind != "b":
                truth = f"CONVERT(int{8 * node.dtype.itemsize}_v, {truth})"
            found = self.named(node, f"{kind}_choose({truth}, {values[t]}, {found})")
        return found

    def from_parts(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of an array that is cut, from the thread that has it."""
        params, (part,) = node.params, node.inputs
        axis, extent, threads = (params[name] for name in ("axis", "extent", "threads"))
        position, n = index[axis], part.shape[axis]
        owner: Index
        inner: Index
        if isinstance(position, int):
            owner, inner = place_of(extent, threads, position)
        else:
            owner, inner = divided(position, n)
            if extent % threads:
                inner = variable(f"({position} - MIN(({owner}) * {n}, {extent - n}))", n - 1)
        value = self.value(part, (*index[:axis], inner, *index[axis + 1 :]))
        return f"{c_type(node)}_from_thread({value}, {owner})"


def _source(root: Node) -> Node | None:
    """The input in which an array is looked up that is nothing but a view of it."""
    if root.op != "add" or root.inputs[1].op != "constant" or root.dtype.itemsize not in (4, 8):
        return None
    zero = root.inputs[1].params["value"]
    if zero.shape != () or zero != 0 or (root.dtype.kind == "f" and not np.signbit(zero)):
        return None
    node = root.inputs[0]
    while node.op in VIEWS and node.op != "take":
        node = node.inputs[0]
    return node if node.op == "input" and not node.varying and root.dtype != bool else None


def _contiguous(root: Node) -> bool:
    """Whether an array that is looked up is one block of its source that begins at a multiple of its size."""
    node, size = root.inputs[0], root.size
    while node.op != "input":
        inner = node.inputs[0]
        match node.op:
            case "reshape" | "squeeze" | "expand_dims":
                pass
            case "dynamic_slice":
                along = [a for a, (n, m) in enumerate(zip(node.shape, inner.shape, strict=True)) if n != m]
                if along not in ([], [0]) or (along and node.shape[0] != 1):
                    return False
            case "broadcast_in_dim":
                places = node.params["broadcast_dimensions"]
                if node.size != inner.size or list(places) != sorted(places):
                    return False
            case _:
                return False
        node = inner
    return size > 0

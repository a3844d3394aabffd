"""The C text of a root, whatever the target: values by recursion over the graph, and where they are put.

A target says how it reads and writes an element of memory and how it goes over all elements of an array; the
rest, from views to look-ups, is written here once. The text knows no operation: `expressions` writes those.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dysonjax.compile.expressions import c_type, in_lanes, literal, operation
from dysonjax.compile.graph import Node, constant
from dysonjax.compile.schedule import Plan
from dysonjax.compile.shapes import (
    STRIDED,
    Index,
    add,
    dot,
    flat,
    strides_of,
    through,
    unflatten,
    variable,
)


class Writer:
    """Text that is being written: the lines so far, what has a name in them, and the root they belong to."""

    def __init__(self, plan: Plan, names: Mapping[Node, str], buffered: frozenset[Node]):
        """names: of what lies in memory, besides constants; buffered: stores that go to a buffer first."""
        self.plan, self.names, self.buffered = plan, dict(names), buffered
        self.lines: list[str] = []
        self.known: dict[tuple, str] = {}  # names of values in the lines that are being written
        self.root: Node  # set before anything is written
        self._counter = itertools.count()
        self._tables: dict[Node, Node] = {}

    # -- what a target defines -----------------------------------------------------------------------------

    def nest(self, shape: Sequence[int], body: Callable, vector: bool = True, unrolled: int = 0) -> None:
        """`body(index)` for every index of an array; vector: in any order, or several at a time.

        unrolled: how many elements may be written out one by one.
        """
        raise NotImplementedError

    def read(self, node: Node, place: Index) -> str:
        """An element of what lies in memory."""
        raise NotImplementedError

    def table(self, node: Node, place: Index) -> str:
        """An element of a constant whose elements differ."""
        raise NotImplementedError

    # -- text ------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append(text)

    def name(self, letter: str = "v") -> str:
        """A name that nothing else has."""
        return f"{letter}{next(self._counter)}"

    def restart(self) -> None:
        """Begin with the first name again."""
        self._counter = itertools.count()

    def named(self, node: Node, expression: str) -> str:
        name = self.name()
        self.line(f"{c_type(node)} {name} = {expression};")
        return name

    def loop_over(self, extent: int, letter: str = "i", step: int = 1) -> Index:
        """Begin a loop; whoever does closes it."""
        name = self.name(letter)
        self.line(f"for (int {name} = 0; {name} < {extent}; {name} += {step}) {{")
        return variable(name, extent - step)

    # -- memory ----------------------------------------------------------------------------------------------

    def target(self, root: Node) -> Node:
        """What a root is written to."""
        return root.params["to"] if root.op == "store" and root not in self.buffered else root

    def place(self, node: Node, index: Sequence[Index]) -> Index:
        """Where in its memory an element lies."""
        return dot(index, self.plan.strides.get(node) or strides_of(node.shape))

    def put(self, index: Sequence[Index], value: str) -> None:
        """Write an element of the root."""
        root = self.root
        value = in_lanes(value, root.inputs[0]) if root.op == "store" and root.varying else value
        self.line(f"{self.read(self.target(root), self.place(root, index))} = {value};")

    def element(self, index: tuple[Index, ...]) -> None:
        """One element of the root, by its operation."""
        root = self.root
        store = root.op == "store"
        self.put(index, self.value(root.inputs[0], index) if store else self.computed(root, index))

    # -- values ----------------------------------------------------------------------------------------------

    def value(self, node: Node, index: tuple[Index, ...]) -> str:
        """An expression for one element of a node, where the next line goes."""
        if node.op == "constant":
            return self.constant(node, index)
        if node in self.names and node is not self.root:
            return self.read(node, self.place(node, index))
        if node.op in STRIDED:
            return self.seen(node, index, self.value)
        if node.op == "take":
            return self.value(node.inputs[0], self.taken(node, index))
        if (node, index) not in self.known:
            self.known[node, index] = self.named(node, self.computed(node, index))
        return self.known[node, index]

    def seen(self, view: Node, index: tuple[Index, ...], then: Callable):
        """What `then` makes of the element of an array that a view shows."""
        return then(view.inputs[0], through(view, index))

    def computed(self, node: Node, index: tuple[Index, ...]) -> str:
        """The expression of an operation on elements, at an index."""
        if node.op in STRIDED:  # of a root that copies
            return self.seen(node, index, self.value)
        if node.op == "take":
            return self.value(node.inputs[0], self.taken(node, index))
        if node.op == "gather":
            return self.gathered(node, index)
        if node.op == "dynamic_slice":
            return self.looked_up(node, [(start, ()) for start in node.inputs[1:]], node.shape, index)
        return operation(node, [self.operand(operand, index) for operand in node.inputs])

    def operand(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of an operand, by the index of the result: an extent of 1 stands for all."""
        place = (0 if n == 1 else i for i, n in zip(index, node.shape, strict=bool(node.shape)))
        return self.value(node, tuple(place))

    def in_kind(self, node: Node, index: tuple[Index, ...], like: Node) -> str:
        """An element with the type of `like`: in lanes if that varies."""
        value = self.value(node, () if node.shape == () else index)
        return in_lanes(value, node) if like.varying else value

    def constant(self, node: Node, index: tuple[Index, ...]) -> str:
        value = node.params["value"]
        if all(isinstance(i, int) for i in index):
            return literal(value[index])
        if (value == value.ravel()[0]).all():
            return literal(value.ravel()[0])
        return self.table(node, flat(index, node.shape))

    # -- positions that are computed -----------------------------------------------------------------------

    def taken(self, node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
        """Where an element of a "take" comes from."""
        places, shape = node.params["places"], node.inputs[0].shape
        if all(isinstance(i, int) for i in index):
            return unflatten(int(places[index]), shape)
        table = self._tables.setdefault(node, constant(places.astype(np.int32)))
        text = self.constant(table, index)
        return unflatten(variable(text, node.inputs[0].size - 1), shape)

    def gathered(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of a gather."""
        indices, numbers = node.inputs[1], node.params["dimension_numbers"]
        part = node.params["slice_sizes"]
        batch = [i for axis, i in enumerate(index) if axis not in numbers.offset_dims]
        starts: dict = dict.fromkeys(range(len(part)))
        for number, axis in enumerate(numbers.start_index_map):
            starts[axis] = indices, (*batch, number)
        of_part = (index[axis] for axis in numbers.offset_dims)
        inside = [0 if axis in numbers.collapsed_slice_dims else next(of_part) for axis in range(len(part))]
        return self.looked_up(node, list(starts.values()), part, inside)

    def looked_up(self, node: Node, starts, part: Sequence[int], inside: Sequence[Index]) -> str:
        """The element `inside` of a part of the first operand.

        starts: for each axis what holds its first position, and the index there; None: it is 0.
        """
        return self.value(node.inputs[0], tuple(map(add, inside, self.firsts(node, starts, part))))

    def firsts(self, node: Node, starts, part: Sequence[int]) -> list[Index]:
        """Where a part of the first operand begins, along each axis."""
        return [
            0 if start is None else self.position(start[0], start[1], extent - size)
            for start, extent, size in zip(starts, node.inputs[0].shape, part, strict=True)
        ]

    def position(self, node: Node, index: tuple[Index, ...], last: int) -> Index:
        """A computed position, moved to 0 ... last as JAX has it."""
        if node.op == "constant" and all(isinstance(i, int) for i in index):
            return int(np.clip(int(node.params["value"][index]), 0, last))
        key = ("position", node, index, last)
        if key not in self.known:
            self.known[key] = self.clamped(node, self.value(node, index), last)
        return variable(self.known[key], last)

    def clamped(self, node: Node, value: str, last: int) -> str:
        """The name of a position that is moved to 0 ... last."""
        name = self.name()
        self.line(f"const long {name} = {value} < 0 ? 0 : {value} > {last} ? {last} : {value};")
        return name


def unknown(text: str) -> Index:
    """A position in C of which nothing is known here."""
    return variable(text, 2**31)

"""Loops over long arrays as functions, which equal loops of a step share, as its layers have them.

What a loop touches is found by writing it once with a variable an axis; its axes are then merged and ordered,
and it is written again with theirs.
"""

import re
from collections.abc import Callable, Sequence

from dysonjax.compile.emit.axes import VECTORS, Axis, merged, nested
from dysonjax.compile.emit.writer import Writer
from dysonjax.compile.expressions import c_type
from dysonjax.compile.graph import Node
from dysonjax.compile.schedule import Plan
from dysonjax.compile.shapes import Index, affine, stride, through, unflatten, variable

ONE_NUMBER = re.compile(r"p\d+\[\d+\]")


class Copied(Exception):
    """A view cannot be reshaped in place; the node that is being reshaped needs memory of its own."""

    def __init__(self, node: Node):
        super().__init__(f"the reshaped array {node.op}{node.shape}")
        self.node = node


class Split(Exception):
    """A place is no sum of multiples of loop variables."""


class FunctionWriter(Writer):
    """Writes each loop as a call of a function."""

    def __init__(self, plan: Plan, names, over: dict[Node, Node], buffered: frozenset[Node]):
        """over: of roots what they are written over."""
        super().__init__(plan, names, buffered)
        self.over = over
        self.functions: dict[str, str] = {}  # names by text
        self.constants: dict[Node, str] = {}
        self.places: list[Index] = []  # that the loop touches which is being written
        self.before: list[str] = []  # what is computed once for all turns of it
        self._arguments: dict[Node, str] = {}

    # -- functions -------------------------------------------------------------------------------------------

    def function(self, write: Callable[[], None], buffers: Sequence[Node] = ()) -> None:
        """Call a function that holds the lines of `write`; its first argument is what the root is written to.

        buffers: those that it is called with in any case.
        """
        calls, self.lines, self.known, self.before = self.lines, [], {}, []
        self.restart()
        self._arguments = {}
        for buffer in (self.target(self.root), *buffers):
            self.argument(buffer)
        write()
        (first, *others) = self._arguments
        # Inlined into one function they would be compiled four times as long.
        arguments = [f"{c_type(first)} *restrict p0"]
        arguments += [f"const {c_type(buffer)} *{self._arguments[buffer]}" for buffer in others]
        head = f"static __attribute__((noinline)) void FUNCTION({', '.join(arguments)}) {{"
        text = "\n".join([head, *self.before, *self.lines, "}"])
        name = self.functions.setdefault(text, f"loop{len(self.functions)}")
        self.lines = [*calls, f"{name}({', '.join(map(self.pointer, self._arguments))});"]

    def argument(self, buffer: Node) -> str:
        """The name of a buffer in the function that is being written; one place has one name."""
        target = self.target(self.root)
        buffer = target if self.over.get(target) is buffer else buffer
        return self._arguments.setdefault(buffer, f"p{len(self._arguments)}")

    def pointer(self, node: Node) -> str:
        if node.op == "constant":
            return self.constants.setdefault(node, f"c{len(self.constants)}")
        return self.names[node]

    # -- loops -----------------------------------------------------------------------------------------------

    def nest(self, shape: Sequence[int], body: Callable, vector: bool = True, unrolled: int = 0) -> None:
        def write():
            axes = merged(shape, self.touched(shape, body), by=-1)  # which is written last
            index, loops = self.walk(shape, axes)
            lines, self.lines = self.lines, []
            body(index)
            lines, self.lines = self.lines, lines
            self.lines += nested(loops, lines, VECTORS if vector else None)

        self.function(write)

    def touched(self, shape: Sequence[int], body: Callable) -> list[tuple[int, ...]]:
        """The strides along the axes of a loop of every place that it touches."""
        index = tuple(variable(f"along{axis}", extent - 1) for axis, extent in enumerate(shape))
        outside = self.lines, self.known, self.before
        self.lines, self.known, self.before, self.places = [], {}, [], []
        body(index)
        self.lines, self.known, self.before = outside
        self.restart()
        return [tuple(stride(place, i) for i in index) for place in self.places]

    def walk(self, shape: Sequence[int], axes: Sequence[Axis]) -> tuple[tuple[Index, ...], list]:
        """The index of an array inside the loops over axes, and their names and extents."""
        index: list[Index] = [0] * len(shape)
        loops = [(self.name("i"), axis.extent) for axis in axes]
        for (name, extent), axis in zip(loops, axes, strict=True):
            inside = unflatten(variable(name, extent - 1), [shape[a] for a in axis.axes])
            for a, i in zip(axis.axes, inside, strict=True):
                index[a] = i
        return tuple(index), loops

    # -- values ----------------------------------------------------------------------------------------------

    def read(self, node: Node, place: Index) -> str:
        if not affine(place):
            raise Split
        self.places.append(place)
        return f"{self.argument(node)}[{place}]"

    def table(self, node: Node, place: Index) -> str:
        return self.read(node, place)

    def seen(self, view: Node, index: tuple[Index, ...], then: Callable):
        (inner,) = view.inputs
        try:
            return super().seen(view, index, then)
        except Split:
            if inner in self.names or not all(map(affine, index)) or all(map(affine, through(view, index))):
                raise
            raise Copied(inner) from None

    def located(self, node: Node, index: tuple[Index, ...]) -> tuple[Node, Index]:
        """What lies in memory behind views, and the place of an element there."""
        if node in self.names or node.op == "constant":
            place = self.place(node, index)
            if not affine(place):
                raise Split
            return node, place
        return self.seen(node, index, self.located)

    def clamped(self, node: Node, value: str, last: int) -> str:
        name = super().clamped(node, value, last)
        if ONE_NUMBER.fullmatch(value):  # the same in all turns of the loop
            self.before.append(self.lines.pop())
        return name

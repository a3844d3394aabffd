"""One root as a C function with loops over strided arrays.

Equal loops over different arrays, as the layers of a network have them, become one function. Vectors are
left to the C compiler: neighbouring axes are merged into long ones, and the innermost loop carries the OpenMP
pragma that allows it to reorder a sum.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile.emit.expressions import c_type, literal, operation, reducer
from dysonjax.compile.graph import Node
from dysonjax.compile.operations import ELEMENTWISE
from dysonjax.compile.whole.views import STRIDED, Place, Stretch, blank, look, place

VECTORS = "#pragma omp simd"
HOW = {"reduce_sum": "+", "reduce_or": "|", "reduce_and": "&", "reduce_max": "max", "reduce_min": "min"}
FEW = 8  # rows, or numbers in a row, up to which a sum is taken row by row


class Loop(NamedTuple):
    """A C function without its name, and the buffers that it is called with."""

    text: str  # with FUNCTION for the name
    buffers: tuple[Node, ...]  # the first one is written


class Writer:
    """Writes the loops of roots that lie in the buffers of a plan."""

    def __init__(
        self, roots: frozenset[Node], layout: dict[Node, tuple[int, ...]], name: Callable[[Node], str]
    ):
        self.roots, self.layout, self.name = roots, layout, name
        self.over: dict[Node, Node] = {}  # root -> what it is written over, see `plan.arrange`

    def memory_of(self, buffer: Node, target: Node) -> Node:
        """The buffer, or the target if that is written over it: one place has one name in C."""
        return target if self.over.get(target) is buffer else buffer

    def memory(self, node: Node) -> np.ndarray:
        return blank(node, self.layout.get(node))

    def base(self, node: Node) -> Node:
        """What lies in memory behind views."""
        while node not in self.roots and node.op in STRIDED:
            node = node.inputs[0]
        return node

    def view(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        """The memory behind views, and the node as a view of it."""
        path = []
        while node not in self.roots and node.op in STRIDED:
            path.append(node)
            node = node.inputs[0]
        array = view = self.memory(node)
        for step in reversed(path):
            view = look(view, step)
        return array, view

    def scalar(self, node: Node) -> str:
        """A number that lies in memory, or is known now."""
        base = self.base(node)
        if base.op == "constant":
            return str(int(np.asarray(base.params["value"]).flat[0]))
        return f"{self.name(base)}[{place(base, *self.view(node)).offset}]"

    def copy(self, target: Node, into: np.ndarray, whole: np.ndarray, source: Node, array, view) -> Loop:
        """`into = view`, where `view` is one of the memory `array` of the source."""
        body = _Body(self, target, into.shape)
        body.places.append(place(source, array, view))
        return body.loop(place(target, whole, into), "@0@", None)

    def assign(self, target: Node, into: np.ndarray, whole: np.ndarray, value: Node, path=()) -> Loop:
        """`into = value`, where `into` is a view of the memory `whole` of the target."""
        body = _Body(self, target, into.shape)
        expression = body.value(value, path)
        return body.loop(place(target, whole, into), expression, None)

    def reduce(self, root: Node) -> Loop:
        (operand,), axes = root.inputs, root.params["axes"]
        body = _Body(self, root, operand.shape)
        expression = body.value(operand, ())
        memory = self.memory(root)
        into = np.broadcast_to(np.expand_dims(memory, tuple(axes)), operand.shape)
        return body.loop(place(root, memory, into), expression, root)


class _Body:
    """What is done at one place of a loop: which elements are read, and what is computed of them."""

    def __init__(self, writer: Writer, root: Node, shape: Sequence[int]):
        self.writer, self.root, self.shape = writer, root, tuple(shape)
        self.lines: list[str] = []
        self.known: dict[tuple, str] = {}
        self.places: list[Place] = []

    def value(self, node: Node, path: tuple) -> str:
        """The expression of an element; path: the views between the loop and the node, the last one first."""
        if node.op == "constant":
            values = node.params["value"]
            if values.size and (values == values.flat[0]).all():
                return literal(values.flat[0])
        if node.op in ("input", "constant") or (node in self.writer.roots and node is not self.root):
            return self.read(node, path)
        if node.op in STRIDED:
            return self.value(node.inputs[0], (node, *path))
        if (node, path) not in self.known:
            if node.op not in ELEMENTWISE:
                raise AssertionError(f"{node.op} inside of a loop")
            values = [
                self.value(operand, path if operand.shape == node.shape else (Stretch(node.shape), *path))
                for operand in node.inputs
            ]
            name = f"v{len(self.lines)}"
            self.lines.append(f"const {c_type(node)} {name} = {operation(node, values)};")
            self.known[node, path] = name
        return self.known[node, path]

    def read(self, node: Node, path: tuple) -> str:
        array = view = self.writer.memory(node)
        for step in path:
            view = look(view, step)
        found = place(node, array, np.broadcast_to(view, self.shape))
        if found not in self.places:
            self.places.append(found)
        return f"@{self.places.index(found)}@"

    def loop(self, target: Place, expression: str, reduction: Node | None) -> Loop:
        """The loops around `target = expression`, or those of a reduction into the target."""
        places = [target, *self.places]
        memory = [self.writer.memory_of(p.buffer, target.buffer) for p in places]
        buffers = tuple(dict.fromkeys(memory))
        axes = merged(self.shape, [p.strides for p in places], by=0 if reduction is None else None)
        elements = [
            _element(f"p{buffers.index(memory[n])}", p.offset, [axis.strides[n] for axis in axes])
            for n, p in enumerate(places)
        ]

        def filled(text: str) -> str:
            return re.sub("@([0-9]+)@", lambda found: elements[1 + int(found[1])], text)

        inside = [filled(line) for line in self.lines]
        into, expression = elements[0], filled(expression)
        loops = [(f"i{n}", axis.extent) for n, axis in enumerate(axes)]
        if reduction is None:
            lines = _nest(loops, [*inside, f"{into} = {expression};"], VECTORS)
        else:
            lines = _reduction(reduction, axes, loops, inside, into, expression)
        arguments = [f"{c_type(target.buffer)} *restrict p0"]
        arguments += [f"const {c_type(b)} *p{n}" for n, b in enumerate(buffers) if n]
        # Inlined into one function they would be compiled four times as long.
        head = f"static __attribute__((noinline)) void FUNCTION({', '.join(arguments)}) {{"
        return Loop("\n".join([head, *lines, "}"]), buffers)


def _reduction(
    root: Node,
    axes: Sequence["Axis"],
    loops: Sequence[tuple[str, int]],
    inside: list[str],
    into: str,
    expression: str,
) -> list[str]:
    kind = c_type(root)
    combine, neutral = reducer(root)
    kept = [loop for loop, axis in zip(loops, axes, strict=True) if axis.strides[0]]
    lines = _nest(kept, [f"{into} = {neutral};"], VECTORS)
    if not loops or loops[-1] in kept:
        return lines + _nest(loops, [*inside, f"{into} = {combine(into, expression)};"], VECTORS)
    *outside, along = loops
    row = outside.pop() if outside and outside[-1] in kept else ("row", 1)
    extreme = root.op in ("reduce_max", "reduce_min")
    if root.dtype.kind == "f" and (extreme or min(row[1], along[1]) >= FEW):
        return lines + _nest(outside, _squares(root, row, along, inside, into, expression), None)
    how = HOW[root.op]
    if root.dtype == bool and extreme:
        how = "|" if root.op == "reduce_max" else "&"
    one = [
        f"{kind} sum = {neutral};",
        *_nest(
            [along], [*inside, f"sum = {combine('sum', expression)};"], f"{VECTORS} reduction({how} : sum)"
        ),
        f"{into} = {combine(into, 'sum')};",
    ]
    return lines + _nest(loops[:-1], one, None)


def _squares(
    root: Node, row: tuple[str, int], along: tuple[str, int], inside: list[str], into: str, expression: str
) -> list[str]:
    """The reduction of rows, as many at a time as a vector has numbers, see `rows.h`."""
    kind, (combine, neutral) = c_type(root), reducer(root)
    (name, rows), (at, count) = row, along
    wide, how = f"{kind}_wide", root.op.removeprefix("reduce_")

    def numbers(first: str, count: str, line: str) -> list[str]:
        return [VECTORS, f"for (int l = 0; l < {count}; l++) {{", f"const int {at} = {first} + l;", line, "}"]

    taken = "\n".join([*inside, f"square[q][l] = {combine('square[q][l]', expression)};"])
    result = combine(into, f"all[{name} - first]")
    return [
        f"for (int first = 0; first < {rows}; first += {wide}) {{",
        f"const int rows = {rows} - first < {wide} ? {rows} - first : {wide};",
        f"{kind} square[{wide}][{wide}], all[{wide}];",
        "for (int q = 0; q < rows; q++) {",
        f"const int {name} = first + q;",
        VECTORS,
        f"for (int l = 0; l < {wide}; l++) square[q][l] = {neutral};",
        f"for (int k = 0; k + {wide} <= {count}; k += {wide}) {{",
        *numbers("k", wide, taken),
        "}",
        *numbers(f"{count} / {wide} * {wide}", f"{count} % {wide}", taken),
        "}",
        f"{kind}_row_{how}(all, square);",
        f"for (int {name} = first; {name} < first + rows; {name}++) {into} = {result};",
        "}",
    ]


class Axis(NamedTuple):
    extent: int
    strides: tuple[int, ...]  # of every array that the loop touches


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]], by: int | None) -> list[Axis]:
    """The axes of a loop, the longest steps outside, neighbours made one where that is the same walk.

    by: the array whose steps decide; None: the longest of all.
    """
    axes = [Axis(n, along) for n, along in zip(shape, zip(*strides, strict=True), strict=True) if n != 1]
    axes.sort(key=lambda axis: -abs(axis.strides[by] if by is not None else max(axis.strides, key=abs)))
    result: list[Axis] = []
    for axis in axes:
        if result and all(
            a == b * axis.extent for a, b in zip(result[-1].strides, axis.strides, strict=True)
        ):
            result[-1] = Axis(result[-1].extent * axis.extent, axis.strides)
        else:
            result.append(axis)
    return result


def _element(name: str, offset: int, strides: Sequence[int]) -> str:
    terms = [f"i{n} * {stride}" if stride != 1 else f"i{n}" for n, stride in enumerate(strides) if stride]
    terms += [str(offset)] if offset or not terms else []
    return f"{name}[{' + '.join(terms)}]"


def _nest(loops: Sequence[tuple[str, int]], body: list[str], pragma: str | None) -> list[str]:
    """The body inside loops; pragma: what stands before the innermost one."""
    lines = []
    for number, (name, extent) in enumerate(loops):
        if pragma and number == len(loops) - 1:
            lines.append(pragma)
        lines.append(f"for (int {name} = 0; {name} < {extent}; {name}++) {{")
    return [*lines, *body, "}" * len(loops)] if loops else ["{", *body, "}"]

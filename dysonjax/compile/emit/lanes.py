"""The loops of the roots of a `plan`, over their elements, each one vector of networks."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.compile.emit.eigenvectors import write_eigh
from dysonjax.compile.emit.expressions import c_type, in_lanes, literal, operation
from dysonjax.compile.emit.joins import concatenated, padded, with_slice
from dysonjax.compile.emit.lookups import gathered, looked_up, with_rows
from dysonjax.compile.emit.products import write_product
from dysonjax.compile.emit.reductions import reduced
from dysonjax.compile.emit.views import through
from dysonjax.compile.graph import NETWORK, STEP, WORLD, Node
from dysonjax.compile.memory import LANES, LINE
from dysonjax.compile.operations import REDUCTIONS, VIEWS
from dysonjax.compile.shapes import Index, flat, through_reshape

UNROLLED = 16  # elements up to which a loop is written out,
UNROLLED_WORK = 128  # if it holds no more operations than these
ON_STACK = 2**15  # bytes of an intermediate array up to which it lies on the stack,
STACK = 2**17  # and of all that do


class Writer:
    """The text of one function, and where in it the next line goes."""

    def __init__(self, plan, fixed, carried, index, buffered):
        self.plan, self.fixed, self.carried, self.index = plan, fixed, carried, index
        self.buffered = buffered  # stores that go to a buffer first
        self.stack, self.scratch = 0, 0  # bytes of intermediate arrays on the stack, and of the others
        self.names = {node: f"x{i}" for i, node in enumerate(fixed)}
        self.names |= {node: f"s{i}" for i, node in enumerate(carried)}
        self.names[index] = "index"
        self.names |= {node: f"t{i}" for i, node in enumerate(plan.roots)}
        self.tables: dict[Node, str] = {}
        self.tables_of: dict[Node, Node] = {}
        self.reads: dict[Node, list[tuple[Node, tuple[Index, ...], tuple[Index, ...]]]] = {}
        self.counter = itertools.count()
        self.lines: list[str] = []
        self.known: dict[tuple, str] = {}
        self.certain: Node | None = None  # a mask that is true in all lanes in the loop that is being written
        self.root: Node | None = None
        self.here: tuple[Index, ...] = ()

    # -- roots -------------------------------------------------------------------------------------------

    def bodies(self) -> dict[int, list[str]]:
        """The loops of all roots, by the level at which they stand."""
        bodies = {level: [] for level in (WORLD, STEP, NETWORK)}
        late = []
        for root in self.plan.roots:
            self.lines = bodies[max(root.scope, WORLD)]
            self.root = root
            if root.op != "store" or root in self.buffered:
                self.declare(root)
            if root in self.buffered:
                late.append(root)
            self.line("{")
            self.loops(root)
            self.line("}")
        self.lines = bodies[NETWORK]
        for root in late:
            target = self.names[root.params["to"]]
            self.line(f"for (int i = 0; i < {root.size}; i++) {target}[i] = {self.names[root]}[i];")
        return bodies

    def declare(self, root: Node) -> None:
        kind, name, size = c_type(root), self.names[root], max(root.size, 1)
        # Truth values are kept as int32.
        size_bytes = (
            size * (4 if root.dtype == bool else root.dtype.itemsize) * (LANES if root.varying else 1)
        )
        if size_bytes <= ON_STACK and self.stack + size_bytes <= STACK:
            self.stack += size_bytes
            self.line(f"{kind} {name}[{size}];")
        else:
            self.line(f"{kind} *restrict {name} = ({kind} *)(scratch + {self.scratch});")
            self.scratch += -(-size_bytes // LINE) * LINE

    def hazards(self) -> frozenset[Node]:
        """The stores that would write over something that is still to be read."""
        stores = [root for root in self.plan.roots if root.op == "store"]
        found = set()
        for number, root in enumerate(stores):
            target = root.params["to"]
            later = any(
                read[0] is target for other in stores[number + 1 :] for read in self.reads.get(other, ())
            )
            moved = any(read[0] is target and read[1] != read[2] for read in self.reads.get(root, ()))
            if later or moved:
                found.add(root)
        return frozenset(found)

    # -- loops -------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append(text)

    def name(self, letter: str = "v") -> str:
        """A name that nothing else has."""
        return f"{letter}{next(self.counter)}"

    def loops(self, root: Node) -> None:
        self.known = {}
        mask = _frozen_by(root)
        if mask is not None and mask in self.names:
            # Mostly no network of a vector is frozen: a loop without the choice serves them.
            self.line(f"if (all_lanes({self.names[mask]}[0])) {{")
            self.certain = mask
            self.loop(root)
            self.line("} else {")
            self.certain, self.known = None, {}
            self.loop(root)
            self.line("}")
        else:
            self.loop(root)

    def loop(self, root: Node) -> None:
        if root in self.plan.products:
            write_product(self, self.plan.products[root])
        elif root.op in REDUCTIONS:
            self.nest(root.shape, lambda index: self.put(index, reduced(self, root, index)))
        elif root.op == "concatenate":
            concatenated(self, root)
        elif root.op == "eigh":
            write_eigh(self, root)
        elif root.op == "pad":
            padded(self, root)
        elif root.op == "dynamic_update_slice":
            with_slice(self, root)
        elif root.op == "add_rows":
            with_rows(self, root)
        else:
            self.nest(root.shape, self.element)

    def element(self, index: tuple[Index, ...]) -> None:
        """One element of the root, by its operation."""
        self.here = index
        operand = self.root.inputs[0] if self.root.op == "store" else None
        self.put(index, self.value(operand, index) if operand else self.computed(self.root, index))

    def put(self, index: tuple[Index, ...], value: str) -> None:
        root = self.root
        if root.op == "store":
            value = in_lanes(value, root.inputs[0])
        name = self.names[root.params["to"] if root.op == "store" and root not in self.buffered else root]
        self.line(f"{name}[{flat(index, root.shape)}] = {value};")

    def nest(self, shape: Sequence[int], body: Callable, unrolled: int = UNROLLED) -> None:
        """`body` for every index of an array."""
        size = math.prod(shape)
        if size <= unrolled and (size == 1 or size * self.plan.work[self.root] <= UNROLLED_WORK):
            for index in np.ndindex(*shape):
                body(tuple(map(int, index)))
            return
        outside, self.known = self.known, dict(self.known)
        index = []
        for extent in shape:
            if extent == 1:
                index.append(0)
                continue
            index.append(self.name("i"))
            self.line(f"for (int {index[-1]} = 0; {index[-1]} < {extent}; {index[-1]}++) {{")
        body(tuple(index))
        self.line("}" * sum(extent != 1 for extent in shape))
        self.known = outside

    # -- values ------------------------------------------------------------------------------------------

    def value(self, node: Node, index: tuple[Index, ...]) -> str:
        """An expression for one element of a node, in the loop that is being written."""
        if node.op == "constant":
            return self.constant(node, index)
        if node in self.names and node is not self.root:
            return self.read(node, flat(index, node.shape), index)
        if node.op == "reshape":
            return self.reshaped(node, index)
        if node.op in VIEWS and node.op != "dynamic_slice":
            return self.value(node.inputs[0], through(self, node, index))
        if (node, index) not in self.known:
            self.known[node, index] = self.named(node, self.computed(node, index))
        return self.known[node, index]

    def computed(self, node: Node, index: tuple[Index, ...]) -> str:
        """The expression of an elementwise operation at an index."""
        if node.op == "select_n" and self.certain and _behind(node.inputs[0]) is self.certain:
            return self.value(node.inputs[2], index)
        if node.op == "gather":
            return gathered(self, node, index)
        if node.op == "dynamic_slice":
            starts = [(start, ()) for start in node.inputs[1:]]
            return looked_up(self, node, starts, node.shape, index)
        return operation(node, [self.operand(operand, index) for operand in node.inputs])

    def operand(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of an operand, by the index of the result: an extent of 1 stands for all."""
        place = (0 if n == 1 else i for i, n in zip(index, node.shape, strict=bool(node.shape)))
        return self.value(node, tuple(place))

    def named(self, node: Node, expression: str) -> str:
        name = self.name()
        self.line(f"{c_type(node)} {name} = {expression};")
        return name

    def constant(self, node: Node, index: tuple[Index, ...]) -> str:
        value = node.params["value"]
        if all(isinstance(i, int) for i in index):
            return literal(value[index])
        if (value == value.ravel()[0]).all():
            return literal(value.ravel()[0])
        name = self.tables.setdefault(node, f"c{len(self.tables)}")
        return f"{name}[{flat(index, node.shape)}]"

    def read(self, node: Node, place: Index, index) -> str:
        if node is self.index:
            return "index"
        if node in self.carried:
            self.reads.setdefault(self.root, []).append((node, index, self.here))
        return f"{self.names[node]}[{place}]"

    def reshaped(self, node: Node, index: tuple[Index, ...]) -> str:
        """An element of a reshaped array; what lies in memory is read by its position there."""
        (inner,) = node.inputs
        return self.value(inner, through_reshape(index, node.shape, inner.shape))

    def in_kind(self, node: Node, index: tuple[Index, ...], like: Node) -> str:
        """An element with the type of `like`: in lanes if that is in lanes."""
        value = self.value(node, () if node.shape == () else index)
        return in_lanes(value, node) if like.varying else value


def _behind(node: Node) -> Node:
    """What a view shows."""
    return _behind(node.inputs[0]) if node.op in VIEWS else node


def _frozen_by(root: Node) -> Node | None:
    """The mask of the networks to which a store gives new values, if the others keep theirs."""
    (new,) = root.inputs if root.op == "store" else (root,)
    if new.op != "select_n" or root.op != "store" or new.inputs[1] is not root.params["to"]:
        return None
    mask = _behind(new.inputs[0])
    return mask if mask.varying and mask.size == 1 and root.size > 1 else None

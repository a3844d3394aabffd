"""C source of a step: every root of a `plan` as a loop over its elements, each one vector of networks."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.native.compiler import LANES, LINE
from dysonjax.native.expressions import c_type, element_type, in_lanes, literal, operation, reducer
from dysonjax.native.graph import NETWORK, STEP, WORLD, Node, Unsupported, constant
from dysonjax.native.indices import Index, add, flat, through_reshape, times, unflatten
from dysonjax.native.lookups import gathered, looked_up, position
from dysonjax.native.operations import REDUCTIONS, VIEWS
from dysonjax.native.plan import Plan
from dysonjax.native.products import write_product

UNROLLED = 16  # elements up to which a loop is written out,
UNROLLED_WORK = 128  # if it holds no more operations than these
WRITTEN = 256  # numbers of a constant up to which they stand in the source; more come as an array
ON_STACK = 2**15  # bytes of an intermediate array up to which it lies on the stack,
STACK = 2**17  # and of all that do


def write(
    plan: Plan,
    fixed: Sequence[Node],
    carried: Sequence[Node],
    index: Node,
    stopped: Node | None,
    steps_outside: bool,
) -> tuple[str, list[np.ndarray], int]:
    """The function `advance` for a plan, and the long constants and bytes of scratch that it is called with.

    fixed: the inputs that stay as they are; carried: those that the stores of the plan write over; index: the
    number of the step; stopped: the one of `carried` that is negative as long as steps change a network, or
    None if they always do.
    steps_outside: whether the loop over steps contains the one over networks (what the networks of a step
    share is then computed once) or is contained in it (weights stay in the cache).
    """
    first = Writer(plan, fixed, carried, index, frozenset())
    first.bodies()
    # What is read after it was to be written over is written to a buffer first.
    writer = Writer(plan, fixed, carried, index, first.hazards())
    text = writer.function(stopped, steps_outside)
    tables = [node.params["value"] for node in writer.tables if node.size > WRITTEN]
    return text, tables, writer.scratch


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

    # -- the function ------------------------------------------------------------------------------------

    def function(self, stopped: Node, steps_outside: bool) -> str:
        bodies = self.bodies()
        network = ["for (long network = 0; network < networks; network++) {", *self.pointers(NETWORK)]
        step = [
            "for (long step = first; step < first + count; step++) {",
            f"const {c_type(self.index)} index = step;",
        ]
        over = f"if (all_lanes({self.names[stopped]}[0] >= (int32_v){{0}}))" if stopped else "if (0)"
        if steps_outside:
            loops = [*step, *bodies[STEP], *network, f"{over} continue;", *bodies[NETWORK], "}", "}"]
        else:
            loops = [*network, *step, f"{over} break;", *bodies[STEP], *bodies[NETWORK], "}", "}"]
        tables, pointers = [], []
        for node, name in self.tables.items():
            if node.size > WRITTEN:
                kind = c_type(node)
                pointers.append(f"const {kind} *restrict {name} = (const {kind} *)tables[{len(pointers)}];")
                continue
            values = ", ".join(map(literal, node.params["value"].ravel()))
            tables.append(f"static const {c_type(node)} {name}[] = {{{values}}};")
        return "\n".join(
            [
                '#include "lanes.h"',
                *(['#include "eigh.h"'] if any(root.op == "eigh" for root in self.plan.roots) else []),
                *tables,
                "void advance(const void *const *tables, const void *const *fixed, void *const *carried,"
                " char *scratch, long first, long count, long networks) {",
                "const unsigned mode = flush_denormals();",
                *pointers,
                *self.pointers(WORLD),
                *bodies[WORLD],
                *loops,
                "restore_denormals(mode);",
                "}",
                "",
            ]
        )

    def pointers(self, level: int) -> list[str]:
        lines = []
        for number, node in enumerate(self.fixed):
            if (node.level == NETWORK) == (level == NETWORK):
                kind, offset = c_type(node), f" + network * {node.size}" if level == NETWORK else ""
                lines.append(f"const {kind} *restrict x{number} = (const {kind} *)fixed[{number}]{offset};")
        for number, node in enumerate(self.carried if level == NETWORK else ()):
            kind = c_type(node)
            lines.append(f"{kind} *restrict s{number} = ({kind} *)carried[{number}] + network * {node.size};")
        return lines

    def bodies(self) -> dict[int, list[str]]:
        """The loops of all roots, by the level at which they stand."""
        bodies = {level: [] for level in (WORLD, STEP, NETWORK)}
        late = []
        for root in self.plan.roots:
            self.lines = bodies[max(root.level, WORLD)]
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
        size_bytes = size * root.dtype.itemsize * (LANES if root.lanes else 1)
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
            self.nest(root.shape, lambda index: self.put(index, self.reduction(root, index)))
        elif root.op == "concatenate":
            self.concatenate(root)
        elif root.op == "eigh":
            self.eigh(root)
        elif root.op == "pad":
            self.pad(root)
        elif root.op == "dynamic_update_slice":
            self.update_slice(root)
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

    def reduction(self, root: Node, index: tuple[Index, ...]) -> str:
        """Several partial results, so that one addition need not wait for the other."""
        (operand,), axes = root.inputs, root.params["axes"]
        extents = [operand.shape[axis] for axis in axes]
        combine, neutral = reducer(root)

        def at(inner):
            full, rest = [0] * len(operand.shape), iter(index)
            for axis in range(len(full)):
                full[axis] = inner[axes.index(axis)] if axis in axes else next(rest)
            return self.value(operand, tuple(full))

        if math.prod(extents) <= UNROLLED:
            values = [at(tuple(map(int, inner))) for inner in np.ndindex(*extents)]
            while len(values) > 1:
                pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
                values = pairs + values[len(values) - len(values) % 2 :]
            return values[0] if values else neutral
        ways = next(w for w in (4, 3, 2, 1) if extents[-1] % w == 0)
        sums = [self.name() for _ in range(ways)]
        kind = c_type(root)
        start = f"TO_LANES({element_type(root.dtype)}, {neutral})" if root.lanes else neutral
        self.line(f"{kind} " + ", ".join(f"{name} = {start}" for name in sums) + ";")
        outside, self.known = self.known, dict(self.known)
        inner = []
        for number, extent in enumerate(extents):
            name, by = self.name("i"), ways if number == len(extents) - 1 else 1
            inner.append(name)
            self.line(f"for (int {name} = 0; {name} < {extent}; {name} += {by}) {{")
        for way, name in enumerate(sums):
            self.line(f"{name} = {combine(name, at((*inner[:-1], add(inner[-1], way))))};")
        self.line("}" * len(extents))
        self.known = outside
        while len(sums) > 1:
            sums = [combine(sums[0], sums[1]), *sums[2:]]
        return sums[0]

    def concatenate(self, root: Node) -> None:
        axis, start = root.params["dimension"], 0
        for part in root.inputs:

            def body(index, part=part, start=start):
                moved = (*index[:axis], add(index[axis], start), *index[axis + 1 :])
                self.put(moved, self.in_kind(part, index, root))

            self.nest(part.shape, body)
            start += part.shape[axis]

    def pad(self, root: Node) -> None:
        (part, filling), config = root.inputs, root.params["padding_config"]
        if any(low < 0 or high < 0 or inside for low, high, inside in config):
            raise Unsupported("padding between elements or of negative width")
        self.nest(root.shape, lambda index: self.put(index, self.in_kind(filling, (), root)))

        def body(index):
            moved = tuple(add(i, low) for i, (low, _, _) in zip(index, config, strict=True))
            self.put(moved, self.in_kind(part, index, root))

        self.nest(part.shape, body)

    def eigh(self, root: Node) -> None:
        (matrix,), name = root.inputs, self.names[root]
        n = matrix.shape[0]

        def body(index):
            self.line(f"{name}[{flat(index, matrix.shape)}] = {self.value(matrix, index)};")

        self.nest(matrix.shape, body)
        self.line(f"{c_type(root)}_eigh({n}, {name});")

    def update_slice(self, root: Node) -> None:
        whole, part, *starts = root.inputs
        if any(start.lanes for start in starts):
            raise Unsupported("a change at an index that differs between networks")
        self.nest(root.shape, lambda index: self.put(index, self.in_kind(whole, index, root)))

        def body(index):
            room = (extent - size for extent, size in zip(whole.shape, part.shape, strict=True))
            firsts = [position(self, start, (), last) for start, last in zip(starts, room, strict=True)]
            self.put(tuple(map(add, index, firsts)), self.in_kind(part, index, root))

        self.nest(part.shape, body)

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
            return self.value(node.inputs[0], self.through(node, index))
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
        self.line(f"const {c_type(node)} {name} = {expression};")
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

    def through(self, node: Node, index: tuple[Index, ...]) -> tuple[Index, ...]:
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
                return unflatten(self.place(node, index), shape)
        raise AssertionError(node.op)

    def place(self, node: Node, index: tuple[Index, ...]) -> Index:
        """The position that an element of a "take" comes from."""
        places = node.params["places"]
        if all(isinstance(i, int) for i in index):
            return int(places[index])
        table = self.tables_of.setdefault(node, constant(places))
        return self.constant(table, index)

    def in_kind(self, node: Node, index: tuple[Index, ...], like: Node) -> str:
        """An element with the type of `like`: in lanes if that is in lanes."""
        value = self.value(node, () if node.shape == () else index)
        return in_lanes(value, node) if like.lanes else value


def _behind(node: Node) -> Node:
    """What a view shows."""
    return _behind(node.inputs[0]) if node.op in VIEWS else node


def _frozen_by(root: Node) -> Node | None:
    """The mask of the networks to which a store gives new values, if the others keep theirs."""
    (new,) = root.inputs if root.op == "store" else (root,)
    if new.op != "select_n" or root.op != "store" or new.inputs[1] is not root.params["to"]:
        return None
    mask = _behind(new.inputs[0])
    return mask if mask.lanes and mask.size == 1 and root.size > 1 else None

"""Loops whose elements are vectors of sixteen networks."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from dysonjax.compile.buffers import arrange, bytes_of, hazards
from dysonjax.compile.emit.moves import MOVES
from dysonjax.compile.emit.products import write_product
from dysonjax.compile.emit.reductions import reduced
from dysonjax.compile.emit.writer import Writer
from dysonjax.compile.expressions import c_type, literal
from dysonjax.compile.graph import NETWORK, STEP, WORLD, Node
from dysonjax.compile.memory import LANES
from dysonjax.compile.operations import REDUCTIONS, VIEWS
from dysonjax.compile.schedule import Plan, behind, frozen_by
from dysonjax.compile.shapes import Index, add, variable

UNROLLED = 16  # elements up to which a loop is written out,
UNROLLED_WORK = 128  # if it holds no more operations than these
ON_STACK = 2**15  # bytes of an intermediate array up to which it lies on the stack,
STACK = 2**17  # and of all that do
WRITTEN = 256  # numbers of a constant up to which they stand in the source; more come as an array


class LanesWriter(Writer):
    """Writes the roots of a plan one after the other, by the scope at which they stand."""

    def __init__(self, plan: Plan, names, index: Node):
        super().__init__(plan, names, hazards(plan.roots))
        self.index = index
        self.places: dict[Node, int] = {}  # of arrays in scratch memory, bytes
        self.again: dict[str, set[Node]] = {}  # those among them that share their places, by type
        self.stack, self.scratch = 0, 0  # bytes of intermediate arrays on the stack, and of the others
        self.tables: dict[Node, str] = {}
        self._certain: Node | None = None  # a mask that is true in all lanes of this loop

    def bodies(self) -> dict[int, list[str]]:
        """The loops of all roots, by the scope at which they stand."""
        bodies: dict[int, list[str]] = {scope: [] for scope in (WORLD, STEP, NETWORK)}
        self.lay_out()
        for root in self.plan.roots:
            self.lines, self.root = bodies[max(root.scope, WORLD)], root
            if self.target(root) is root:
                self.declare(root)
            self.line("{")
            self.loops(root)
            self.line("}")
        self.lines = bodies[NETWORK]
        for root in self.plan.roots:
            if root in self.buffered:
                target = self.names[root.params["to"]]
                self.line(f"for (int i = 0; i < {root.size}; i++) {target}[i] = {self.names[root]}[i];")
        return bodies

    def lay_out(self) -> None:
        """Find out where arrays lie: on the stack, or in scratch memory.

        There, what belongs to a network and is read for the last time leaves its place to others of its type:
        together they would not fit the cache.
        """
        held = [root for root in self.plan.roots if self.target(root) is root]
        size = {root: bytes_of(root, LANES if root.varying else 1) for root in held}
        for root in held:
            if size[root] <= ON_STACK and self.stack + size[root] <= STACK:
                self.stack += size[root]
            elif root.scope == NETWORK and root.varying and root not in self.buffered:
                self.again.setdefault(c_type(root), set()).add(root)
            else:
                self.places[root] = self.scratch
                self.scratch += size[root]
        top = self.scratch
        for roots in self.again.values():
            places, _, most = arrange(self.plan.roots, set(self.plan.roots) - roots, set(), (), LANES)
            self.places |= {root: top + place for root, place in places.items()}
            top += most
            self.scratch += sum(size[root] for root in roots)  # as much as it would be without

    def declare(self, root: Node) -> None:
        kind, name = c_type(root), self.names[root]
        if root not in self.places:
            self.line(f"{kind} {name}[{max(root.size, 1)}];")
        else:
            # What lies in the same place must not be taken for something else.
            alone = "" if root in self.again.get(kind, ()) else "restrict "
            self.line(f"{kind} *{alone}{name} = ({kind} *)(scratch + {self.places[root]});")

    # -- loops -----------------------------------------------------------------------------------------------

    def loops(self, root: Node) -> None:
        self.known = {}
        mask = frozen_by(root)
        if mask is not None and mask in self.names:
            # Mostly no network of a vector is frozen: a loop without the choice serves them.
            self.line(f"if (all_lanes({self.names[mask]}[0])) {{")
            self._certain = mask
            self.loop(root)
            self.line("} else {")
            self._certain, self.known = None, {}
            self.loop(root)
            self.line("}")
        else:
            self.loop(root)

    def loop(self, root: Node) -> None:
        if root in self.plan.products:
            write_product(self, self.plan.products[root])
        elif root.op in REDUCTIONS:
            self.nest(root.shape, lambda index: self.put(index, reduced(self, root, index)))
        elif root.op in MOVES:
            MOVES[root.op](self, root)
        else:
            self.nest(root.shape, self.element)

    def nest(
        self, shape: Sequence[int], body: Callable, vector: bool = True, unrolled: int = UNROLLED
    ) -> None:
        size = math.prod(shape)
        if size <= unrolled and (size == 1 or size * self.plan.work[self.root] <= UNROLLED_WORK):
            for index in np.ndindex(*shape):
                body(tuple(map(int, index)))
            return
        outside, self.known = self.known, dict(self.known)
        body(tuple(0 if extent == 1 else self.loop_over(extent) for extent in shape))
        self.line("}" * sum(extent != 1 for extent in shape))
        self.known = outside

    # -- values ----------------------------------------------------------------------------------------------

    def read(self, node: Node, place: Index) -> str:
        return "index" if node is self.index else f"{self.names[node]}[{place}]"

    def table(self, node: Node, place: Index) -> str:
        return f"{self.tables.setdefault(node, f'c{len(self.tables)}')}[{place}]"

    def computed(self, node: Node, index: tuple[Index, ...]) -> str:
        if node.op == "select_n" and self._certain and behind(node.inputs[0], VIEWS) is self._certain:
            return self.value(node.inputs[2], index)
        return super().computed(node, index)

    def looked_up(self, node: Node, starts, part: Sequence[int], inside: Sequence[Index]) -> str:
        differs = [start is not None and start[0].varying for start in starts]
        if not any(differs):
            return super().looked_up(node, starts, part, inside)
        operand, firsts = node.inputs[0], self.firsts(node, starts, part)
        name, lane = self.name(), self.name("l")
        self.line(f"{c_type(node)} {name};")
        self.line(f"EACH_LANE({lane}) {{")
        outside, self.known = self.known, dict(self.known)
        place = (
            variable(f"AT({first}, {lane})", extent - size)
            if differ and not isinstance(first, int)
            else first
            for first, differ, extent, size in zip(firsts, differs, operand.shape, part, strict=True)
        )
        value = self.value(operand, tuple(map(add, inside, place)))
        if operand.varying:
            value = f"AT({value}, {lane})"
        elif operand.dtype == bool:
            value = f"-({value})"
        self.line(f"AT({name}, {lane}) = {value};")
        self.line("}")
        self.known = outside
        return name

    def clamped(self, node: Node, value: str, last: int) -> str:
        if not node.varying:
            return super().clamped(node, value, last)
        name, kind = self.name(), c_type(node)
        if node.dtype.itemsize == 1:  # whose largest number may be smaller than `last`
            kind, value = "int32_v", f"CONVERT(int32_v, {value})"
        inside = f"{kind}_min({kind}_max({value}, ZERO({kind})), ZERO({kind}) + {last})"
        self.line(f"const {kind} {name} = {inside};")
        return name


def write(
    plan: Plan, inputs: Sequence[Node], state: Sequence[Node], index: Node, stopped: Node | None
) -> tuple[str, list[np.ndarray], int]:
    """The function `advance` for a plan, and the long constants and bytes of scratch that it is called with.

    inputs: what stays as it is; state: what the stores of the plan write over; index: the number of the step;
    stopped: the one of `state` that is negative as long as steps change a network, or None if they always do.
    """
    names = {node: f"x{n}" for n, node in enumerate(inputs)} | {node: f"s{n}" for n, node in enumerate(state)}
    names |= {index: "index"} | {node: f"t{n}" for n, node in enumerate(plan.roots)}
    writer = LanesWriter(plan, names, index)
    bodies = writer.bodies()
    pointers = {scope: _pointers(inputs, "fixed", "x", scope) for scope in (WORLD, NETWORK)}
    pointers[NETWORK] += _pointers(state, "carried", "s", NETWORK)
    network = ["for (long network = 0; network < networks; network++) {", *pointers[NETWORK]]
    step = [
        "for (long step = first; step < first + count; step++) {",
        f"const {c_type(index)} index = step;",
    ]
    over = f"if (all_lanes({names[stopped]}[0] >= (int32_v){{0}}))" if stopped else "if (0)"
    # What the networks share in a step is computed once for all of them if it is more than a look-up; else
    # the loop over steps is inside, so that weights stay in the cache.
    if sum(root.size for root in plan.roots if root.scope == STEP) > 16:
        loops = [*step, *bodies[STEP], *network, f"{over} continue;", *bodies[NETWORK], "}", "}"]
    else:
        loops = [*network, *step, f"{over} break;", *bodies[STEP], *bodies[NETWORK], "}", "}"]
    long = [node for node in writer.tables if node.size > WRITTEN]
    tables = [
        f"const {c_type(n)} *restrict {writer.tables[n]} = (const {c_type(n)} *)tables[{number}];"
        for number, n in enumerate(long)
    ]
    written = [
        f"static const {c_type(n)} {name}[] = {{{', '.join(map(literal, n.params['value'].ravel()))}}};"
        for n, name in writer.tables.items()
        if n.size <= WRITTEN
    ]
    text = [
        '#include "lanes.h"',
        *(['#include "eigh.h"'] if any(root.op == "eigh" for root in plan.roots) else []),
        *written,
        "void advance(const void *const *tables, const void *const *fixed, void *const *carried,"
        " char *scratch, long first, long count, long networks) {",
        "const unsigned mode = flush_denormals();",
        *tables,
        *pointers[WORLD],
        *bodies[WORLD],
        *loops,
        "restore_denormals(mode);",
        "}",
        "",
    ]
    return "\n".join(text), [node.params["value"] for node in long], writer.scratch


def _pointers(nodes: Sequence[Node], where: str, letter: str, scope: int) -> list[str]:
    """Where arrays begin, of each network or of all."""
    qualifier = "const " if where == "fixed" else ""
    return [
        f"{qualifier}{c_type(n)} *restrict {letter}{i} = ({qualifier}{c_type(n)} *){where}[{i}]"
        + (f" + network * {n.size};" if scope == NETWORK else ";")
        for i, n in enumerate(nodes)
        if (n.scope == NETWORK) == (scope == NETWORK)
    ]

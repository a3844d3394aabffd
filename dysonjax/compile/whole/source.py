"""C source of a large network's step: the loops of its roots as functions, and one that calls them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dysonjax.compile.emit.expressions import c_type
from dysonjax.compile.graph import WORLD, Node
from dysonjax.compile.operations import REDUCTIONS
from dysonjax.compile.whole import moves
from dysonjax.compile.whole import plan as planning
from dysonjax.compile.whole.loops import Loop, Writer
from dysonjax.compile.whole.products import write_product
from dysonjax.compile.whole.views import Copied, Stretch


class Source(NamedTuple):
    text: str
    constants: list[np.ndarray]  # that the function `advance` wants to be given
    space: int  # bytes of memory that it wants for itself


def write(
    order: Sequence[Node], fixed: Sequence[Node], carried: Sequence[Node], index: Node, stopped: Node
) -> Source:
    """The function `advance` for nodes in topological order, the stores of the new state last.

    fixed, carried, index, stopped: as in `compile.write_step`.
    """
    forced: frozenset[Node] = frozenset()
    while True:
        try:
            return _Function(planning.plan(order, forced), fixed, carried, index).text(stopped)
        except Copied as problem:
            forced |= {problem.node}


class _Function:
    def __init__(self, plan: planning.Plan, fixed, carried, index):
        self.plan, self.fixed, self.carried, self.index = plan, fixed, carried, index
        self.writer = Writer(frozenset(plan.roots), plan.layout, self.name)
        self.names = {node: f"x{n}" for n, node in enumerate(fixed)}
        self.names |= {node: f"s{n}" for n, node in enumerate(carried)}
        self.names |= {node: f"t{n}" for n, node in enumerate(plan.roots)}
        self.names[index] = "index"
        self.constants: dict[Node, str] = {}
        self.functions: dict[str, str] = {}

    def text(self, stopped: Node) -> Source:
        late = _hazards(self.plan.roots)
        kept = {root for root in self.plan.roots if root.scope <= WORLD or root in late}
        in_place = {root for root in self.plan.roots if root.op == "store" and root not in late}
        places, self.writer.over, space = planning.arrange(self.plan, in_place, kept)
        calls: dict[bool, list[str]] = {True: [], False: []}
        for root in self.plan.roots:
            calls[root.scope <= WORLD] += self.root(root, root in in_place)
        for root in late:
            to = root.params["to"]
            calls[False].append(
                f"memcpy({self.names[to]}, {self.names[root]}, {root.size} * sizeof({c_type(root)}));"
            )
        pointers = [f"const {c_type(n)} *const x{i} = fixed[{i}];" for i, n in enumerate(self.fixed)]
        pointers += [f"{c_type(n)} *const s{i} = carried[{i}];" for i, n in enumerate(self.carried)]
        pointers += [
            f"const {c_type(n)} *const {name} = constants[{i}];"
            for i, (n, name) in enumerate(self.constants.items())
        ]
        pointers += [
            f"{c_type(root)} *const {self.names[root]} = (void *)(space + {at});"
            for root, at in places.items()
        ]
        lines = [
            '#include "large.h"',
            *(['#include "eigh.h"'] if any(root.op == "eigh" for root in self.plan.roots) else []),
            *(text.replace("FUNCTION", name) for text, name in self.functions.items()),
            "void advance(const void *const *fixed, void *const *carried, const void *const *constants,"
            " char *space, long first, long count) {",
            "const unsigned mode = flush_denormals();",
            *pointers,
            *calls[True],
            f"for (long step = first; step < first + count && {self.names[stopped]}[0] < 0; step++) {{",
            f"const {c_type(self.index)} index[1] = {{step}};",
            *calls[False],
            "}",
            "restore_denormals(mode);",
            "}",
            "",
        ]
        return Source("\n".join(lines), [node.params["value"] for node in self.constants], max(space, 1))

    def root(self, root: Node, in_place: bool) -> list[str]:
        """The calls that compute a root."""
        writer = self.writer
        if root.op == "dot_general":
            return [self.call(write_product(writer, root))]
        if root.op in REDUCTIONS:
            return [self.call(writer.reduce(root))]
        memory = writer.memory(root)
        if root.op == "concatenate":
            axis, start, calls = root.params["dimension"], 0, []
            for part in root.inputs:
                along = [slice(None)] * memory.ndim
                along[axis] = slice(start, start + part.shape[axis])
                calls.append(self.call(writer.assign(root, memory[tuple(along)], memory, part)))
                start += part.shape[axis]
            return calls
        if root.op == "pad":
            part, filling = root.inputs
            config = root.params["padding_config"]
            inside = tuple(
                slice(low, low + (n - 1) * (between + 1) + 1 if n else low, between + 1)
                for n, (low, _, between) in zip(part.shape, config, strict=True)
            )
            return [
                self.call(writer.assign(root, memory, memory, filling, (Stretch(root.shape),))),
                self.call(writer.assign(root, memory[inside], memory, part)),
            ]
        if root.op == "eigh":
            (matrix,) = root.inputs
            whole = writer.assign(root, memory[: matrix.shape[0]], memory, matrix)
            return [self.call(whole), f"{c_type(root)}_eigh({matrix.shape[0]}, {self.names[root]});"]
        if root.op == "store":
            target = root.params["to"] if in_place else root
            return [self.call(writer.assign(target, memory, memory, root.inputs[0]))]
        if root.op == "take":
            return [self.call(moves.take(writer, root))]
        if root.op == "dynamic_slice":
            return [self.call(*moves.slice_at(writer, root))]
        if root.op == "dynamic_update_slice":
            whole = self.call(writer.assign(root, memory, memory, root.inputs[0]))
            return [whole, self.call(*moves.update_at(writer, root))]
        if root.op == "add_rows":
            whole = self.call(writer.assign(root, memory, memory, root.inputs[0]))
            return [whole, self.call(moves.rows_added(writer, root))]
        if root.op == "gather":
            extents, loop, shifts = moves.rows_at(writer, root)
            around = "".join(
                f"for (int b{n} = 0; b{n} < {extent}; b{n}++) " for n, extent in enumerate(extents)
            )
            return [around + self.call(loop, shifts)]
        return [self.call(writer.assign(root, memory, memory, root))]

    def call(self, loop: Loop, shifts: Mapping[Node, str] = {}) -> str:
        name = self.functions.setdefault(loop.text, f"loop{len(self.functions)}")
        pointers = [f"{self.name(b)} + {shifts[b]}" if b in shifts else self.name(b) for b in loop.buffers]
        return f"{name}({', '.join(pointers)});"

    def name(self, node: Node) -> str:
        if node.op == "constant":
            return self.constants.setdefault(node, f"c{len(self.constants)}")
        return self.names[node]


def _hazards(roots: Sequence[Node]) -> list[Node]:
    """The stores that would write over something that is still to be read."""
    stores = [root for root in roots if root.op == "store"]
    known = frozenset(roots)
    found = []
    for number, root in enumerate(stores):
        target = root.params["to"]
        later = any(target in planning.reads(other, known) for other in stores[number + 1 :])
        if later or planning.moved(root, target, known):
            found.append(root)
    return found

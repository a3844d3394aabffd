"""The text of a step of one large network: its roots as calls of functions, one after the other."""

from collections.abc import Sequence

import numpy as np

from dysonjax.compile.buffers import arrange, hazards
from dysonjax.compile.emit.functions import FunctionWriter
from dysonjax.compile.emit.kernels import write_product
from dysonjax.compile.emit.moves import MOVES
from dysonjax.compile.emit.rows import write_reduction
from dysonjax.compile.expressions import c_type
from dysonjax.compile.graph import WORLD, Node
from dysonjax.compile.operations import REDUCTIONS
from dysonjax.compile.schedule import Plan


def write(
    plan: Plan, inputs: Sequence[Node], state: Sequence[Node], index: Node, stopped: Node | None
) -> tuple[str, list[np.ndarray], int]:
    """The function `advance`, as in `lanes`, of one network; raises Copied."""
    names = {node: f"x{n}" for n, node in enumerate(inputs)} | {node: f"s{n}" for n, node in enumerate(state)}
    names |= {index: "index"} | {node: f"t{n}" for n, node in enumerate(plan.roots)}
    late = hazards(plan.roots)
    kept = {root for root in plan.roots if root.scope <= WORLD or root in late}
    in_place = {root for root in plan.roots if root.op == "store" and root not in late}
    places, over, space = arrange(plan.roots, in_place, kept, plan.strides)
    writer = FunctionWriter(plan, names, over, late)
    calls: dict[bool, list[str]] = {True: [], False: []}
    for root in plan.roots:
        calls[root.scope <= WORLD] += _calls(writer, root)
    for root in plan.roots:
        if root in late:
            to = writer.names[root.params["to"]]
            calls[False].append(f"memcpy({to}, {names[root]}, {root.size} * sizeof({c_type(root)}));")
    pointers = [f"const {c_type(n)} *const x{i} = fixed[{i}];" for i, n in enumerate(inputs)]
    pointers += [f"{c_type(n)} *const s{i} = carried[{i}];" for i, n in enumerate(state)]
    pointers += [
        f"const {c_type(n)} *const {name} = tables[{i}];"
        for i, (n, name) in enumerate(writer.constants.items())
    ]
    pointers += [f"{c_type(n)} *const {names[n]} = (void *)(scratch + {at});" for n, at in places.items()]
    going_on = f" && {names[stopped]}[0] < 0" if stopped else ""
    text = [
        '#include "large.h"',
        *(['#include "eigh.h"'] if any(root.op == "eigh" for root in plan.roots) else []),
        *(text.replace("FUNCTION", name) for text, name in writer.functions.items()),
        "void advance(const void *const *tables, const void *const *fixed, void *const *carried,"
        " char *scratch, long first, long count, long networks) {",
        "const unsigned mode = flush_denormals();",
        *pointers,
        *calls[True],
        f"for (long step = first; step < first + count{going_on}; step++) {{",
        f"const {c_type(index)} index[1] = {{step}};",
        *calls[False],
        "}",
        "restore_denormals(mode);",
        "}",
        "",
    ]
    return "\n".join(text), [node.params["value"] for node in writer.constants], space


def _calls(writer: FunctionWriter, root: Node) -> list[str]:
    """The lines that compute a root."""
    writer.lines, writer.root = [], root
    if root.op == "dot_general":
        write_product(writer, root)
    elif root.op in REDUCTIONS:
        write_reduction(writer, root)
    elif root.op in MOVES:
        MOVES[root.op](writer, root)
    else:
        writer.nest(root.shape, writer.element)
    return writer.lines

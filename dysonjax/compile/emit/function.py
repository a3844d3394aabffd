"""C source of a step: the function `advance`, loops over steps and networks around the loops of the roots."""

from collections.abc import Sequence

import numpy as np

from dysonjax.compile.emit.expressions import c_type, literal
from dysonjax.compile.emit.lanes import Writer
from dysonjax.compile.graph import NETWORK, STEP, WORLD, Node
from dysonjax.compile.schedule import Plan

WRITTEN = 256  # numbers of a constant up to which they stand in the source; more come as an array


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
    text = _function(writer, stopped, steps_outside)
    tables = [node.params["value"] for node in writer.tables if node.size > WRITTEN]
    return text, tables, writer.scratch


def _function(writer: Writer, stopped: Node | None, steps_outside: bool) -> str:
    bodies = writer.bodies()
    network = ["for (long network = 0; network < networks; network++) {", *_pointers(writer, NETWORK)]
    step = [
        "for (long step = first; step < first + count; step++) {",
        f"const {c_type(writer.index)} index = step;",
    ]
    over = f"if (all_lanes({writer.names[stopped]}[0] >= (int32_v){{0}}))" if stopped else "if (0)"
    if steps_outside:
        loops = [*step, *bodies[STEP], *network, f"{over} continue;", *bodies[NETWORK], "}", "}"]
    else:
        loops = [*network, *step, f"{over} break;", *bodies[STEP], *bodies[NETWORK], "}", "}"]
    tables, pointers = [], []
    for node, name in writer.tables.items():
        if node.size > WRITTEN:
            kind = c_type(node)
            pointers.append(f"const {kind} *restrict {name} = (const {kind} *)tables[{len(pointers)}];")
            continue
        values = ", ".join(map(literal, node.params["value"].ravel()))
        tables.append(f"static const {c_type(node)} {name}[] = {{{values}}};")
    return "\n".join(
        [
            '#include "lanes.h"',
            *(['#include "eigh.h"'] if any(root.op == "eigh" for root in writer.plan.roots) else []),
            *tables,
            "void advance(const void *const *tables, const void *const *fixed, void *const *carried,"
            " char *scratch, long first, long count, long networks) {",
            "const unsigned mode = flush_denormals();",
            *pointers,
            *_pointers(writer, WORLD),
            *bodies[WORLD],
            *loops,
            "restore_denormals(mode);",
            "}",
            "",
        ]
    )


def _pointers(writer: Writer, level: int) -> list[str]:
    lines = []
    for number, node in enumerate(writer.fixed):
        if (node.scope == NETWORK) == (level == NETWORK):
            kind, offset = c_type(node), f" + network * {node.size}" if level == NETWORK else ""
            lines.append(f"const {kind} *restrict x{number} = (const {kind} *)fixed[{number}]{offset};")
    for number, node in enumerate(writer.carried if level == NETWORK else ()):
        kind = c_type(node)
        lines.append(f"{kind} *restrict s{number} = ({kind} *)carried[{number}] + network * {node.size};")
    return lines

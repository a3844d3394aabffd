"""How many threads a network has, and along which axes its arrays are cut: what a step would cost each way.

The costs are instructions of a thread, roughly: what the assembler makes of a text differs from them by a
third. They decide in which order layouts are tried; whether one of them needs the slow stack is read from its
machine code.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dysonjax.compile.buffers import reads
from dysonjax.compile.cuts import Cut
from dysonjax.compile.graph import NETWORK, STEP, Node, Unsupported, topological
from dysonjax.compile.memory import WARP
from dysonjax.compile.operations import ELEMENTWISE, REDUCTIONS, VIEWS
from dysonjax.compile.partition import Parts
from dysonjax.compile.schedule import Plan, length
from dysonjax.compile.step import Step
from dysonjax.compile.warps import planned

THREADS = (1, 2, 4, 8, 16, 32)
REGISTERS = 200  # of a thread, beside those for addresses; more are doubtful,
MOST_REGISTERS = 500  # since not all that the text has at once has to be there at once
SCHEDULERS = 528  # of an H100: 132 multiprocessors with four each
ALONE = 1.7  # cycles of an instruction of a warp that has its scheduler for itself
SHUFFLE = 4  # cycles that the exchange of a number between threads takes its unit
MOST_WARPS = 8  # of a block
# Instructions of operations that are more than one.
WORK = {
    **dict.fromkeys(("div", "rsqrt", "sqrt", "exp"), 8),
    **dict.fromkeys(("log", "logistic", "tanh", "erf", "expm1", "log1p"), 18),
    **dict.fromkeys(("erf_inv", "sin", "cos", "pow", "rem"), 30),
    **dict.fromkeys(("add", "sub", "mul", "select_n", "max", "min"), 1),
}
IN_DOUBLE = 2  # of the units of an H100, half as many add and multiply double precision


class Layout(NamedTuple):
    """A way to cut a network, and its costs."""

    how: Cut
    block: int  # warps
    instructions: float  # of a thread for a step
    shared: float  # for what a world's networks share in a step, of all threads together
    registers: int
    cycles: float  # of a scheduler for a step of all networks


def ranked(step: Step, worlds: int, points: int) -> list[Layout]:
    """All ways that have a chance to fit into registers, the cheapest first.

    worlds, points: of the networks that are trained together on a device.
    """
    found = []
    for how in _cuts(step.states):
        try:
            parts, plan = planned(step, how)
        except Unsupported:
            continue
        instructions, shared, registers = _costs(parts, plan, step.inputs)
        if registers > MOST_REGISTERS:
            continue
        block = _block(how.threads, points, instructions, shared)
        warps = worlds * warps_of(how.threads, points, block)
        each = instructions + shared / (WARP * block)
        each *= max(1, registers / REGISTERS) ** 2
        cycles = each * max(warps / SCHEDULERS, ALONE)
        found.append(Layout(how, block, instructions, shared, registers, cycles))
    return sorted(found, key=lambda layout: layout.cycles)


def warps_of(threads: int, points: int, block: int) -> int:
    """Warps of the networks of a world, in whole blocks."""
    return -(-points // (WARP // threads * block)) * block


def _cuts(states: Sequence[Node]) -> Iterator[Cut]:
    """States of one shape, such as an optimiser's moments, are cut alike."""
    shapes = list(dict.fromkeys(state.shape for state in states))
    yield Cut(1, (None,) * len(states))
    for threads in THREADS[1:]:
        choices = [
            [None, *(a for a, n in enumerate(shape) if 1 < n and threads <= 2 * n)] for shape in shapes
        ]
        for chosen in itertools.product(*choices):
            of_shape = dict(zip(shapes, chosen, strict=True))
            axes = tuple(of_shape[state.shape] for state in states)
            if any(axis is not None for axis in axes):
                yield Cut(threads, axes)
                yield Cut(threads, axes, scatter=True)


def _block(threads: int, points: int, instructions: float, shared: float) -> int:
    """Warps of a block: several share the work for their world, but the last block may be half empty."""

    def cost(block):
        return warps_of(threads, points, block) * (instructions + shared / (WARP * block))

    return min((1, 2, 4, MOST_WARPS), key=cost)


def _costs(parts: Parts, plan: Plan, fixed: Sequence[Node]) -> tuple[float, float, int]:
    """Instructions of a thread and of what is shared, and registers."""
    instructions, shared = parts.exchanged * SHUFFLE, 0.0
    for node in topological(plan.roots):
        if not node.varying:
            shared += _work(node) if node.scope == STEP else 0
        elif node.scope == NETWORK:
            instructions += _work(node)
            if node.op == "dot_general":  # four numbers of what is shared come with one instruction
                instructions += sum(i.size / 4 for i in node.inputs if not i.varying and i.op != "constant")
    return instructions, shared, _registers(parts, plan, fixed)


def _work(node: Node) -> float:
    double = IN_DOUBLE if node.dtype.itemsize == 8 and node.dtype.kind == "f" else 1
    if node.op == "dot_general":
        return double * node.size * length(node)
    if node.op in REDUCTIONS:
        return double * node.inputs[0].size
    if node.op in ELEMENTWISE and node.inputs:
        return double * node.size * WORK.get(node.op, 1)
    return 0 if node.op in VIEWS or not node.inputs else node.size


def _registers(parts: Parts, plan: Plan, fixed: Sequence[Node]) -> int:
    """Words that are alive at once: states, what stays from step to step, the most of what comes and goes."""
    known = frozenset(plan.roots)
    roots = [root for root in plan.roots if root.varying]
    last = {node: place for place, root in enumerate(roots) for node in reads(root, known)}
    most = alive = 0
    always = sum(_words(node) for node in (*parts.states, *fixed) if node.varying)
    ends: dict[int, int] = {}
    for place, root in enumerate(roots):
        if root.op != "store":
            if root.scope != NETWORK:
                always += _words(root)
            else:
                alive += _words(root)
                end = last.get(root, place)
                ends[end] = ends.get(end, 0) + _words(root)
        most = max(most, alive)
        alive -= ends.pop(place, 0)
    return always + most


def _words(node: Node) -> int:
    return node.size * (2 if node.dtype.itemsize == 8 else 1)

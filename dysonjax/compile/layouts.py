"""How many threads a network has, and along which axes its arrays are cut: what a step would cost each way.

Instructions and registers are first guessed from the graph, which decides what is compiled; registers and
stack of the machine code then decide what is taken. The constants of the model of costs were fitted to 149
kernels on an H100 (`benchmarks/device/results`): their rates scatter around it by a quarter. What it takes
is as fast as the fastest kernel that was tried for an ensemble, or up to 11 % slower.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
MOST_REGISTERS = 500  # that the text has at once; fewer have to be there at once
OF_A_THREAD = 255  # registers, beyond which numbers go to the stack
SHUFFLE = 4  # cycles that the exchange of a number between threads takes its unit
BLOCKS = (1, 2, 4, 8)  # warps
MOST_WARPS = 8  # of a block
# An H100: multiprocessors with four schedulers each, and what one has for its blocks.
MULTIPROCESSORS, SCHEDULERS = 132, 4
REGISTERS, SHARED_BYTES, RESERVED, WARPS = 65536, 227 * 1024, 1024, 64
# Cycles of an instruction of the graph for a network and of one for a world; of what no two threads share, a
# chunk; of a byte of the stack; of a doubling of the threads of a network for a warp that waits for it.
OF_NETWORK, OF_WORLD, OF_CHUNK, OF_STACK, OF_DOUBLING = 0.31, 0.92, 560.0, 3.0, 240.0
ALONE = 2.0  # times as long as its instructions a warp takes that has its scheduler for itself
OVERLAP = 1.07  # 1: what warps wait for adds to what they do, infinity: it is hidden by it
# Instructions of operations that are more than one.
WORK = {
    **dict.fromkeys(("div", "rsqrt", "sqrt", "exp"), 8),
    **dict.fromkeys(("log", "logistic", "tanh", "erf", "expm1", "log1p"), 18),
    **dict.fromkeys(("erf_inv", "sin", "cos", "pow", "rem"), 30),
    **dict.fromkeys(("add", "sub", "mul", "select_n", "max", "min"), 1),
}
IN_DOUBLE = 2  # of the units of an H100, half as many add and multiply double precision


class Use(NamedTuple):
    """What a kernel takes."""

    registers: int  # of a thread
    stack: int  # bytes of a thread
    chunk: int  # steps whose shared data are made together
    shared_bytes: int  # of a block


class Layout(NamedTuple):
    """A way to cut a network, and its costs."""

    how: Cut
    block: int  # warps
    worlds: int
    points: int
    instructions: float  # of a thread for a step
    shared: float  # for what a world's networks share in a step, of all threads together
    registers: int  # that the text has at once

    def guessed(self) -> Use:
        """Before it is compiled."""
        beyond = max(0, self.registers - OF_A_THREAD)
        return Use(min(self.registers, OF_A_THREAD), 6 * beyond, 8, 8 * 1024)

    def cycles(self, use: Use) -> float:
        """Of a step of all networks."""
        of_world = warps_of(self.how.threads, self.points, self.block) // self.block
        busy = -(-self.points * self.how.threads // WARP) / of_world  # warps of a block that have networks
        network = OF_NETWORK * self.instructions + OF_STACK * use.stack
        waits = ALONE * network + OF_DOUBLING * math.log2(self.how.threads)
        world = OF_WORLD * self.shared / (WARP * self.block)
        world += OF_CHUNK / use.chunk if self.shared else 0

        def together(blocks):
            """Of a multiprocessor with so many blocks at a time."""
            each, draws = (math.ceil(blocks * n / SCHEDULERS) for n in (busy, self.block))
            return _overlapped(waits, each * network) + _overlapped(ALONE * world, draws * world)

        resident = self._resident(use)
        whole, rest = divmod(-(-self.worlds * of_world // MULTIPROCESSORS), resident)
        return whole * together(resident) + (together(rest) if rest else 0)

    def _resident(self, use: Use) -> int:
        """Blocks that a multiprocessor has room for."""
        registers = -(-max(use.registers, 1) // 8) * 8 * WARP * self.block
        room = REGISTERS // registers, SHARED_BYTES // (use.shared_bytes + RESERVED), WARPS // self.block
        return max(1, min(room))


def _overlapped(waits: float, works: float) -> float:
    return (waits**OVERLAP + works**OVERLAP) ** (1 / OVERLAP)


def ranked(step: Step, worlds: int, points: int) -> list[Layout]:
    """All ways that have a chance to fit into registers, each with the best block, the cheapest first.

    worlds, points: of the networks that are trained together on a device.
    """
    found: dict[Any, Any] = {}
    for how in _cuts(step.states):
        try:
            parts, plan = planned(step, how)
        except Unsupported:
            continue
        costs = _costs(parts, plan, step.inputs)
        if costs[-1] > MOST_REGISTERS:
            continue
        whole = warps_of(how.threads, points, 1)  # all networks of a world in one block
        blocks = {*BLOCKS, whole} if whole <= MOST_WARPS else BLOCKS
        ways = [Layout(how, block, worlds, points, *costs) for block in sorted(blocks)]
        best = min(ways, key=lambda way: way.cycles(way.guessed()))
        found.setdefault((how._replace(scatter=False), costs), best)  # nothing may be there to scatter
    return sorted(found.values(), key=lambda layout: layout.cycles(layout.guessed()))


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


def _costs(parts: Parts, plan: Plan, fixed: Sequence[Node]) -> tuple[float, float, int]:
    """Instructions of a thread and of what is shared, and registers."""
    instructions, shared = float(parts.exchanged * SHUFFLE), 0.0
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

"""Which of the layouts that look cheap is taken: the one that costs least with its machine code."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dysonjax.compile import warps
from dysonjax.compile.graph import Unsupported
from dysonjax.compile.layouts import Layout, Use
from dysonjax.compile.step import Step

TRIES = 4  # layouts that are compiled
MOST_STACK = 2048  # bytes of a thread
TOO_LARGE = "its arrays do not fit into the registers of 32 threads"


def compiled(step: Step, found: Sequence[Layout], architecture: int) -> warps.Source:
    """The kernel of the best of some layouts, whose machine code is now kept.

    Raises Unsupported if all of them have too large a stack, NvrtcError.
    """

    def made(layout):
        source = warps.written(step, layout.how, layout.block)
        return source, use(source, architecture)

    with ThreadPoolExecutor(max(len(found), 1)) as pool:
        kernels = list(zip(found, pool.map(made, found), strict=True))
    costs = {source: layout.cycles(use) for layout, (source, use) in kernels if use.stack <= MOST_STACK}
    if not costs:
        raise Unsupported(TOO_LARGE)
    return min(costs, key=costs.__getitem__)


def use(source: warps.Source, architecture: int) -> Use:
    """What the machine code of a kernel takes."""
    found = warps.usage(warps.compiled(source, architecture))
    return Use(found.registers, found.stack, source.chunk, source.shared_bytes + found.shared)

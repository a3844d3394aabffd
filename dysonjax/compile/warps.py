"""From the step of one network to a kernel in which a network is T threads of a warp."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dysonjax.compile import cubin, nvrtc, partition, toolchain
from dysonjax.compile.cuts import Cut
from dysonjax.compile.emit import cuda, threads
from dysonjax.compile.schedule import Costs, Plan, plan, stores_of
from dysonjax.compile.step import Step

HEADERS = tuple(Path(__file__).parent / "c" / name for name in ("threads.h", "warp.h", "lanes.h"))
NAME = "advance"
QUICK = ("-O0", "-fno-unroll-loops")  # the C text is for tests: a few steps, compiled thirty times as fast


class Source(NamedTuple):
    """A kernel of T threads a network, for a warp or several as a block."""

    text: str
    how: Cut
    block: int  # warps
    chunk: int  # steps whose shared data are made together
    shared_bytes: int  # of a block
    used: tuple[bool, ...]  # which of the fixed inputs are read at all


def planned(step: Step, how: Cut) -> tuple[partition.Parts, Plan]:
    """The graph of a thread and its loops. Raises Unsupported."""
    parts = partition.cut(step.outputs, step.states, how)
    return parts, plan(stores_of(threads.staged(parts.outputs), parts.states), Costs(inline=True))


def written(step: Step, how: Cut, block: int = 1) -> Source:
    """The kernel for networks that are cut like that, in blocks of so many warps. Raises Unsupported."""
    parts, found_plan = planned(step, how)
    stopped = None if step.stopped is None else parts.states[step.stopped]
    found = cuda.write(
        found_plan, step.inputs, parts.states, step.index, parts.thread, stopped, how.threads, block
    )
    used = tuple(node in found_plan.read for node in step.inputs)
    return Source(found.text, how, block, found.chunk, found.shared_bytes, used)


def compiled(source: Source, architecture: int, options: Sequence[str] = ()) -> bytes:
    """The cubin; raises NvrtcError."""
    defines = (f"-DWARPS={source.block}", "-DBLOCKS=1", *options)
    return nvrtc.compile(source.text, architecture, _headers(), defines)


def usage(content: bytes) -> cubin.Usage:
    """What the kernel of a cubin takes."""
    return cubin.usage(content, NAME)


def as_c(source: Source) -> str:
    """The path of the library that the C compiler makes of the text. Raises CompilerError."""
    return toolchain.load(source.text, (HEADERS[0], HEADERS[2]), QUICK)._name


@functools.cache
def _headers() -> dict[str, str]:
    return {path.name: path.read_text() for path in HEADERS[:2]}

"""Target: C for one network after the other on each core, see `dysonjax.compile`.

Each network draws its batches for itself. The arrays of a world are read where they are, or copied once a
wave: they may be a data set that is larger than all networks together.
"""

import functools
from typing import Any

from dysonjax.compile import WHOLE, WORLD, Input, Kernel, aligned, in_memory, write_step
from dysonjax.ensemble import c_step, xla
from dysonjax.ensemble.contract import Executable, Lowered, Refused, Target, Task, Tile, at_once
from dysonjax.ensemble.keys import BATCH, Identity
from dysonjax.ensemble.layout import apart, resting, together
from dysonjax.ensemble.thresholds import VALUES


def lower(task: Task, tile: Tile) -> Lowered:
    """Raises Refused if the step cannot be written in C."""
    devices = tile.shape[0]
    form = c_step.form(tile, apart, together)
    fixed = c_step.fixed(task, tile, BATCH)
    with c_step.refusing():
        step_of_one = c_step.on_arrays(task, fixed, form)
        inputs = [Input(s.shape, s.dtype, WORLD, False) for s in (*fixed.of_world, *fixed.points)]
        write = functools.partial(write_step, step_of_one, inputs, form.of_one, len(form.leaves) - 1, WHOLE)
        source = c_step.source(task, "whole step", tile, write)
    least, found = VALUES["whole_least_bytes"], task.state_bytes + source.scratch
    if task.xla_follows and found < least:
        raise Refused(f"{found} bytes of state and intermediate arrays, and XLA is faster below {least}")
    start = c_step.started_by_xla(task, tile, form)
    observe = c_step.observed_by_xla(task, tile, form)
    observed = task.observed(tile)

    def compile_step():
        kernel, threads = Kernel(source), c_step.on_threads(devices)

        @c_step.remembered
        def inputs(identity: Identity, world: Any) -> list:
            """On each device the arrays of each world, and those of each point of it."""
            return [
                (
                    [
                        [resting(in_memory(leaf[w], varying=False)) for leaf in worlds]
                        for w in range(len(worlds[0]))
                    ],
                    list(zip(*map(apart, points), strict=True)),
                )
                for worlds, points in fixed.arrays(identity, world)
            ]

        def train(inputs, networks, first, count):
            worlds, points = inputs
            new = [[aligned(leaf) for leaf in leaves] for leaves in networks]
            each = len(networks) // len(worlds)
            for number, carried in enumerate(new):
                read = [*worlds[number // each], *points[number]]
                kernel(read, carried, int(first), int(count))
            return new

        return lambda identity, world, state, first, count: threads(
            train, inputs(identity, world), state, first, count
        )

    def compile():
        with c_step.refusing():
            begin, train, watch = at_once(start, compile_step, observe)
            return Executable(begin, train, watch, form.pack, form.unpack)

    return Lowered(compile, observed, source.scratch)


TARGET = Target(
    "whole",
    "native",
    c_step.refuses,
    xla.cost,  # XLA starts and observes its tiles
    c_step.most_members,
    lower,
)

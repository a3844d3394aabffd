"""Target: C with sixteen networks in the lanes of a vector register, see `dysonjax.compile`."""

import functools
import math
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile import (
    LANES,
    NETWORK,
    WORLD,
    Input,
    Kernel,
    Unsupported,
    aligned,
    empty_aligned,
    write_step,
)
from dysonjax.compile.levels import compiled as compiled_levels
from dysonjax.compile.levels import in_lanes, takes
from dysonjax.ensemble import c_step, step
from dysonjax.ensemble.c_step import Fixed, Form
from dysonjax.ensemble.contract import Executable, Lowered, Target, Task, Tile, at_once
from dysonjax.ensemble.keys import BATCH, INIT, OBSERVE, Identity
from dysonjax.ensemble.layout import Lanes
from dysonjax.ensemble.step import Observed
from dysonjax.ensemble.thresholds import VALUES
from dysonjax.models.base import Model

OBSERVED_BYTES = 2**25  # of intermediate arrays of sixteen networks: samples by neurons, several times


def refuses(task: Task) -> str | None:
    most = VALUES["lanes_most_state_bytes"]
    if task.state_bytes > most:
        return f"a network has {task.state_bytes} bytes of state, and more than {most} are too many in lanes"
    return c_step.refuses(task)


def costs(model: Model, worlds: int, points: int) -> tuple[float, float]:
    """Of a step of a tile, in networks: with its worlds in the lanes, and with its points in them.

    Lanes that stay empty cost as much as full ones. A world's draws cost as much as 8 and 8 networks of an
    RBM, 60 and 110 linear 2 x 2 networks, 1 and 9 students. Looking up data that differ between the lanes
    makes a student's step 1.6 times as long.
    """
    if model.draws:
        return _rounded(worlds) * (points + 8), worlds * (_rounded(points) + 12)
    return 1.6 * _rounded(worlds) * points, worlds * _rounded(points)


def cost(model: Model, worlds: int, points: int) -> float:
    return min(costs(model, worlds, points))


def over_worlds(model: Model, worlds: int, points: int) -> bool:
    """Whether the lanes of a tile are worlds or points of one world."""
    with_worlds, with_points = costs(model, worlds, points)
    return with_worlds < with_points


def lower(task: Task, tile: Tile) -> Lowered:
    """Raises Refused if the step cannot be written in C."""
    devices, worlds, points = tile.shape
    lanes = Lanes(over_worlds(task.model, worlds, points))
    form = c_step.form(tile, lanes.pack, lanes.unpack)
    fixed = c_step.fixed(task, tile, BATCH)
    with c_step.refusing():
        step_of_one = c_step.on_arrays(task, fixed, form)
        write = functools.partial(
            write_step,
            step_of_one,
            _inputs(fixed, lanes),
            form.of_one,
            len(form.leaves) - 1,
            most_scratch=VALUES["lanes_most_scratch_bytes"],
        )
        source = c_step.source(task, "step in lanes", tile, write)
    start = c_step.started_by_xla(task, tile, form)
    observed = task.observed(tile)
    observe = _observation(task, tile, lanes, form, observed)

    def compile_step():
        kernel, threads = Kernel(source), c_step.on_threads(devices)
        inputs = c_step.remembered(functools.partial(_arrays, fixed, lanes, kernel.used))

        def train(inputs, calls, first, count):
            new = [[aligned(leaf) for leaf in leaves] for leaves in calls]
            for read, carried in zip(inputs, new, strict=True):
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


TARGET = Target("lanes", "native", refuses, cost, c_step.most_members, lower)


def _observation(task: Task, tile: Tile, lanes: Lanes, form: Form, observed: Observed) -> Callable:
    """`Executable.observe`, to be compiled: in C if it can be written in C, else by XLA."""
    fixed = c_step.fixed(task, tile, INIT, OBSERVE)
    results, tree = jax.tree.flatten((observed.numbers, observed.matrices))
    numbers, matrices = jax.tree.unflatten(tree, range(len(results)))  # places among the results
    in_c = [name for name, leaf in observed.matrices.items() if _levels_in_c(leaf)]
    read = {name: place for name, place in matrices.items() if task.matrices or name not in in_c}
    of_one = [jax.ShapeDtypeStruct(leaf.shape[3:], leaf.dtype) for leaf in results]
    count = len(fixed.of_world) + len(fixed.points)

    def step_of_one(values, carried, index):
        (key_init, key), world, point = fixed.of_one(values[:count])
        params = jax.tree.unflatten(form.tree, values[count:]).params
        initial = task.model.init(key_init, world, point).params
        found = jax.tree.leaves(step.observe(task.model, key, world, point, params, initial))
        return [jnp.asarray(value, kind.dtype) for value, kind in zip(found, of_one, strict=True)]

    states = (Input(s.shape, s.dtype, NETWORK, True) for s in form.of_one)
    try:
        write = functools.partial(
            write_step, step_of_one, [*_inputs(fixed, lanes), *states], of_one, most_scratch=OBSERVED_BYTES
        )
        source = c_step.source(task, "observation in lanes", tile, write)
    except Unsupported:
        return c_step.observed_by_xla(task, tile, form)
    targets = task.traces.program("targets", task.programs.targets, tile.identity, tile.world)

    def compile():
        if in_c:
            compiled_levels()
        kernel, threads = Kernel(source, seldom=True), c_step.on_threads(tile.shape[0])
        inputs = c_step.remembered(functools.partial(_arrays, fixed, lanes, kernel.used))
        targets_of = c_step.remembered(targets())
        space = threading.local()
        kinds = [np.int32 if one.dtype == bool else one.dtype for one in of_one]

        def observe_device(inputs, calls):
            """Each (worlds, points, ...)."""
            if not hasattr(space, "found"):  # kept by a thread: memory that is new takes time
                networks = len(calls[0][0])
                space.found = [
                    empty_aligned((len(calls), networks, math.prod(one.shape), LANES), kind)
                    for one, kind in zip(of_one, kinds, strict=True)
                ]
            found = space.found
            for number, (read_by, leaves) in enumerate(zip(inputs, calls, strict=True)):
                kernel([*read_by, *leaves], [of_calls[number] for of_calls in found], 0, 1)

            def unpacked(place):
                leaf = results[place]
                return lanes.unpack(list(found[place]), leaf.shape[1:], leaf.dtype)

            def levels_of(name):
                shape = observed.matrices[name].shape
                rows, columns = shape[3:]
                levels = [in_lanes(of_call, (rows, columns)) for of_call in found[matrices[name]]]
                return lanes.unpack(levels, (*shape[1:3], min(shape[3:])), np.float64)

            diverged_at = lanes.unpack([leaves[-1] for leaves in calls], tile.shape[1:], np.int32)
            levels = {name: levels_of(name) for name in in_c}
            found_numbers, found_matrices = jax.tree.map(unpacked, (numbers, read))
            return Observed(found_numbers, found_matrices, {}, diverged_at, levels)

        def observe(identity, world, state):
            aims = targets_of(identity, world)

            def joined(parts):
                return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)._replace(targets=aims)

            return threads(observe_device, inputs(identity, world), state, joined=joined)

        return observe

    return compile


def _levels_in_c(leaf: jax.ShapeDtypeStruct | jax.Array) -> bool:
    """Whether the levels of matrices (devices, worlds, points, m, n) are found where a kernel has them."""
    return leaf.dtype in (np.float32, np.float64) and takes(*leaf.shape[3:])


def _inputs(fixed: Fixed, lanes: Lanes) -> list[Input]:
    return [
        *(Input(s.shape, s.dtype, WORLD, lanes.over_worlds) for s in fixed.of_world),
        *(Input(s.shape, s.dtype, NETWORK, True) for s in fixed.points),
    ]


def _arrays(fixed: Fixed, lanes: Lanes, used: tuple[bool, ...], identity: Identity, world: Any) -> list:
    """For every device and call of the kernel the inputs; None where `used` says that it is not read."""
    found = []
    for worlds, points in fixed.arrays(identity, world):
        calls = zip(lanes.pack_worlds(worlds, used), zip(*map(lanes.pack, points), strict=True), strict=True)
        found.append([[*of_world, *of_point] for of_world, of_point in calls])
    return found


def _rounded(count: int) -> int:
    return -(-count // LANES) * LANES

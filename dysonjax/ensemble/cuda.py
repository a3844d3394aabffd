"""Target: a CUDA kernel in which a network is a few threads of a warp and keeps its weights in registers.

The arrays are XLA's: networks are started, observed and brought to the host by its programs, on the device.
Between records the state stays there, in the form of the kernel (see `layout.Warps`); a call of `advance`
copies it and launches the kernel on the copy, so that an observation under way still finds the old one.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile import (
    NETWORK,
    WARP,
    WORLD,
    CompilerError,
    Input,
    Step,
    Unsupported,
    driver,
    fastest,
    layouts,
    nvrtc,
    traced,
    warps,
)
from dysonjax.compile.layouts import Layout
from dysonjax.ensemble import c_step, xla
from dysonjax.ensemble.c_step import Fixed, Form
from dysonjax.ensemble.contract import (
    Executable,
    Failed,
    Later,
    Lowered,
    Refused,
    Target,
    Task,
    Tile,
    at_once,
)
from dysonjax.ensemble.keys import BATCH, Identity
from dysonjax.ensemble.layout import Warps

MOST_STATE = 16 * 1024  # bytes of a network: half of the registers of 32 threads
OLDEST = 80  # compute capability 8.0


def refuses(task: Task) -> str | None:
    device = task.devices[0]
    if device.platform not in ("gpu", "cuda", "rocm") and not driver.chosen():
        return "there is no NVIDIA GPU"
    reason = driver.refuses()
    if reason is None and not driver.load().stand_in:
        reason = "it needs an NVIDIA GPU" if device.platform == "cpu" else nvrtc.refuses()
    if reason is None and task.state_bytes > MOST_STATE:
        reason = (
            f"a network has {task.state_bytes} bytes of state, and more than {MOST_STATE} do not fit into "
            "the registers of its threads"
        )
    return reason


class Prepared(NamedTuple):
    """A step as a graph, and the arrays that it reads and changes."""

    step: Step
    fixed: Fixed
    form: Form


class Machine(NamedTuple):
    """A kernel on every device of a run."""

    source: warps.Source
    functions: list[driver.Function]


def prepared(task: Task, tile: Tile) -> Prepared:
    """Raises Refused if the step cannot be written in C."""
    form = c_step.form(tile)
    fixed = c_step.fixed(task, tile, BATCH)
    inputs = [
        *(Input(s.shape, s.dtype, WORLD, False) for s in fixed.of_world),
        *(Input(s.shape, s.dtype, NETWORK, True) for s in fixed.points),
    ]
    function = c_step.on_arrays(task, fixed, form)
    try:
        step = traced(function, inputs, form.of_one, len(form.leaves) - 1)
    except Unsupported as reason:
        raise Refused(str(reason)) from None
    return Prepared(step, fixed, form)


def lower(task: Task, tile: Tile) -> Lowered:
    """Raises Refused if the step cannot be written as a kernel."""
    _, worlds, points = tile.shape
    ready = prepared(task, tile)
    found = layouts.ranked(ready.step, worlds, points)[: fastest.TRIES]
    if not found:
        raise Refused(fastest.TOO_LARGE)
    start = task.programs.start.lower(tile.identity)
    observe = task.programs.observe.lower(tile.identity, tile.world, tile.state)

    def compile():
        kernel = functools.partial(machine, task.devices, ready.step, found)
        try:
            made = at_once(kernel, start.compile, observe.compile)
        except (Unsupported, CompilerError, nvrtc.NvrtcError, driver.DriverError) as reason:
            raise Refused(str(reason)) from None
        return executable(tile, ready, *made)

    return Lowered(compile, task.observed(tile))


def machine(devices: list[jax.Device], step: Step, found: list[Layout]) -> Machine:
    """The kernel of the layout that costs the least by its machine code, loaded on every device.

    Raises Unsupported if all are too large, NvrtcError, DriverError.
    """
    gpus = [driver.device(_ordinal(device)) for device in devices]
    oldest = min(gpu.architecture for gpu in gpus)
    if oldest < OLDEST:
        needed = f"at least {OLDEST / 10} is needed"
        raise Unsupported(
            f"a GPU of compute capability {oldest / 10} copies nothing asynchronously, {needed}"
        )
    if gpus[0].driver.stand_in:
        best = warps.written(step, found[0].how, found[0].block)
        images = [warps.as_c(best).encode()] * len(gpus)
    else:
        best = fastest.compiled(step, found, gpus[0].architecture)
        images = [warps.compiled(best, gpu.architecture) for gpu in gpus]
    functions = [
        driver.function(gpu, image, warps.NAME, best.shared_bytes)
        for gpu, image in zip(gpus, images, strict=True)
    ]
    return Machine(best, functions)


def _ordinal(device: jax.Device) -> int:
    """The driver's number of a device."""
    number = getattr(device, "local_hardware_id", None)
    return device.id if number is None else number


def executable(tile: Tile, ready: Prepared, machine: Machine, start, observe) -> Executable:
    """start, observe: XLA's compiled programs."""
    _, worlds, points = tile.shape
    fixed, form = ready.fixed, ready.form
    how, block, used = machine.source.how, machine.source.block, machine.source.used
    moves = _moves(tile, form, [Warps(how.threads, axis, block) for axis in how.axes])
    whole = Warps(how.threads, None, block)
    warps_of_world = whole.warps(points)
    blocks = worlds * warps_of_world // block

    def read(of_world, of_point):
        of_world = [leaf.astype(np.int32) if leaf.dtype == bool else leaf for leaf in of_world]
        return [*of_world, *map(whole.pack, of_point)]

    inputs = moves.on_devices(read)

    @c_step.remembered
    def read_by(identity: Identity, world: Any) -> list[jax.Array]:
        """What the kernel reads."""
        keys = [identity.key_words(fixed.common, stream) for stream in fixed.streams]
        leaves = [c_step.key_data(leaf) for leaf in jax.tree.leaves(world)]
        of_point = [identity.point[name] for name in fixed.names]
        return jax.block_until_ready(inputs([*keys, *leaves], of_point))

    def begin(identity):
        world, state = start(identity)
        return world, moves.from_xla(jax.tree.leaves(state))

    def advance(identity, world, state, first, steps):
        reads = read_by(identity, world)
        # XLA has done all that it was asked to do with this memory when the copy is there.
        new = jax.block_until_ready(moves.copy(state))
        launched = []
        try:
            for number, function in enumerate(machine.functions):
                if steps[number] == 0:
                    continue
                words = [_address(leaf, number) if use else 0 for leaf, use in zip(reads, used, strict=True)]
                words += [_address(leaf, number) for leaf in new]
                words += [warps_of_world, int(first[number]), int(steps[number])]
                function.launch(blocks, WARP * block, words)
                launched.append(function)
        except driver.DriverError as reason:
            _wait(launched, reads)
            raise _failed(reason) from None

        def result():
            reason = _wait(launched, reads)
            if reason is not None:
                raise _failed(reason)
            return new

        return Later(result)

    def look(identity, world, state):
        found = observe(identity, world, jax.tree.unflatten(form.tree, moves.to_xla(state)))
        return Later(lambda: jax.block_until_ready(found))

    def unpack(state):
        return jax.tree.unflatten(form.tree, jax.device_get(moves.to_plain(state)))

    def pack(plain):
        return moves.from_plain(jax.device_put(jax.tree.leaves(plain), moves.sharding))

    return Executable(begin, advance, look, pack, unpack)


class Moves(NamedTuple):
    """Between the forms of a state, lists of leaves on the devices."""

    sharding: jax.sharding.Sharding
    on_devices: Callable[[Callable], Callable]  # a function of the arrays of one device, on all
    from_xla: Callable
    to_xla: Callable
    from_plain: Callable
    to_plain: Callable
    copy: Callable


def _moves(tile: Tile, form: Form, layouts_of: list[Warps]) -> Moves:
    shapes = [(leaf.shape[1:], leaf.dtype) for leaf in form.leaves]
    mesh = jax.tree.leaves(tile.state)[0].sharding.mesh
    spec = jax.sharding.PartitionSpec(mesh.axis_names[0])

    def on_devices(function):
        def local(*arguments):
            found = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
            return jax.tree.map(lambda leaf: leaf[None], found)

        return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))

    def pack(leaves):
        *held, stopped = (layout.pack(leaf) for layout, leaf in zip(layouts_of, leaves, strict=True))
        idle = layouts_of[-1].idle(*leaves[-1].shape[:2])
        return [*held, jnp.where(idle[:, None, None], 0, stopped)]

    def unpack(held):
        return [
            layout.unpack(leaf, *shape) for layout, leaf, shape in zip(layouts_of, held, shapes, strict=True)
        ]

    return Moves(
        jax.sharding.NamedSharding(mesh, spec),
        on_devices,
        on_devices(lambda leaves: pack([tile.points.plain(leaf[None])[0] for leaf in leaves])),
        on_devices(lambda held: [tile.points.of_plain(leaf[None])[0] for leaf in unpack(held)]),
        on_devices(pack),
        on_devices(unpack),
        on_devices(lambda held: [jnp.copy(leaf) for leaf in held]),
    )


def _address(leaf: jax.Array, device: int) -> int:
    """Where the part of an array on a device of the mesh lies."""
    shards = {shard.index[0].start or 0: shard.data for shard in leaf.addressable_shards}
    return shards[sorted(shards)[device]].unsafe_buffer_pointer()


def _wait(functions: list[driver.Function], reads: list[jax.Array]) -> driver.DriverError | None:
    """Until all that was launched is done; what it reads has to live as long. The first failure, if any."""
    found = None
    for function in functions:
        try:
            function.wait()
        except driver.DriverError as reason:
            found = found or reason
    del reads
    return found


def _failed(reason: driver.DriverError) -> Failed:
    return Failed(str(reason), memory=reason.code == driver.OUT_OF_MEMORY)


def _meant_for(device: jax.Device) -> bool:
    return device.platform != "cpu" or bool(driver.chosen())


TARGET = Target("cuda", "cuda", refuses, xla.cost, xla.most_members, lower, _meant_for)

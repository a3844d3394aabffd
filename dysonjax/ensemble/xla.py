"""Target: XLA, which takes every step on every device."""

import jax

from dysonjax.ensemble.contract import Executable, Later, Lowered, Target, Task, Tile, at_once
from dysonjax.ensemble.thresholds import VALUES
from dysonjax.models.base import Model

DEVICE_FRACTION = 0.25  # of an accelerator's memory that the state of one tile may take
FALLBACK_DEVICE_BYTES = 8 * 2**30
WORLD_COST = 4  # of a world, whose batch is drawn or looked up once, in networks


def cost(model: Model, worlds: int, points: int) -> int:
    return worlds * (points + WORLD_COST)


def most_members(task: Task) -> int:
    device = task.devices[0]
    if device.platform == "cpu":
        budget = VALUES["xla_tile_bytes"]
    else:
        stats = device.memory_stats() or {}
        budget = DEVICE_FRACTION * stats.get("bytes_limit", FALLBACK_DEVICE_BYTES)
    return int(budget // task.state_bytes)


def lower(task: Task, tile: Tile) -> Lowered:
    number = jax.ShapeDtypeStruct((tile.shape[0],), "int32")
    traced, programs = task.traces.program, task.programs
    start = traced("start", programs.start, tile.identity)
    advance = traced("advance", programs.advance, tile.identity, tile.world, tile.state, number, number)
    observe = traced("observe", programs.observe, tile.identity, tile.world, tile.state)

    def waited_for(program):
        def call(*arguments):
            found = program(*arguments)
            return Later(lambda: jax.block_until_ready(found))

        return call

    def pack(plain):
        shardings = jax.tree.map(lambda leaf: leaf.sharding, tile.state)
        return jax.device_put(jax.tree.map(tile.points.of_plain, plain), shardings)

    def unpack(state):
        return jax.tree.map(tile.points.plain, jax.device_get(state))

    def compile():
        begin, *others = at_once(start, advance, observe)
        begun = lambda identity: jax.block_until_ready(begin(identity))  # noqa: E731
        temporary = max(getattr(one.memory_analysis(), "temp_size_in_bytes", 0) for one in others)
        advanced, observed = map(waited_for, others)
        return Executable(begun, advanced, observed, pack, unpack, temporary)

    return Lowered(compile, task.observed(tile))


TARGET = Target("xla", "xla", lambda task: None, cost, most_members, lower)

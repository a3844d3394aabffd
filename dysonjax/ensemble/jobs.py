"""What a run consists of: one job a batch size, with its compiled programs and its waves of tiles."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax import checks
from dysonjax.ensemble import layout, shapes, targets, tile_memory, tiles, trace_key
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.contract import Executable, Lowered, Refused, Target, Task, Tile
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.keys import Identity
from dysonjax.ensemble.programs import build
from dysonjax.models.base import Model

CALIBRATION_SECONDS = 0.05  # at least, and less than four times that
PIECE_SECONDS = 1.0  # a signal waits for the end of a piece


class Job(NamedTuple):
    """All tiles of one batch size."""

    model: Model
    batch_index: int
    target: Target
    reasons: dict[str, str]  # of the targets that refused before, by name
    lowered: Lowered
    waves: list[tiles.Wave]
    tile_members: int
    most: int  # members that a tile was allowed to have
    tile_key: dict[str, Any]  # under which `tile_memory` keeps the best of that
    state: Any  # shapes and types of the state of a wave, in the plain form
    again: Callable[..., "Job"]  # the same job, lowered anew: of another config, or without what refused
    executable: Executable | None = None

    def compiled(self) -> "Job":
        try:
            return self._replace(executable=self.lowered.compile())
        except Refused as reason:
            return self.again(refused=self.reasons | {self.target.name: str(reason)}).compiled()

    @property
    def program(self) -> Executable:
        """What `compiled` has made."""
        assert self.executable is not None, "the job is not compiled"
        return self.executable

    @property
    def member_bytes(self) -> int:
        """Of memory that a network takes: its state, and its share of what a tile needs beside."""
        leaves = jax.tree.leaves(self.state)
        devices = leaves[0].shape[0]
        state = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) / devices
        return math.ceil((state + self.program.bytes) / self.tile_members) + self.lowered.scratch_bytes


def all_batch_sizes(model: Model, config: Config, seeds: range) -> list[Job]:
    """The jobs of a run for these seeds of the grid, counted from 0; nothing is compiled yet."""
    return [job(model, config, index, seeds) for index in range(len(config.grid.batch_size))]


def job(
    model: Model,
    config: Config,
    batch_index: int,
    seeds: range,
    refused: Mapping[str, str] | None = None,
) -> Job:
    """The job of one batch size for these seeds of the grid, counted from 0; nothing is compiled yet.

    refused: reasons of targets that are known to refuse. Raises InputError if all of the backend do.
    """
    grid, common = config.grid, config.common
    batch_size, count = grid.batch_size[batch_index], len(config.devices)
    mesh = jax.sharding.Mesh(np.array(config.devices), ("devices",))
    part = dataclasses.replace(grid, seeds=len(seeds), first_seed=grid.first_seed + seeds.start)

    def cut(worlds, points):
        return tiles.waves(config, part, batch_size, worlds, points)

    kept = trace_key.traces(model, config, batch_size)
    first = cut(1, 1)[0].identity
    one = kept.kept(
        "one network", first.point, lambda: shapes.of_one(model, config.transform, batch_size, first)
    )
    programs = build(model, config.transform, batch_size, common, mesh, one.state, config.precision)
    task = Task(
        model,
        config.transform,
        batch_size,
        common,
        config.devices,
        programs,
        kept,
        one,
        state_bytes=tiles.member_bytes(one.state),
        xla_follows=config.backend == "auto",
        matrices=config.keep_weights != "none" or bool(config.compared),
    )
    points = len(part.points())
    inner, outer = (points, 1) if common else (1, points)

    def made(target):
        cost = functools.partial(target.cost, model)
        choose = functools.partial(tiles.choose, part.seeds * outer, inner, devices=count, cost=cost)
        most = max(1, target.most_members(task))
        shape = choose(members=most)
        key = tile_memory.key(model, config, batch_size, one.state, target.name, *shape)
        other = config.tile
        if other is None:
            other = tile_memory.recall(key)
        if isinstance(other, int):
            most, shape = other, choose(members=other)
        waves = [wave._replace(index=_in_grid(wave.index, grid, seeds)) for wave in cut(*shape)]
        tile = _tile(model, one, mesh, waves[0].identity)
        return target.lower(task, tile), waves, math.prod(shape), most, key, tile.plain

    target, rest, reasons = targets.first(task, config.backend, made, refused or {})
    lowered, waves, tile_members, most, key, state = rest

    def again(config=config, refused=reasons):
        return job(model, config, batch_index, seeds, refused)

    return Job(model, batch_index, target, reasons, lowered, waves, tile_members, most, key, state, again)


def _tile(model: Model, one: shapes.OfOne, mesh: jax.sharding.Mesh, identity: Identity) -> Tile:
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
    devices, worlds, points = identity.point["lr"].shape
    where = layout.points(model, points)
    world, state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        (one.of_world(devices, worlds), one.of_state(devices, worlds, points, where)),
    )
    return Tile(identity, world, state, where)


def _in_grid(index: np.ndarray, grid: Grid, seeds: range) -> np.ndarray:
    """Places in a grid of some of the seeds as places in the whole grid."""
    point, seed = index // len(seeds), index % len(seeds)
    return np.where(index < 0, -1, point * grid.seeds + seeds.start + seed)


def check_storable(job: Job) -> None:
    """Raise InputError if a file cannot hold the state of a network."""
    if any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(job.state)):
        raise checks.InputError(
            "a network's state holds a typed random key, which no file can hold; keep its key_data"
        )


class Pace:
    """How many steps a piece of a segment has, so that it takes about `PIECE_SECONDS`.

    A long segment is cut so that the run can save, report and stop in between; where it is cut changes no
    number, since steps are counted from the start of training.
    """

    def __init__(self):
        self.steps = 16

    def piece(self, left: int) -> int:
        return min(self.steps, left)

    def measured(self, steps: int, seconds: float) -> None:
        if steps == self.steps:  # shorter ones say more about the costs of a call
            factor = PIECE_SECONDS / max(seconds, 1e-6)
            self.steps = int(min(max(1, self.steps * min(max(factor, 0.25), 8)), 2**30))


def measure(job: Job, config: Config) -> float:
    """Seconds of the waves of a job, from a few steps and one observation of the first one."""
    count, run = len(config.devices), job.program
    identity = job.waves[0].identity
    world, state = run.start(identity)
    steps, elapsed = 1, 0.0
    while elapsed < CALIBRATION_SECONDS and steps < config.steps:
        steps *= 4
        begin = time.perf_counter()
        state = run.advance(identity, world, state, per_device(0, count), per_device(steps, count)).result()
        elapsed = time.perf_counter() - begin
    run.observe(identity, world, state).result()
    begin = time.perf_counter()
    run.observe(identity, world, state).result()
    observation = time.perf_counter() - begin
    training = elapsed / steps * config.steps
    return len(job.waves) * (training + observation * len(config.records))


def per_device(value: int, count: int) -> np.ndarray:
    return np.full(count, value, np.int32)


def where_filled(value: int, wave: tiles.Wave) -> np.ndarray:
    """A number of steps for each device: none where a tile is all padding."""
    return np.where((wave.index >= 0).any(axis=(1, 2)), value, 0).astype(np.int32)

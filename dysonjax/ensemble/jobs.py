"""What a run consists of: one job a batch size, with its compiled programs and its waves of tiles."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from dysonjax import checks, native
from dysonjax.ensemble import lanes, packing, tile_memory, tiles, whole
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.programs import Identity, Programs, build, points_last
from dysonjax.models.base import Model

CALIBRATION_SECONDS = 0.2
PIECE_SECONDS = 1.0  # a signal waits for the end of a piece


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of a run in canonical form."""

    records: tuple[int, ...]
    optimizer: tuple[str, optax.GradientTransformation]
    common: bool
    seed: int
    x64: bool
    tile: int | None
    devices: list
    keep_weights: str
    backend: str = "auto"
    identity_bits: int = 64  # of the names of grid points, see `grid.point_identity`
    tune: bool = False  # look for the fastest tile, however short the run is

    @property
    def dtype(self):
        return np.float64 if self.x64 else np.float32

    @property
    def last(self) -> int:
        """The number of steps."""
        return self.records[-1]


class Job(NamedTuple):
    """All tiles of one batch size."""

    batch_index: int
    programs: Programs  # lowered; compiled by `compiled`
    waves: list[tiles.Wave]
    tile_members: int
    most: int  # members that a tile was allowed to have
    tile_key: dict[str, Any]  # under which `tile_memory` keeps the best of that
    state: Any  # shapes and types of the state of a wave
    points_last: bool  # of its layout, see `programs`
    backend: str  # what compiles the training step: "native" or "xla"
    otherwise: Callable[[], "Job"] | None = None  # the same job for XLA, if the C compiler should fail

    def compiled(self) -> "Job":
        programs = [program for program in self.programs if program is not None]
        with ThreadPoolExecutor(len(programs)) as pool:
            compiling = [pool.submit(program.compile) for program in programs]
        try:
            return self._replace(programs=Programs(*(program.result() for program in compiling)))
        except native.CompilerError as error:
            if self.otherwise is None:
                raise checks.InputError(f"{error}; use backend='xla'") from None
            warnings.warn(f"{error}; going on with XLA, which is slower here", stacklevel=2)
            return self.otherwise().compiled()


def job(model: Model, grid: Grid, settings: Settings, batch_index: int, seeds: range) -> Job:
    """The job of one batch size for these seeds of the grid, counted from 0; nothing is compiled yet.

    Raises InputError if the settings ask for the native backend and it cannot compile this model's step.
    """
    if settings.backend != "xla":
        try:
            return _job(model, grid, settings, batch_index, seeds, "native")
        except native.Unsupported as reason:
            if settings.backend == "native":
                raise checks.InputError(
                    f"the native backend cannot train the model {model.name}: {reason}; use backend='auto'"
                ) from None
        except Exception as error:
            if settings.backend == "native":
                raise
            made = _job(model, grid, settings, batch_index, seeds, "xla")  # raises what is the model's fault
            warnings.warn(
                f"the step of {model.name} could not be written in C ({type(error).__name__}: {error}); "
                "going on with XLA, which is slower here; please report this",
                stacklevel=2,
            )
            return made
    return _job(model, grid, settings, batch_index, seeds, "xla")


def _job(model, grid, settings, batch_index, seeds, backend) -> Job:
    batch_size = grid.batch_size[batch_index]
    mesh = jax.sharding.Mesh(np.array(settings.devices), ("devices",))
    programs = build(model, settings.optimizer[1], batch_size, settings.common, mesh)
    count = len(settings.devices)
    part = dataclasses.replace(grid, seeds=len(seeds), first_seed=grid.first_seed + seeds.start)

    def cut(worlds, points):
        return tiles.waves(
            part,
            batch_size,
            settings.common,
            settings.seed,
            count,
            worlds,
            points,
            settings.dtype,
            settings.identity_bits,
        )

    _, state_of_one = jax.eval_shape(programs.start, cut(1, 1)[0].identity)
    member_bytes = tiles.member_bytes(state_of_one) // count
    many = member_bytes <= lanes.MOST_BYTES  # whether sixteen of them fit into a cache
    if backend == "native":
        lanes.check(settings.devices)
    in_lanes = backend == "native" and many
    cost = functools.partial(packing.cost, model) if in_lanes else tiles.cost_by_xla
    points = len(part.points())
    inner, outer = (points, 1) if settings.common else (1, points)
    choose = functools.partial(tiles.choose, part.seeds * outer, inner, devices=count, cost=cost)
    most = tiles.largest(member_bytes, settings.devices[0], backend == "native")
    worlds, points = choose(members=most)
    key = tile_memory.key(model, settings, batch_size, state_of_one, backend, worlds, points)
    other = settings.tile or (None if settings.tune else tile_memory.recall(key))
    if other is not None:
        most, (worlds, points) = other, choose(members=other)
    waves = [wave._replace(index=_in_grid(wave.index, grid, seeds)) for wave in cut(worlds, points)]
    identity = waves[0].identity
    shapes = jax.eval_shape(programs.start, identity)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
    world, state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )
    number = per_device(0, count)
    if backend == "native":
        advance = (lanes if many else whole).Step(
            model, settings.optimizer[1], batch_size, settings.common, identity, world, state
        )
    else:
        advance = programs.advance.lower(identity, world, state, number, number)
    if in_lanes:
        observe = _observation(model, settings.common, programs, identity, world, state)
    elif backend == "native":
        observe = lanes.OfUnpacked(programs.observe.lower(identity, world, state))
    else:
        observe = programs.observe.lower(identity, world, state)
    lowered = Programs(programs.start.lower(identity), advance, observe)
    otherwise = None
    if backend == "native" and settings.backend == "auto":
        otherwise = functools.partial(_job, model, grid, settings, batch_index, seeds, "xla")
    last = points_last(model, points)
    return Job(batch_index, lowered, waves, worlds * points, most, key, state, last, backend, otherwise)


def _observation(model: Model, common: bool, programs: Programs, identity: Identity, world: Any, state: Any):
    """What computes the observables, in C if it can be written in C."""
    shapes = jax.eval_shape(programs.observe, identity, world, state)
    targets = programs.targets.lower(identity, world)
    try:
        return lanes.Observation(model, common, identity, world, state, shapes, targets)
    except native.Unsupported:
        return lanes.OfUnpacked(programs.observe.lower(identity, world, state))


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


def measure(job: Job, settings: Settings) -> float:
    """Seconds of the waves of a job, from a few steps and one observation of the first one."""
    count = len(settings.devices)
    identity = job.waves[0].identity
    world, state = job.programs.start(identity)
    steps, elapsed = 1, 0.0
    while elapsed < CALIBRATION_SECONDS and steps < settings.last:
        steps *= 4
        jax.block_until_ready(state)
        begin = time.perf_counter()
        state = lanes.settled(
            job.programs.advance(identity, world, state, per_device(0, count), per_device(steps, count))
        )
        elapsed = time.perf_counter() - begin
    lanes.settled(job.programs.observe(identity, world, state))
    begin = time.perf_counter()
    lanes.settled(job.programs.observe(identity, world, state))
    observation = time.perf_counter() - begin
    training = elapsed / steps * settings.last
    return len(job.waves) * (training + observation * len(settings.records))


def per_device(value: int, count: int) -> np.ndarray:
    return np.full(count, value, np.int32)


def where_filled(value: int, wave: tiles.Wave) -> np.ndarray:
    """A number of steps for each device: none where a tile is all padding."""
    return np.where((wave.index >= 0).any(axis=(1, 2)), value, 0).astype(np.int32)

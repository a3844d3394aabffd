"""Train an ensemble: tile after tile, segment after segment, everything recorded on the way.

Python loops over tiles and, inside, over the segments between records; what lies between is one compiled
program without host traffic. A tile goes through all its records before the next one starts, so that only
one tile's data are alive at a time and the cost of a member does not depend on how many there are.
"""

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import xarray as xr

from dysonjax import checks
from dysonjax.ensemble import devices as devices_
from dysonjax.ensemble import optimizers, results, tiles
from dysonjax.ensemble.grid import Grid, record_steps
from dysonjax.ensemble.programs import Observed, Programs, State, build
from dysonjax.ensemble.spectrum import squared_singular_values
from dysonjax.models.base import Model

CALIBRATION_SECONDS = 0.2
FLUSH_SECONDS = 5.0


class Plan(NamedTuple):
    """What a run will take, from a short measurement on this machine."""

    members: int
    steps: int
    seconds: float  # training and observation, compilation excluded
    bytes: int  # of the results, uncompressed


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    dataset: xr.Dataset  # dims (batch_size, lr, sigma_w[, scalars], seed, record[, mode])
    summary: dict[str, Any]  # members, steps, seconds, compile_seconds, net_steps_per_second, ...
    out: Path | None
    example: Any = None  # final parameters of the first member alive, in the model's own structure


class _Job(NamedTuple):
    """All tiles of one batch size."""

    batch_index: int
    programs: Programs  # compiled
    waves: list[tiles.Wave]
    tile_members: int


def train(
    model: Model,
    grid: Grid,
    steps: int,
    records: int | Sequence[int] = 11,
    *,
    out: str | Path | None = None,
    optimizer: str | optax.GradientTransformation = "sgd",
    randomness: str = "common",
    seed: int = 0,
    x64: bool = False,
    tile: int | None = None,
    devices: int | str | None = None,
    keep_weights: str = "none",
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
) -> Run:
    """Train every member of the grid for `steps` steps and record spectra and observables.

    records: number of records in equal distances, or the steps themselves. out: folder for the Zarr store;
    it must not hold a run yet (None: results stay in memory). optimizer: "sgd", "momentum", "adamw" or an
    optax transform WITHOUT learning rate. randomness: "common" gives all grid points of a seed the same
    teacher, data and noise, "independent" gives each its own. seed: root of all randomness. x64: train in
    double precision. tile: the largest number of members trained at once on a device (None: chosen from
    its memory). keep_weights: "none", "last" or "all" records. progress: called with network-steps done and
    in all. announce: called with a `Plan` before training starts.

    A member's trajectory depends on (seed, its seed index, its batch size; with independent randomness also
    its lr, sigma_w and scalars) and on nothing else: not on the grid, tiles, devices or record times. A
    member that the model calls unhealthy is frozen, and `diverged_at` holds its step. Raises InputError on
    bad input.
    """
    settings = check(
        model,
        grid,
        steps,
        records,
        optimizer=optimizer,
        randomness=randomness,
        seed=seed,
        x64=x64,
        tile=tile,
        devices=devices,
        keep_weights=keep_weights,
    )
    if out is not None and (Path(out) / "run.zarr").exists():
        raise checks.InputError(f"{out} holds a run already; choose another folder")
    with jax.enable_x64(settings.x64):
        begin = time.perf_counter()
        jobs = _compile(model, grid, settings)
        compile_seconds = time.perf_counter() - begin
        dataset = _allocate(model, grid, settings, jobs[0])
        if announce is not None:
            announce(_measure(grid, settings, jobs, dataset))
        store = None
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
            store = results.Store(Path(out), dataset)
        begin = time.perf_counter()
        recorder = _Recorder(dataset, store, settings, grid, progress)
        try:
            while jobs:
                job = jobs.pop(0)
                try:
                    _train_job(job, settings, recorder)
                except jax.errors.JaxRuntimeError as error:
                    if "RESOURCE_EXHAUSTED" not in str(error) or job.tile_members == 1:
                        raise
                    half = job.tile_members // 2
                    warnings.warn(f"out of device memory; going on with {half} members a tile", stacklevel=2)
                    settings = dataclasses.replace(settings, tile=half)
                    jobs = [_compile_job(model, grid, settings, j.batch_index) for j in (job, *jobs)]
        finally:
            recorder.flush()
        seconds = time.perf_counter() - begin
        summary = {
            "members": grid.members,
            "steps": settings.records[-1],
            "seconds": round(seconds, 3),
            "compile_seconds": round(compile_seconds, 3),
            "net_steps_per_second": round(grid.members * settings.records[-1] / seconds, 1),
            "diverged": int((dataset["diverged_at"] >= 0).sum()),
            "device": _device_name(settings.devices),
            "version": results.versions()["dysonjax"],
        }
        dataset.attrs["summary"] = json.dumps(summary)
        if store is not None:
            store.finish()
    return Run(dataset, summary, None if out is None else Path(out), recorder.example)


def estimate(model: Model, grid: Grid, steps: int, records: int | Sequence[int] = 11, **options) -> Plan:
    """The `Plan` of a run with these arguments of `train`, without running it."""

    class _Enough(Exception):
        pass

    found = []

    def stop(plan):
        found.append(plan)
        raise _Enough

    try:
        train(model, grid, steps, records, **(options | {"out": None, "announce": stop}))
    except _Enough:
        pass
    return found[0]


def check(
    model, grid, steps, records, *, optimizer, randomness, seed, x64, tile, devices, keep_weights
) -> "_Settings":
    """The arguments of `train` in canonical form; raises InputError without having touched anything."""
    if not isinstance(model, Model):
        raise checks.InputError(f"model must be a dysonjax Model, got {type(model).__name__}")
    if not isinstance(grid, Grid):
        raise checks.InputError(f"grid must be a dysonjax Grid, got {type(grid).__name__}")
    for name, values in grid.scalars.items():
        if name not in model.scalars:
            known = f"takes {', '.join(model.scalars)}" if model.scalars else "takes none"
            raise checks.InputError(f"the model {model.name} has no scalar {name} to vary; it {known}")
        for value in values:
            model.scalars[name].check(name, value)
    return _Settings(
        records=record_steps(records, steps),
        optimizer=optimizers.resolve(optimizer, checks.positive_int("steps", steps)),
        common=checks.one_of("randomness", randomness, ["common", "independent"]) == "common",
        seed=checks.positive_int("seed", seed, 0),
        x64=bool(x64),
        tile=None if tile is None else checks.positive_int("tile", tile),
        devices=devices_.resolve(devices),
        keep_weights=checks.one_of("keep_weights", keep_weights, ["none", "last", "all"]),
    )


@dataclasses.dataclass(frozen=True)
class _Settings:
    records: tuple[int, ...]
    optimizer: tuple[str, optax.GradientTransformation]
    common: bool
    seed: int
    x64: bool
    tile: int | None
    devices: list
    keep_weights: str

    @property
    def dtype(self):
        return np.float64 if self.x64 else np.float32


def _compile(model: Model, grid: Grid, settings: _Settings) -> list[_Job]:
    return [_compile_job(model, grid, settings, index) for index in range(len(grid.batch_size))]


def _compile_job(model: Model, grid: Grid, settings: _Settings, batch_index: int) -> _Job:
    batch_size = grid.batch_size[batch_index]
    mesh = jax.sharding.Mesh(np.array(settings.devices), ("devices",))
    programs = build(model, settings.optimizer[1], batch_size, settings.common, mesh)
    count = len(settings.devices)

    def cut(worlds, points):
        return tiles.waves(
            grid, batch_size, settings.common, settings.seed, count, worlds, points, settings.dtype
        )

    _, state_of_one = jax.eval_shape(programs.start, cut(1, 1)[0].identity)
    member_bytes = tiles.member_bytes(state_of_one) // count
    worlds, points = tiles.choose(grid, settings.common, member_bytes, settings.devices, settings.tile)
    waves = cut(worlds, points)
    identity = waves[0].identity
    shapes = jax.eval_shape(programs.start, identity)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
    world, state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )
    number = _per_device(0, count)
    compiled = Programs(
        programs.start.lower(identity).compile(),
        programs.advance.lower(identity, world, state, number, number).compile(),
        programs.observe.lower(identity, world, state).compile(),
    )
    return _Job(batch_index, compiled, waves, worlds * points)


def _allocate(model: Model, grid: Grid, settings: _Settings, job: _Job) -> xr.Dataset:
    observed = job.programs.observe.out_info
    matrices = observed.matrices
    base, each = dict.fromkeys(grid.dims), dict.fromkeys((*grid.dims, "record"))
    variables = {
        "diverged_at": (base, np.int32, -1, "step at which the member was frozen, -1 if it never was"),
        "alive": (each, np.bool_, False, "the member is trained and finite at this record"),
    }
    for name in observed.numbers:
        variables[name] = (each, settings.dtype, np.nan, model.observables[name])
    modes = {name: min(leaf.shape[-2:]) for name, leaf in matrices.items()}
    for name, leaf in matrices.items():
        suffix = f"_{name}" if len(matrices) > 1 else ""
        mode = "mode" if len(set(modes.values())) == 1 else f"mode{suffix}"
        long_name = f"eigenvalues of X = WᵀW of {name}, ascending"
        variables[f"eigenvalues{suffix}"] = (each | {mode: modes[name]}, np.float64, np.nan, long_name)
        if name in observed.targets:
            aim = f"eigenvalues that {name} is to learn, ascending"
            variables[f"target_eigenvalues{suffix}"] = (base | {mode: modes[name]}, np.float64, np.nan, aim)
        if settings.keep_weights != "none":
            dims = each if settings.keep_weights == "all" else base
            dims = dims | {f"row{suffix}": leaf.shape[-2], f"column{suffix}": leaf.shape[-1]}
            variables[f"weights{suffix}"] = (dims, settings.dtype, np.nan, f"weight matrix {name}")
    config = {
        "model": {"name": model.name, **model.config},
        "grid": dataclasses.asdict(grid),
        "steps": settings.records[-1],
        "records": list(settings.records),
        "optimizer": settings.optimizer[0],
        "randomness": "common" if settings.common else "independent",
        "seed": settings.seed,
        "dtype": np.dtype(settings.dtype).name,
    }
    attributes = {
        "config": json.dumps(config),
        "versions": json.dumps(results.versions()),
        "device": _device_name(settings.devices),
    }
    long_names = {name: model.scalars[name].long_name for name in grid.scalars}
    return results.allocate(grid, settings.records, variables, attributes, long_names)


def _measure(grid: Grid, settings: _Settings, jobs: list[_Job], dataset: xr.Dataset) -> Plan:
    """Time a few steps and one observation of the first wave of each batch size."""
    seconds = 0.0
    count = len(settings.devices)
    for job in jobs:
        identity = job.waves[0].identity
        world, state = job.programs.start(identity)
        steps, elapsed = 1, 0.0
        while elapsed < CALIBRATION_SECONDS and steps < settings.records[-1]:
            steps *= 4
            jax.block_until_ready(state)
            begin = time.perf_counter()
            state = jax.block_until_ready(
                job.programs.advance(identity, world, state, _per_device(0, count), _per_device(steps, count))
            )
            elapsed = time.perf_counter() - begin
        jax.block_until_ready(job.programs.observe(identity, world, state))
        begin = time.perf_counter()
        jax.block_until_ready(job.programs.observe(identity, world, state))
        observation = time.perf_counter() - begin
        training = elapsed / steps * settings.records[-1]
        seconds += len(job.waves) * (training + observation * len(settings.records))
    return Plan(grid.members, settings.records[-1], seconds, dataset.nbytes)


def _train_job(job: _Job, settings: _Settings, recorder: "_Recorder") -> None:
    count = len(settings.devices)
    for wave in job.waves:
        world, state = job.programs.start(wave.identity)
        waiting, now = None, 0
        for number, step in enumerate(settings.records):
            if step > now:
                state = job.programs.advance(
                    wave.identity, world, state, _per_device(now, count), _per_device(step - now, count)
                )
            observed = job.programs.observe(wave.identity, world, state)
            # The previous record is worked up on the host while the devices train on.
            if waiting is not None:
                recorder.record(*waiting)
            waiting, now = (job.batch_index, wave, number, observed), step
        recorder.record(*waiting)
        recorder.keep_example(state)


class _Recorder:
    """Turns what the devices observed into entries of the dataset."""

    def __init__(self, dataset, store, settings, grid, progress):
        self.dataset, self.store, self.settings, self.grid = dataset, store, settings, grid
        self.progress, self.done = progress, 0
        self.example = None
        self.dirty: dict[int, set[int]] = {}
        self.last_flush = time.monotonic()
        self._report()

    def record(self, batch_index: int, wave: tiles.Wave, number: int, observed: Observed) -> None:
        numbers, matrices, targets, diverged_at = jax.device_get(observed)
        kept = wave.index >= 0
        place = wave.index[kept]
        self._put("diverged_at", batch_index, place, diverged_at[kept])
        self._put("alive", batch_index, place, diverged_at[kept] < 0, number)
        for name, values in numbers.items():
            self._put(name, batch_index, place, values[kept], number)
        last = number == len(self.settings.records) - 1
        for name, values in matrices.items():
            suffix = f"_{name}" if len(matrices) > 1 else ""
            weights = values[kept]
            if name in targets and number == 0:
                levels = squared_singular_values(targets[name].reshape(-1, *targets[name].shape[2:]))
                levels = np.repeat(levels, wave.index.shape[-1], axis=0)[kept.ravel()]
                self._put(f"target_eigenvalues{suffix}", batch_index, place, levels)
            self._put(f"eigenvalues{suffix}", batch_index, place, squared_singular_values(weights), number)
            if self.settings.keep_weights == "all":
                self._put(f"weights{suffix}", batch_index, place, weights, number)
            elif self.settings.keep_weights == "last" and last:
                self._put(f"weights{suffix}", batch_index, place, weights)
        self.dirty.setdefault(batch_index, set()).update((place % self.grid.seeds).tolist())
        if time.monotonic() - self.last_flush > FLUSH_SECONDS:
            self.flush()
        steps = np.diff((0, *self.settings.records))[number]
        self.done += len(place) * int(steps)
        self._report()

    def keep_example(self, state: State) -> None:
        """Keep the parameters of one whole network, if there is none yet: spectra hold its matrices alone."""
        alive = np.argwhere(np.asarray(state.diverged_at) < 0)
        if self.example is None and len(alive):
            device, world, point = alive[0]

            def member(leaf):
                leaf = leaf[device, world]
                return np.take(leaf, point, axis=max(leaf.ndim - 2, 0))  # see `programs._point_axes`

            self.example = jax.tree.map(member, jax.device_get(state.params))

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.grid.members * self.settings.records[-1])

    def _put(self, name: str, batch_index: int, place: np.ndarray, values, number: int | None = None) -> None:
        """Write one value (or array) a member; `place` counts members of one batch size."""
        array = self.dataset[name].values[batch_index]
        flat = array.reshape(-1, *array.shape[len(self.grid.dims) - 1 :])
        if number is None:
            flat[place] = values
        else:
            flat[place, number] = values

    def flush(self) -> None:
        """Bring everything recorded so far to disk."""
        self.last_flush = time.monotonic()
        if self.store is not None:
            for batch_index, seeds in self.dirty.items():
                self.store.flush(batch_index, np.array(sorted(seeds)))
        self.dirty = {}


def _per_device(value: int, count: int) -> np.ndarray:
    return np.full(count, value, np.int32)


def _device_name(devices: list) -> str:
    kind = devices[0].device_kind
    return f"{len(devices)} x {kind}" if len(devices) > 1 else kind

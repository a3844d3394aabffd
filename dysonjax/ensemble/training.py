"""Train an ensemble: tile after tile, segment after segment, everything recorded on the way.

Python loops over tiles and, inside, over the segments between records; what lies between is one compiled
program without host traffic. A tile goes through all its records before the next one starts, so that only
one tile's data are alive at a time and the cost of a member does not depend on how many there are. See `loop`
for the loop itself, `session` for what is saved when.
"""

import contextlib
import dataclasses
import functools
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
from dysonjax.ensemble import (
    checkpoints,
    disk,
    jobs,
    loop,
    opening,
    optimizers,
    processes,
    recording,
    results,
    store,
    tuning,
)
from dysonjax.ensemble import devices as devices_
from dysonjax.ensemble.grid import Grid, record_steps
from dysonjax.ensemble.interrupts import Request, listening
from dysonjax.ensemble.jobs import Job, Settings
from dysonjax.ensemble.session import SAVE_EVERY_SECONDS, Session
from dysonjax.models.base import Model


class Plan(NamedTuple):
    """What a run will take, from a short measurement on this machine."""

    members: int
    steps: int
    seconds: float  # training and observation, compilation excluded
    bytes: int  # of the results, uncompressed
    tuning_seconds: float = 0.0  # spent before, to find the fastest size of a tile


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    dataset: xr.Dataset  # dims (batch_size, lr, sigma_w[, scalars], seed, record[, mode])
    summary: dict[str, Any]  # members, steps, seconds, compile_seconds, net_steps_per_second, ...
    out: Path | None
    example: Any = None  # final parameters of the first member alive, in the model's own structure


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
    tile: int | str | None = None,
    devices: int | str | None = None,
    keep_weights: str = "none",
    backend: str = "auto",
    save_every: float = SAVE_EVERY_SECONDS,
    resume: bool = False,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train every member of the grid for `steps` steps and record spectra and observables.

    records: number of records in equal distances, or the steps themselves. out: folder for the Zarr store
    and the checkpoints; it must not hold a run yet (None: results stay in memory). optimizer: "sgd",
    "momentum", "adamw" or an optax transform WITHOUT learning rate. randomness: "common" gives all grid
    points of a seed the same teacher, data and noise, "independent" gives each its own. seed: root of all
    randomness. x64: train in double precision. tile: the largest number of members trained at once on a
    device; "tune" measures which is the fastest and remembers it; None takes what is remembered, else a rule
    from the memory of a device, and tunes before a run that is announced to be long. keep_weights: "none",
    "last" or "all" records. backend: what compiles a training step: "native" is C with sixteen networks in
    the lanes of a vector, for small networks on a CPU; "xla" does everything, everywhere; "auto" takes native
    where it can. save_every: the longest time between two checkpoints, seconds; there is also one at a record
    now and then. resume: go on with the run that `out` holds, which must have the same configuration.
    progress: called with network-steps done and in all. announce: called with a `Plan` before training
    starts. say: called with a sentence about anything unusual (None: a warning).

    A member's trajectory depends on (seed, its seed index, its batch size; with independent randomness also
    its lr, sigma_w and scalars) and on nothing else: not on the grid, tiles, devices, record times or
    interruptions. A member that the model calls unhealthy is frozen, and `diverged_at` holds its step.

    With `out`, the first SIGINT or SIGTERM saves the run and raises `Interrupted`, a KeyboardInterrupt.
    Raises InputError on bad input, RunError if the folder cannot be written any more.
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
        backend=backend,
    )
    save_every = checks.positive("save_every", save_every)
    # Absolute: a program may change its working folder during a run.
    folder = None if out is None else checks.path("out", out).absolute()
    for name, value in (("progress", progress), ("announce", announce), ("say", say)):
        checks.function(name, value)
    say = say if say is not None else lambda sentence: warnings.warn(sentence, stacklevel=3)
    leader = processes.index() == 0  # the others may find what it has just made
    if folder is not None and leader and not resume and (folder / "run.zarr").exists():
        raise checks.InputError(f"{folder} holds a run already; choose another folder, or resume it")
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(settings.x64))
        # The shapes of what a run records are known before anything is compiled or written.
        work = [jobs.job(model, grid, settings, b, range(grid.seeds)) for b in range(len(grid.batch_size))]
        template, shapes = _template(model, grid, settings, work[0]), work[0].state.params
        shape = (len(grid.batch_size), template["diverged_at"][0].size)
        request, kept, before = Request(), None, checkpoints.Progress(np.zeros(shape, bool), [])
        if folder is None:
            found = results.Results(template, grid, None)
        else:
            jobs.check_storable(work[0])
            if not resume:
                disk.check_space(folder, template.nbytes + 3 * disk.state_bytes(work))
            request = stack.enter_context(listening())
            kept = opening.enter(stack, folder, template, save_every, resume, say)
            found, before = opening.open_results(kept, template, grid, shape, resume, say)
        seeds = processes.share(grid.seeds, found.seeds_per_block) if kept else range(grid.seeds)
        members = np.concatenate([found.members(b) for b in _blocks(seeds, found.seeds_per_block)])
        if len(seeds) < grid.seeds:
            work = [jobs.job(model, grid, settings, job.batch_index, seeds) for job in work]
        before = before._replace(
            fragments=[f.of(members) for f in before.fragments if np.isin(f.members, members).any()]
        )
        work = [job for job in work if not before.done[job.batch_index, members].all()]
        finished = store.read_attributes(found.store.path).get("summary") if kept else None
        if not work and finished:
            return Run(found.dataset(), json.loads(finished), folder, _example(before, shapes))
        begin = time.perf_counter()
        work = [job.compiled() for job in work]
        backend = ", ".join(dict.fromkeys(job.backend for job in work)) or settings.backend
        compile_seconds = time.perf_counter() - begin
        if announce is not None or settings.tune:
            seconds = [jobs.measure(job, settings) for job in work]
            tune = [
                tuning.wanted(job, settings, s, compile_seconds) for job, s in zip(work, seconds, strict=True)
            ]
            if announce is not None:
                before_it = sum(tune) * tuning.seconds(compile_seconds)
                announce(Plan(grid.members, settings.last, sum(seconds), template.nbytes, before_it))
            begin = time.perf_counter()
            make = functools.partial(jobs.job, model, grid, seeds=seeds)
            work = [
                tuning.fastest(job, make, settings, lambda: request.signal is not None) if do else job
                for job, do in zip(work, tune, strict=True)
            ]
            compile_seconds += time.perf_counter() - begin
        tile = max((job.tile_members for job in work), default=0)
        session = Session(found, before, members, settings.last, request, kept, progress)
        loop.train_all(work, model, grid, settings, seeds, session, say)
        session.finish()
        seconds = session.seconds()
        if kept is not None:
            processes.wait_for_all(folder)
        before, dataset = session.progress, found.dataset()
        summary = {
            "members": grid.members,
            "steps": settings.last,
            "seconds": round(seconds, 3),
            "compile_seconds": round(compile_seconds, 3),
            "net_steps_per_second": round(grid.members * settings.last / seconds, 1),
            "diverged": int((dataset["diverged_at"] >= 0).sum()),
            "device": _device_name(settings.devices),
            "backend": backend,
            "tile": tile,
            "version": results.versions()["dysonjax"],
        }
        dataset.attrs["summary"] = json.dumps(summary)
        if kept is not None and processes.index() == 0:
            with session.writing():
                found.store.set_attributes(dataset.attrs)
            processes.let_others_leave(folder, seconds=60.0)
    return Run(dataset, summary, folder, _example(before, shapes))


def resume(
    folder: str | Path,
    model: Model,
    *,
    optimizer: optax.GradientTransformation | None = None,
    **options: Any,
) -> Run:
    """Go on with the run that `folder` holds, from its last checkpoint; a finished run is returned as it is.

    model: the one with which the run was started. optimizer: needed only if it was a transform of your own.
    options: those arguments of `train` that say how, not what: tile, devices, backend, save_every, progress,
    announce, say. The end is the same, to the last bit on the same devices and to rounding on others, as
    without the interruption. Raises InputError if the folder holds no run or that of another model.
    """
    folder = checks.path("folder", folder)
    text = store.configuration(folder)
    if text is None:
        raise checks.InputError(f"{folder} holds no run (there is no readable run.zarr in it)")
    config = json.loads(text)
    if config["optimizer"] == "custom" and optimizer is None:
        raise checks.InputError("the run has an optimizer of its own; pass it as optimizer")
    return train(
        model,
        Grid(**config["grid"]),
        config["steps"],
        config["records"],
        out=folder,
        resume=True,
        optimizer=optimizers.from_label(config["optimizer"]) if optimizer is None else optimizer,
        randomness=config["randomness"],
        seed=config["seed"],
        x64=config["dtype"] == "float64",
        keep_weights=config["keep_weights"],
        **options,
    )


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
    model, grid, steps, records, *, optimizer, randomness, seed, x64, tile, devices, keep_weights, backend
) -> Settings:
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
    disk.check_memory(model, grid, checks.flag("x64", x64))
    return Settings(
        records=record_steps(records, steps),
        optimizer=optimizers.resolve(optimizer, checks.positive_int("steps", steps)),
        common=checks.one_of("randomness", randomness, ["common", "independent"]) == "common",
        seed=checks.seed("seed", seed),
        x64=checks.flag("x64", x64),
        tile=_tile(tile),
        devices=devices_.resolve(devices),
        keep_weights=checks.one_of("keep_weights", keep_weights, ["none", "last", "all"]),
        backend=checks.one_of("backend", backend, ["auto", "native", "xla"]),
        tune=tile == "tune",
    )


def _tile(tile: int | str | None) -> int | None:
    if tile is None or tile == "tune":
        return None
    if isinstance(tile, str) and not checks.digits(tile):
        raise checks.InputError(f"tile must be a positive integer or tune, got {tile!r}")
    return checks.positive_int("tile", int(tile) if isinstance(tile, str) else tile)


def _template(model: Model, grid: Grid, settings: Settings, job: Job) -> xr.Dataset:
    config = {
        "model": {"name": model.name, **model.config},
        "grid": dataclasses.asdict(grid),
        "steps": settings.last,
        "records": list(settings.records),
        "optimizer": settings.optimizer[0],
        "randomness": "common" if settings.common else "independent",
        "seed": settings.seed,
        "dtype": np.dtype(settings.dtype).name,
        "keep_weights": settings.keep_weights,
    }
    attributes = {
        "config": json.dumps(config),
        "versions": json.dumps(results.versions()),
        "device": _device_name(settings.devices),
    }
    variables = recording.variables(model, grid, settings, job.programs.observe.out_info)
    long_names = {name: model.scalars[name].long_name for name in grid.scalars}
    return results.template(grid, settings.records, variables, attributes, long_names)


def _example(progress: checkpoints.Progress, shapes: Any) -> Any:
    """The example that was kept, in the model's own structure."""
    if progress.example is None:
        return None
    return jax.tree.unflatten(jax.tree.structure(shapes), progress.example)


def _blocks(seeds: range, seeds_per_block: int) -> range:
    return range(seeds.start // seeds_per_block, -(-seeds.stop // seeds_per_block))


def _device_name(devices: list) -> str:
    kind = devices[0].device_kind
    total = len(devices) * processes.count()
    return f"{total} x {kind}" if total > 1 else kind

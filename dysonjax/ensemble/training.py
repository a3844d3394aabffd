"""Train an ensemble: tile after tile, segment after segment, everything recorded on the way.

Python loops over tiles and, inside, over the segments between records; what lies between is one compiled
program without host traffic. A tile goes through all its records before the next one starts, so that only
one tile's data are alive at a time. See `loop` for the loop itself, `session` for what is saved when.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import jax
import numpy as np
import xarray as xr

from dysonjax import checks, threefry
from dysonjax.ensemble import (
    jobs,
    loop,
    machine,
    plans,
    processes,
    recording,
    results,
    run_folder,
    soundness,
    store,
    targets,
    tuning,
)
from dysonjax.ensemble.checkpoints import Progress
from dysonjax.ensemble.config import (
    Config,
    How,
    Options,
    check,
    check_grid,
    configured,
    restored,
    takes_options,
)
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.jobs import Job
from dysonjax.ensemble.plans import Plan
from dysonjax.ensemble.session import Session
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    dataset: xr.Dataset
    """dims (batch_size, lr, sigma_w[, scalars], seed, record[, mode])"""
    summary: dict[str, Any]
    """members, steps, seconds, compile_seconds, net_steps_per_second, ..."""
    out: Path | None
    """folder of the run; None for results in memory alone"""
    example: Any = None
    """final parameters of the first member alive, in the model's own structure"""


@takes_options
def train(
    model: Model,
    grid: Grid,
    steps: int,
    records: int | Sequence[int] = 11,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
    **options: Unpack[Options],
) -> Run:
    """Train every member of a grid, and record spectra and observables.

    Parameters
    ----------
    model : Model
        What is trained.
    grid : Grid
        Its members.
    steps : int
        Length of the training.
    records : int or sequence of int, default 11
        Number of records in equal distances, or the steps themselves.
    out : str or Path, optional
        Folder for the Zarr store and the checkpoints, which must not hold a run yet. By default results stay
        in memory.
    resume : bool, default False
        Go on with the run that `out` holds, which must have the same configuration.
    progress : callable, optional
        Called with network-steps done and in all.
    announce : callable, optional
        Called with a `Plan` before training starts.
    say : callable, optional
        Called with a sentence about anything unusual; by default it becomes a warning.

    Returns
    -------
    Run
        The dataset, a summary and the folder.

    Other Parameters
    ----------------
    optimizer : str, Optimizer or GradientTransformation, default "sgd"
        "sgd", "momentum", "adam", "adamw", "muon", an `Optimizer`, or a transform of optax WITHOUT learning
        rate.
    randomness : {"common", "independent"}, default "common"
        "common" gives all grid points of a seed the same teacher, data and noise, "independent" gives each
        its own.
    key : int or jax.Array, default 0
        Root of all randomness.
    x64 : bool, default False
        Train in double precision.
    precision : {"float32", "tf32", "bfloat16"}, default "float32"
        The lowest in which products may be computed while training on a GPU or a TPU.
    keep_weights : {"none", "last", "all"}, default "none"
        Records whose weights are kept.
    keep : str or sequence of str, default "none"
        "overlaps" of singular vectors, or some of "overlaps-target", "overlaps-start" and
        "overlaps-previous".
    identity_bits : {64, 32}, default 64
        Length of the names of grid points from which independent randomness is drawn.
    tile : int or "tune", optional
        The largest number of members trained at once on a device.
    devices : int, str or sequence of Device, optional
        A number of devices, or a kind ("cpu", "gpu", "tpu"); by default all.
    backend : {"auto", "native", "cuda", "xla"}, default "auto"
        What compiles a training step.
    save_every : float, default 300.0
        The longest time between two checkpoints, seconds.

    Raises
    ------
    InputError
        On bad input.
    RunError
        If the folder cannot be written any more.
    Interrupted
        With `out`, after the first SIGINT or SIGTERM, when the run is saved. It is a KeyboardInterrupt.

    Notes
    -----
    The options are fields of `Config`, which says more about each.

    A member's trajectory depends on its identity and on nothing else: not on the grid, tiles, devices, record
    times or interruptions. Its identity is `seed`, the index of its seed and its batch size; with independent
    randomness also its lr, sigma_w and scalars. A member that the model calls unhealthy is frozen, and
    `diverged_at` holds its step.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=[0.01, 0.1], batch_size=4, seeds=8), 200, 3)
    >>> loss = run.dataset["train_loss"].mean("seed").squeeze()
    >>> bool(loss.sel(record=200, lr=0.1) < loss.sel(record=200, lr=0.01))  # it is ahead
    True
    """
    check_grid(model, grid)
    config = configured(grid, steps, records, options)
    return run(model, config, out=out, resume=resume, progress=progress, announce=announce, say=say)


def resume(
    folder: str | Path,
    model: Model,
    *,
    optimizer: optax.GradientTransformation | None = None,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
    **options: Unpack[How],
) -> Run:
    """Go on with the run that a folder holds, from its last checkpoint.

    A finished run is returned as it is.

    Parameters
    ----------
    folder : str or Path
        Of the run.
    model : Model
        The one with which the run was started.
    optimizer : GradientTransformation, optional
        Needed only if it was a transform of your own.
    progress, announce, say : callable, optional
        As in `train`.
    **options
        Those fields of `Config` that say how, not what: tile, devices, backend, save_every.

    Returns
    -------
    Run
        As without the interruption: to the last bit on the same devices, to rounding on others.

    Raises
    ------
    InputError
        If the folder holds no run, or that of another model.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=3), 2, 2, out="run")
    >>> dj.resume("run", dj.models.linear()).summary["steps"]  # nothing is left to do
    2
    """
    folder = checks.path("folder", folder)
    text = store.configuration(folder)
    if text is None:
        raise checks.InputError(f"{folder} holds no run (there is no readable run.zarr in it)")
    config = restored(json.loads(text), optimizer=optimizer, **options)
    return run(model, config, out=folder, resume=True, progress=progress, announce=announce, say=say)


@takes_options
def estimate(
    model: Model, grid: Grid, steps: int, records: int | Sequence[int] = 11, **options: Unpack[Options]
) -> Plan:
    """Say what a run would take, without running it.

    Parameters
    ----------
    model : Model
        What is to be trained.
    grid : Grid
        Its members.
    steps : int
        Length of the training.
    records : int or sequence of int, default 11
        Number of records in equal distances, or the steps themselves.

    Returns
    -------
    Plan
        Time of training in seconds, from a short measurement on this machine, and bytes of the results.

    Other Parameters
    ----------------
    optimizer, randomness, key, x64, precision, keep_weights, keep, identity_bits : optional
        What is computed, as in `train`.
    tile, devices, backend, save_every : optional
        How it is computed, as in `train`.

    Raises
    ------
    InputError
        On bad input, as `train`.

    Examples
    --------
    >>> plan = dj.estimate(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=8), 1000)
    >>> plan.members, plan.steps, plan.seconds < 60
    (8, 1000, True)
    """
    return plan(model, configured(grid, steps, records, options))


def plan(model: Model, config: Config) -> Plan:
    """The `Plan` of a run."""
    check(model, config)
    with jax.enable_x64(config.x64), threefry.settled():
        begin = time.perf_counter()
        work = [job.compiled() for job in jobs.all_batch_sizes(model, config, range(config.grid.seeds))]
        template = template_of(model, config, work[0])
        found, _ = plans.foreseen(work, config, template.nbytes, time.perf_counter() - begin)
        return found


def run(
    model: Model,
    config: Config,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """As `train`, which see, for a configuration."""
    check(model, config)
    # Absolute, so that the program may change its working folder meanwhile.
    folder = None if out is None else checks.path("out", out).absolute()
    for name, value in (("progress", progress), ("announce", announce), ("say", say)):
        checks.function(name, value)
    say = say or _warn
    if resume and folder is not None and _has_short_identities(folder):
        config = dataclasses.replace(config, identity_bits=32)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(config.x64))
        stack.enter_context(threefry.settled())
        stack.enter_context(loop.out_of_memory_in_words(folder))
        # The shapes of what a run records are known before anything is compiled or written.
        work = jobs.all_batch_sizes(model, config, range(config.grid.seeds))
        template, shapes = template_of(model, config, work[0]), work[0].state.params
        opened = run_folder.opened(stack, folder, config, template, work, resume, say)
        if len(opened.seeds) < config.grid.seeds:
            work = jobs.all_batch_sizes(model, config, opened.seeds)
        work = [job for job in work if not opened.progress.done[job.batch_index, opened.members].all()]
        if not work and opened.summary is not None:
            return Run(opened.results.dataset(), opened.summary, folder, _example(opened.progress, shapes))
        begin = time.perf_counter()
        work = [job.compiled() for job in work]
        chosen = _chosen(work, config, say)
        compile_seconds = time.perf_counter() - begin
        if folder is not None and processes.index() == 0 and work:
            run_folder.note_session(opened.results.kept, machine.session(template, chosen), say)
        if announce is not None or config.tile == "tune":
            foreseen, tune = plans.foreseen(work, config, template.nbytes, compile_seconds)
            if announce is not None:
                announce(foreseen)
            begin = time.perf_counter()
            stopped = opened.stopped
            work = [
                tuning.fastest(job, config, stopped) if do else job
                for job, do in zip(work, tune, strict=True)
            ]
            compile_seconds += time.perf_counter() - begin
        tile = max((job.tile_members for job in work), default=0)
        session = Session(
            opened.results,
            opened.progress,
            opened.members,
            config.steps,
            opened.request,
            opened.folder,
            progress,
        )
        trained = loop.train_all(work, config, session, say)
        chosen |= _targets_of(trained or work, config)
        session.finish()
        seconds = session.seconds()
        if folder is not None:
            processes.wait_for_all(folder)
        dataset = opened.results.dataset()
        _say_lost(dataset, say)
        summary = {
            "members": config.grid.members,
            "steps": config.steps,
            "seconds": round(seconds, 3),
            "compile_seconds": round(compile_seconds, 3),
            "net_steps_per_second": round(config.grid.members * config.steps / seconds, 1),
            "diverged": int((dataset["diverged_at"] >= 0).sum()),
            "device": machine.device_name(config),
            "hardware": machine.hardware(),
            **chosen,
            "tile": tile,
            "version": results.versions()["dysonjax"],
        }
        dataset.attrs["summary"] = json.dumps(summary)
        if chosen["backend_reason"] is not None:
            dataset.attrs["backend_reason"] = chosen["backend_reason"]
        if folder is not None and processes.index() == 0:
            with session.writing():
                opened.results.kept.set_attributes(dataset.attrs)
            processes.let_others_leave(folder, seconds=60.0)
    return Run(dataset, summary, folder, _example(session.progress, shapes))


def template_of(model: Model, config: Config, job: Job) -> xr.Dataset:
    """The dataset of the run, of fill values."""
    attributes = {
        "config": json.dumps(config.stored(model)),
        "versions": json.dumps(results.versions()),
        "device": machine.device_name(config),
    }
    variables = recording.variables(model, config, job.lowered.observed)
    long_names = {name: model.scalars[name].long_name for name in config.grid.scalars}
    return results.template(config.grid, config.records, variables, attributes, long_names)


def _chosen(work: list[Job], config: Config, say: Callable[[str], None]) -> dict[str, str | None]:
    """What compiled the steps and why nothing faster did; a fall back to XLA on a CPU is told."""
    for job in work:
        slower = job.target.name == "xla" and config.devices[0].platform == "cpu" and job.reasons
        if slower or any(targets.REPORT in reason for reason in job.reasons.values()):
            what = "the step is not compiled to C: " if slower else ""
            name = job.target.name
            say(f"{what}{targets.sentence(job.reasons)}; going on with {name}, which may be slower")
            break
    return _targets_of(work, config)


def _targets_of(work: list[Job], config: Config) -> dict[str, str | None]:
    """What compiled the steps of jobs, and why nothing before it in the list did."""
    reasons = dict.fromkeys(targets.sentence(job.reasons) for job in work if job.reasons)
    return {
        "backend": ", ".join(dict.fromkeys(job.target.backend for job in work)) or config.backend,
        "target": ", ".join(dict.fromkeys(job.target.name for job in work)) or None,
        "backend_reason": "; ".join(reasons) or None,
    }


def _warn(sentence: str) -> None:
    """Warn at the line that called this package."""
    level = 1
    frame: types.FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(soundness.PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level)


def _say_lost(dataset: xr.Dataset, say: Callable[[str], None]) -> None:
    """Networks that diverge in their first step have learned nothing: most often their data are wrong. Those
    that are no numbers and yet count as alive were overlooked by their model."""
    lost, members = int((dataset["diverged_at"] == 0).sum()), dataset["diverged_at"].size
    if lost:
        say(
            f"{lost} of {members} networks diverged in their first step: the loss of the weights that they "
            "started from was NaN, infinite or above the model's limit; check data, labels and sigma_w"
        )
    last = dataset.isel(record=-1)
    recorded = "train_loss" in last  # a model may record none
    overlooked = int((last["alive"] & ~np.isfinite(last["train_loss"])).sum()) if recorded else 0
    if overlooked:
        say(
            f"{overlooked} of {members} networks count as alive although their train_loss is not finite at "
            "the end; let `healthy` in the Update of the model be False for them, as in healthy=loss < 100"
        )


def _example(progress: Progress, shapes: Any) -> Any:
    """The example that was kept, in the model's own structure."""
    if progress.example is None:
        return None
    return jax.tree.unflatten(jax.tree.structure(shapes), progress.example)


def _has_short_identities(folder: Path) -> bool:
    """Whether a run draws its independent random numbers by names of 32 bits, as runs once did."""
    text = store.configuration(folder)
    return text is not None and "identity_bits" not in json.loads(text)

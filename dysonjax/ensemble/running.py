"""A run from its configuration to its dataset: compile, open the folder, train, tell what came out.

Python loops over tiles and, inside, over the segments between records; what lies between is one compiled
program without host traffic. A tile goes through all its records before the next one starts, so that only
one tile's data are alive at a time. See `loop` for the loop itself, `session` for what is saved when.
"""

import contextlib
import dataclasses
import json
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from dysonjax.ensemble.config import Config, check
from dysonjax.ensemble.jobs import Job
from dysonjax.ensemble.plans import Plan
from dysonjax.ensemble.session import Session
from dysonjax.models.base import Model


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

"""The loop over jobs, waves and the pieces of their segments.

A wave goes through all its records before the next one starts. Long segments are cut into pieces of about a
second, between which the session saves, reports and listens to signals.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dysonjax import checks
from dysonjax.ensemble import checkpoints, overlaps, recording, targets, tiles
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.contract import Failed, Target
from dysonjax.ensemble.interrupts import resume_command
from dysonjax.ensemble.jobs import Job, Pace, per_device, where_filled
from dysonjax.ensemble.session import Session


def train_all(work: list[Job], config: Config, session: Session, say: Callable[[str], None]) -> list[Job]:
    """Train all jobs, and return them as they were trained.

    Running out of device memory halves the tile, and a target that fails leaves the rest to the next one:
    both go on with what is not done.
    """
    session.save_or_stop(lambda: None)
    trained = []
    while work:
        job = work.pop(0)
        try:
            train_job(job, config, session)
            trained.append(job)
        except (jax.errors.JaxRuntimeError, MemoryError, Failed) as error:
            config = _after(error, job, config, say)
            session.rewind()
            left = (job, *work)
            if isinstance(error, Failed) and not error.memory:
                work = [other.again(config, _without(job.target, error, other)).compiled() for other in left]
            else:
                work = [other.again(config).compiled() for other in left]
    return trained


def _after(error: Exception, job: Job, config: Config, say: Callable[[str], None]) -> Config:
    """How to go on after a failure; raises it if nothing helps."""
    out_of_memory = error.memory if isinstance(error, Failed) else _out_of_memory(error)
    if not out_of_memory and not isinstance(error, Failed):
        raise error
    if out_of_memory and job.tile_members > 1:
        half = job.tile_members // 2
        whose = "memory" if isinstance(error, MemoryError) else "device memory"
        say(f"out of {whose}; going on with {half} members a tile")
        return dataclasses.replace(config, tile=half)
    if not isinstance(error, Failed) or job.target is targets.TARGETS[-1]:
        raise error
    error.memory = False
    say(f"{error}; going on without the {job.target.name} target")
    return dataclasses.replace(config, backend="auto")


def _without(target: Target, error: Failed, job: Job) -> dict[str, str]:
    return job.reasons | {target.name: str(error)}


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@contextlib.contextmanager
def out_of_memory_in_words(folder: Path | None) -> Iterator[None]:
    """A RunError with the remedy for want of memory that smaller tiles did not help."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        saved = f"; what was saved is intact: {resume_command(folder)} --tile N" if folder else ""
        raise checks.RunError(
            "there is not enough memory, even for small tiles; take a smaller tile, batch or model, fewer "
            f"records or devices{saved}"
        ) from error


def train_job(job: Job, config: Config, session: Session) -> None:
    pace = Pace()
    for wave in job.waves:
        fragments = [f for f in session.progress.fragments if f.batch_index == job.batch_index]
        for fragment in fragments:
            train_wave(job, _only(wave, fragment.members), fragment, config, session, pace)
        # What no checkpoint holds starts at the beginning.
        open_ = np.flatnonzero(~session.progress.done[job.batch_index])
        train_wave(job, _only(wave, open_), None, config, session, pace)


def _only(wave: tiles.Wave, members: np.ndarray) -> tiles.Wave:
    """The wave with the places of all other members as padding: everybody keeps their place in the tile."""
    return wave._replace(index=np.where(np.isin(wave.index, members), wave.index, -1))


def train_wave(
    job: Job,
    wave: tiles.Wave,
    fragment: checkpoints.Fragment | None,
    config: Config,
    session: Session,
    pace: Pace,
) -> None:
    """Train the members of one wave from the start, or from where a checkpoint has them, to the end."""
    members = wave.index[wave.index >= 0]
    if not len(members):
        return
    count, run = len(config.devices), job.program
    world, state = run.start(wave.identity)
    compared = overlaps.Overlaps(job.model, config.compared, wave.index)
    if "start" in config.compared:
        compared.begin(run.unpack(state).params)
    now, first = 0, 0
    if fragment is not None:
        now, first = fragment.step, fragment.records
        state = run.pack(checkpoints.place(compared.restored(fragment, job.state), wave.index, job.state))
    waiting = None

    def under_way(number):
        def save():
            members, leaves = checkpoints.take(run.unpack(state), wave.index)
            return checkpoints.Fragment(job.batch_index, number, now, members, leaves + compared.leaves())

        return save

    def write_record():
        nonlocal waiting
        if waiting is not None:
            number, observed = waiting
            found = observed.result()
            recording.record(session.results, config, job.batch_index, wave, number, found, compared)
            waiting, session.recorded = None, True

    for number in range(first, len(config.records)):
        while now < config.records[number]:
            piece = pace.piece(config.records[number] - now)
            begin = time.perf_counter()
            advanced = run.advance(
                wave.identity, world, state, per_device(now, count), where_filled(piece, wave)
            )
            write_record()  # the previous record is worked up on the host while the devices train on
            state = advanced.result()
            pace.measured(piece, time.perf_counter() - begin)
            now += piece
            session.advanced(piece * len(members))
            session.save_or_stop(under_way(number))
        write_record()
        waiting = number, run.observe(wave.identity, world, state)
    write_record()
    if session.progress.example is None:
        example = _one_alive(run.unpack(state), wave.index)
        session.progress = session.progress._replace(example=example)
    session.complete(job.batch_index, members)


def _one_alive(state: Any, index: np.ndarray) -> list[np.ndarray] | None:
    """The parameters of one whole network: spectra hold its matrices alone."""
    alive = np.where(state.diverged_at < 0, index, -1)
    if (alive < 0).all():
        return None
    first = alive[alive >= 0][0]
    _, leaves = checkpoints.take(state.params, np.where(alive == first, alive, -1))
    return [leaf[0] for leaf in leaves]

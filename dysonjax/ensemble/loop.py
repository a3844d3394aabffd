"""The loop over jobs, waves and the pieces of their segments.

A wave goes through all its records before the next one starts. Long segments are cut into pieces of about a
second, between which the session saves, reports and listens to signals.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dysonjax.ensemble import checkpoints, jobs, lanes, packing, recording, tiles
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.jobs import Job, Pace, Settings, per_device, where_filled
from dysonjax.ensemble.session import Session
from dysonjax.models.base import Model


def train_all(
    work: list[Job],
    model: Model,
    grid: Grid,
    settings: Settings,
    seeds: range,
    session: Session,
    say: Callable[[str], None],
) -> None:
    """Train all jobs; running out of device memory halves the tile and goes on with what is not done."""
    session.look(lambda: None)
    while work:
        job = work.pop(0)
        try:
            train_job(job, settings, session)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or job.tile_members == 1:
                raise
            half = job.tile_members // 2
            say(f"out of device memory; going on with {half} members a tile")
            settings = dataclasses.replace(settings, tile=half)
            session.rewind()
            left = [j.batch_index for j in (job, *work)]
            work = [jobs.job(model, grid, settings, index, seeds).compiled() for index in left]


def train_job(job: Job, settings: Settings, session: Session) -> None:
    pace = Pace()
    for wave in job.waves:
        fragments = [f for f in session.progress.fragments if f.batch_index == job.batch_index]
        for fragment in fragments:
            train_wave(job, _only(wave, fragment.members), fragment, settings, session, pace)
        # What no checkpoint holds starts at the beginning.
        open_ = np.flatnonzero(~session.progress.done[job.batch_index])
        train_wave(job, _only(wave, open_), None, settings, session, pace)


def _only(wave: tiles.Wave, members: np.ndarray) -> tiles.Wave:
    """The wave with the places of all other members as padding: everybody keeps their place in the tile."""
    return wave._replace(index=np.where(np.isin(wave.index, members), wave.index, -1))


def train_wave(
    job: Job,
    wave: tiles.Wave,
    fragment: checkpoints.Fragment | None,
    settings: Settings,
    session: Session,
    pace: Pace,
) -> None:
    """Train the members of one wave from the start, or from where a checkpoint has them, to the end."""
    members = wave.index[wave.index >= 0]
    if not len(members):
        return
    count = len(settings.devices)
    world, state = job.programs.start(wave.identity)
    now, first = 0, 0
    if fragment is not None:
        now, first = fragment.step, fragment.records
        state = jax.device_put(
            checkpoints.place(fragment, wave.index, job.state, job.points_last),
            jax.tree.map(lambda a: a.sharding, state),
        )
    waiting = None

    def under_way(number):
        return lambda: checkpoints.Fragment(
            job.batch_index,
            number,
            now,
            *checkpoints.take(packing.unpacked(state), wave.index, job.points_last),
        )

    def enter():
        nonlocal waiting
        if waiting is not None:
            recording.record(session.results, settings, job.batch_index, wave, *waiting)
            waiting, session.recorded = None, True

    for number in range(first, len(settings.records)):
        while now < settings.records[number]:
            piece = pace.piece(settings.records[number] - now)
            jax.block_until_ready(state)
            begin = time.perf_counter()
            moving = job.programs.advance(
                wave.identity, world, state, per_device(now, count), where_filled(piece, wave)
            )
            enter()  # the previous record is worked up on the host while the devices train on
            state = lanes.settled(moving)
            pace.measured(piece, time.perf_counter() - begin)
            now += piece
            session.advanced(piece * len(members))
            session.look(under_way(number))
        enter()
        waiting = number, job.programs.observe(wave.identity, world, state)
    enter()
    if session.progress.example is None:
        example = _one_alive(packing.unpacked(state), wave.index, job.points_last)
        session.progress = session.progress._replace(example=example)
    session.complete(job.batch_index, members)


def _one_alive(state: Any, index: np.ndarray, last: bool) -> list[np.ndarray] | None:
    """The parameters of one whole network: spectra hold its matrices alone."""
    alive = np.where(np.asarray(state.diverged_at) < 0, index, -1)
    if (alive < 0).all():
        return None
    first = alive[alive >= 0][0]
    _, leaves = checkpoints.take(state.params, np.where(alive == first, alive, -1), last)
    return [leaf[0] for leaf in leaves]

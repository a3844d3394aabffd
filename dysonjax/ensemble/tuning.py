"""The size of a tile that trains fastest, measured.

The rule of `tiles` knows caches of one kind of processor. Where a run is long, a few other sizes are compiled
and timed in turn, and the fastest one is remembered (see `tile_memory`).
"""

import dataclasses
import math
from collections.abc import Callable

import jax

from dysonjax.ensemble import jobs, tile_memory
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.jobs import Job

FACTORS = (0.25, 0.5, 2, 4)  # of the size that the rule gives
ROUNDS = 3
GAIN = 1.05  # by which another size than the rule's must be faster
PAYS = 50  # times as long as the tuning: a run that is tuned without being asked loses 2 % at most


def seconds(compile_seconds: float) -> float:
    """About what tuning one job takes, from what compiling took."""
    return len(FACTORS) * (max(compile_seconds, 1.0) + 2 * ROUNDS * jobs.CALIBRATION_SECONDS)


def wanted(job: Job, config: Config, run_seconds: float, compile_seconds: float) -> bool:
    """Whether the tile of a job is to be tuned: on request, or if its run is long enough to pay for it.

    By itself for XLA only: steps in lanes have the same speed in all tiles that are not small.
    """
    if config.tile is not None:
        return config.tile == "tune"
    known = tile_memory.recall(job.tile_key) is not None
    return job.target.name == "xla" and not known and run_seconds > PAYS * seconds(compile_seconds)


def fastest(job: Job, config: Config, stopped: Callable[[], bool]) -> Job:
    """The job with the fastest tile, compiled; its size is remembered.

    job: with the tile of the rule, compiled. stopped: asked between two measurements; if it says yes, the job
    stays what it is.
    """
    candidates = [job]
    for factor in FACTORS:
        limited = dataclasses.replace(config, tile=max(1, int(factor * job.tile_members)))
        candidate = job.again(limited)
        if stopped():
            return job
        if all(candidate.waves[0].index.shape != other.waves[0].index.shape for other in candidates):
            candidates.append(candidate.compiled())
    best = [math.inf] * len(candidates)
    for _ in range(ROUNDS):
        for place, candidate in enumerate(candidates):
            if stopped():
                return job
            try:
                best[place] = min(best[place], jobs.measure(candidate, config))
            except jax.errors.JaxRuntimeError as error:  # a tile that the memory does not hold
                if "RESOURCE_EXHAUSTED" not in str(error) or candidate is job:
                    raise
    winner = candidates[best.index(min(best))] if GAIN * min(best) < best[0] else job
    tile_memory.remember(winner.tile_key, winner.most)
    return winner

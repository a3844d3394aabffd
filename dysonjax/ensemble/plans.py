"""What a run will take, before it starts."""

from typing import NamedTuple

from dysonjax.ensemble import jobs, tuning
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.jobs import Job


class Plan(NamedTuple):
    """What a run will take, from a short measurement on this machine."""

    members: int
    steps: int
    seconds: float
    """training and observation, compilation excluded"""
    bytes: int
    """of the results, uncompressed"""
    tuning_seconds: float = 0.0
    """spent before, to find the fastest size of a tile"""
    tile: int = 0
    """networks that are trained together on a device"""
    member_bytes: int = 0
    """of memory that each of them takes there"""


def foreseen(
    work: list[Job], config: Config, result_bytes: int, compile_seconds: float
) -> tuple[Plan, list[bool]]:
    """What compiled jobs will take, and which of them are to be tuned before."""
    seconds = [jobs.measure(job, config) for job in work]
    tune = [tuning.wanted(job, config, s, compile_seconds) for job, s in zip(work, seconds, strict=True)]
    before_it = sum(tune) * tuning.seconds(compile_seconds)
    most = max(work, key=lambda job: job.tile_members, default=None)
    tile = (0, 0) if most is None else (most.tile_members, most.member_bytes)
    return Plan(config.grid.members, config.steps, sum(seconds), result_bytes, before_it, *tile), tune

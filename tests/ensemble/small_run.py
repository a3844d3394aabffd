"""The run that tests interrupt, damage and resume, each of its programs compiled once in a process."""

import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import jobs

MODEL = tiny()
GRID = dj.Grid(lr=[0.1, 0.3, 9.0], sigma_w=1.0, batch_size=[2, 4], seeds=3)
RUN = {
    "steps": 24,
    "records": [0, 7, 24],
    "x64": True,
    "keep_weights": "all",
    "optimizer": "momentum",
    "tile": 4,
}

_JOBS = {}


def compiled_once(model, config, batch_index, seeds, refused=None, make=jobs.job):
    """As `jobs.job`; a process compiles each program once, not once a run."""
    key = (model.name, str(model.config), str(config.grid), config.optimizer, config.tile)
    key += (len(config.devices), batch_index, seeds, config.x64)
    if key not in _JOBS:
        job = make(model, config, batch_index, seeds, refused)
        executable = job.lowered.compile()
        _JOBS[key] = job._replace(lowered=job.lowered._replace(compile=lambda: executable))
    return _JOBS[key]


class Crash(BaseException):
    """Stands for the death of the process: nothing is saved on its way out."""


def start_and_crash(folder, after, **options):
    """Let a run die once it has done a fraction of its steps."""

    def progress(done, total):
        if done >= after * total:
            raise Crash

    with pytest.raises(Crash):
        dj.train(MODEL, GRID, **RUN | {"out": folder, "progress": progress, "save_every": 1e-9} | options)


def same(found, expected):
    assert found.drop_attrs().identical(expected.drop_attrs())
    assert found.diverged_at.max() >= 0 > found.diverged_at.min()  # both kinds of member were there

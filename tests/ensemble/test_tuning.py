"""The fastest tile is found, remembered and used; a cache that cannot be used changes nothing."""

import dataclasses
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import jobs, tile_memory, tuning

MODEL = tiny()
GRID = dj.Grid(lr=[0.1, 0.3], sigma_w=[0.5, 1.0], batch_size=2, seeds=8)
RUN = {"backend": "xla", "devices": 1}
COMMON = (MODEL, 6, False, "sgd", "common")


COMPILED = {}


@pytest.fixture(autouse=True)
def compile_once(monkeypatch):
    """Programs of one tile of `train` are the same in every test, however the tile was chosen."""

    def once(model, config, batch_index, seeds, refused=None, make=jobs.job):
        job = make(model, config, batch_index, seeds, refused)
        if (model, config.steps, config.x64, config.optimizer, config.randomness) != COMMON:
            return job
        if job.tile_members not in COMPILED:
            COMPILED[job.tile_members] = job.lowered.compile()
        executable = COMPILED[job.tile_members]
        return job._replace(lowered=job.lowered._replace(compile=lambda: executable))

    monkeypatch.setattr(jobs, "job", once)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiles"


@pytest.fixture
def timed(monkeypatch):
    """A machine on which tiles of eight networks are the fastest; the sizes that were asked for, in order."""
    asked = []

    def measure(job, config):
        asked.append(job.tile_members)
        return 1000.0 if job.tile_members == 8 else 1200.0

    monkeypatch.setattr(jobs, "measure", measure)
    return asked


def train(**options):
    return dj.train(MODEL, GRID, 6, 2, **RUN | options)


def tile(model, grid, **options):
    """Of a run with these options, which is not compiled."""
    config = dj.ensemble.Config(grid, 6, 2, **RUN | options)
    with jax.enable_x64(config.x64):
        return jobs.job(model, config, 0, range(grid.seeds)).tile_members


def test_the_fastest_tile_is_remembered_and_used_with_the_same_results(folder, timed):
    by_rule = train()
    assert by_rule.summary["tile"] == 32 and not timed
    tuned = train(tile="tune")
    assert tuned.summary["tile"] == 8 and set(timed) == {8, 16, 32}
    assert timed[1:4] == timed[4:7]  # in turn: whatever disturbs one measurement disturbs its neighbours
    assert [path.suffix for path in folder.iterdir()] == [".json"]
    timed.clear()
    again = train()
    assert again.summary["tile"] == 8 and not timed
    assert train(tile=5).summary["tile"] == 4  # a number stays what it is
    for run in (tuned, again):
        for name, values in by_rule.dataset.data_vars.items():
            np.testing.assert_allclose(run.dataset[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_size_that_gains_less_than_the_noise_is_not_taken(folder, monkeypatch):
    monkeypatch.setattr(jobs, "measure", lambda job, config: 97.0 if job.tile_members == 8 else 100.0)
    assert train(tile="tune").summary["tile"] == 32
    assert train().summary["tile"] == 32


def test_long_runs_tune_by_themselves_once_and_say_so_before(folder, timed, monkeypatch):
    plans = []
    monkeypatch.setattr(tuning, "PAYS", 1000)
    train(announce=plans.append)
    assert plans[-1].tuning_seconds == 0 and timed == [32]  # 1200 s are too short
    monkeypatch.setattr(tuning, "PAYS", 1)
    assert train(announce=plans.append).summary["tile"] == 8
    assert plans[-1].tuning_seconds > 1
    assert train(announce=plans.append).summary["tile"] == 8
    assert plans[-1].tuning_seconds == 0


@pytest.mark.slow
def test_other_networks_and_settings_do_not_share_a_size(folder, timed):
    train(tile="tune")
    others = [(MODEL, o) for o in ({"x64": True}, {"optimizer": "momentum"}, {"randomness": "independent"})]
    for model, options in [*others, (tiny(3), {})]:
        assert tile(model, GRID, **options) == 32
    more = dataclasses.replace(GRID, seeds=9)
    assert tile(MODEL, more) <= 8  # but a few more seeds do


@pytest.mark.parametrize("content", [b"", b"{", b'{"members": "8"}', b'{"members": 0}', b"[1]", b"\xff\xfe"])
def test_a_damaged_size_is_passed_over_and_replaced(content, folder):
    tile_memory.remember({"a": 1}, 8)
    (kept,) = folder.iterdir()
    kept.write_bytes(content)
    assert tile_memory.recall({"a": 1}) is None
    tile_memory.remember({"a": 1}, 8)
    assert tile_memory.recall({"a": 1}) == 8


@pytest.mark.parametrize("place", ["off", __file__])  # a file where the folder should be
def test_without_a_cache_nothing_is_remembered(place, monkeypatch):
    monkeypatch.setenv("DYSONJAX_CACHE", place)
    tile_memory.remember({"a": 1}, 8)
    assert tile_memory.recall({"a": 1}) is None


def test_a_size_that_is_being_written_is_never_seen_in_part(folder, monkeypatch):
    seen = []

    def watched(self, target, replace=Path.replace):
        seen.append(tile_memory.recall({"a": 1}))
        return replace(self, target)

    tile_memory.remember({"a": 1}, 7)
    monkeypatch.setattr(Path, "replace", watched)
    tile_memory.remember({"a": 1}, 9)  # another process reads in between
    assert seen == [7] and tile_memory.recall({"a": 1}) == 9
    assert len(os.listdir(folder)) == 1


@pytest.mark.slow
def test_a_tile_that_the_memory_does_not_hold_is_left_out(folder, timed, monkeypatch):
    from jax.errors import JaxRuntimeError

    def measure(job, config):
        if job.tile_members == 8:
            raise JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return 1.0

    monkeypatch.setattr(jobs, "measure", measure)
    assert train(tile="tune").summary["tile"] == 32


@pytest.mark.slow
def test_a_signal_ends_the_tuning_and_the_run_can_be_resumed(folder, timed, monkeypatch, tmp_path):
    def measure(job, config):
        timed.append(job.tile_members)
        if len(timed) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return 1.0

    monkeypatch.setattr(jobs, "measure", measure)
    with pytest.raises(dj.ensemble.Interrupted):
        train(tile="tune", out=tmp_path / "run")
    assert len(timed) == 2 and not folder.exists()
    again = dj.resume(tmp_path / "run", MODEL, **RUN)
    assert again.dataset.drop_attrs().identical(train().dataset.drop_attrs())


@pytest.mark.parametrize("tile", [0, -3, "fast", "", 1.5])
def test_a_tile_that_is_no_number_is_refused(tile):
    with pytest.raises(dj.InputError, match="tile must be a positive integer"):
        train(tile=tile)

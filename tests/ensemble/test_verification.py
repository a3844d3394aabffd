"""Which members of a run can be verified: those whose last record is there, whatever the model records."""

import dataclasses

import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax.checks import InputError

GRID = dj.Grid(lr=[0.1, 50.0], sigma_w=1.0, batch_size=2, seeds=4)


def silent():
    """A model that records its levels alone."""
    return dataclasses.replace(tiny(), observe=lambda *_: {}, observables={})


def test_a_model_that_records_no_loss_is_verified(tmp_path):
    run = dj.train(silent(), GRID, 40, 3, out=tmp_path / "run")
    assert 0 < run.summary["diverged"] < 8
    found = dj.verify(tmp_path / "run", silent(), members=8)
    assert found.equal and found.bit_equal and len(found.members) == 8


def test_members_that_diverged_count_only_when_their_last_record_is_there(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 0.6 * total:
            raise Stop

    with pytest.raises(Stop):
        dj.train(tiny(), GRID, 40, 5, out=tmp_path / "run", tile=2, devices=1, progress=stop, save_every=1e-6)
    stored = dj.read(tmp_path / "run")
    last = np.isfinite(stored["eigenvalues"].isel(record=-1)).any("mode")
    diverged = stored["diverged_at"] >= 0
    assert 0 < int(last.sum()) < 8 and int((last & diverged).sum()) > 0
    found = dj.verify(tmp_path / "run", tiny(), members=8)
    assert found.bit_equal and len(found.members) == int(last.sum())


def test_a_run_without_a_last_record_is_refused(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 0:
            raise Stop

    with pytest.raises(Stop):
        dj.train(tiny(), GRID, 40, 5, out=tmp_path / "run", devices=1, progress=stop, save_every=1e-6)
    with pytest.raises(InputError, match="last record yet"):
        dj.verify(tmp_path / "run", tiny())

"""The loss as an energy: what couplings and fields give is what the run recorded."""

import functools

import numpy as np
import pytest
from thin import observing

import dysonjax as dj


@functools.cache
def trained(train):
    model = dj.models.teacher_student((3, 6, 5, 2), train=train, batches=20)
    grid = dj.Grid(lr=[0.05, 0.2], sigma_w=0.5, batch_size=4, seeds=2)
    return model, dj.train(
        observing(model, "test_loss"), grid, 40, [0, 40], keep_weights="all", x64=True
    ).dataset


@pytest.mark.parametrize("train", ["middle", pytest.param("all", marks=pytest.mark.slow)])
def test_energies_add_up_to_the_loss_that_the_run_recorded(train):
    model, run = trained(train)
    found = dj.phase.disorder(run)
    total = found["coupling_energy"] + found["field_energy"] + found["target_energy"]
    np.testing.assert_allclose(2 * total, run["test_loss"].transpose(*total.dims), rtol=1e-10)
    once = 0.5 * found["coupling_energy"] + found["field_energy"] + found["target_energy"]
    assert abs(2 * once / run["test_loss"] - 1).max() > 0.05  # the twin: couplings counted half
    moved = abs(found["coupling"].diff("record"))
    assert (moved == 0).all() if train == "middle" else (moved > 0).all()  # quenched, or learned
    if train == "middle":
        member = dj.member_of(model, run, seed=1, batch_size=4, lr=0.2, sigma_w=0.5)
        last = np.asarray(member.world.teacher[-1])
        j = last @ last.T
        expected = np.sqrt(np.mean(j[~np.eye(5, dtype=bool)] ** 2))
        assert found["coupling"].sel(seed=1, lr=0.2).isel(record=0).item() == pytest.approx(expected)


def test_runs_without_weights_are_refused():
    _, run = trained("middle")
    with pytest.raises(dj.InputError, match="--keep-weights all"):
        dj.phase.disorder(run.drop_vars("weights"))

"""Features of all records and the gradient of an epoch, from weights that a run kept."""

import numpy as np
import pytest
import xarray as xr
from thin import observing

import dysonjax as dj

MODEL = dj.models.teacher_student(batches=20)


@pytest.fixture(scope="module")
def run():
    grid = dj.Grid(lr=[0.1, 1.0], sigma_w=[0.5, 2.0], batch_size=4, seeds=2, first_seed=3)
    model = observing(MODEL, "feature_overlap", "grad_norm")
    return dj.train(model, grid, 500, [0, 20, 480, 500], x64=True, keep_weights="all").dataset


def test_correlation_with_the_first_record_is_the_overlap_that_the_run_recorded(run):
    found = dj.phase.two_time_correlation(dj.phase.features(run))
    overlap = run.feature_overlap.mean("seed")
    first = found.isel(record=0).transpose(*overlap.rename(record="later").dims)
    np.testing.assert_allclose(first.correlation, overlap, rtol=1e-10)
    error = run.feature_overlap.std("seed", ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(first.correlation_err, error, rtol=1e-6)
    # All pairs, symmetric, against the definition for one pair of one point.
    np.testing.assert_allclose(found.correlation, found.correlation.transpose(..., "later", "record"))
    phi = dj.phase.features(run).sel(lr=1.0, sigma_w=2.0).isel(batch_size=0)
    g = [(phi.isel(seed=s, record=1) * phi.isel(seed=s, record=3)).mean().item() for s in range(2)]
    assert found.correlation.sel(lr=1.0, sigma_w=2.0).isel(batch_size=0, record=1, later=3) == pytest.approx(
        np.mean(g)
    )
    for s in range(2):
        norms = [np.linalg.norm(phi.isel(seed=s, record=k)) for k in (1, 3)]
        g[s] *= phi.isel(seed=s, record=0).size / np.prod(norms)
    here = found.sel(lr=1.0, sigma_w=2.0).isel(batch_size=0, record=1, later=3)
    assert here.normalised == pytest.approx(np.mean(g))
    assert np.diagonal(found.normalised.values, axis1=-2, axis2=-1) == pytest.approx(1.0)
    # Connected: a constant added to a feature is no correlation.
    shifted = dj.phase.two_time_correlation(dj.phase.features(run) + 3.0)
    np.testing.assert_allclose(shifted.connected, found.connected, atol=1e-10)
    assert (shifted.correlation > found.correlation + 8).all()


def test_gradient_of_an_epoch_is_the_mean_of_its_batches_on_the_way(run):
    norm = dj.phase.epoch_gradient_norm(run)
    assert norm.record.values.tolist() == [0, 480]
    place = {"seed": 4, "batch_size": 4, "lr": 1.0, "sigma_w": 2.0}
    member = dj.member_of(MODEL, run, **place)
    z = np.asarray(member.world.teacher[2])
    w, total = run.weights.sel(place).isel(record=2).values.copy(), 0.0
    for x, y in zip(np.asarray(member.world.inputs), np.asarray(member.world.targets), strict=True):
        phi = np.tanh(x @ w)
        gradient = x.T @ (((phi @ z - y) @ z.T) * (1 - phi**2)) / 4
        w, total = w - 1.0 * gradient, total + gradient
    assert norm.sel(place).isel(record=1) == pytest.approx(np.linalg.norm(total) / 20, rel=1e-8)
    # The twin: the norm at one place on a sample is another number.
    assert abs(norm.sel(place).isel(record=1) / run.grad_norm.sel(place).isel(record=2) - 1) > 0.01


@pytest.mark.slow
def test_gradient_of_all_samples_is_that_of_the_run_where_the_run_takes_all(run):
    """`grad_norm` is of 256 samples: of 20 batches of 4 these are all, of 250 a quarter."""
    for record in range(4):
        full = dj.phase.full_gradient_norm(run, record)
        np.testing.assert_allclose(run.grad_norm.isel(record=record), full, rtol=1e-10)
    # Of a quarter the mean is larger, the more so where gradients scatter more than their mean.
    grid = dj.Grid(lr=0.1, sigma_w=[1.0, 128.0], batch_size=4, seeds=30)
    model = observing(dj.models.teacher_student(batches=250), "grad_norm")
    data = dj.train(model, grid, 1, [0], x64=True, keep_weights="all").dataset
    norms = data.grad_norm.isel(record=0), dj.phase.full_gradient_norm(data)
    sample, full = (norm.isel(batch_size=0, lr=0).mean("seed") for norm in norms)
    excess = (sample / full - 1).values
    # With tr C = 115 |g|² at σ_W = 128, √((1 + 115/256)/(1 + 115/1000)) − 1 = 0.14.
    assert abs(excess[0]) < 0.05 < excess[1] < 0.3


def test_runs_that_lack_what_is_needed_are_refused(run):
    with pytest.raises(dj.InputError, match="keeps no weights at its records"):
        dj.phase.features(run.drop_vars("weights"))
    with pytest.raises(dj.InputError, match="no two records of the run lie an epoch"):
        dj.phase.epoch_gradient_norm(run.isel(record=[0, 2]))
    adam = run.assign_attrs(config=run.attrs["config"].replace('"sgd"', '"adamw"'))
    with pytest.raises(dj.InputError, match="for optimizer sgd alone"):
        dj.phase.epoch_gradient_norm(adam)
    with pytest.raises(dj.InputError, match="one of linear"):
        dj.phase.model_of(xr.Dataset(attrs={"config": '{"model": {"name": "linear"}}'}))

"""Phases, boundaries and their errors, on made-up members and on a trained grid."""

import numpy as np
import pytest
import xarray as xr

import dysonjax as dj

MODEL = dj.models.teacher_student(batches=200)


@pytest.fixture(scope="module")
def trained():
    """One point deep in each phase, as the published diagram has them."""
    grid = dj.Grid(lr=[0.5, 256.0], sigma_w=[0.25, 128.0], batch_size=4, seeds=6)
    return dj.train(MODEL, grid, steps=4000, records=[0, 2000, 4000]).dataset


def test_the_three_phases_stand_where_the_published_diagram_has_them(trained):
    phases = dj.phase.classify(trained)
    names = np.array(dj.phase.PHASES)[phases.point.isel(batch_size=0)]
    # The fourth point, hot and disordered, lies on the boundary between jammed and divergent: of its members,
    # which are chaotic, four in five are divergent.
    assert names[0].tolist() == ["converged", "jammed"] and names[1, 0] == "divergent"
    assert (phases.agreement.values.ravel()[:3] >= 5 / 6).all()
    assert sum(dj.phase.count(phases).values()) == 4
    averages = dj.phase.observables(trained).isel(batch_size=0)
    cold = averages.sel(lr=0.5)
    assert cold.log10_test_loss.sel(sigma_w=0.25) < -3 < -1.5 < cold.log10_test_loss.sel(sigma_w=128.0)
    assert cold.feature_overlap.sel(sigma_w=0.25) < 0.1 < 0.7 < cold.feature_overlap.sel(sigma_w=128.0)
    # Weights grow in the divergent phase and stay in the jammed one.
    assert averages.growth_rate.sel(lr=256.0, sigma_w=0.25) > 10 * abs(cold.growth_rate.sel(sigma_w=128.0))


def test_thresholds_decide(trained):
    strict = dj.phase.classify(trained, dj.phase.Thresholds(loss=1e-9))
    assert dj.phase.count(strict)["converged"] == 0
    with pytest.raises(dj.InputError, match=r"thresholds\.memory must be positive"):
        dj.phase.classify(trained, dj.phase.Thresholds(memory=0.0))


def test_bootstrap_error_of_the_mean_is_the_standard_error():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40))
    errors = dj.phase._mean_error(values, 4000)
    np.testing.assert_allclose(errors, values.std(axis=1, ddof=1) / np.sqrt(40), rtol=0.05)
    values[0, :20] = np.nan  # diverged members are left out, and the error grows
    expected = values[0, 20:].std(ddof=1) / np.sqrt(20)
    assert dj.phase._mean_error(values, 4000)[0] == pytest.approx(expected, rel=0.12)
    assert np.isnan(dj.phase._mean_error(values[:, :1], 100)).all()


def test_jamming_line_uses_the_measured_variance_of_the_preactivations(trained):
    line = dj.phase.jamming_line(trained)
    assert line.published == pytest.approx(np.sqrt(2))
    # Behind x ~ N(0,1)^3 and a teacher layer of unit gain, <tanh^2> is 0.3 to 0.45, never 1.
    assert 0.3 < line.measured**2 / 2 < 0.45


def test_tanh_features_turn_bimodal_when_the_variance_passes_one_half():
    grid = np.linspace(-0.9, 0.9, 181)

    def modes(variance):
        density = np.exp(-(np.arctanh(grid) ** 2) / (2 * variance)) / (1 - grid**2)
        return (np.diff(np.sign(np.diff(density))) < 0).sum()

    assert modes(0.45) == 1 and modes(0.6) == 2


def test_noise_threshold_solves_the_published_criterion(trained):
    threshold = dj.phase.noise_threshold(trained)
    first = trained.isel(record=0)
    # At T = threshold both sides of K/(sqrt(r)(N-1)) >= T V/(4 sigma_w^2) are equal; r = 2, N = 16.
    left = first.drift_gap / (np.sqrt(2) * 15)
    right = threshold * first.noise_gap / (4 * trained.sigma_w**2)
    np.testing.assert_allclose(left, right.transpose(*left.dims), rtol=1e-4)


def test_noise_line_is_the_temperature_that_a_fraction_of_members_survives(trained):
    line = dj.phase.noise_line(trained, (0.68,)).isel(contour=0)
    threshold = dj.phase.noise_threshold(trained)
    for sigma_w in trained.sigma_w.values:
        own = threshold.sel(sigma_w=sigma_w).values.ravel()
        at = float(line.sel(sigma_w=sigma_w))
        assert np.mean(own >= at) >= 0.68 > np.mean(own > at + 1e-9 * abs(at))


def test_diverged_members_are_left_out_of_averages(trained):
    """Two of six members of a converged point, all of a jammed one; their numbers would ruin any mean."""
    data = trained.copy(deep=True)
    for at in ({"lr": 0.5, "sigma_w": 0.25, "seed": [0, 1]}, {"lr": 0.5, "sigma_w": 128.0}):
        data["alive"].loc[at | {"record": [2000, 4000]}] = False
        data["diverged_at"].loc[at] = 7
        data["test_loss"].loc[at] = 1e30
    averages = dj.phase.observables(data).isel(batch_size=0).sel(lr=0.5)
    assert averages.seeds_used.values.tolist() == [4, 0]
    others = trained.test_loss.sel(lr=0.5, sigma_w=0.25, seed=[2, 3, 4, 5]).isel(batch_size=0, record=-1)
    assert averages.log10_test_loss[0] == pytest.approx(float(np.log10(others).mean()), rel=1e-5)
    assert np.isnan(averages.log10_test_loss[1])
    names = np.array(dj.phase.PHASES)[dj.phase.classify(data).point.isel(batch_size=0).sel(lr=0.5)]
    assert names.tolist() == ["converged", "divergent"]


def test_all_layers_learned_uses_the_matrix_before_the_features():
    # Model, precision and shapes of the test against NumPy, whose compiled programs are found again.
    model = dj.models.teacher_student(train="all", batches=50)
    grid = dj.Grid(lr=[0.1, 1.0], sigma_w=[0.5, 2.0], batch_size=4, seeds=2)
    data = dj.train(model, grid, 20, [0, 20], x64=True).dataset
    assert dj.phase.main_matrix(data) == "eigenvalues_w2"
    assert data.eigenvalues_w2.sizes["mode_w2"] == 16 and data.eigenvalues_w3.sizes["mode_w3"] == 1
    # A member of the larger rate may diverge.
    assert np.isfinite(dj.phase.observables(data).growth_rate.sel(lr=0.1)).all()
    with pytest.raises(dj.InputError, match="no eigenvalues"):
        dj.phase.main_matrix(xr.Dataset())


@pytest.mark.slow
def test_the_error_of_a_hundred_seeds_covers_a_second_hundred():
    estimates = []
    for first_seed in (0, 100):
        grid = dj.Grid(lr=[0.5, 8.0], sigma_w=[0.5, 32.0], batch_size=4, seeds=100, first_seed=first_seed)
        estimates.append(dj.phase.observables(dj.train(MODEL, grid, 20_000, [0, 20_000]).dataset))
    first, second = estimates
    for name in ("log10_test_loss", "feature_overlap", "field_alignment"):
        difference = first[name] - second[name]
        z = difference / np.hypot(first[f"{name}_err"], second[f"{name}_err"])
        assert (abs(z) < 3).all(), f"{name}: {z.values.ravel()}"
        # The twin: the errors are no larger than they must be.
        assert (first[f"{name}_err"] > 0).all() and abs(z).max() > 0.05


@pytest.mark.slow
def test_runs_of_equal_temperature_collapse_at_small_learning_rate():
    """The linear scaling rule: at equal T = lr/batch_size and equal lr * steps, batch sizes do not matter."""

    def log_loss(temperature, batch_size):
        lr = temperature * batch_size
        steps = round(100 / lr)
        grid = dj.Grid(lr=lr, sigma_w=1.0, batch_size=batch_size, seeds=32)
        data = dj.train(dj.models.teacher_student(), grid, steps, [0, steps]).dataset
        return np.log10(data.test_loss.isel(record=1).values.ravel())

    # The teacher of a seed is the same at every batch size, so that differences are taken seed by seed.
    small = log_loss(1 / 256, 4)
    for batch_size in (16, 64):
        difference = log_loss(1 / 256, batch_size) - small
        assert abs(difference.mean()) < 0.05, difference.mean()
    # The twin: at lr = 4 the step is no longer small, and the rule fails by an order of magnitude.
    assert (log_loss(1 / 16, 64) - log_loss(1 / 16, 4)).mean() > 0.5

"""Phases, boundaries and their errors, on made-up members and on a trained grid."""

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import isotonic_regression
from thin import observing

import dysonjax as dj
from dysonjax.analysis.phase import noise

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


def _made_up(losses, memory=0.0, alive=True, diverged_at=-1):
    """The dataset of a run at one learning rate; losses: (sigma_w, seed), of targets with mean square 1."""
    shape = np.shape(losses)
    each = ("batch_size", "lr", "sigma_w", "seed", "record")
    levels = np.broadcast_to([1.0, 2.0, 4.0], (1, 1, *shape, 2, 3))

    def numbers(values):
        return each, np.broadcast_to(np.reshape(np.broadcast_to(values, shape), (1, 1, *shape, 1)),
                                     (1, 1, *shape, 2))  # fmt: skip

    names = ("train_loss", "feature_overlap", "field_alignment", "field_alignment_per_sample",
             "field_alignment_per_feature")  # fmt: skip
    return xr.Dataset(
        {
            "test_loss": numbers(losses),
            "target_variance": numbers(1.0),
            "feature_memory": numbers(memory),
            "alive": numbers(alive),
            "diverged_at": (each[:-1], np.broadcast_to(diverged_at, shape)[None, None]),
            "eigenvalues": ((*each, "mode"), levels),
            **{name: numbers(losses) for name in names},
        },
        {"batch_size": [4], "lr": [0.5], "sigma_w": np.arange(shape[0]) + 1.0, "record": [0, 100]},
    )


def test_error_of_an_average_is_that_of_the_members_that_are_there():
    """A bootstrap over all eight seeds of which four died draws none alive in one of 256 replicates."""
    rng = np.random.default_rng(0)
    losses = 10.0 ** rng.normal(size=(3, 8))
    alive = np.ones((3, 8), bool)
    alive[1, ::2] = False
    alive[2, 1:] = False  # one member alive
    losses[1, ::2] = 1e30
    found = dj.phase.observables(_made_up(losses, alive=alive)).isel(batch_size=0, lr=0)
    logs = np.log10(losses)
    expected = [logs[0].std(ddof=1) / np.sqrt(8), logs[1, 1::2].std(ddof=1) / 2]
    np.testing.assert_allclose(found.log10_test_loss_err[:2], expected)
    np.testing.assert_allclose(found.log10_test_loss, [logs[0].mean(), logs[1, 1::2].mean(), logs[2, 0]])
    assert found.seeds_used.values.tolist() == [8, 4, 1] and np.isnan(found.log10_test_loss_err[2])
    # A bootstrap over the members alive, drawn, gives the same.
    survivors = logs[1, 1::2]
    draws = rng.choice(survivors, size=(100_000, 4)).mean(axis=1).std() * np.sqrt(4 / 3)
    assert found.log10_test_loss_err[1] == pytest.approx(draws, rel=0.02)


def test_a_tie_between_phases_is_undecided():
    low, high = 0.001, 1.0
    losses = [[low, high], [low, low], [high, high], [high, high]]
    memory = [[0, 1], [0, 0], [1, 0], [0, 0]]
    phases = dj.phase.classify(_made_up(losses, memory)).isel(batch_size=0, lr=0)
    names = np.array(dj.phase.PHASES)
    assert names[phases.point].tolist() == ["undecided", "converged", "undecided", "divergent"]
    assert phases.agreement.values.tolist() == [0.5, 1.0, 0.5, 1.0]
    assert dj.phase.count(phases) == {"converged": 1, "jammed": 0, "divergent": 1, "undecided": 2}
    # Three of four is no tie, and neither are two of four when the others differ.
    phases = dj.phase.classify(
        _made_up([[low] * 3 + [high], [low, low, high, high]], [[0] * 4, [0, 0, 0, 1]])
    )
    assert names[phases.point.values.ravel()].tolist() == ["converged", "converged"]


def test_undecided_points_are_not_converged_and_bound_the_line():
    data = _made_up([[0.001, 1.0], [0.001, 0.001]])
    hot = data.assign_coords(lr=[4.0])
    hot["test_loss"] = hot["test_loss"].where(hot.seed == 0, 1.0)
    phases = dj.phase.classify(xr.concat([data, hot], "lr"))
    np.testing.assert_array_equal(dj.phase.convergence_line(phases), [np.nan, 0.125])
    np.testing.assert_array_equal(dj.phase.convergence_line(phases, undecided=True), [1.0, 1.0])


def test_members_without_a_last_record_have_no_phase():
    """Of a run under way: three seeds are not there yet, one is frozen, one converged; then nobody is."""
    losses = [[0.001, np.nan, np.nan, np.nan, np.nan], [np.nan] * 5]
    alive = [[True, False, False, False, False], [False] * 5]
    died = [[-1, 50, -1, -1, -1], [-1] * 5]
    phases = dj.phase.classify(_made_up(losses, alive=alive, diverged_at=died)).isel(batch_size=0, lr=0)
    assert (
        np.array(dj.phase.PHASES)[phases.member[0]].tolist() == ["converged", "divergent"] + ["undecided"] * 3
    )
    assert phases.point.values.tolist() == [dj.phase.UNDECIDED] * 2
    assert phases.agreement.values.tolist() == [0.5, 0.0]


def test_jamming_line_uses_the_measured_variance_of_the_preactivations(trained):
    line = dj.phase.jamming_line(trained)
    assert line.published == pytest.approx(np.sqrt(2))
    # Behind x ~ N(0,1)^3 and a teacher layer of unit gain, <tanh^2> is 0.3 to 0.45, never 1.
    assert 0.3 < line.measured**2 / 2 < 0.45


def test_density_of_tanh_features_is_that_of_samples():
    rng = np.random.default_rng(0)
    edges = np.linspace(-1, 1, 41)
    for variance in (0.1, 0.5, 3.0):
        drawn, _ = np.histogram(np.tanh(np.sqrt(variance) * rng.normal(size=100_000)), edges)
        # Ten points a bin; near ±1 all mass of wide pre-activations sits in the outermost bins.
        fine = np.linspace(edges[:-1], edges[1:], 2001, axis=1)
        expected = 1e5 * np.trapezoid(dj.phase.tanh_density(fine, variance), fine, axis=1)
        inner = slice(1, -1)
        z = (drawn - expected)[inner] / np.sqrt(expected[inner] + 1)
        assert np.abs(z).max() < 4 and np.mean(z**2) < 1.7
        # The twin: a variance 20 % larger.
        wrong = 1e5 * np.trapezoid(dj.phase.tanh_density(fine, 1.2 * variance), fine, axis=1)
        assert np.mean(((drawn - wrong)[inner] / np.sqrt(wrong[inner] + 1)) ** 2) > 3
    assert dj.phase.tanh_density([-1.5, -1.0, 1.0, 2.0], 0.5).tolist() == [0.0] * 4
    with pytest.raises(dj.InputError, match="variance must be positive"):
        dj.phase.tanh_density(0.0, 0.0)


def test_tanh_features_turn_bimodal_at_the_variance_of_the_jamming_line():
    grid = np.linspace(-0.9, 0.9, 1801)

    def modes(variance):
        return int((np.diff(np.sign(np.diff(dj.phase.tanh_density(grid, variance)))) < 0).sum())

    critical = dj.phase.JAMMING_VARIANCE
    assert [modes(factor * critical) for factor in (0.9, 0.99, 1.01, 1.1)] == [1, 1, 2, 2]
    assert dj.phase.jamming_line(_initial(critical)).published == pytest.approx(critical**-0.5)
    # An ensemble whose pre-activations have exactly the critical variance lies on the measured line.
    for sigma_w in (1.0, 3.0):
        line = dj.phase.jamming_line(_initial(critical, sigma_w))
        assert line.measured == pytest.approx(1 / sigma_w)


def _initial(variance, sigma_w=1.0):
    shape = ("batch_size", "lr", "sigma_w", "seed", "record")
    return xr.Dataset(
        {"preactivation_variance": (shape, np.full((1, 1, 1, 2, 1), variance))}, {"sigma_w": [sigma_w]}
    )


def _published_by_hand(weight, teacher, x, sigma_w):
    """Both sides of the published criterion at T = 1, sample by sample, in NumPy."""
    first, middle, last = teacher
    below = np.tanh(x @ first)
    y, phi = np.tanh(below @ middle) @ last, np.tanh(below @ weight)
    d = ((phi @ last - y) @ last.T) * (1 - phi**2)
    changes = []
    for a, error in zip(below, d, strict=True):
        g = np.outer(a, error)
        changes.append(weight.T @ g + g.T @ weight)
    basis = np.linalg.eigh(weight.T @ weight)[1][:, ::-1]
    basis = basis * np.sign(basis[0])
    mean = basis.T @ np.mean(changes, axis=0) @ basis
    v = basis.T @ np.var(changes, axis=0) @ basis
    n = 16
    noise = 2 * v[0, -1] / (n - 1) + sum((v[0, k] + v[-1, n - k]) / k for k in range(1, n - 1))
    return (abs(mean[0, 0]) - abs(mean[-1, -1])) / (np.sqrt(2) * (n - 1)), noise / (4 * sigma_w**2)


def test_members_pass_the_published_criterion_as_written_out_in_numpy():
    """Teacher, inputs and weights of the run itself; K, V and their ratio by a loop over samples."""
    temperatures = [0.125, 2.0, 64.0]
    grid = dj.Grid(lr=[4 * t for t in temperatures], sigma_w=[0.25, 4.0], batch_size=4, seeds=4)
    model = observing(MODEL, "drift_gap", "noise_gap", "noise_gap_published")
    data = dj.train(model, grid, 2000, [0, 2000], x64=True, keep_weights="last").dataset
    passes, threshold = dj.phase.noise_passes(data), dj.phase.noise_threshold(data)
    seen = []
    for seed in range(4):
        member = dj.member_of(MODEL, data, seed=seed, batch_size=4, lr=0.5, sigma_w=0.25)
        with jax.enable_x64(True):
            x = np.asarray(jax.random.normal(member.observation_key, (128, 3)))
        for t in temperatures:
            for sigma_w in grid.sigma_w:
                at = {"seed": seed, "lr": 4 * t, "sigma_w": sigma_w, "batch_size": 4}
                weight = data.weights.sel(at).values
                left, right = _published_by_hand(weight, map(np.asarray, member.world.teacher), x, sigma_w)
                assert bool(passes.sel(at)) == (left >= t * right)
                own = left / right if left > 0 < right else np.inf if left > 0 else np.nan
                np.testing.assert_allclose(threshold.sel(at), own, rtol=1e-8)
                seen.append((bool(passes.sel(at)), bool(right < 0)))
    assert {(True, False), (True, True), (False, False)} <= set(seen)  # V of both signs
    # The twin: another V, the variance of the turned matrix, decides otherwise.
    assert (dj.phase.noise_passes(data, criterion="variance") != passes).any()


def test_threshold_is_the_temperature_below_which_a_member_passes(trained):
    for criterion in ("published", "variance"):
        threshold = dj.phase.noise_threshold(trained, criterion=criterion)
        for factor, expected in ((0.99, True), (1.01, False)):
            # The same network at a temperature just below and just above its own threshold.
            moved = trained.assign(noise_gap_published=trained.noise_gap_published * threshold * factor,
                                   noise_gap=trained.noise_gap * threshold * factor)  # fmt: skip
            moved = moved.assign_coords(batch_size=[1]).sel(lr=[0.5]).assign_coords(lr=[1.0])
            here = np.isfinite(threshold.sel(lr=0.5).values.ravel())
            assert (dj.phase.noise_passes(moved, criterion=criterion).values.ravel()[here] == expected).all()
            assert here.sum() >= 3
    assert (threshold > 0).sum() == np.isfinite(threshold).sum()  # no temperature below zero


def test_the_noise_line_is_where_the_fraction_falls_below_the_contour():
    temperature = 2.0 ** np.arange(6)
    fraction = np.array([0.5, 0.9, 0.9, 0.7, 0.5, 0.5])
    line = dj.phase.falling_line
    assert line(temperature, fraction, 0.8) == pytest.approx(4 * 2**0.5)
    assert line(temperature, fraction, 0.6) == pytest.approx(8 * 2**0.5)
    # Scatter does not choose among crossings: 0.6 and 0.8 count as 0.7 twice.
    scattered = np.array([0.5, 0.9, 0.9, 0.6, 0.8, 0.5])
    assert line(temperature, scattered, 0.8) == pytest.approx(4 * 2**0.5)
    assert np.isnan(line(temperature, fraction, 0.95)) and line(temperature, fraction, 0.4) == np.inf
    assert np.isnan(line(temperature[:0], fraction[:0], 0.5))
    # Points that were not reached do not count.
    assert line(temperature, np.where(temperature == 8, np.nan, fraction), 0.8) == pytest.approx(4 * 2**0.5)


def test_pooling_neighbours_that_rise_is_the_isotonic_regression_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 8, rng.integers(1, 30)) / 7
        expected = isotonic_regression(values, increasing=False).x
        np.testing.assert_allclose(noise._made_to_fall(values), expected, rtol=1e-14)


def test_fractions_count_members_and_the_line_passes_between_grid_points(trained):
    fraction = dj.phase.noise_fraction(trained)
    passes = dj.phase.noise_passes(trained)
    np.testing.assert_allclose(fraction, passes.mean("seed"))
    line = dj.phase.noise_line(trained, (0.4,)).isel(contour=0)
    for sigma_w in trained.sigma_w.values:
        cold, hot = fraction.sel(sigma_w=sigma_w).isel(batch_size=0).values
        at = float(line.sel(sigma_w=sigma_w))
        if cold >= 0.4 > hot:
            assert 0.125 < at < 64
        elif hot >= 0.4:
            assert at == np.inf
    # A frozen member does not pass; one that is not there yet does not count.
    data = trained.copy(deep=True)
    data["alive"][..., 0, -1] = False
    data["alive"][..., 1, -1] = False
    data["diverged_at"][..., 0] = 5
    expected = passes.isel(seed=slice(2, None)).sum("seed") / 5
    np.testing.assert_allclose(dj.phase.noise_fraction(data), expected)


def test_a_run_without_the_published_noise_has_the_other_line(trained):
    old = trained.drop_vars("noise_gap_published")
    assert dj.phase.criteria(old) == ("variance",) and dj.phase.criteria(trained) == ("published", "variance")
    assert dj.phase.noise_line(old, criterion="variance").sizes == {"contour": 3, "sigma_w": 2}
    with pytest.raises(dj.InputError, match="holds no noise_gap_published"):
        dj.phase.noise_line(old)
    with pytest.raises(dj.InputError, match="criterion must be one of published, variance"):
        dj.phase.noise_line(old, criterion="printed")


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
    model = dj.models.teacher_student((3, 6, 5, 2), train="all", batches=20)
    grid = dj.Grid(lr=[0.1, 1.0], sigma_w=[0.5, 2.0], batch_size=4, seeds=2)
    data = dj.train(model, grid, 20, [0, 20], x64=True).dataset
    assert dj.phase.main_matrix(data) == "eigenvalues_w2"
    assert data.eigenvalues_w2.sizes["mode_w2"] == 5 and data.eigenvalues_w3.sizes["mode_w3"] == 2
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

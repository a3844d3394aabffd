"""Bootstrap, jackknife, permutation tests and distances; members are the unit throughout."""

import numpy as np
import pytest
from scipy import stats

from dysonjax.spectra import (
    bootstrap,
    energy_distance,
    jackknife,
    kolmogorov_smirnov,
    level_density,
    mean_spacing_ratio,
    permutation_test,
    wasserstein,
)

KS_LIMIT = 1.63  # √n × distance exceeded in 1 % of cases


def correlated_members(rng, members, modes=8, shape=()):
    """Levels that share a member's own shift: single levels are far from independent."""
    return rng.normal(size=(*shape, members, 1)) + 0.3 * rng.normal(size=(*shape, members, modes))


def mean_level(x):
    return x.mean(axis=(-2, -1))


def within_width(x, y):
    return np.sqrt((x.size * x.var() + y.size * y.var()) / (x.size + y.size))


def by_scipy(x, y):
    """Wasserstein, energy and Kolmogorov-Smirnov distance of two plain samples, in their own width."""
    width = within_width(x, y)
    return (
        stats.wasserstein_distance(x, y) / width,
        stats.energy_distance(x, y) / np.sqrt(width),
        stats.ks_2samp(x, y).statistic,
    )


def test_distances_agree_with_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(37, 3)), rng.normal(0.3, size=(50, 3))
    distances = (wasserstein, energy_distance, kolmogorov_smirnov)
    pooled, each = (
        by_scipy(x.ravel(), y.ravel()),
        np.array([by_scipy(*columns) for columns in zip(x.T, y.T, strict=True)]),
    )
    for k, distance in enumerate(distances):
        assert distance(x, y, comparison="pooled") == pytest.approx(pooled[k], rel=1e-12)
        np.testing.assert_allclose(distance(x, y, comparison="each"), each[:, k], rtol=1e-12)
        assert distance(x, y) == pytest.approx(each[:, k].mean(), rel=1e-12)


def test_two_narrow_levels_that_move_by_three_widths_are_three_widths_apart():
    """In units of the whole spectrum, the pooled distance, the same move all but disappears."""
    rng = np.random.default_rng(20)
    x = np.array([0.0, 1.0]) + 0.001 * rng.normal(size=(200, 2))
    y = np.array([0.003, 1.003]) + 0.001 * rng.normal(size=(200, 2))
    # The distance of two sample means of 200, in widths: 0.1.
    assert wasserstein(x, y) == pytest.approx(3, abs=0.3)
    assert permutation_test(x, y, n_resamples=19).distance == wasserstein(x, y)
    np.testing.assert_allclose(
        permutation_test(x, y, n_resamples=19, comparison="each").distance, [3, 3], atol=0.3
    )
    assert permutation_test(x, y, n_resamples=19, comparison="pooled").distance < 0.01


def test_distances_agree_with_scipy_in_the_presence_of_ties():
    rng = np.random.default_rng(1)
    x, y = rng.integers(5, size=(40, 2)) * 1.0, rng.integers(6, size=(30, 2)) * 1.0
    pooled = kolmogorov_smirnov(x, y, comparison="pooled")
    assert pooled == pytest.approx(stats.ks_2samp(x.ravel(), y.ravel()).statistic)


def test_level_by_level_distance_sees_what_the_pool_hides():
    # Levels 0 and 1 exchange their shifts: the pooled density moves far less than each level does.
    rng = np.random.default_rng(2)
    x = np.array([0.0, 0.5]) + rng.normal(size=(2000, 2))
    y = np.array([0.5, 0.0]) + rng.normal(size=(2000, 2))
    assert wasserstein(x, y, comparison="pooled") < 0.1
    np.testing.assert_allclose(wasserstein(x, y, per_level=True), 0.5, atol=0.1)
    assert wasserstein(x, y) == pytest.approx(0.5, abs=0.1)


def test_distances_do_not_depend_on_the_unit():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 4)), rng.normal(0.2, size=(60, 4))
    for distance in (wasserstein, energy_distance, kolmogorov_smirnov):
        assert distance(1e6 * x, 1e6 * y) == pytest.approx(distance(x, y), rel=1e-9)


def test_constant_ensembles_are_at_distance_zero_or_infinity():
    one, two = np.ones((5, 2)), 2 * np.ones((5, 2))
    assert wasserstein(one, one) == 0 and np.isinf(wasserstein(one, two))


def test_leading_axes_are_compared_one_by_one():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 3, 20, 4)), rng.normal(size=(2, 3, 25, 4))
    assert wasserstein(x, y).shape == (2, 3)
    assert wasserstein(x, y)[1, 2] == wasserstein(x[1, 2], y[1, 2])
    assert wasserstein(x, y, per_level=True).shape == (2, 3, 4)


def test_bootstrap_error_of_the_mean_counts_members():
    rng = np.random.default_rng(5)
    x = correlated_members(rng, 200)
    fit = bootstrap(x, mean_level)
    exact = x.mean(axis=1).std(ddof=1) / np.sqrt(len(x))
    assert fit.estimate_err == pytest.approx(exact, rel=0.08)  # 1000 replicates: 2.2 % standard error
    # Drawing single levels would give an error almost √8 too small.
    assert bootstrap(x.reshape(-1, 1), mean_level).estimate_err < 0.5 * exact


def test_bootstrap_accepts_statistics_of_one_ensemble_and_of_many():
    x = correlated_members(np.random.default_rng(6), 30, shape=(2,))
    many = bootstrap(x, lambda v: v.mean(axis=-2), n_resamples=50)
    one = bootstrap(x, lambda v: v.mean(axis=-2), n_resamples=50, vectorised=False)
    np.testing.assert_allclose(many.replicates, one.replicates, rtol=1e-12)
    assert many.estimate.shape == (2, 8) and many.confidence_interval().low.shape == (2, 8)
    assert bootstrap(x[0], lambda v: float(np.median(v)), n_resamples=20).replicates.shape == (20,)


def test_jackknife_error_of_the_mean_is_the_textbook_one():
    x = correlated_members(np.random.default_rng(7), 60)
    fit = jackknife(x, mean_level)
    assert fit.estimate == pytest.approx(x.mean(), rel=1e-12)
    assert fit.estimate_err == pytest.approx(x.mean(axis=1).std(ddof=1) / np.sqrt(60), rel=1e-9)


def test_jackknife_intervals_are_student_t_about_the_estimate():
    x = correlated_members(np.random.default_rng(7), 12)
    fit = jackknife(x, mean_level)
    for level in (0.68, 0.95):
        exact = stats.t.interval(level, 11, loc=x.mean(), scale=x.mean(axis=1).std(ddof=1) / np.sqrt(12))
        np.testing.assert_allclose(fit.confidence_interval(level), exact, rtol=1e-9)
    np.testing.assert_array_equal(fit.confidence_interval(), fit.confidence_interval(0.95))
    # Percentiles of the leave-one-out values span a fourth of that.
    low, high = np.quantile(fit.replicates, [0.025, 0.975])
    assert high - low < 0.3 * np.diff(fit.confidence_interval())


def test_jackknife_removes_the_bias_of_the_plug_in_variance():
    x = np.random.default_rng(8).normal(size=(30, 1))
    assert jackknife(x, lambda v: v.var()).estimate == pytest.approx(x.var(ddof=1), rel=1e-10)


@pytest.mark.parametrize("statistic", ["wasserstein", "kolmogorov_smirnov", "energy"])
def test_permutation_test_finds_a_shift_below_a_width(statistic):
    rng = np.random.default_rng(9)
    x, y = correlated_members(rng, 100), correlated_members(rng, 100) + 0.8
    assert permutation_test(x, y, statistic, n_resamples=199).p_value == 1 / 200
    assert permutation_test(x, y - 0.8, statistic, n_resamples=199).p_value > 0.01


def test_permutation_p_value_of_an_ensemble_with_itself_is_one():
    x = correlated_members(np.random.default_rng(10), 20)
    result = permutation_test(x, x, n_resamples=99)
    assert result.distance == 0 and result.p_value == 1


def permutation_p_values(repetitions, n, unit):
    rng = np.random.default_rng(11)
    values = []
    for k in range(repetitions):
        x, y = correlated_members(rng, 30), correlated_members(rng, 40)
        if unit == "level":
            x, y = x.reshape(-1, 1), y.reshape(-1, 1)
        values.append(permutation_test(x, y, n_resamples=n, key=k).p_value)
    return np.array(values)


def test_permuting_members_gives_uniform_p_values_and_permuting_levels_does_not():
    # 150 repetitions catch a cdf that is off by 0.13; single levels miss it by far more.
    assert stats.kstest(permutation_p_values(150, 99, "member"), "uniform").statistic < KS_LIMIT / 150**0.5
    assert stats.kstest(permutation_p_values(150, 99, "level"), "uniform").statistic > 0.3


def coverage(repetitions, n, members, exact):
    rng = np.random.default_rng(12)
    hits = np.zeros(2)
    for k in range(repetitions):
        # Skewed members: exponential shifts, mean 1.
        x = rng.exponential(size=(members, 1)) + 0.3 * rng.normal(size=(members, 4))
        fit = bootstrap(x, mean_level, n_resamples=n, key=k)
        for i, level in enumerate((0.68, 0.95)):
            low, high = fit.confidence_interval(level)
            hits[i] += low <= exact <= high
    return hits / repetitions


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    # Standard errors at 300 repetitions: 2.7 % and 1.3 %.
    low, high = coverage(300, 400, 100, exact=1.0)
    assert abs(low - 0.68) < 0.08 and abs(high - 0.95) < 0.04
    assert coverage(100, 200, 100, exact=1.3)[1] < 0.6


@pytest.mark.parametrize("bad", [np.full((5, 2), np.nan), np.full((5, 2), np.inf), np.ones((1, 2))])
def test_bad_ensembles_are_refused(bad):
    good = np.random.default_rng(14).normal(size=(5, 2))
    with pytest.raises(ValueError, match=r"finite|members"):
        permutation_test(good, bad)
    with pytest.raises(ValueError, match=r"finite|members"):
        bootstrap(bad, mean_level)
    with pytest.raises(ValueError, match=r"finite|members"):
        jackknife(bad, mean_level)


def test_bad_arguments_are_refused():
    x = np.random.default_rng(15).normal(size=(5, 2))
    with pytest.raises(ValueError, match="same number of modes"):
        wasserstein(x, x[:, :1])
    with pytest.raises(ValueError, match="metric must be one of"):
        permutation_test(x, x, "cramer")
    with pytest.raises(ValueError, match="n_resamples must be"):
        permutation_test(x, x, n_resamples=0)
    for fit in (bootstrap(x, mean_level, n_resamples=10), jackknife(x, mean_level)):
        with pytest.raises(ValueError, match="level must lie"):
            fit.confidence_interval(1.0)
    with pytest.raises(ValueError, match="comparison must be one of mean, each, pooled"):
        wasserstein(x, x, comparison="all")


def test_old_names_of_errors_and_intervals_say_the_new_ones():
    x = np.random.default_rng(9).normal(size=(20, 3)).cumsum(axis=1)
    found = bootstrap(x, lambda x: x.mean(axis=-2), n_resamples=50)
    for old, new in (("error", found.estimate_err), ("interval", found.confidence_interval())):
        with pytest.warns(DeprecationWarning, match=f"^{old} is now called"):
            np.testing.assert_array_equal(getattr(found, old), new)
    with pytest.warns(DeprecationWarning, match="confidence_interval"):
        np.testing.assert_array_equal(found.confidence(0.68), found.confidence_interval(0.68))
    with pytest.warns(DeprecationWarning, match="density_err"):
        density = level_density(x, bins=3)
        np.testing.assert_array_equal(density.error, density.density_err)
    with pytest.warns(DeprecationWarning, match="value_err"):
        ratio = mean_spacing_ratio(np.sort(x, axis=1), n_samples=20)
        assert ratio.error == ratio.value_err
    with pytest.warns(DeprecationWarning, match="null_err"):
        assert ratio.null_error == ratio.null_err

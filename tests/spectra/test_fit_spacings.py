"""Spacings and densities of pairs: the widths agree, the wrong laws are told apart."""

import numpy as np
import pytest
from scipy import stats

from dysonjax.spectra import (
    MarchenkoPastur,
    PairSpacing,
    fit_brody,
    fit_two_mode,
    fit_two_species,
    fit_wigner_surmise,
    spacing_test,
)
from dysonjax.spectra.wishart_pool import gaussian_spectra


def pairs(rng, members, sigma_wide, sigma_narrow, center=0.0):
    """Exact draws of |x₁−x₂| exp(−x₁²/2σ₁² − x₂²/2σ₂²), ascending, by thinning Gaussian proposals."""
    kept = np.empty((0, 2))
    reach = 8 * max(sigma_wide, sigma_narrow)
    while len(kept) < members:
        x = rng.normal(size=(20 * members, 2)) * (sigma_wide, sigma_narrow)
        kept = np.concatenate([kept, x[rng.random(len(x)) * reach < np.abs(x[:, 0] - x[:, 1])]])
    return center + np.sort(kept[:members], axis=1)


def test_sigma_from_spacing_and_from_density_agree():
    x = pairs(np.random.default_rng(0), 4000, 0.3, 0.3, 5.0)
    spacing, density = fit_wigner_surmise(np.diff(x), n_resamples=300), fit_two_mode(x, n_resamples=100)
    assert abs(density.sigma - spacing.sigma[0]) < 3 * np.hypot(density.sigma_err, spacing.sigma_err[0])
    assert abs(density.sigma - 0.3) < 3 * density.sigma_err and density.sigma_err < 0.004
    assert abs(density.center - 5) < 3 * density.center_err
    assert spacing.sigma[0] == pytest.approx(spacing.sigma_mean[0], rel=0.02)


def test_sigma_from_spacing_and_from_density_disagree_for_two_species():
    x = pairs(np.random.default_rng(1), 4000, 0.5, 0.2)
    spacing, density = fit_wigner_surmise(np.diff(x), n_resamples=300), fit_two_mode(x, n_resamples=100)
    assert abs(density.sigma - spacing.sigma[0]) > 5 * np.hypot(density.sigma_err, spacing.sigma_err[0])


def test_surmise_error_is_the_spread_and_its_p_value_is_uniform():
    s = PairSpacing(0.7).rvs((200, 60), random_state=2)
    fits = [fit_wigner_surmise(row, n_resamples=200, key=k) for k, row in enumerate(s)]
    sigma, error, p = (np.array([getattr(f, k)[0] for f in fits]) for k in ("sigma", "sigma_err", "p_value"))
    assert abs(sigma.mean() - 0.7) < 3 * error.mean() / 200**0.5
    assert 0.85 < error.mean() / sigma.std(ddof=1) < 1.15
    assert stats.kstest(p, "uniform").statistic < 1.63 / 200**0.5


def test_poisson_spacings_are_rejected():
    fit = fit_wigner_surmise(np.random.default_rng(3).exponential(size=(300, 2)))
    assert fit.sigma.shape == (2,) and (fit.p_value < 0.01).all()


@pytest.mark.parametrize("beta", [1.0, 2.0, 4.0])
def test_surmise_of_another_beta_is_told_apart(beta):
    s = 2 * 0.4 * np.sqrt(np.random.default_rng(4).gamma((beta + 1) / 2, size=(3000, 1)))
    right = fit_wigner_surmise(s, beta=beta, n_resamples=200)
    assert abs(right.sigma[0] - 0.4) < 3 * right.sigma_err[0] and right.p_value[0] > 0.01
    wrong = fit_wigner_surmise(s, beta=3 - beta if beta < 3 else 1, n_resamples=200)
    assert wrong.p_value[0] < 0.01


def test_unequal_widths_are_recovered_and_preferred():
    x = pairs(np.random.default_rng(5), 2000, 0.5, 0.2, 3.0)
    fit = fit_two_species(x)
    for value, error, truth in (
        (fit.sigma_wide, fit.sigma_wide_err, 0.5),
        (fit.sigma_narrow, fit.sigma_narrow_err, 0.2),
        (fit.center, fit.center_err, 3.0),
    ):
        assert abs(value - truth) < 3 * error and error < 0.03 * truth
    assert fit.aic < fit.aic_two_mode - 100


def test_equal_widths_are_not_split():
    x = np.stack([pairs(np.random.default_rng(s), 200, 0.3, 0.3) for s in range(40)])
    fit = fit_two_species(x, n_resamples=2)
    # AIC asks ΔlnL > 1: on the boundary χ²₁/2 exceeds it in 8 % of cases.
    assert (fit.aic < fit.aic_two_mode).mean() < 0.25
    assert (fit.aic <= fit.aic_two_mode + 2 + 1e-6).all()


def test_two_species_errors_are_the_spread():
    fits = [
        # An error of 40 samples is known to 11 %, which widens z by 1 %.
        fit_two_species(pairs(np.random.default_rng(s), 200, 0.5, 0.2), n_resamples=40)
        for s in range(60)
    ]
    z = np.array(
        [((f.sigma_wide - 0.5) / f.sigma_wide_err, (f.sigma_narrow - 0.2) / f.sigma_narrow_err) for f in fits]
    )
    assert (np.abs(z.mean(axis=0)) < 0.45).all() and (np.abs(z.std(axis=0) - 1) < 0.3).all()


def test_aic_difference_does_not_depend_on_the_unit():
    x = pairs(np.random.default_rng(6), 300, 0.5, 0.3)
    a, b = fit_two_species(x, n_resamples=2), fit_two_species(1e4 * x, n_resamples=2)
    assert b.sigma_wide == pytest.approx(1e4 * a.sigma_wide, rel=1e-5)
    assert b.aic - b.aic_two_mode == pytest.approx(a.aic - a.aic_two_mode, abs=1e-6)
    assert b.aic - a.aic == pytest.approx(4 * 300 * np.log(1e4), rel=1e-9)


def test_brody_exponent_is_zero_for_poisson_and_one_for_the_surmise():
    rng = np.random.default_rng(7)
    poisson = fit_brody(rng.exponential(size=(1000, 3)))
    wigner = fit_brody(PairSpacing(1.0).rvs((1000, 3), random_state=8))
    assert abs(poisson.q) < 3 * poisson.q_err and poisson.q_err < 0.02
    assert abs(wigner.q - 1) < 3 * wigner.q_err and wigner.q_err < 0.04


def wishart(rng, rows, modes, shape):
    return np.linalg.svd(rng.normal(size=(*shape, rows, modes)), compute_uv=False)[..., ::-1] ** 2


def test_simulated_spectra_are_those_of_dense_gaussian_matrices():
    tridiagonal = gaussian_spectra(np.random.default_rng(9), 12, 8, 20_000)
    dense = wishart(np.random.default_rng(10), 12, 8, (20_000,))
    for power in (1, 2):
        a, b = (tridiagonal**power).mean(axis=0), (dense**power).mean(axis=0)
        error = np.hypot((tridiagonal**power).std(axis=0), (dense**power).std(axis=0)) / 20_000**0.5
        assert (np.abs(a - b) < 4 * error).all()


def spacing_p_values(repetitions, members, n, poisson=False, seed=12):
    rng = np.random.default_rng(seed)
    x = wishart(rng, 64, 16, (repetitions, members))
    if poisson:
        x = np.sort(MarchenkoPastur(0.25, 64).rvs(x.shape, rng), axis=-1)
    fit = spacing_test(x, 0.25, n_resamples=n)
    return fit.ratio_p, fit.distance_p


@pytest.mark.parametrize("members", [1, 20])
def test_spacing_p_values_are_uniform_for_noise_and_small_for_independent_levels(members):
    # The simulated null, shared by all repetitions, adds twice its own error of 1/√5000 to the cdf.
    for p in spacing_p_values(200, members, 5000):
        assert stats.kstest(p, "uniform").statistic < 1.63 / 200**0.5 + 0.03
    # With 200 simulated ensembles the 5 % point is known to 1.5 %, on which the power of one member depends.
    ratio_p, distance_p = spacing_p_values(100, members, 2000, poisson=True)
    least = 0.3 if members == 1 else 1.0
    assert (ratio_p < 0.05).mean() >= least and (distance_p < 0.05).mean() >= least


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 50])
def test_full_calibration_of_spacing_p_values(members):
    for name, p in zip(("ratio", "spacings"), spacing_p_values(500, members, 5000), strict=True):
        value = stats.kstest(p, "uniform").pvalue
        print(f"{name} p-values, 500 repetitions of {members} members: KS p = {value:.3f}")
        assert value > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_wigner_surmise(np.full((9, 1), np.nan)), "finite"),
        (lambda: fit_wigner_surmise(-np.ones((9, 1))), "sort the levels"),
        (lambda: fit_wigner_surmise(np.zeros((9, 1))), "zero in every member"),
        (lambda: fit_wigner_surmise(np.ones((3, 1))), "at least 5 members"),
        (lambda: fit_two_mode(np.ones((9, 2))), "all levels are equal"),
        (lambda: fit_two_species(np.ones((9, 3))), "pairs"),
        (lambda: fit_two_species(np.ones((9, 2))), "coincide"),
        (lambda: fit_brody(np.full((9, 1), np.inf)), "finite"),
        (lambda: spacing_test(np.ones((9, 2)), 0.5), "at least 3 levels"),
        (lambda: spacing_test([[3.0, 2.0, 1.0]], 0.5), "ascending"),
        (lambda: spacing_test([[1.0, 2.0, 3.0]], 1.5), "must not exceed 1"),
        (lambda: spacing_test([[1.0, 2.0, 3.0]], 0.0), "ratio must be positive"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()

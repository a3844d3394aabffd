"""Area and width of a Marchenko-Pastur bulk, with and without a tail."""

import numpy as np
import pytest

from dysonjax.spectra import MarchenkoPastur, fit_marchenko_pastur

METHODS = ["least_squares", "likelihood"]


def spectra(rng, rows, modes, members=50, uniform=False):
    shape = (members, rows, modes)
    w = rng.uniform(-1, 1, size=shape) if uniform else rng.normal(size=shape)
    return np.linalg.svd(w, compute_uv=False)[..., ::-1] ** 2


def with_tail(rng, x, rows, share=0.2):
    """Move a share of the levels to a Pareto law from the upper edge on (unit entries, r = 1/4)."""
    edge = MarchenkoPastur(0.25, rows).upper
    return np.where(rng.random(x.shape) < share, edge * (1 - rng.random(x.shape)) ** (-1 / 1.5), x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("uniform", "variance"), [(False, 1.0), (True, 1 / 3)])
def test_noise_has_area_one_and_its_own_variance(uniform, variance, method):
    x = spectra(np.random.default_rng(0), 64, 16, uniform=uniform)
    fit = fit_marchenko_pastur(x, 0.25, method)
    assert fit.sigma2 == pytest.approx(64 * variance, rel=0.01)
    assert fit.area == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("uniform", [False, True])
def test_bias_is_below_half_a_percent(uniform):
    fits = [
        fit_marchenko_pastur(spectra(np.random.default_rng(s), 64, 16, uniform=uniform), 0.25, n=2)
        for s in range(100, 140)
    ]
    variance = 64 / 3 if uniform else 64
    # 40 ensembles: standard errors 0.13 % and 0.0008.
    assert abs(np.mean([fit.sigma2 for fit in fits]) / variance - 1) < 0.005
    assert abs(np.mean([fit.area for fit in fits]) - 1) < 0.009


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e-150])
def test_result_scales_with_the_data(factor, method):
    x = spectra(np.random.default_rng(1), 64, 16)
    a, b = fit_marchenko_pastur(x, 0.25, method), fit_marchenko_pastur(factor * x, 0.25, method)
    for name in ("sigma2", "sigma2_err", "lower", "upper"):
        assert getattr(b, name) == pytest.approx(factor * getattr(a, name), rel=1e-9)
    assert (b.area, b.area_err) == pytest.approx((a.area, a.area_err), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_tail_of_a_fifth_leaves_area_four_fifths(method):
    rng = np.random.default_rng(2)
    x = with_tail(rng, spectra(rng, 64, 16), 64)
    fit = fit_marchenko_pastur(x, 0.25, method)
    assert fit.area == pytest.approx(0.8, abs=0.03)
    # The mean and the variance of the levels say nothing about the bulk any more.
    assert x.mean() > 1.2 * 64


def test_square_matrices_are_fitted_at_the_hard_edge():
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(3), 32, 32), 1.0)
    assert fit.sigma2 == pytest.approx(32, rel=0.03) and fit.area == pytest.approx(1, abs=0.01)
    assert fit.lower == 0


def test_wide_matrices_set_their_zero_levels_aside():
    x = spectra(np.random.default_rng(4), 16, 32)  # W is 16×32, so XᵀX has 16 levels and 16 zeros
    padded = np.concatenate([np.zeros_like(x), x], axis=-1)
    fit = fit_marchenko_pastur(padded, 2.0)
    assert fit.sigma2 == pytest.approx(16, rel=0.03) and fit.area == pytest.approx(1, abs=0.02)


def test_wrong_ratio_shows_as_wrong_area():
    # The twin of the first test: the law of another shape cannot hide.
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(0), 64, 16), 0.5)
    assert abs(fit.sigma2 / 64 - 1) > 0.02


def test_errors_are_the_spread_over_ensembles():
    fits = [fit_marchenko_pastur(spectra(np.random.default_rng(s), 64, 16), 0.25, n=100) for s in range(60)]
    for name in ("sigma2", "area"):
        spread = np.std([getattr(fit, name) for fit in fits], ddof=1)
        stated = np.mean([getattr(fit, f"{name}_err") for fit in fits])
        assert 0.65 < stated / spread < 1.5  # the spread of 60 is known to 9 %


def test_single_matrix_has_no_error():
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(5), 256, 128, members=1), 0.5)
    assert np.isnan(fit.sigma2_err) and fit.sigma2 == pytest.approx(256, rel=0.03)


def test_leading_axes_are_fitted_one_by_one():
    x = np.stack([spectra(np.random.default_rng(s), 32, 8, 20) for s in range(3)])
    fit = fit_marchenko_pastur(x, 0.25, n=20)
    assert fit.sigma2.shape == fit.area_err.shape == (3,)
    assert fit.sigma2[1] == fit_marchenko_pastur(x[1], 0.25, n=20).sigma2


@pytest.mark.parametrize(
    ("x", "ratio", "message"),
    [
        (np.full((5, 4), np.nan), 0.5, "finite"),
        (np.full((5, 4), np.inf), 0.5, "finite"),
        (np.ones((5, 4)), 0.0, "ratio must be positive"),
        (np.ones((5, 4)), -1.0, "ratio must be positive"),
        (np.ones((1, 4)), 0.5, "at least 8"),
        (-np.ones((5, 4)), 0.5, "must not be negative"),
        (np.zeros((5, 4)), 0.5, "more than half"),
        (np.ones((0, 4)), 0.5, "empty"),
    ],
)
def test_bad_levels_are_refused(x, ratio, message):
    with pytest.raises(ValueError, match=message):
        fit_marchenko_pastur(x, ratio)


def test_negative_rounding_errors_are_not():
    x = spectra(np.random.default_rng(6), 64, 16)
    x[:, 0] = -1e-9
    assert fit_marchenko_pastur(x, 0.25).sigma2 > 0

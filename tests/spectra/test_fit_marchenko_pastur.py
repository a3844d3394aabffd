"""Area and width of a Marchenko-Pastur bulk, with and without a tail."""

import numpy as np
import pytest

from dysonjax.checks import InputError
from dysonjax.spectra import MarchenkoPastur, fit_marchenko_pastur
from dysonjax.spectra.marchenko_pastur_match import Bins
from dysonjax.spectra.marchenko_pastur_null import _growth, noise_fits
from dysonjax.spectra.wishart_pool import gaussian_spectra

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
    # Standard errors of one fit: 0.8 % (Gaussian) and 0.6 % (uniform) by least squares, 1.4 % by likelihood.
    x = spectra(np.random.default_rng(1), 64, 16, uniform=uniform)
    fit = fit_marchenko_pastur(x, 0.25, method)
    assert fit.sigma2 == pytest.approx(64 * variance, rel=0.01 if method == "least_squares" else 0.03)
    assert fit.area == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "modes", "uniform", "systematic"),
    # What is left of order 1/N² for entries that are not Gaussian: 0.1 % at 16 levels, 0.7 % at 4.
    [
        (64, 16, False, 0.0), (16, 4, False, 0.0), (32, 32, False, 0.0), (64, 16, True, 0.001),
        (16, 4, True, 0.007),
    ],
)  # fmt: skip
def test_two_thousand_noise_matrices_have_area_one_and_their_variance(rows, modes, uniform, systematic):
    x = spectra(np.random.default_rng(11), rows, modes, 2000, uniform)
    fit = fit_marchenko_pastur(x, modes / rows)
    variance = rows / 3 if uniform else rows
    for value, error in ((fit.area, fit.area_err), (fit.sigma2 / variance, fit.sigma2_err / variance)):
        assert error < 0.006 and abs(value - 1) < 3 * error + systematic
    if systematic < 0.005:  # two thousand matrices of 4 levels show it
        assert fit.p_value > 0.02 and fit.area_p > 0.02 and fit.note == ""


def test_the_limit_law_would_be_rejected(monkeypatch):
    # The twin: without the finite-size law 2000 matrices miss A = 1 by twenty of their errors.
    from dysonjax.spectra import marchenko_pastur_null

    limit = lambda modes, rows: MarchenkoPastur(modes / rows, 1.0)  # noqa: E731
    monkeypatch.setattr(marchenko_pastur_null, "WishartDensity", limit)
    marchenko_pastur_null.template_of.cache_clear()
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(11), 64, 16, 2000), 0.25)
    marchenko_pastur_null.template_of.cache_clear()
    assert fit.area < 1 - 10 * fit.area_err and fit.p_value < 0.01


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
    # The lowest levels of this tail lie inside the edge of the bulk, which is blurred.
    assert fit.area == pytest.approx(0.82, abs=0.035)
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


@pytest.mark.parametrize("ratio", [0.125, 0.2, 0.35, 0.5, 1.0])
@pytest.mark.parametrize("members", [10, 200])
def test_wrong_ratio_has_a_small_p_value_and_says_so(ratio, members):
    # The twin of the first tests: the law of another shape cannot hide.
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(0), 64, 16, members), ratio)
    assert fit.p_value <= 0.01 and f"noise of r = {ratio:g}" in str(fit.note)
    if 0.25 < ratio < 1:  # a wider law seems to hold more than all levels, a narrower one leaves a tail
        assert fit.area > 1 and fit.area_p <= 0.01 and "exceeds 1" in str(fit.note)


def test_inverted_ratio_is_named():
    x = spectra(np.random.default_rng(0), 64, 16)
    with pytest.raises(InputError, match=r"12 of 16 levels of a matrix are zero, but they are not: .*0\.25"):
        fit_marchenko_pastur(x, 4.0)
    padded = np.concatenate([np.zeros((50, 48)), x], axis=-1)
    with pytest.raises(InputError, match=r"more than half of the levels are zero, as for a ratio of 4"):
        fit_marchenko_pastur(padded, 0.25)
    # The right ratio for either: the same levels, σ² counted per column.
    tall, wide = fit_marchenko_pastur(x, 0.25), fit_marchenko_pastur(padded, 4.0)
    assert (tall.area, tall.p_value) == (wide.area, wide.p_value)
    assert wide.sigma2 == pytest.approx(tall.sigma2 / 4)


def test_degenerate_spectra_say_so():
    equal = fit_marchenko_pastur(np.ones((50, 16)), 0.25)
    assert equal.p_value <= 0.01 and "only 1 of 800 levels are distinct" in str(equal.note)
    x = spectra(np.random.default_rng(0), 64, 16)
    x[:, :3] = 0
    deficient = fit_marchenko_pastur(x, 0.25)
    assert deficient.p_value <= 0.01 and "150 of 800 levels are zero" in str(deficient.note)


@pytest.mark.parametrize("members", [40, 1000])
def test_matrices_of_different_scale_are_no_tail(members):
    rng = np.random.default_rng(7)
    scale = np.exp(0.3 * rng.normal(size=(members, 1)))
    x = spectra(rng, 64, 16, members) * scale
    pooled = fit_marchenko_pastur(x, 0.25)
    assert pooled.area < 0.96 and pooled.p_value <= 0.01 and "a common scale" in str(pooled.note)
    assert pooled.scale_spread == pytest.approx(np.log(scale).std(), rel=0.15 if members < 100 else 0.05)
    common = fit_marchenko_pastur(x, 0.25, common_scale=True)
    assert abs(common.area - 1) < 3 * common.area_err and common.area_err < 0.01
    assert common.p_value > 0.02 and common.note == ""
    assert abs(common.sigma2 - 64 * scale.mean()) < 3 * 64 * 0.06 / np.sqrt(members) + 0.15


def test_a_tail_survives_the_common_scale():
    rng = np.random.default_rng(2)
    x = with_tail(rng, spectra(rng, 64, 16, 200) * np.exp(0.3 * rng.normal(size=(200, 1))), 64)
    fit = fit_marchenko_pastur(x, 0.25, common_scale=True)
    assert fit.area == pytest.approx(0.83, abs=0.04) and fit.area_p <= 0.01


def test_heads_have_scales_of_their_own():
    rng = np.random.default_rng(8)
    x = spectra(rng, 64, 16, 400) * np.exp(0.3 * rng.normal(size=(400, 1)))
    heads = np.sort(x.reshape(100, 4, 16), axis=-1).reshape(100, 64)
    assert abs(fit_marchenko_pastur(heads, 0.25, n_matrices=4, common_scale=True).area - 1) < 0.015
    # As one matrix of 64 levels they share a scale, and differ in it all the same.
    assert fit_marchenko_pastur(heads, 0.25, common_scale=True).area < 0.97


def test_without_simulated_noise_there_are_no_p_values():
    # That those of noise are uniform is tested in tests/calibration.
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(0), 32, 8), 0.25, n_resamples=2, n_null=0)
    assert np.isnan(fit.p_value) and np.isnan(fit.area_p) and fit.note == ""


def test_single_matrix_has_no_error():
    fit = fit_marchenko_pastur(spectra(np.random.default_rng(5), 256, 128, members=1), 0.5)
    assert np.isnan(fit.sigma2_err) and fit.sigma2 == pytest.approx(256, rel=0.03)


def test_leading_axes_are_fitted_one_by_one():
    x = np.stack([spectra(np.random.default_rng(s), 32, 8, 20) for s in range(3)])
    fit = fit_marchenko_pastur(x, 0.25, n_resamples=20)
    assert fit.sigma2.shape == fit.area_err.shape == (3,)
    assert fit.sigma2[1] == fit_marchenko_pastur(x[1], 0.25, n_resamples=20).sigma2
    x[1] = 1.0  # each has a note of its own
    notes = fit_marchenko_pastur(x, 0.25, n_resamples=20).note
    assert notes.shape == (3,) and "distinct" in notes[1] and notes[0] == notes[2] == ""


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


def test_misfit_of_noise_grows_with_the_logarithm_of_its_levels():
    """Simulated at 256 levels and at 32: what is carried on from 64 agrees with the longer spectrum."""
    bins = Bins(float(np.sqrt(8) * 2), 202)
    short, long = (
        noise_fits(1, n, 1.0, False, bins, "least_squares", 2000, 0).misfit.mean() * n**2 for n in (32, 256)
    )
    # The pool of 800 long spectra knows its mean to 2 %; without growth it would be 37 % off.
    assert _growth(short, 256 / 32) * short == pytest.approx(long, rel=0.06)
    assert short < 0.75 * long


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2048, 6000])
def test_p_values_of_two_thousand_levels_are_those_of_noise(rows):
    """They are simulated at 256 levels. Mean 1/2 to three standard errors; without growth it is 0.37."""
    levels = gaussian_spectra(np.random.default_rng(3), rows, 2048, 100)
    p = np.array([float(fit_marchenko_pastur(x[None], 2048 / rows).p_value) for x in levels])
    assert abs(p.mean() - 0.5) < 3 / np.sqrt(12 * 100)
    assert (p < 0.05).sum() <= 12

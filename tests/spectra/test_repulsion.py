"""The spacing test knows the size of its matrices and no unit of its members."""

import numpy as np
import pytest
import xarray as xr

from dysonjax.spectra import MarchenkoPastur, repulsion, spacing_test
from dysonjax.spectra.repulsion import BULK_RATIO, unfolded_spacings
from dysonjax.spectra.wishart_pool import gaussian_spectra, pool_size, wishart_pool


def mean_ratio(rng, modes, ratio, count):
    """⟨r̃⟩ of Gaussian matrices and its standard error."""
    means = repulsion._mean_ratios(gaussian_spectra(rng, modes / ratio, modes, count))
    return means.mean(), means.std() / np.sqrt(count)


@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_mean_ratio_approaches_the_bulk_value_as_one_over_n(ratio):
    rng = np.random.default_rng(0)
    small, error = mean_ratio(rng, 16, ratio, 30_000)
    large, large_error = mean_ratio(rng, 64, ratio, 4000)
    carried = BULK_RATIO + (small - BULK_RATIO) * 16 / 64
    assert abs(large - carried) < 3 * np.hypot(large_error, error / 4) + 0.0005
    if ratio == 1:  # kept at the value of the smaller size it would be off by far
        assert abs(large - small) > 20 * large_error


@pytest.mark.parametrize(("ratio", "modes"), [(0.25, 96), (1.0, 96)])
def test_noise_beyond_the_simulated_size_passes(monkeypatch, ratio, modes):
    # With matrices of at most 24 levels in the null the true ones have four times as many.
    monkeypatch.setattr(repulsion, "LARGEST", 24)
    x = gaussian_spectra(np.random.default_rng(1), modes / ratio, modes, 1200).reshape(20, 60, modes)
    fit = spacing_test(x, ratio, n_resamples=200)
    for p in (fit.ratio_p, fit.distance_p):
        assert (p <= 0.05).sum() <= 4 and p.mean() > 0.25
    assert fit.null_ratio_err[0] == pytest.approx(0.27 / (60 * modes) ** 0.5, rel=0.3)
    if ratio == 1:  # the twin: the mean ratio of the smaller matrices would reject half of them
        small = repulsion._mean_ratios(wishart_pool(24, 24.0)).mean()
        assert (np.abs(fit.spacing_ratio - small) > 1.96 * fit.null_ratio_err).mean() > 0.4


def test_members_may_differ_in_scale():
    rng = np.random.default_rng(2)
    x = gaussian_spectra(rng, 64, 16, 20 * 200).reshape(20, 200, 16)
    scale = np.exp(0.3 * rng.normal(size=(20, 200, 1)))
    p = spacing_test(x * scale, 0.25, n_resamples=200).distance_p
    assert (p <= 0.05).sum() <= 4 and p.mean() > 0.25
    np.testing.assert_allclose(p, spacing_test(x, 0.25, n_resamples=200).distance_p)
    np.testing.assert_allclose(unfolded_spacings(x * scale)[0], unfolded_spacings(x)[0])
    # Levels that do not repel are found in any scale.
    poisson = np.sort(MarchenkoPastur(0.25, 1.0).rvs((50, 16), rng), axis=-1) * scale[0, :50]
    found = spacing_test(poisson, 0.25, n_resamples=200)
    assert found.distance_p < 0.01 and found.ratio_p < 0.01


def test_a_test_of_many_large_members_is_bounded_and_says_how_far_it_is():
    calls = []
    x = gaussian_spectra(np.random.default_rng(3), 128, 32, 700)
    spacing_test(x, 0.25, n_resamples=60, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 60) and calls[-1] == (60, 60) and len(calls) >= 4
    # 500 members of 256 levels: no more matrices than the pool's are ever diagonalised.
    assert pool_size(256) * 256 <= 250_000


def test_labelled_levels_keep_their_points():
    x = gaussian_spectra(np.random.default_rng(4), 32, 8, 60).reshape(2, 30, 8)
    array = xr.DataArray(x, {"lr": [0.1, 0.2]}, ("lr", "seed", "mode"))
    assert spacing_test(array, 0.25, n_resamples=40).ratio_p.dims == ("lr",)

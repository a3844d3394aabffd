"""Histogram of levels and Binder cumulant."""

import jax
import numpy as np
import pytest

from dysonjax.checks import InputError
from dysonjax.spectra import MarchenkoPastur, binder_cumulant, level_density, sample_beta_laguerre

X = sample_beta_laguerre(jax.random.key(3), 16, 64, 1.0, 1 / 8, (400,))


def test_density_has_unit_area_and_freedman_diaconis_bins():
    result = level_density(X)
    assert (result.density * np.diff(result.edges)).sum() == pytest.approx(1)
    assert result.counts.sum() == X.size
    np.testing.assert_allclose(result.edges, np.histogram_bin_edges(X, "fd"))
    np.testing.assert_allclose(result.density, np.histogram(X, result.edges, density=True)[0])


def test_errors_are_those_of_the_mean_over_members():
    result = level_density(X, bins=12)
    each = np.array([np.histogram(member, result.edges)[0] for member in X]) / 16 / np.diff(result.edges)
    np.testing.assert_allclose(result.density_err, each.std(axis=0, ddof=1) / np.sqrt(400))
    # Repulsion makes counts more regular than independent levels would be.
    independent = np.sqrt(result.counts) / X.size / np.diff(result.edges)
    assert np.median(result.density_err / independent) < 0.8


@pytest.mark.parametrize(("variance", "lowest", "highest"), [(1.0, 0.0, 3.5), (1.1, 5.0, 9.0)])
def test_density_of_wishart_levels_is_marchenko_pastur(variance, lowest, highest):
    """The largest of ten deviations in standard errors; the twin has a variance that is 10 % too large."""
    result = level_density(X, bins=10, limits=(0.35, 2.0))
    expected = np.diff(MarchenkoPastur(0.25, variance).cdf(result.edges)) / np.diff(result.edges)
    assert lowest < np.abs((result.density - expected) / result.density_err).max() < highest


def test_a_heavy_tail_does_not_ask_for_millions_of_bins():
    assert len(level_density([[0.0, 1.0, 2.0, 3.0, 1e9]]).counts) == 2000
    assert np.isnan(level_density([[0.0, 1.0, 2.0]]).density_err).all()
    assert level_density(np.ones((3, 3))).counts.sum() == 9


def test_binder_cumulant_of_known_laws():
    rng = np.random.default_rng(4)
    assert binder_cumulant(rng.normal(5.0, 2.0, size=(1000, 400))) == pytest.approx(0, abs=0.01)
    assert binder_cumulant([[-1.0, 1.0]]) == pytest.approx(-2 / 3)
    x = rng.uniform(-1, 1, size=(2, 1000, 50))
    np.testing.assert_allclose(binder_cumulant(1e200 * x), [-0.4, -0.4], atol=0.01)
    assert binder_cumulant([[1.0, 3.0]], center=0.0) == pytest.approx(41 / 75 - 1)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="must be finite"):
        level_density([np.nan, 1.0])
    with pytest.raises(InputError, match="limits must be"):
        level_density(X, limits=(2.0, 1.0))
    with pytest.raises(InputError, match="no spread"):
        binder_cumulant(np.ones((2, 2)))

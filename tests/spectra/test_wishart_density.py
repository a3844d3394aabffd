"""The exact density of Wishart levels against exact moments, known laws, samples and the limit."""

import numpy as np
import pytest
from scipy import stats

from dysonjax.checks import InputError
from dysonjax.spectra import MarchenkoPastur, WishartDensity, sample_wishart, wishart_density
from dysonjax.spectra.wishart_density import _table

SHAPES = [(1, 3), (2, 2), (3, 3), (4, 16), (16, 64), (15, 64), (32, 32), (33, 40.5)]


@pytest.mark.parametrize(("modes", "rows"), SHAPES)
def test_moments_are_those_of_traces(modes, rows):
    # ⟨tr X⟩ = NM, ⟨tr X²⟩ = NM(M + N + 1), ⟨tr X³⟩ = NM(M² + N² + 3MN + 3M + 3N + 4) for unit entries.
    law = WishartDensity(modes, rows, rows)
    node, weight = np.polynomial.legendre.leggauss(300)
    end = _table(modes, rows)[0].x[-1] * np.sqrt(rows)
    t = end * (1 + node) / 2
    mass = law.pdf(t**2) * 2 * t * weight * end / 2
    third = rows * (rows**2 + modes**2 + 3 * rows * modes + 3 * rows + 3 * modes + 4)
    for power, moment in ((0, 1.0), (1, rows), (2, rows * (rows + modes + 1)), (3, third)):
        assert mass @ t ** (2 * power) == pytest.approx(moment, rel=3e-6), power
    assert law.mean() == rows and law.var() == pytest.approx(rows * (modes + 1))


@pytest.mark.parametrize("rows", [1, 2, 3, 7.5])
def test_a_single_level_is_chi_squared(rows):
    x = np.linspace(0.01, 15, 60)
    np.testing.assert_allclose(WishartDensity(1, rows, rows).cdf(x), stats.chi2(rows).cdf(x), atol=1e-7)


@pytest.mark.parametrize(("modes", "rows"), [(2, 2), (5, 5), (8, 20)])
def test_dense_matrices_follow_it_and_not_the_limit(modes, rows):
    import jax

    x = sample_wishart(jax.random.key(modes), modes, rows, rows**-0.5, (30_000,))
    at = WishartDensity(modes, rows).ppf(np.linspace(0.05, 0.95, 10))
    share = (x[:, :, None] <= at).mean(axis=1)
    error = share.std(axis=0) / np.sqrt(len(share))
    z = (share.mean(axis=0) - WishartDensity(modes, rows).cdf(at)) / error
    assert np.abs(z).max() < 4
    z = (share.mean(axis=0) - MarchenkoPastur(modes / rows, 1.0).cdf(at)) / error
    assert np.abs(z).max() > 10


def test_beyond_the_largest_size_the_difference_from_the_limit_is_carried_on(monkeypatch):
    law, x = WishartDensity(128, 256), np.linspace(0.05, 3.2, 200)
    exact, limit = law.cdf(x), MarchenkoPastur(0.5, 1.0).cdf(x)
    monkeypatch.setattr(wishart_density, "LARGEST", 64)
    # In levels: the limit misses a fifth of one, what is carried on a thirtieth at the very edges.
    assert 128 * np.abs(law.cdf(x) - exact).max() < 0.04 < 0.2 < 128 * np.abs(limit - exact).max()


def test_bad_shapes_are_refused():
    with pytest.raises(InputError, match="rows must be at least modes"):
        WishartDensity(8, 4)
    with pytest.raises(InputError, match="modes must be a positive integer"):
        WishartDensity(0, 4)

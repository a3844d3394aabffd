"""The largest level of noise: its exact law, and how rarely noise shows a spike when its σ² is fitted."""

import numpy as np
import pytest
from scipy import stats

from dysonjax.spectra import TracyWidom, count_outliers, fit_marchenko_pastur
from dysonjax.spectra.marchenko_pastur_match import COARSE, FINE, even_bins, match
from dysonjax.spectra.marchenko_pastur_null import template_of
from dysonjax.spectra.spike_null import spike_null
from dysonjax.spectra.spikes import noise_edge
from dysonjax.spectra.wishart_largest import centre_and_scale, largest_level
from dysonjax.spectra.wishart_pool import gaussian_spectra, pool_counts, pool_largest

STATED = 0.01


def sf(modes, rows, x):
    """Exact probability of a largest level beyond x, entries of variance 1."""
    law, (centre, scale) = largest_level(modes, rows), centre_and_scale(rows, modes)
    return np.exp(np.interp((np.asarray(x) - centre) / scale, law.z, law.log_sf))


@pytest.mark.parametrize("rows", [2, 3, 8])
def test_the_largest_of_one_level_is_chi_squared(rows):
    p = [0.5, 0.1, 0.01, 1e-4, 1e-7]
    np.testing.assert_allclose(sf(1, rows, stats.chi2(rows).isf(p)), p, rtol=2e-3)


def test_the_larger_of_two_levels_has_its_known_law():
    """2×2: F(x) by quadrature of the joint density (y − z) e^{−(y+z)/2}/√(yz), y > z."""
    node, weight = np.polynomial.legendre.leggauss(60)

    def below(x):
        # In square roots, where the density is smooth; the inner one from 0 to the outer one.
        outer = np.sqrt(x) * (1 + node) / 2
        inner = outer[:, None] * (1 + node) / 2
        y, z = outer[:, None] ** 2, inner**2
        return (weight * np.sqrt(x) * outer) @ ((y - z) * np.exp(-(y + z) / 2) @ weight)

    x = np.array([4.0, 9.0, 16.0, 25.0])
    expected = 1 - np.array([below(one) for one in x]) / below(200.0)
    np.testing.assert_allclose(sf(2, 2, x), expected, rtol=2e-3)


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (21, 15), (64, 64)])
def test_the_largest_level_follows_its_law(shape):
    """Simulated, within four standard errors from the middle to one in a thousand; the law of one row more
    is off by more."""
    rows, modes = shape
    n = 240_000 // modes
    top = gaussian_spectra(np.random.default_rng(1), rows, modes, n)[:, -1]
    centre, scale = centre_and_scale(rows, modes)
    x = centre + scale * largest_level(modes, rows).isf(np.array([0.5, 0.1, 0.01, 1e-3]))

    def off(p):
        return np.abs((top[:, None] > x).mean(axis=0) - p) / np.sqrt(p * (1 - p) / n)

    assert off(sf(modes, rows, x)).max() < 4
    assert off(sf(modes, rows + 1, x)).max() > 5


def test_beyond_the_largest_size_the_law_is_carried_on():
    """Continued from 256 levels to 1024 the law is nearer to that of Tracy and Widom by 4^(2/3)."""
    probability = np.array([0.5, 0.01, 1e-4])
    near, far = (largest_level(n, 4 * n).isf(probability) for n in (256, 1024))
    limit = TracyWidom(1).isf(probability)
    np.testing.assert_allclose(far - limit, (near - limit) / 4 ** (2 / 3), rtol=0.05, atol=3e-4)


def test_edges_beyond_what_is_simulated_stay_on_the_safe_side():
    null = spike_null(4, 16, 64)
    p = np.array([1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
    edges = np.array([null.edge(one) for one in p])
    assert (np.diff(edges) > 0).all()
    np.testing.assert_allclose([null.p_value(z) for z in edges], p, rtol=1e-6)
    # With σ² fitted to 64 levels the edge lies farther out than with σ² known.
    known = largest_level(16, 64).isf(p / 4)
    assert (edges > known).all()
    assert noise_edge(1.0, 64, 16, 1 - 1e-14) > noise_edge(1.0, 64, 16, 1 - 1e-10)


def pooled_edge(members, modes, rows, draws=2000):
    """The rule of before: the quantile of ensembles drawn from a pool of some thousand matrices."""
    template = template_of(modes, modes / rows, False)
    levels = template.limit.ppf((np.arange(members * modes) + 0.5) / (members * modes))
    bins = even_bins(np.sqrt(levels), np.sqrt(COARSE.high * template.limit.upper))
    top, counts = pool_largest(modes, rows), pool_counts(modes, rows, *bins)
    drawn = np.random.default_rng(0).integers(len(top), size=(draws, members))
    share = counts[drawn].sum(axis=1) / (members * modes)
    sigma2 = match(share, bins, template, FINE, "least_squares").sigma2
    centre, scale = centre_and_scale(rows, modes)
    return float(np.quantile((top[drawn].max(axis=1) * rows / sigma2 - centre) / scale, 1 - STATED))


def largest_levels(shape, members, ensembles, seed):
    """Standardised by the fitted σ², as spikes are judged; (ensembles,)."""
    rows, modes = shape
    x = gaussian_spectra(np.random.default_rng(seed), rows, modes, ensembles * members) / rows
    x = x.reshape(ensembles, members, modes)
    sigma2 = np.ravel(fit_marchenko_pastur(x, modes / rows, n_resamples=2, n_null=0).sigma2)
    centre, scale = centre_and_scale(rows, modes)
    return (x.max(axis=(1, 2)) * rows / sigma2 - centre) / scale


def within(z, edge, probability=STATED, errors=3):
    """Whether noise lies beyond the edge as often as stated."""
    error = np.sqrt(probability * (1 - probability) / len(z))
    return abs((z > edge).mean() - probability) <= errors * error


@pytest.mark.parametrize(
    ("shape", "members"), [((16, 16), 1), pytest.param((16, 16), 4, marks=pytest.mark.slow), ((64, 16), 12)]
)
def test_noise_passes_the_edge_as_often_as_stated(shape, members):
    """Of 500 ensembles within three standard errors, at 30, 10 and 2 %; the edge for a known σ² is passed by
    more single matrices."""
    z = largest_levels(shape, members, 500, 2)
    null = spike_null(members, shape[1], shape[0])
    assert all(within(z, null.edge(p), p) for p in (0.3, 0.1, 0.02))
    known = largest_level(shape[1], shape[0]).isf(0.02)
    assert members > 1 or not within(z, known, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 4, 12, 48])
@pytest.mark.parametrize("shape", [(16, 16), (20, 16), (64, 16), (64, 64), (80, 64), (256, 64)])
def test_noise_passes_the_edge_once_in_a_hundred(shape, members):
    """Within three standard errors of 3000 single matrices and of 1000 ensembles of 48."""
    z = largest_levels(shape, members, {1: 3000, 4: 3000, 12: 2000, 48: 1000}[members], 3)
    assert within(z, spike_null(members, shape[1], shape[0]).edge(STATED))
    assert within(z, spike_null(members, shape[1], shape[0]).edge(0.1), 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "members"), [((256, 256), 1), ((256, 256), 4), ((320, 256), 1)])
def test_noise_of_many_levels_passes_the_edge_once_in_a_hundred(shape, members):
    z = largest_levels(shape, members, 1000, 4)
    assert within(z, spike_null(members, shape[1], shape[0]).edge(STATED))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "members"), [((64, 64), 12)])
def test_the_quantile_of_a_pool_of_matrices_was_passed_too_often(shape, members):
    """The twin: the best of twelve matrices at one in a hundred is one in twelve hundred of the pool's three
    thousand, a handful of matrices, and the edge went where these happened to lie."""
    z = largest_levels(shape, members, 2500, 5)
    assert within(z, spike_null(members, shape[1], shape[0]).edge(STATED))
    assert not within(z, pooled_edge(members, shape[1], shape[0]))


@pytest.mark.slow
@pytest.mark.parametrize("sigma2", [None, 1.0])
@pytest.mark.parametrize("shape", [(100, 80), (80, 100), (64, 64), (16, 64)])
def test_outliers_of_ensembles_are_counted_as_rarely_as_stated(shape, sigma2):
    """Of 2500 ensembles of four within three standard errors, whichever side is longer."""
    rows, columns = shape
    rng = np.random.default_rng(6)
    x = gaussian_spectra(rng, max(shape), min(shape), 10_000) / rows
    x = np.pad(x, ((0, 0), (max(columns - rows, 0), 0))).reshape(2500, 4, columns)
    found = count_outliers(x, columns / rows, sigma2=sigma2).total > 0
    assert abs(found.mean() - STATED) <= 3 * np.sqrt(STATED / 2500)

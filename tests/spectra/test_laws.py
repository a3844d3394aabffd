"""What every law must satisfy, whatever its formula."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from dysonjax.checks import InputError
from dysonjax.spectra import (
    GOEDensity,
    MarchenkoPastur,
    PairSpacing,
    Semicircle,
    TracyWidom,
    TwoMode,
    TwoSpecies,
    WignerSurmise,
    WishartDensity,
)

# law, and the atom at zero that its continuous part lacks
LAWS = [
    MarchenkoPastur(0.25, 1 / 3),
    MarchenkoPastur(1e-5, 2.0),
    MarchenkoPastur(0.9999, 1.0),
    MarchenkoPastur(1.0, 2.0),
    MarchenkoPastur(4.0, 0.5),
    WignerSurmise(1),
    WignerSurmise(2),
    WignerSurmise(4),
    WignerSurmise(0.5),
    PairSpacing(0.3),
    TwoMode(0.7, 2.0),
    TwoSpecies(0.5, 2.0, -1.0),
    TwoSpecies(1e-3, 1.0),
    Semicircle(1.5),
    GOEDensity(1, 0.5),
    GOEDensity(7, 2.0),
    TracyWidom(1),
    TracyWidom(2),
    TracyWidom(4),
    WishartDensity(1, 3, 2.0),
    WishartDensity(4, 4),
    WishartDensity(7, 9.5, 0.3),
    WishartDensity(16, 64),
    WishartDensity(64, 65.0),
]
each_law = pytest.mark.parametrize("law", LAWS, ids=str)
QUANTILES = np.array([1e-6, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-6])


def _atom(law):
    return getattr(law, "atom", 0.0)


def _smooth(t):
    """Map [0, 1] to itself with vanishing slope at the ends, where quantiles change fastest."""
    return t**2 * (3 - 2 * t)


@each_law
def test_the_density_integrates_to_the_cdf(law):
    x = law.ppf(_atom(law) + (1 - _atom(law)) * _smooth(np.linspace(0.01, 0.99, 301)))
    node, weight = np.polynomial.legendre.leggauss(60)
    width = np.diff(x)[:, None]
    integral = (law.pdf(x[:-1, None] + width * (node + 1) / 2) * width / 2) @ weight
    np.testing.assert_allclose(integral, np.diff(law.cdf(x)), atol=1e-12, rtol=1e-7)


@each_law
def test_ppf_inverts_cdf(law):
    u = _atom(law) + (1 - _atom(law)) * QUANTILES
    np.testing.assert_allclose(law.cdf(law.ppf(u)), u, rtol=1e-9, atol=0)
    assert law.cdf(law.ppf(0.0)) == pytest.approx(_atom(law), abs=1e-12)
    assert law.cdf(law.ppf(1.0)) == pytest.approx(1.0)


@each_law
def test_mean_and_variance_are_the_integrals_of_the_quantiles(law):
    t, weight = np.polynomial.legendre.leggauss(400)
    t, weight = (t + 1) / 2, weight / 2
    u = _atom(law) + (1 - _atom(law)) * _smooth(t)
    x, weight = law.ppf(u), (1 - _atom(law)) * weight * 6 * t * (1 - t)
    mean, square = weight @ x, weight @ x**2
    scale = np.sqrt(law.var())
    assert mean == pytest.approx(law.mean(), abs=1e-6 * scale)
    assert square - mean**2 == pytest.approx(law.var(), rel=2e-5)


# Most laws draw by their quantiles, which the tests above have of all: here one law of each formula.
ONE_OF_EACH = list({type(law): law for law in LAWS}.values())


@pytest.mark.parametrize(
    "law",
    [law if law in ONE_OF_EACH else pytest.param(law, marks=pytest.mark.slow) for law in LAWS],
    ids=str,
)
def test_draws_pass_a_kolmogorov_smirnov_test_that_sees_five_percent_more_width(law):
    atom = _atom(law)
    x = law.rvs(35_000, random_state=7)
    assert np.mean(x == 0) == pytest.approx(atom, abs=3 * np.sqrt(atom * (1 - atom) / 35_000))
    x = x[x > 0] if atom else x

    def cdf(y):
        return (law.cdf(y) - atom) / (1 - atom)

    assert kstest(x, cdf).pvalue > 0.01
    assert kstest(law.mean() + 1.05 * (x - law.mean()), cdf).pvalue < 0.01


@each_law
def test_shapes_seeds_and_nan_follow_scipy(law):
    x = law.rvs((2, 3), random_state=1)
    assert x.shape == (2, 3)
    assert isinstance(law.rvs(random_state=1), float)
    np.testing.assert_array_equal(x, law.rvs((2, 3), random_state=np.random.default_rng(1)))
    assert law.rvs(4, random_state=np.random.RandomState(3)).shape == (4,)
    assert isinstance(law.pdf(0.5), float)
    assert law.pdf(x).shape == law.cdf(x).shape == (2, 3)
    assert np.isnan([law.pdf(np.nan), law.cdf(np.nan), law.ppf(np.nan), law.ppf(-0.1), law.ppf(1.1)]).all()
    assert law.cdf(-np.inf) == 0
    assert law.cdf(np.inf) == 1


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "wide", None])
@pytest.mark.parametrize("law", ONE_OF_EACH, ids=lambda x: type(x).__name__)
def test_a_parameter_that_is_not_positive_is_refused(law, value):
    name = dataclasses.fields(law)[0].name
    with pytest.raises(InputError, match=name):
        dataclasses.replace(law, **{name: value})


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_what_follows_from_density_and_distribution_follows_as_in_scipy(law):
    low, high = law.support()
    assert low == law.ppf(0.0) and high == law.ppf(1.0) and law.std() == pytest.approx(law.var() ** 0.5)
    x = law.ppf(np.array([0.2, 0.5, 0.9]))
    np.testing.assert_allclose(law.logpdf(x), np.log(law.pdf(x)), rtol=1e-12)
    np.testing.assert_allclose(law.sf(x) + law.cdf(x), 1, rtol=1e-12)
    np.testing.assert_allclose(law.isf(law.sf(x[1:])), x[1:], rtol=1e-6)
    assert isinstance(law.sf(x[0]), float) and np.isnan(law.logpdf(np.nan)) and np.isnan(law.isf(1.5))

"""Each law against numbers and identities printed in the literature, and against exact samples."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf
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
    binder_cumulant,
    sample_beta_hermite,
    sample_wishart,
)

KEY = jax.random.key(5)


def test_marchenko_pastur_moments_are_the_narayana_polynomials():
    for ratio in (0.1, 1.0, 3.0):
        law = MarchenkoPastur(ratio, 2.0)
        u = (np.arange(50_000) + 0.5) / 50_000
        x = law.ppf(u)
        third = 2.0**3 * (1 + 3 * ratio + ratio**2)  # Bai & Silverstein, Lemma 3.1
        assert (x**3).mean() == pytest.approx(third, rel=3e-4)


def test_marchenko_pastur_edges_atom_and_hard_edge():
    law = MarchenkoPastur(0.25, 1 / 3)
    assert (law.lower, law.upper) == pytest.approx((1 / 12, 3 / 4))
    assert MarchenkoPastur(4.0, 1.0).cdf(0.0) == 0.75
    assert MarchenkoPastur(4.0, 1.0).ppf(0.7) == 0
    square = MarchenkoPastur(1.0, 1.0)
    assert square.pdf(0.0) == np.inf
    assert square.pdf(1e-8) == pytest.approx(1e4 / np.pi, rel=1e-6)


def test_marchenko_pastur_is_the_limit_of_wishart_levels():
    x = sample_wishart(KEY, 40, 80, 1.0, (200,)) / 80
    staircase = (np.arange(8000) + 0.5) / 8000
    assert np.abs(MarchenkoPastur(0.5, 1.0).cdf(np.sort(x, axis=None)) - staircase).max() < 1e-2


def test_surmise_is_the_printed_formula_for_the_three_classes():
    s = np.linspace(0.05, 4, 30)  # Mehta 3rd ed., Eq. 1.5.1 and Haake, Eq. 4.5.1
    np.testing.assert_allclose(WignerSurmise(1).pdf(s), np.pi / 2 * s * np.exp(-np.pi * s**2 / 4))
    np.testing.assert_allclose(WignerSurmise(2).pdf(s), 32 / np.pi**2 * s**2 * np.exp(-4 * s**2 / np.pi))
    quartic = 2**18 / (3**6 * np.pi**3) * s**4 * np.exp(-64 * s**2 / (9 * np.pi))
    np.testing.assert_allclose(WignerSurmise(4).pdf(s), quartic)


def test_a_degenerate_pair_has_one_sigma_in_spacing_and_density():
    sigma = 0.3  # exp(−x²/2σ²) = exp(−x²/4 scale²) at σ = √2 scale
    x = sample_beta_hermite(KEY, 2, 1.0, sigma / np.sqrt(2), (100_000,))
    assert kstest(np.diff(x)[:, 0], PairSpacing(sigma).cdf).pvalue > 0.01
    one = x[np.arange(len(x)), np.arange(len(x)) % 2]  # one level of each pair: independent draws
    assert kstest(one, TwoMode(sigma).cdf).pvalue > 0.01
    assert kstest(one, TwoMode(1.03 * sigma).cdf).pvalue < 0.01
    assert PairSpacing(sigma).mean() == pytest.approx(np.sqrt(np.pi) * sigma)


def test_two_mode_is_the_printed_density_with_binder_cumulant_minus_4_27():
    law, x = TwoMode(1.7), np.linspace(-6, 6, 41)
    y = x / 1.7
    printed = np.exp(-(y**2) / 2) / (4 * np.sqrt(np.pi) * 1.7)
    printed *= 2 * np.exp(-(y**2) / 2) + np.sqrt(2 * np.pi) * y * erf(y / np.sqrt(2))
    np.testing.assert_allclose(law.pdf(x), printed, rtol=1e-12)
    second, fourth = (quad(lambda t, k=k: t**k * law.pdf(t), -30, 30)[0] for k in (2, 4))
    assert fourth / (3 * second**2) - 1 == pytest.approx(-4 / 27, abs=1e-9)


def test_two_species_reduces_to_two_mode_and_ignores_the_order():
    x = np.linspace(-4, 4, 33)
    np.testing.assert_allclose(TwoSpecies(0.8, 0.8, 0.5).pdf(x), TwoMode(0.8, 0.5).pdf(x), rtol=1e-13)
    np.testing.assert_allclose(TwoSpecies(0.8, 2.0).cdf(x), TwoSpecies(2.0, 0.8).cdf(x), rtol=1e-13)


def test_two_species_is_the_marginal_of_its_joint_law():
    def joint(x, y):
        return abs(x - y) * np.exp(-(x**2) / (2 * 0.5**2) - y**2 / (2 * 1.5**2))

    norm = 2 * np.sqrt(2 * np.pi) * 0.5 * 1.5 * np.sqrt(0.5**2 + 1.5**2)
    for x in (-2.0, 0.1, 0.9):
        first = quad(lambda y, x=x: joint(x, y), -12, 12, points=[x], limit=200)[0]
        second = quad(lambda y, x=x: joint(y, x), -12, 12, points=[x], limit=200)[0]
        assert TwoSpecies(0.5, 1.5).pdf(x) == pytest.approx((first + second) / 2 / norm, rel=1e-8)


def test_semicircle_moments_are_the_catalan_numbers():
    u = (np.arange(200_000) + 0.5) / 200_000
    x = Semicircle(2.0).ppf(u)
    assert [(x**k).mean() for k in (2, 4, 6)] == pytest.approx([1, 2, 5], rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 101])
def test_goe_density_has_the_exact_trace_moments(n):
    # ⟨tr X⁴⟩/n = 2n² + 5n + 5 in units of scale⁴: Mehta 3rd ed., section 6.5 scaled to variance 1.
    law, scale = GOEDensity(n, 0.6), 0.6
    u, weight = np.polynomial.legendre.leggauss(600)
    reach = 2 * scale * np.sqrt(n) + 12 * scale
    x, weight = reach * u, reach * weight
    second, fourth = weight @ (x**2 * law.pdf(x)), weight @ (x**4 * law.pdf(x))
    assert weight @ law.pdf(x) == pytest.approx(1, abs=1e-11)
    assert second == pytest.approx((n + 1) * scale**2, rel=1e-10)
    assert fourth == pytest.approx((2 * n**2 + 5 * n + 5) * scale**4, rel=1e-9)


def test_goe_density_is_that_of_sampled_levels_where_the_semicircle_is_not():
    x = sample_beta_hermite(KEY, 4, 1.0, 1.0, (100_000,))
    one = x[np.arange(len(x)), np.arange(len(x)) % 4]  # one level of each member: independent draws
    assert kstest(one, GOEDensity(4, 1.0).cdf).pvalue > 0.01
    assert kstest(one, Semicircle(4.0).cdf).pvalue < 1e-10


# Bornemann, Markov Processes Relat. Fields 16 (2010) 803, Table 10.
@pytest.mark.parametrize(
    ("beta", "mean", "variance"),
    [
        (1, -1.2065335745820, 1.6077810345810),
        (2, -1.7710868074116, 0.81319479283290),
        (4, -2.3068848932414, 0.51772372077260),
    ],
)
def test_tracy_widom_mean_and_variance_agree_to_ten_digits(beta, mean, variance):
    law = TracyWidom(beta)
    assert law.mean() == pytest.approx(mean, abs=1e-11)
    assert law.var() == pytest.approx(variance, abs=1e-11)


def test_tracy_widom_distribution_at_minus_two():
    # F₂(−2) from Bornemann (2010), section 1; F₁ and F₄ follow F₁ + F₂/F₁ = 2 F₄(s/√2).
    assert TracyWidom(2).cdf(-2.0) == pytest.approx(0.41322414250512257485, abs=1e-13)
    f1, f2 = TracyWidom(1).cdf(-2.0), TracyWidom(2).cdf(-2.0)
    assert TracyWidom(4).cdf(-np.sqrt(2.0)) == pytest.approx((f1 + f2 / f1) / 2, abs=1e-12)


def test_tracy_widom_quantiles_of_the_largest_root():
    # Johnstone, Ann. Stat. 29 (2001) 295, Table 1: F₁ = 0.90, 0.95, 0.99.
    np.testing.assert_allclose(TracyWidom(1).ppf([0.90, 0.95, 0.99]), [0.4501, 0.9793, 2.0234], atol=6e-5)


@pytest.mark.parametrize(("beta", "unit"), [(1, 1.0), (2, 1.0), (4, 2 ** (-1 / 6))])
def test_tracy_widom_is_the_edge_of_the_hermite_ensemble_in_the_stated_units(beta, unit):
    n = 100
    top = sample_beta_hermite(KEY, n, beta, 1.0, (2000,))[:, -1]
    chi = (top - 2 * np.sqrt(n)) * n ** (1 / 6) / unit
    # The known shift of order n^{-2/3} is 0.05 here; the other convention for β = 4 is 12 % off.
    assert chi.mean() == pytest.approx(TracyWidom(beta).mean(), abs=0.1 + 3 * chi.std() / np.sqrt(2000))
    assert chi.var() == pytest.approx(TracyWidom(beta).var(), rel=0.12)


def test_tracy_widom_knows_three_classes_only():
    with pytest.raises(InputError, match="beta must be 1, 2 or 4"):
        TracyWidom(3)


def test_binder_cumulant_of_a_sampled_pair():
    x = sample_beta_hermite(KEY, 2, 1.0, 1.0, (200_000,))
    assert binder_cumulant(x) == pytest.approx(-4 / 27, abs=3e-3)

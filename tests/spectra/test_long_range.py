"""Number variance and rigidity against independent levels, the GOE's asymptotics and brute force."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import sici

from dysonjax.checks import InputError
from dysonjax.spectra import GOEDensity, number_variance, rigidity, sample_beta_hermite, unfold
from dysonjax.spectra.long_range import _delta3

LENGTHS = np.array([2.0, 5.0, 10.0])
POISSON = np.sort(np.random.default_rng(1).uniform(0, 200, size=(4000, 200)), axis=-1)
GOE = unfold(sample_beta_hermite(jax.random.key(2), 120, 1.0, 1.0, (800,)), GOEDensity(120, 1.0))[:, 35:85]


def test_independent_levels_have_the_number_variance_of_a_binomial():
    expected = LENGTHS * (1 - LENGTHS / 200)
    np.testing.assert_allclose(number_variance(POISSON, LENGTHS), expected, rtol=0.03)


def _goe_number_variance(length):
    """Exact for infinite matrices: Guhr, Müller-Groeling & Weidenmüller, Phys. Rep. 299 (1998), Eq. 3.61."""
    x = 2 * np.pi * length
    sine, cosine = sici(x)
    unitary = (np.log(x) + np.euler_gamma + 1 - np.cos(x) - cosine) / np.pi**2
    unitary += length * (1 - 2 / np.pi * sine)
    half = sici(np.pi * length)[0]
    return 2 * unitary + (half / np.pi) ** 2 - half / np.pi


def test_goe_number_variance_is_the_exact_one():
    np.testing.assert_allclose(number_variance(GOE, LENGTHS), _goe_number_variance(LENGTHS), rtol=0.03)


def test_rigidity_of_independent_levels_is_a_fifteenth():
    np.testing.assert_allclose(rigidity(POISSON, LENGTHS), LENGTHS / 15, rtol=0.06)


def test_goe_rigidity_is_the_integral_of_the_number_variance():
    # Δ₃(L) = 2/L⁴ ∫₀^L (L³ − 2L²r + r³) Σ²(r) dr: Pandey, Ann. Phys. 119 (1979) 170.
    expected = [
        2 / L**4 * quad(lambda r, L=L: (L**3 - 2 * L**2 * r + r**3) * _goe_number_variance(r), 1e-12, L)[0]
        for L in LENGTHS
    ]
    np.testing.assert_allclose(rigidity(GOE, LENGTHS), expected, rtol=0.03)


def test_the_closed_form_of_the_rigidity_is_the_minimum_over_lines():
    levels = np.array([0.0, 0.7, 1.1, 2.9, 3.4, 4.2, 6.0])
    length, start = 4.0, 1.0

    def distance(line):
        def square(e):
            return (np.searchsorted(levels, e) - line[0] - line[1] * e) ** 2

        inner = levels[(levels > start) & (levels < start + length)]
        return quad(square, start, start + length, points=inner, limit=200)[0] / length

    best = minimize(distance, [0.0, 1.0], tol=1e-12).fun
    # Windows start at 0, 1 and 2: the middle one is [1, 5].
    assert _delta3(levels[None], length, 3)[0, 1] == pytest.approx(best, rel=1e-6)


def test_leading_axes_are_kept():
    x = POISSON.reshape(2, 2000, 200)
    both = number_variance(x, LENGTHS)
    assert both.shape == (2, 3)
    np.testing.assert_allclose(both[1], number_variance(x[1], LENGTHS))
    assert rigidity(x[:, :10], [3.0]).shape == (2, 1)


def test_bad_lengths_are_refused():
    with pytest.raises(InputError, match="must not exceed the range"):
        number_variance(POISSON, [300.0])
    with pytest.raises(InputError, match="list of positive numbers"):
        rigidity(POISSON, [0.0])

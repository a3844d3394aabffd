"""Wigner's semicircle and the exact level density of a GOE matrix of finite size."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import erf

from dysonjax import checks
from dysonjax.spectra.law import (
    Derived,
    RandomState,
    ScipyLaw,
    Size,
    chebyshev,
    invert,
    probability,
    real,
    scalar_or_array,
    uniform,
)


@dataclass(frozen=True)
class Semicircle(ScipyLaw):
    """Wigner's semicircle: the limit density of the eigenvalues of a large symmetric random matrix.

    Parameters
    ----------
    radius : float
        R > 0, units of x. For the levels of `sample_beta_hermite` it is 2 scale √n, whatever β.

    Raises
    ------
    InputError
        If the radius is not positive and finite.

    Notes
    -----
    The density is 2√(R² − x²)/(πR²), its variance R²/4. Methods are those of every law: `pdf`, `logpdf`,
    `cdf`, `sf`, `ppf`, `isf`, `rvs`, `mean`, `var`, `std` and `support`, as in SciPy.

    Examples
    --------
    >>> law = dj.spectra.Semicircle(radius=2.0)
    >>> law.var(), law.support(), round(law.pdf(0.0), 4)
    (1.0, (-2.0, 2.0), 0.3183)
    """

    radius: float

    def __post_init__(self):
        object.__setattr__(self, "radius", checks.positive("radius", self.radius))

    @functools.cached_property
    def scipy(self):
        return stats.semicircular(scale=self.radius)


@dataclass(frozen=True)
class GOEDensity(Derived):
    """Exact density of one eigenvalue of an n×n GOE matrix, normalised to one.

    Parameters
    ----------
    n : int
        Number of levels, at least 1.
    scale : float, default 1.0
        Standard deviation of the entries off the diagonal, units of x. On the diagonal the variance is twice
        as large, as in `sample_goe`.

    Raises
    ------
    InputError
        If n is not a positive integer or scale not positive.

    Notes
    -----
    In y = x/(√2 scale): n ρ = Σ_{j<n} φ_j² + √(n/2) φ_{n−1} ½∫sgn(y−t)φ_n(t)dt with the oscillator functions
    φ_j. For odd n, φ_{n−1}/∫φ_{n−1} is added. Mehta, Random Matrices, 3rd ed., Eqs. 7.2.27-32.

    Examples
    --------
    The limit law, a semicircle, ends at 2√10. A finite matrix has levels beyond.

    >>> law = dj.spectra.GOEDensity(n=10, scale=1.0)
    >>> law.var(), round(law.sf(2 * 10**0.5), 4)
    (11.0, 0.0126)
    """

    n: int
    scale: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "n", checks.positive_int("n", self.n))
        object.__setattr__(self, "scale", checks.positive("scale", self.scale))

    def pdf(self, x: ArrayLike) -> Any:
        """Density at x.

        Parameters
        ----------
        x : array_like
            Where to take it, units of the level.

        Returns
        -------
        float or ndarray
            The density, in 1/units of the level.
        """
        unit = np.sqrt(2) * self.scale
        return scalar_or_array(_goe_pdf(real(x) / unit, self.n) / unit)

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a level ≤ x.

        Parameters
        ----------
        x : array_like
            The upper end, units of the level.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        return scalar_or_array(_goe_cdf(real(x) / (np.sqrt(2) * self.scale), self.n))

    def ppf(self, u: ArrayLike) -> Any:
        """Inverse of `cdf`.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile. The support is cut where less than 1e-15 of the weight is left.
        """
        reach = _reach(self.n)
        y = invert(
            lambda t: _goe_cdf(t, self.n), lambda t: _interpolant(self.n)[0](t), probability(u), -reach, reach
        )
        return scalar_or_array(np.sqrt(2) * self.scale * y)

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent levels, each from a matrix of its own.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the result.
        random_state : int or Generator or RandomState, optional
            Seed or generator, as in SciPy.

        Returns
        -------
        float or ndarray
            The draws, a float where `size` is None.
        """
        return self.ppf(uniform(size, random_state))

    def mean(self) -> float:
        """Mean of the levels.

        Returns
        -------
        float
            Zero.
        """
        return 0.0

    def var(self) -> float:
        """Variance of the levels, from ⟨tr X²⟩/n.

        Returns
        -------
        float
            (n + 1) scale².
        """
        return (self.n + 1) * self.scale**2


def _reach(n: int) -> float:
    """Half the support in y: the edge √(2n) plus a Tracy–Widom tail, or the Gaussian's for n = 1."""
    return np.sqrt(2 * n) + 9.0


def _goe_pdf(y: np.ndarray, n: int) -> np.ndarray:
    """Density in y by the recurrences of φ_j and of its half-sign integral Φ_j.

    φ_0 underflows beyond |y| ≈ 38 although φ_n does not: the recurrence runs on φ_j e^{y²/2 − shift}
    with the shift chosen anew whenever the values grow.
    """
    y = np.clip(y, -1e3, 1e3)
    log_scale = -(y**2) / 2
    previous, current = np.zeros_like(y), np.full_like(y, np.pi**-0.25)
    half_before, half = np.zeros_like(y), np.pi**-0.25 * np.sqrt(np.pi / 2) * erf(y / np.sqrt(2))
    squares = np.zeros_like(y)
    total = np.pi**-0.25 * np.sqrt(2 * np.pi)  # ∫φ_j for the even j reached so far
    for j in range(n):
        phi = current * np.exp(log_scale)
        squares = squares + phi**2
        half_before, half = half, np.sqrt(2 / (j + 1)) * (np.sqrt(j / 2) * half_before - phi)
        if j == n - 1:
            break
        previous, current = current, np.sqrt(2 / (j + 1)) * y * current - np.sqrt(j / (j + 1)) * previous
        large = np.abs(current) > 1e100
        previous, current = (np.where(large, value * 1e-100, value) for value in (previous, current))
        log_scale = np.where(large, log_scale + 100 * np.log(10), log_scale)
        if j % 2 == 1:
            total *= np.sqrt(j / (j + 1))
    density = squares + np.sqrt(n / 2) * phi * half
    if n % 2 == 1:
        density = density + phi / total
    return density / n


@functools.lru_cache(maxsize=64)
def _interpolant(n: int) -> tuple[Chebyshev, Chebyshev]:
    """Chebyshev series of the density in y and of its integral, good to about 1e-13."""
    reach = _reach(n)
    # The density oscillates n times in the support; 140 more take care of its Gaussian tails.
    degree = 140 + int(2.2 * np.sqrt(2 * n) * reach)
    density = chebyshev(lambda y: _goe_pdf(y, n), -reach, reach, degree)
    return density, density.integ(lbnd=-reach)


def _goe_cdf(y: np.ndarray, n: int) -> np.ndarray:
    reach = _reach(n)
    value = np.clip(_interpolant(n)[1](np.clip(y, -reach, reach)), 0, 1)
    return np.where(y >= reach, 1.0, np.where(y <= -reach, 0.0, value))

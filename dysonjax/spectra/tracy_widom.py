"""The Tracy–Widom laws of the largest eigenvalue, from Fredholm determinants."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike
from scipy.special import airy

from dysonjax.checks import InputError
from dysonjax.spectra.law import (
    Derived,
    RandomState,
    Size,
    chebyshev,
    invert,
    probability,
    real,
    scalar_or_array,
    uniform,
)

# Outside this interval both F and 1 − F are below 1e-15 for the argument of F₁ and F₂.
_LOW, _HIGH = -11.0, 16.0


@dataclass(frozen=True)
class TracyWidom(Derived):
    """Tracy–Widom law: the limit law of the largest eigenvalue at a soft edge.

    `pdf` and `cdf` are good to 1e-10. Tails below 1e-13 are rounding.

    Parameters
    ----------
    beta : {1, 2, 4}
        Dyson index.

    Raises
    ------
    InputError
        For another beta.

    Notes
    -----
    F₁ = det(1 − V) and F₂ = det(1 − V) det(1 + V) with V(x, y) = ½Ai((x+y)/2) on (s, ∞), each determinant by
    Gauss–Legendre quadrature: Bornemann, Math. Comp. 79 (2010) 871; Ferrari & Spohn, J. Phys. A 38 (2005)
    L557. The convention for β = 4 is that of Tracy and Widom (1996) and of the published tables, F₄(s/√2) =
    ½(det(1 − V) + det(1 + V)) at s, with mean −2.3068848932.

    The largest of n → ∞ levels of `sample_beta_hermite` is scale (2√n + n^(−1/6) χ), where χ follows
    TracyWidom(beta) for β = 1 and 2. For β = 4, 2^(−1/6) χ takes the place of χ.

    Examples
    --------
    What the largest level stays below with 99 %, in units of its fluctuation:

    >>> [round(dj.spectra.TracyWidom(beta).ppf(0.99), 4) for beta in (1, 2, 4)]
    [2.0234, 0.4776, -0.5447]
    """

    beta: int

    def __post_init__(self):
        if self.beta not in (1, 2, 4):
            raise InputError(f"beta must be 1, 2 or 4 for the Tracy-Widom law, got {self.beta!r}")
        object.__setattr__(self, "beta", int(self.beta))

    def pdf(self, s: ArrayLike) -> Any:
        """Density at s.

        Parameters
        ----------
        s : array_like
            Where to take it, without unit.

        Returns
        -------
        float or ndarray
            The density, without unit.
        """
        series, t = _series(self.beta)[1], real(s)
        inside = (t > series.domain[0]) & (t < series.domain[1])
        value = np.where(inside, np.maximum(series(np.clip(t, *series.domain)), 0), 0.0)
        return scalar_or_array(np.where(np.isnan(t), np.nan, value))

    def cdf(self, s: ArrayLike) -> Any:
        """Probability of a largest eigenvalue ≤ s.

        Parameters
        ----------
        s : array_like
            The upper end, without unit.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        series, t = _series(self.beta)[0], real(s)
        value = np.clip(series(np.clip(t, *series.domain)), 0, 1)
        value = np.where(t <= series.domain[0], 0.0, np.where(t >= series.domain[1], 1.0, value))
        return scalar_or_array(np.where(np.isnan(t), np.nan, value))

    def ppf(self, u: ArrayLike) -> Any:
        """Inverse of `cdf`.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile, without unit; at 0 and 1 the ends of the computed interval.
        """
        return scalar_or_array(invert(self.cdf, self.pdf, probability(u), *_series(self.beta)[0].domain))

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent draws by inversion.

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
        """First moment.

        Returns
        -------
        float
            −1.2065335746, −1.7710868074, −2.3068848932 for β = 1, 2, 4.
        """
        return _moment(self.beta, 1)

    def var(self) -> float:
        """Second central moment.

        Returns
        -------
        float
            1.6077810346, 0.8131947928, 0.5177237208 for β = 1, 2, 4.
        """
        return _moment(self.beta, 2) - _moment(self.beta, 1) ** 2


def _determinants(s: np.ndarray, points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """det(1 − V) and det(1 + V) on (s, ∞) for every s, shape (n,); 28 points reach 1e-14."""
    x, weight = np.polynomial.legendre.leggauss(points)
    # V has decayed below 1e-17 at x = 18: Ai(z) ~ exp(−⅔ z^{3/2}).
    length = (np.maximum(s, 0) + 18 - s)[:, None]
    y = s[:, None] + length * (x + 1) / 2
    root = np.sqrt(weight * length / 2)
    # The kernel is symmetric, and the Airy function is what takes the time.
    i, j = np.triu_indices(points)
    kernel = np.empty((len(s), points, points))
    kernel[:, i, j] = 0.5 * airy((y[:, i] + y[:, j]) / 2)[0] * root[:, i] * root[:, j]
    kernel[:, j, i] = kernel[:, i, j]
    identity = np.eye(points)
    return np.linalg.det(identity - kernel), np.linalg.det(identity + kernel)


@functools.cache
def _series(beta: int) -> tuple[Chebyshev, Chebyshev]:
    """Chebyshev series of the cdf and of its derivative."""
    shrink = np.sqrt(2) if beta == 4 else 1.0

    def distribution(s: np.ndarray) -> np.ndarray:
        minus, plus = _determinants(shrink * s)
        return {1: minus, 2: minus * plus, 4: (minus + plus) / 2}[beta]

    cdf = chebyshev(distribution, _LOW / shrink, _HIGH / shrink, degree=120)
    return cdf, cdf.deriv()


@functools.cache
def _moment(beta: int, order: int) -> float:
    """⟨s^order⟩ = high^order − ∫ order s^(order−1) F ds: by parts, since dF carries more rounding than F."""
    cdf = _series(beta)[0]
    low, high = cdf.domain
    x, weight = np.polynomial.legendre.leggauss(200)
    s = low + (high - low) * (x + 1) / 2
    return float(high**order - (weight * (high - low) / 2) @ (order * s ** (order - 1) * cdf(s)))

"""The Marchenko–Pastur law of the eigenvalues of X = WᵀW for a large random W."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import checks
from dysonjax.spectra.law import (
    Derived,
    RandomState,
    Size,
    invert,
    probability,
    real,
    scalar_or_array,
    uniform,
)


@dataclass(frozen=True)
class MarchenkoPastur(Derived):
    """Law of Marchenko and Pastur: the limit density of the eigenvalues of X = WᵀW.

    W has the shape (M, N) and independent entries of variance sigma2/M. Between the edges x± = σ²(1 ± √r)²
    the density is ρ(x) = √((x₊ − x)(x − x₋)) / (2π σ² r x).

    Parameters
    ----------
    ratio : float
        r = N/M > 0, the number of levels over the number of rows. For r > 1 the fraction 1 − 1/r of the
        levels is exactly zero. `cdf` and `ppf` contain that atom, `pdf` is the continuous part alone.
    sigma2 : float
        σ² > 0, units of X, and the mean of the law. For entries of variance v it is M v.

    Raises
    ------
    InputError
        If one of them is not positive and finite.

    Notes
    -----
    [A] Eq. 3.3 with A = 1.

    Examples
    --------
    >>> law = dj.spectra.MarchenkoPastur(ratio=0.25, sigma2=1 / 3)
    >>> round(law.lower, 6), round(law.upper, 6), round(law.var(), 6)
    (0.083333, 0.75, 0.027778)
    """

    ratio: float
    sigma2: float

    def __post_init__(self):
        object.__setattr__(self, "ratio", checks.positive("ratio", self.ratio))
        object.__setattr__(self, "sigma2", checks.positive("sigma2", self.sigma2))

    @property
    def lower(self) -> float:
        """x₋, the lower edge of the continuous part."""
        return self.sigma2 * (1 - self.ratio**0.5) ** 2

    @property
    def upper(self) -> float:
        """x₊, the upper edge."""
        return self.sigma2 * (1 + self.ratio**0.5) ** 2

    @property
    def atom(self) -> float:
        """Probability of the eigenvalue zero."""
        return max(0.0, 1 - 1 / self.ratio)

    def pdf(self, x: ArrayLike) -> Any:
        """Continuous part of the density.

        Parameters
        ----------
        x : array_like
            Where to take it, units of X.

        Returns
        -------
        float or ndarray
            The density, in 1/units of X. It is infinite at x = 0 for ratio = 1, where it grows as x^(−1/2).
        """
        x = real(x)
        inside = (x > self.lower) & (x < self.upper)
        y = np.where(inside, x, self.sigma2 * (1 + self.ratio))
        root = np.sqrt(np.maximum((self.upper - y) * (y - self.lower), 0))
        density = np.where(inside, root / (2 * np.pi * self.sigma2 * self.ratio * y), 0.0)
        if self.lower == 0:
            density = np.where(x == 0, np.inf, density)
        return scalar_or_array(np.where(np.isnan(x), np.nan, density))

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a level ≤ x, with the atom at zero.

        Parameters
        ----------
        x : array_like
            The upper end, units of X.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        x = real(x)
        clipped = np.clip(x, self.lower, self.upper)
        theta = 2 * np.arctan2(np.sqrt(clipped - self.lower), np.sqrt(self.upper - clipped))
        value = self.atom + self._weight * _angle_cdf(theta, self._q)
        value = np.where(
            x >= self.upper, 1.0, np.where(x <= self.lower, np.where(x < 0, 0, self.atom), value)
        )
        return scalar_or_array(np.where(np.isnan(x), np.nan, value))

    def ppf(self, u: ArrayLike) -> Any:
        """Smallest x with cdf(x) ≥ u.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile, in units of X; 0 up to the weight of the atom.
        """
        u = probability(u)
        v = np.clip((u - self.atom) / self._weight, 0, 1)
        q = self._q
        theta = invert(lambda t: _angle_cdf(t, q), lambda t: _angle_pdf(t, q), v, 0.0, np.pi)
        x = self.lower + 4 * self.sigma2 * self.ratio**0.5 * np.sin(theta / 2) ** 2
        return scalar_or_array(np.where((u <= self.atom) & (self.atom > 0), 0.0, x))

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
            The draws; those on the atom are exactly zero.
        """
        return self.ppf(uniform(size, random_state))

    def mean(self) -> float:
        """Mean of the levels, the atom included.

        Returns
        -------
        float
            σ², in units of X.
        """
        return self.sigma2

    def var(self) -> float:
        """Variance of the levels, the atom included.

        Returns
        -------
        float
            r σ⁴.
        """
        return self.ratio * self.sigma2**2

    @property
    def _q(self) -> float:
        # The laws of r and 1/r have the same shape: WᵀW and WWᵀ share their non-zero eigenvalues.
        return min(self.ratio, 1 / self.ratio) ** 0.5

    @property
    def _weight(self) -> float:
        return min(1.0, 1 / self.ratio)


def _angle_pdf(theta: np.ndarray, q: float) -> np.ndarray:
    """Density of θ in x = σ²(1 + r − 2√r cos θ), free of the edge singularities of ρ(x)."""
    # 1 + q² − 2q cos θ written so that it does not cancel near θ = 0 at q = 1.
    distance = (1 - q) ** 2 + 4 * q * np.sin(theta / 2) ** 2
    with np.errstate(invalid="ignore"):
        value = 2 / np.pi * np.sin(theta) ** 2 / distance
    return np.where(distance == 0, 2 / np.pi, value)


def _angle_cdf(theta: np.ndarray, q: float) -> np.ndarray:
    """Its integral from 0, by the Poisson kernel: [θ + sin θ/q + (1 − q⁻²) Σ_k q^k sin(kθ)/k] / π."""
    if q < 0.005:
        # sin θ/q and the k = 1 term of the sum cancel; what is left converges in a few terms.
        tail = sum(q ** (k - 2) * np.sin(k * theta) / k for k in range(2, 9))
        head = sum(q**k * np.sin(k * theta) / k for k in range(1, 9))
        return (theta + head - tail) / np.pi
    # arg(1 − q e^{−iθ}), with 1 − q cos θ written without cancellation near θ = 0 at q = 1.
    angle = np.arctan2(q * np.sin(theta), (1 - q) + 2 * q * np.sin(theta / 2) ** 2)
    return (theta + np.sin(theta) / q + (1 - q**-2) * angle) / np.pi

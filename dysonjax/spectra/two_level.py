"""Level density of a pair that repels in a harmonic well: equal widths, and one width for each level."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, ndtr

from dysonjax import checks, renamed
from dysonjax.spectra.law import (
    Derived,
    RandomState,
    Size,
    generator,
    invert,
    probability,
    real,
    scalar_or_array,
)


@renamed.arguments(sigma_wide="sigma1", sigma_narrow="sigma2")
@dataclass(frozen=True)
class TwoSpecies(Derived):
    """Level density of a pair with a well of its own for each level, β = 1.

    The levels have the joint law ∝ |x₁ − x₂| exp(−x₁²/2σ₁² − x₂²/2σ₂²) about `center`. The density is the
    mean of their two marginals. At σ₁ = σ₂ it is that of `TwoMode`.

    Parameters
    ----------
    sigma_wide, sigma_narrow : float
        Widths of the wells, positive, units of the level. They may be interchanged.
    center : float, default 0.0
        Where the wells are, finite, units of the level.

    Raises
    ------
    InputError
        If a width is not positive or the center not finite.

    Notes
    -----
    The marginal of x₁ is
    e^{−x²/2σ₁²} [2σ₂² e^{−x²/2σ₂²} + √(2π) σ₂ x erf(x/√2σ₂)] / (2√(2π) σ₁σ₂ √(σ₁²+σ₂²)).

    Examples
    --------
    >>> law = dj.spectra.TwoSpecies(sigma_wide=2.0, sigma_narrow=1.0)
    >>> law.var(), round(law.std(), 4)
    (4.2, 2.0494)
    """

    sigma_wide: float
    sigma_narrow: float
    center: float = 0.0

    sigma1 = renamed.field("sigma_wide", "sigma1")
    sigma2 = renamed.field("sigma_narrow", "sigma2")

    def __post_init__(self):
        for name in ("sigma_wide", "sigma_narrow"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name)))
        object.__setattr__(self, "center", checks.finite("center", self.center))

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
        return scalar_or_array(_pdf(real(x) - self.center, self.sigma_wide, self.sigma_narrow))

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a level, either of the two, ≤ x.

        Parameters
        ----------
        x : array_like
            The upper end, units of the level.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        return scalar_or_array(_cdf(real(x) - self.center, self.sigma_wide, self.sigma_narrow))

    def ppf(self, u: ArrayLike) -> Any:
        """Inverse of `cdf`.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile, in units of the level; infinite at 0 and 1.
        """
        return scalar_or_array(self.center + _ppf(probability(u), self.sigma_wide, self.sigma_narrow))

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent levels, each from a pair of its own.

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
        return scalar_or_array(self.center + _rvs(size, random_state, self.sigma_wide, self.sigma_narrow))

    def mean(self) -> float:
        """Mean of the levels.

        Returns
        -------
        float
            The center.
        """
        return self.center

    def var(self) -> float:
        """Variance of the levels.

        Returns
        -------
        float
            (σ₁⁴ + σ₂⁴ + σ₁²σ₂²)/(σ₁² + σ₂²).
        """
        return _var(self.sigma_wide, self.sigma_narrow)


@dataclass(frozen=True)
class TwoMode(Derived):
    """Level density of a degenerate pair about its center, the "semicircle" of two levels, β = 1.

    Parameters
    ----------
    sigma : float
        σ > 0, units of the level; the same σ as in `PairSpacing`.
    center : float, default 0.0
        Center of the pair, finite, units of the level.

    Raises
    ------
    InputError
        If sigma is not positive or the center not finite.

    Notes
    -----
    ρ(x) = e^{−x²/2σ²}/(4√π σ) [2e^{−x²/2σ²} + √(2π)(x/σ) erf(x/√2σ)], with the Binder cumulant −4/27. [C].

    Examples
    --------
    Repulsion widens the density: its variance is not σ² but 3/2 σ².

    >>> dj.spectra.TwoMode(sigma=2.0, center=5.0).var()
    6.0
    """

    sigma: float
    center: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "sigma", checks.positive("sigma", self.sigma))
        object.__setattr__(self, "center", checks.finite("center", self.center))

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
        return scalar_or_array(_pdf(real(x) - self.center, self.sigma, self.sigma))

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a level, either of the two, ≤ x.

        Parameters
        ----------
        x : array_like
            The upper end, units of the level.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        return scalar_or_array(_cdf(real(x) - self.center, self.sigma, self.sigma))

    def ppf(self, u: ArrayLike) -> Any:
        """Inverse of `cdf`.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile, in units of the level; infinite at 0 and 1.
        """
        return scalar_or_array(self.center + _ppf(probability(u), self.sigma, self.sigma))

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent levels, each from a pair of its own.

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
        return scalar_or_array(self.center + _rvs(size, random_state, self.sigma, self.sigma))

    def mean(self) -> float:
        """Mean of the levels.

        Returns
        -------
        float
            The center.
        """
        return self.center

    def var(self) -> float:
        """Variance of the levels.

        Returns
        -------
        float
            (3/2) σ².
        """
        return 1.5 * self.sigma**2


def _marginal_pdf(x: np.ndarray, own: float, other: float) -> np.ndarray:
    """Density of the level whose well has width `own`."""
    gauss, partner = np.exp(-(x**2) / (2 * own**2)), np.exp(-(x**2) / (2 * other**2))
    pull = np.sqrt(2 * np.pi) * x * erf(x / (np.sqrt(2) * other))
    return gauss * (2 * other * partner + pull) / (2 * np.sqrt(2 * np.pi) * own * np.hypot(own, other))


def _marginal_cdf(x: np.ndarray, own: float, other: float) -> np.ndarray:
    """Its integral: by parts, the erf term leaves a normal cdf of width σ₁σ₂/√(σ₁²+σ₂²)."""
    total = np.hypot(own, other)
    edge = np.exp(-(x**2) / (2 * own**2)) * erf(x / (np.sqrt(2) * other))
    return ndtr(x * total / (own * other)) - own / (2 * total) * edge


def _pdf(x: np.ndarray, sigma_wide: float, sigma_narrow: float) -> np.ndarray:
    return 0.5 * (_marginal_pdf(x, sigma_wide, sigma_narrow) + _marginal_pdf(x, sigma_narrow, sigma_wide))


def _cdf(x: np.ndarray, sigma_wide: float, sigma_narrow: float) -> np.ndarray:
    return 0.5 * (_marginal_cdf(x, sigma_wide, sigma_narrow) + _marginal_cdf(x, sigma_narrow, sigma_wide))


def _ppf(u: np.ndarray, sigma_wide: float, sigma_narrow: float) -> np.ndarray:
    # The density falls off as a Gaussian of the larger width, so that 40 widths hold every double below 1.
    reach = 40 * max(sigma_wide, sigma_narrow)
    # Only the lower half is inverted: near 1 the cdf has no digits left to resolve the upper tail.
    tail = invert(
        lambda x: _cdf(x, sigma_wide, sigma_narrow),
        lambda x: _pdf(x, sigma_wide, sigma_narrow),
        np.minimum(u, 1 - u),
        -reach,
        0.0,
    )
    tail = np.where(np.minimum(u, 1 - u) == 0, -np.inf, tail)
    return np.where(u > 0.5, -tail, tail)


def _rvs(size: Size, random_state: RandomState, sigma_wide: float, sigma_narrow: float) -> np.ndarray:
    """x₁ − x₂ has a Rayleigh length and a random sign; given it, x₁ is Gaussian."""
    rng = generator(random_state)
    own = np.where(rng.uniform(size=size) < 0.5, sigma_wide, sigma_narrow)
    other = sigma_wide + sigma_narrow - own
    total = sigma_wide**2 + sigma_narrow**2
    sign = np.where(rng.uniform(size=size) < 0.5, -1.0, 1.0)
    distance = sign * np.sqrt(2 * total * np.asarray(rng.standard_exponential(size=size)))
    residual = own * other / np.sqrt(total) * np.asarray(rng.standard_normal(size=size))
    return own**2 / total * distance + residual


def _var(sigma_wide: float, sigma_narrow: float) -> float:
    a, b = sigma_wide**2, sigma_narrow**2
    return (a**2 + b**2 + a * b) / (a + b)

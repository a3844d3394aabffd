"""Wigner's surmise for the level spacing, normalised and in the units of a degenerate pair."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammainc, gammaincinv, gammaln

from dysonjax import checks
from dysonjax.spectra.law import RandomState, Size, generator, probability, real, scalar_or_array


@dataclass(frozen=True)
class WignerSurmise:
    """Law of the normalised spacing s = S/⟨S⟩ of two levels with repulsion |x₁ − x₂|^β.

    P(s) = a s^β e^{−b s²} with a and b fixed by unit area and unit mean; β = 1: (π/2) s e^{−πs²/4}
    ([A] section 3.2). Exact for two levels, good to about 1 % for the bulk of many.
    beta: β > 0, Dyson index; 1, 2, 4 for GOE, GUE, GSE. Raises InputError otherwise.

    >>> float(WignerSurmise(beta=1).pdf(1.0).round(6))
    0.716186
    """

    beta: float

    def __post_init__(self):
        object.__setattr__(self, "beta", checks.positive("beta", self.beta))

    def pdf(self, s: Any) -> Any:
        """Density at s (no unit); zero for s < 0."""
        s = real(s)
        shape, b = self._shape, self._b
        with np.errstate(divide="ignore"):
            log_s = np.log(np.maximum(s, 0))
        value = np.exp(np.log(2) + shape * np.log(b) - gammaln(shape) + self.beta * log_s - b * s**2)
        return _restore(s, np.where(s > 0, value, 0.0))

    def cdf(self, s: Any) -> Any:
        """Probability of a spacing ≤ s."""
        s = real(s)
        return _restore(s, gammainc(self._shape, self._b * np.maximum(s, 0) ** 2))

    def ppf(self, u: Any) -> Any:
        """Inverse of `cdf`; infinite at 1."""
        return scalar_or_array(np.sqrt(gammaincinv(self._shape, probability(u)) / self._b))

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent draws, shape `size`: b s² is gamma distributed."""
        gamma = generator(random_state).standard_gamma(self._shape, size=size)
        return scalar_or_array(np.sqrt(np.asarray(gamma) / self._b))

    def mean(self) -> float:
        """One, by construction."""
        return 1.0

    def var(self) -> float:
        """(β+1)/(2b) − 1; 4/π − 1 for β = 1."""
        return self._shape / self._b - 1

    @property
    def _shape(self) -> float:
        return (self.beta + 1) / 2

    @property
    def _b(self) -> float:
        return float(np.exp(2 * (gammaln(self._shape + 0.5) - gammaln(self._shape))))


@dataclass(frozen=True)
class PairSpacing:
    """Law of the unnormalised spacing S of a degenerate pair in an equal well, β = 1.

    P(S) = S/(2σ²) e^{−S²/4σ²}, ⟨S⟩ = √π σ. [C].
    sigma: σ > 0, the width e^{−x²/2σ²} of each level's well, units of the level. Raises InputError otherwise.
    """

    sigma: float

    def __post_init__(self):
        object.__setattr__(self, "sigma", checks.positive("sigma", self.sigma))

    def pdf(self, s: Any) -> Any:
        """Density at S, in 1/units of the level; zero for S < 0."""
        s = real(s)
        return _restore(s, np.maximum(s, 0) / (2 * self.sigma**2) * np.exp(-(s**2) / (4 * self.sigma**2)))

    def cdf(self, s: Any) -> Any:
        """Probability of a spacing ≤ S."""
        s = real(s)
        return _restore(s, -np.expm1(-(np.maximum(s, 0) ** 2) / (4 * self.sigma**2)))

    def ppf(self, u: Any) -> Any:
        """Inverse of `cdf`; infinite at 1."""
        with np.errstate(divide="ignore"):
            return scalar_or_array(2 * self.sigma * np.sqrt(-np.log1p(-probability(u))))

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent draws, shape `size`: S²/4σ² is exponentially distributed."""
        draws = generator(random_state).standard_exponential(size=size)
        return scalar_or_array(2 * self.sigma * np.sqrt(np.asarray(draws)))

    def mean(self) -> float:
        """√π σ."""
        return float(np.sqrt(np.pi) * self.sigma)

    def var(self) -> float:
        """(4 − π) σ²."""
        return (4 - np.pi) * self.sigma**2


def _restore(x: np.ndarray, value: np.ndarray) -> Any:
    """NaN where the argument was NaN, which the clipping at zero would hide."""
    return scalar_or_array(np.where(np.isnan(x), np.nan, value))

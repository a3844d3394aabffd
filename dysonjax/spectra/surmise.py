"""Wigner's surmise for the level spacing, normalised and in the units of a degenerate pair."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import gammaln

from dysonjax import checks
from dysonjax.spectra.law import ScipyLaw


@dataclass(frozen=True)
class WignerSurmise(ScipyLaw):
    """Law of the normalised spacing s = S/⟨S⟩ of two levels with repulsion |x₁ − x₂|^β.

    P(s) = a s^β e^{−b s²} with a and b fixed by unit area and unit mean; β = 1: (π/2) s e^{−πs²/4}
    ([A] section 3.2). Exact for two levels, good to about 1 % for the bulk of many. Its mean is 1, its
    variance (β+1)/(2b) − 1.
    beta: β > 0, Dyson index; 1, 2, 4 for GOE, GUE, GSE. Raises InputError otherwise.

    >>> round(float(WignerSurmise(beta=1).pdf(1.0)), 6)
    0.716186
    """

    beta: float

    def __post_init__(self):
        object.__setattr__(self, "beta", checks.positive("beta", self.beta))

    @functools.cached_property
    def scipy(self):
        """s is √(gamma((β + 1)/2)/b), with b from the unit mean."""
        shape = (self.beta + 1) / 2
        return stats.gengamma(shape, 2, scale=np.exp(gammaln(shape) - gammaln(shape + 0.5)))


@dataclass(frozen=True)
class PairSpacing(ScipyLaw):
    """Law of the unnormalised spacing S of a degenerate pair in an equal well, β = 1.

    P(S) = S/(2σ²) e^{−S²/4σ²}, ⟨S⟩ = √π σ, variance (4 − π) σ². [C].
    sigma: σ > 0, the width e^{−x²/2σ²} of each level's well, units of the level. Raises InputError otherwise.
    """

    sigma: float

    def __post_init__(self):
        object.__setattr__(self, "sigma", checks.positive("sigma", self.sigma))

    @functools.cached_property
    def scipy(self):
        return stats.rayleigh(scale=np.sqrt(2) * self.sigma)

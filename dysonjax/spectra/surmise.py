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
    """Wigner's surmise: the law of the normalised spacing s = S/⟨S⟩ of two levels.

    The levels repel as |x₁ − x₂|^β. The law is exact for two levels and good to about 1 % for the bulk of
    many.

    Parameters
    ----------
    beta : float
        Dyson index β > 0: 1, 2 and 4 for GOE, GUE and GSE.

    Raises
    ------
    InputError
        If beta is not positive and finite.

    Notes
    -----
    P(s) = a s^β e^{−b s²}, with a and b fixed by unit area and unit mean. For β = 1 it is (π/2) s e^{−πs²/4},
    [A] section 3.2. Its mean is 1, its variance (β + 1)/(2b) − 1. Methods are those of every law, as in
    SciPy.

    Examples
    --------
    Spacings below a tenth of the mean one are rare, and much rarer at larger β.

    >>> [round(dj.spectra.WignerSurmise(beta).cdf(0.1), 6) for beta in (1, 2, 4)]
    [0.007823, 0.001073, 2.3e-05]
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
    """Law of the unnormalised spacing S of a degenerate pair, two levels in the same well, β = 1.

    Parameters
    ----------
    sigma : float
        σ > 0, units of the level: the width of each level's well, whose weight is e^{−x²/2σ²}.

    Raises
    ------
    InputError
        If sigma is not positive and finite.

    Notes
    -----
    P(S) = S/(2σ²) e^{−S²/4σ²}, with mean √π σ and variance (4 − π) σ². [C]. Methods are those of every law,
    as in SciPy.

    Examples
    --------
    >>> law = dj.spectra.PairSpacing(sigma=0.5)
    >>> round(law.mean(), 4), round(law.var(), 4)
    (0.8862, 0.2146)
    """

    sigma: float

    def __post_init__(self):
        object.__setattr__(self, "sigma", checks.positive("sigma", self.sigma))

    @functools.cached_property
    def scipy(self):
        return stats.rayleigh(scale=np.sqrt(2) * self.sigma)

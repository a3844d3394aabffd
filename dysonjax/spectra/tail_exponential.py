"""Is a tail better described by an exponential than by a power law? The comparison of laws that do not
nest."""

import numpy as np
from scipy.special import ndtr


def exponential_p(x: np.ndarray, start: float) -> float | None:
    """One-sided p-value of the power law against an exponential, both from `start` on, by Vuong's test.

    x: points of the tail, x ≥ start > 0. The log-likelihood ratio per point has a standard error, and p is
    the probability of a mean as low if both laws were equally good: Vuong, Econometrica 57, 307 (1989), in
    the use of Clauset, Shalizi & Newman. None if the points do not differ.
    """
    y, excess = np.log(x / start), x / start - 1
    if not (y.sum() > 0 and excess.sum() > 0):
        return None
    rate, decay = 1 / y.mean(), 1 / excess.mean()
    power = np.log(rate) - (1 + rate) * y
    ratio = power - (np.log(decay) - decay * excess)
    spread = ratio.std()
    if not spread > 0:
        return None
    return float(ndtr(ratio.mean() * np.sqrt(ratio.size) / spread))

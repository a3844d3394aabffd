"""How high the largest level of noise comes when its σ² has to be fitted to the same few levels.

The law of Tracy and Widom knows σ². A fit to 16 levels is off by several percent, as much as the largest
level fluctuates, and one noise matrix in twenty would show a spike. So the same fit is made to simulated
matrices.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dysonjax.spectra.marchenko_pastur_match import COARSE, FINE, even_bins, match
from dysonjax.spectra.marchenko_pastur_null import template_of
from dysonjax.spectra.tracy_widom import TracyWidom
from dysonjax.spectra.wishart_pool import LARGEST, pool_counts, pool_largest

_DRAWS = 4000


class SpikeNull(NamedTuple):
    """Standardised largest levels z of noise, by its own fitted σ²."""

    z: np.ndarray
    """simulated, ascending"""
    end: float
    """their 99 % quantile; beyond it too few are left to count, and u = shift + stretch·z has the law of the
    largest of `members` Tracy-Widom variables"""
    shift: float
    stretch: float
    members: int
    sigma2_err: float
    """relative standard error of the fitted σ²"""

    def edge(self, false_positives: float) -> float:
        """What z exceeds with this probability under noise."""
        if false_positives >= 0.01:
            return float(np.quantile(self.z, 1 - false_positives))
        u = float(TracyWidom(1).ppf((1 - false_positives) ** (1 / self.members)))
        return (u - self.shift) / self.stretch

    def p_value(self, z: float) -> float:
        """Probability of a largest level at z or beyond."""
        if z < self.end:
            return float((1 + self.z.size - np.searchsorted(self.z, z)) / (1 + self.z.size))
        return 1 - float(TracyWidom(1).cdf(self.shift + self.stretch * z)) ** self.members


def centre_and_scale(rows: int, modes: float) -> tuple[float, float]:
    """Of the largest level for entries of variance 1: Johnstone, Ann. Stat. 29, 295 (2001)."""
    a, b = np.sqrt(max(rows - 1, 1)), np.sqrt(modes)
    return float((a + b) ** 2), float((a + b) * (1 / a + 1 / b) ** (1 / 3))


@lru_cache(maxsize=64)
def spike_null(members: int, modes: int, rows: int) -> SpikeNull:
    """For ensembles of that many matrices, rows ≥ modes, whose σ² is fitted by least squares.

    Beyond 256 levels they are simulated at 256: the part of z that the fit adds falls as N^(−1/3), since σ²
    is known to 1/N and the largest level to N^(−2/3) of themselves.
    """
    ratio = modes / rows
    size = min(modes, LARGEST)
    largest = pool_largest(size, size / ratio)
    template = template_of(size, ratio, False)
    rng = np.random.default_rng(0)
    drawn = np.arange(len(largest))[:_DRAWS, None]
    if members > 1:
        drawn = rng.integers(len(largest), size=(_DRAWS // 2, members))
    # The bins that a fit to as many levels takes.
    levels = template.limit.ppf((np.arange(members * size) + 0.5) / (members * size))
    bins = even_bins(np.sqrt(levels), np.sqrt(COARSE.high * template.limit.upper))
    chosen = drawn + len(largest) * np.arange(len(drawn))[:, None]
    weights = np.bincount(chosen.ravel(), minlength=len(drawn) * len(largest)).reshape(len(drawn), -1)
    share = weights @ (pool_counts(size, size / ratio, *bins) / size) / members
    fitted = match(share, bins, template, FINE, "least_squares").sigma2
    top = largest[drawn].max(axis=1) * (size / ratio)
    centre, scale = centre_and_scale(round(size / ratio), size)
    known, seen = (top - centre) / scale, (top / fitted - centre) / scale
    z = known + (seen - known) * (size / modes) ** (1 / 3)
    law = TracyWidom(1)
    low, high = (float(law.ppf(p ** (1 / members))) for p in (0.5, 0.99))
    middle, end = np.quantile(z, [0.5, 0.99])
    stretch = (high - low) / (end - middle)
    sigma2_err = float(np.std(fitted) * size / modes)
    return SpikeNull(
        np.sort(z), float(end), float(low - stretch * middle), float(stretch), members, sigma2_err
    )

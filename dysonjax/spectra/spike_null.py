"""How high the largest level of noise comes when its σ² has to be fitted to the same few levels.

The exact law of the largest level knows σ². A fit to 16 levels is off by several percent, as much as the
largest level fluctuates, and one noise matrix in twenty would show a spike. So the same fit is made to
simulated ensembles.

What counts are the ensembles of which one in a hundred or in a million is drawn, with the largest of many
matrices. They are not waited for: how high the largest level lies is prescribed, evenly along its exact law,
far out as often as inside. A matrix with about so high a level is taken for it, that level is moved to its
place, and the other matrices are drawn among those that lie below.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from dysonjax.spectra.marchenko_pastur_match import COARSE, FINE, NO_KURTOSIS, even_bins, match
from dysonjax.spectra.marchenko_pastur_null import template_of
from dysonjax.spectra.wishart_largest import carried_on, centre_and_scale, largest_level
from dysonjax.spectra.wishart_pool import LARGEST, pool_counts, pool_largest

_DRAWS = 2500  # ensembles
_REACH = 1e-7  # probability of the rarest
_FEWEST, _MOST = 1000, 200_000  # ensembles of a null, and their matrices in all
_FINER, _POINTS = 4, 200  # points in a bin of the fit, and in all its bins, at least
_NEAR = 20  # a matrix is taken for another if no more than 1/20 of the pool has its largest level between
_MANY = 256  # members whose sum is drawn; that of more fluctuates as theirs does, by the root of their number


class SpikeNull(NamedTuple):
    """Standardised largest levels z of noise, by its own fitted σ²."""

    z: np.ndarray
    """simulated, ascending"""
    log_p: np.ndarray
    """logarithm of the probability of a level at z or beyond"""
    sigma2_err: float
    """relative standard error of the fitted σ²"""

    def edge(self, false_positives: float) -> float:
        """What z exceeds with this probability under noise."""
        return float(carried_on(-np.log(false_positives), -self.log_p, self.z))

    def p_value(self, z: float) -> float:
        """Probability of a largest level at z or beyond."""
        return float(np.exp(carried_on(z, self.z, self.log_p)))


@lru_cache(maxsize=64)
def spike_null(members: int, modes: int, rows: int) -> SpikeNull:
    """For ensembles of that many matrices, rows ≥ modes, whose σ² is fitted by least squares.

    Beyond 256 levels they are simulated at 256: the part of z that the fit adds falls as N^(−1/3), since σ²
    is known to 1/N and the largest level to N^(−2/3) of themselves.
    """
    ratio = modes / rows
    size = min(modes, LARGEST)
    centre, scale = centre_and_scale(size / ratio, size)
    drawn, weight = _probabilities(int(np.clip(_MOST // members, _FEWEST, _DRAWS)))
    known = largest_level(size, size / ratio).isf(-np.expm1(np.log1p(-drawn) / members))
    top = (centre + scale * known) * ratio / size  # of mean level one, as the pool
    fitted = _fitted(members, top, size, ratio)
    seen = ((centre + scale * known) / fitted - centre) / scale
    if modes > LARGEST:
        exact = largest_level(modes, rows).isf(-np.expm1(np.log1p(-drawn) / members))
        seen = exact + (seen - known) * (size / modes) ** (1 / 3)
    mean = weight @ fitted / weight.sum()
    sigma2_err = np.sqrt(weight @ (fitted - mean) ** 2 / weight.sum()) * size / modes
    order = np.argsort(seen)
    beyond = np.cumsum(weight[order][::-1])[::-1] / weight.sum()
    return SpikeNull(seen[order], np.log(beyond), float(sigma2_err))


def _probabilities(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a higher largest level in an ensemble, and weights: half of them even, half even
    in their logarithm."""
    even = (np.arange(draws // 2) + 0.5) / (draws // 2)
    drawn = np.concatenate([even, _REACH**even])
    return drawn, 1 / (1 - 1 / (drawn * np.log(_REACH)))


def _fitted(members: int, top: np.ndarray, size: int, ratio: float) -> np.ndarray:
    """σ² that `fit_marchenko_pastur` finds in ensembles with the largest level `top`: its bins follow the
    median and a first estimate, which widens the scatter."""
    template = template_of(size, ratio, False)
    stop = np.sqrt(COARSE.high * template.limit.upper)
    levels = template.limit.ppf((np.arange(members * size) + 0.5) / (members * size))
    bins = even_bins(np.sqrt(levels), stop)
    step = stop / max(_FINER * bins.count, _POINTS)
    below = _Below(_below(members, top, size, ratio, step), step, top, 1 / (members * size))
    unit = below.median() / template.median
    share = below.between(bins.edges * np.sqrt(unit)[:, None])
    unit = unit * match(share, bins, template, COARSE, "least_squares", NO_KURTOSIS).sigma2
    share = below.between(bins.edges * np.sqrt(unit)[:, None])
    return unit * match(share, bins, template, FINE, "least_squares").sigma2


def _below(members: int, top: np.ndarray, size: int, ratio: float, step: float) -> np.ndarray:
    """Share of the levels below 0, step, 2·step, … of √x in every ensemble, beside its largest one,
    shape (ensembles, points)."""
    largest = pool_largest(size, size / ratio)
    points = int(np.sqrt(largest.max()) / step) + 2
    found = np.cumsum(pool_counts(size, size / ratio, points * step, points), axis=1) / size
    found = np.pad(found, ((0, 0), (1, 0)))
    mean = found.mean(axis=0)
    # The pool has a mean of its own, which must not count as that of the law.
    law = template_of(size, ratio, False).cdf((step * np.arange(points + 1)) ** 2)
    order, rng = np.argsort(largest), np.random.default_rng(0)
    place, near = np.searchsorted(largest[order], top), max(20, len(order) // _NEAR)
    # Evenly among the neighbours, whatever the number of ensembles: by the golden ratio.
    apart = (np.arange(len(top)) * 0.6180339887 % 1 * 2 - 1) * near
    first = order[np.clip(place, near, len(order) - near) + np.floor(apart).astype(int)]
    share = np.minimum(found[first], 1 - 1 / size) + (law - mean)
    others = min(members - 1, _MANY)
    if others:
        rest = order[(rng.random((len(top), others)) * np.maximum(place, 1)[:, None]).astype(int)]
        starts = np.arange(0, rest.size + 1, others)
        picked = csr_matrix((np.ones(rest.size), rest.ravel(), starts), shape=(len(top), len(order)))
        share += picked @ (found - mean) * np.sqrt((members - 1) / others) + (members - 1) * law
    return share / members


class _Below(NamedTuple):
    """Ensembles of levels, counted."""

    share: np.ndarray  # of `_below`
    step: float
    top: np.ndarray  # the largest level of each
    weight: float  # share of one level

    def median(self) -> np.ndarray:
        """Of the levels of each ensemble, shape (ensembles,)."""
        after = np.argmax(self.share >= 0.5, axis=1)
        each = np.arange(len(after))
        low, high = self.share[each, after - 1], self.share[each, after]
        return (self.step * (after - 1 + (0.5 - low) / (high - low))) ** 2

    def between(self, edges: np.ndarray) -> np.ndarray:
        """Share of the levels between edges of √x, shape (ensembles, bins)."""
        place = np.minimum(edges / self.step, self.share.shape[1] - 1.001)
        left, each = place.astype(int), np.arange(len(edges))[:, None]
        low, high = self.share[each, left], self.share[each, left + 1]
        below = low + (place - left) * (high - low) + self.weight * (edges >= np.sqrt(self.top)[:, None])
        return np.diff(below, axis=1)

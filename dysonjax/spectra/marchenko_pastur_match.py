"""Which σ², area and kurtosis bring the law of a random matrix closest to a histogram of levels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, make_lsq_spline

from dysonjax.spectra.law import Law
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur


class Grid(NamedTuple):
    """Values of σ² to try, in even steps of their logarithm."""

    low: float
    high: float
    steps: int

    @property
    def values(self) -> np.ndarray:
        return np.geomspace(*self)


class Bins(NamedTuple):
    """Even bins of √x from 0 on."""

    stop: float
    count: int  # type: ignore[assignment]  # hides `tuple.count`, which nobody needs

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(0, self.stop, self.count + 1)


COARSE = Grid(0.1, 8.0, 88)  # in units of the median's σ²: a tail of half the levels is inside
FINE = Grid(0.7, 1.4, 141)  # about the first estimate; in steps of 0.5 %, then interpolated
# Excess kurtosis of the entries: −2 for ±1, −1.2 for uniform ones. Reaches half a step less than the ends.
KURTOSIS = np.linspace(-2.4, 0.6, 6)
NO_KURTOSIS = np.zeros(1)
BULK = 0.999  # share of the law below the end of its bulk, where its shape is judged
_KNOTS = 100  # of a smoothed difference of two cdfs in √x
_END = 4.0  # √x at σ² = 1 beyond which kurtosis adds nothing, whatever the shape


class Match(NamedTuple):
    """The best law for each of several histograms; all of shape (samples,)."""

    sigma2: np.ndarray
    area: np.ndarray
    kurtosis: np.ndarray
    misfit: np.ndarray  # mean square of the difference of the cumulative shares over the bulk


@dataclass(frozen=True)
class Template:
    """The law of noise of one shape, in units of its σ²."""

    cdf: Callable[[np.ndarray], np.ndarray]
    modes: int
    limit: MarchenkoPastur  # σ² = 1

    @classmethod
    def of(cls, law: Law, modes: int, ratio: float) -> "Template":
        return cls(law.cdf, modes, MarchenkoPastur(ratio, 1.0))

    @classmethod
    def changed(cls, law: Law, modes: int, ratio: float, before, after) -> "Template":
        """`law` as it is after its simulated levels `before` have been made into `after`, any shape, σ² = 1.

        Only the difference of the two is taken from the samples, and smoothed: a cdf with steps would make
        the match jump from one σ² to the next.
        """
        end = np.sqrt(max(after.max(), before.max()))
        root = np.linspace(0, end, 20 * _KNOTS)
        shares = [np.searchsorted(np.sort(x, axis=None), root**2) / x.size for x in (before, after)]
        knots = np.concatenate([[0] * 3, np.linspace(0, end, _KNOTS), [end] * 3])
        difference = make_lsq_spline(root, shares[1] - shares[0], knots)

        def cdf(x: np.ndarray) -> np.ndarray:
            return law.cdf(x) + difference(np.clip(np.sqrt(x), 0, end))

        return cls(cdf, modes, MarchenkoPastur(ratio, 1.0))

    @cached_property
    def median(self) -> float:
        """Of the law at σ² = 1, to a thousandth: it only fixes the unit of the bins."""
        grid = np.linspace(0, self.limit.upper, 4000)
        return float(grid[np.searchsorted(self.cdf(grid), 0.5)])

    def masses(self, bins: Bins, sigma2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each bin, and what a unit of excess kurtosis adds, (len(sigma2), bins).

        Entries of excess kurtosis κ add (κ/N) T₂(u)/(π√(1−u²)) du to the density, to order 1/N, where
        u ∈ (−1, 1) runs from edge to edge: the linear statistics of Lytova & Pastur, Ann. Probab. 37, 1778
        (2009). At finite N it is smeared as the edges are.
        """
        root = bins.edges / np.sqrt(sigma2)[:, None]
        added = _kurtosis(self.limit.ratio, self.modes)(np.minimum(root, _END))
        return np.diff(self.cdf(root**2), axis=1), np.diff(added, axis=1)


@lru_cache(maxsize=64)
def _kurtosis(ratio: float, modes: int) -> CubicSpline:
    """What a unit of excess kurtosis adds to the cdf, as a function of √x at σ² = 1, smeared."""
    a = np.sqrt(ratio)  # √N in units of √M
    # Johnstone's scale of the largest level, here of its root.
    width = 0.5 * (1 + 1 / a) ** (1 / 3) * (modes / ratio) ** (-2 / 3)
    node = np.linspace(-4, 4, 81)
    weight = np.exp(-(node**2) / 2)
    root = np.linspace(0, _END, 1000)
    at = root + width * node[:, None]
    angle = np.arccos(np.clip((1 + ratio - at**2) / (2 * a), -1, 1))
    # Reflected at zero, so that what is smeared below it comes back.
    added = np.sign(at) * np.sin(2 * angle) / (2 * np.pi * modes)
    return CubicSpline(root, weight @ added / weight.sum())


@lru_cache(maxsize=16)
def _masses(template: Template, bins: Bins, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """`Template.masses`, the same for all data of one shape."""
    return template.masses(bins, grid.values)


def match(share, bins: Bins, template: Template, grid: Grid, method: str, kurtosis=KURTOSIS) -> Match:
    """Fit every row of `share`, the levels in each bin over all levels, shape (samples, bins)."""
    compare = _likelihood if method == "likelihood" else _least_squares
    mass, added = _masses(template, bins, grid)
    values = grid.values
    peaks = []
    for kappa in kurtosis:
        value, areas = compare(share, mass + kappa * added)
        log_sigma2, top = peak(value, np.log(values))
        place = (log_sigma2 - np.log(values[0])) / np.log(values[1] / values[0])
        peaks.append((top, log_sigma2, _between(areas, place)))
    top, log_sigma2, area = (np.transpose(value) for value in zip(*peaks, strict=True))
    if len(kurtosis) < 3:
        best = np.argmax(top, axis=1)
        rows = np.arange(len(share))
        found = np.exp(log_sigma2[rows, best]), area[rows, best], np.asarray(kurtosis)[best]
    else:
        kappa = peak(top, kurtosis)[0]
        place = (kappa - kurtosis[0]) / (kurtosis[1] - kurtosis[0])
        found = np.exp(_between(log_sigma2, place)), _between(area, place), kappa
    return Match(*found, _misfit(share, bins, template, *found))


def _misfit(share, bins: Bins, template: Template, sigma2, area, kappa) -> np.ndarray:
    mass, added = template.masses(bins, sigma2)
    law = mass + kappa[:, None] * added
    cumulative = np.cumsum(law, axis=1)
    bulk = np.where(cumulative - law < BULK, np.maximum(law, 0), 0)
    difference = np.cumsum(share, axis=1) - area[:, None] * cumulative
    return (bulk * difference**2).sum(axis=1)


def _between(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Each row at a fractional index, by a straight line (also beyond the ends)."""
    left = np.clip(np.floor(place).astype(int), 0, values.shape[1] - 2)
    rows = np.arange(len(values))
    low, high = values[rows, left], values[rows, left + 1]
    return low + (place - left) * (high - low)


def _least_squares(share, mass) -> tuple[np.ndarray, np.ndarray]:
    """Fall of Σ(share − A·mass)² from A = 0, and A, both of shape (samples, grid): linear regression in A."""
    norm = np.einsum("gb,gb->g", mass, mass)
    overlap = share @ mass.T
    return overlap**2 / norm, overlap / norm


def _likelihood(share, mass) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of the window's bins, and A, both of shape (samples, grid).

    Levels beyond the window are one class: the fraction inside fixes A·(mass of the window) as long as
    that leaves A ≤ 1, and the shape inside fixes σ².
    """
    mass = np.maximum(mass, 0)
    window = mass.sum(axis=1)
    shape = mass / window[:, None]
    # A stray level in a bin that the law excludes must cost something finite.
    log_shape = np.log(0.999 * shape + 0.001 / mass.shape[1])
    inside = share.sum(axis=1)[:, None]
    area = np.minimum(inside / window, 1.0)
    expected = np.clip(area * window, 1e-12, 1 - 1e-12)
    split = inside * np.log(expected) + (1 - inside) * np.log1p(-expected)
    return share @ log_shape.T + split, area


def peak(value: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and height of every row's maximum, by the parabola through its three highest neighbours."""
    k = np.clip(np.argmax(value, axis=1), 1, len(position) - 2)
    rows = np.arange(len(value))
    left, top, right = value[rows, k - 1], value[rows, k], value[rows, k + 1]
    curvature = left - 2 * top + right
    safe = np.where(curvature < 0, curvature, -np.inf)
    shift = np.clip(0.5 * (left - right) / safe, -0.5, 0.5)
    return position[k] + shift * (position[1] - position[0]), top - 0.25 * (left - right) * shift


def even_bins(root: np.ndarray, stop: float) -> Bins:
    """Bins from 0 to `stop` of about the Freedman-Diaconis width, their number from a ladder in steps of a
    tenth: spectra of one shape share their bins, and the simulated noise that is sorted into them."""
    quartiles = np.quantile(root, [0.25, 0.75])
    width = 2 * (quartiles[1] - quartiles[0]) / root.size ** (1 / 3)
    # Equal levels have no width of their own; a hundred bins then say as much as a thousand.
    count = np.clip(np.ceil(stop / width), 40, 1000) if width > 0 else 100
    return Bins(float(stop), int(np.ceil(1.1 ** np.round(np.log(count) / np.log(1.1)))))


def counts(root: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Histogram of every member, shape (members, bins); levels outside the edges are not counted."""
    bins = len(edges) - 1
    index = np.searchsorted(edges, root, side="right") - 1
    index = np.where((index >= 0) & (index < bins), index, bins)
    index += (bins + 1) * np.arange(len(root))[:, None]
    return np.bincount(index.ravel(), minlength=len(root) * (bins + 1)).reshape(len(root), -1)[:, :bins]

"""Distances between two ensembles of levels, all from one function: the difference of their cdfs.

Every distance is free of units: lengths are divided by a width, the root of the mean within-ensemble
variance. Three ways to compare many levels, chosen by `levels`:

- "mean" (default): level k with level k in units of that level's own width, averaged over the levels. 0.1
  means that levels move by a tenth of their own widths.
- "each": the same without the average, one distance for each level.
- "pooled": the densities of all levels together, in units of the width of the whole spectrum. It sees what
  a histogram shows: two narrow levels far apart that each move by three of their own widths count little.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, one_of
from dysonjax.spectra.batching import as_members
from dysonjax.spectra.members import of_members

COMPARISONS = ("mean", "each", "pooled")


def which(comparison: str, per_level: bool) -> str:
    """How levels are compared; `per_level` is the older way to ask for each by itself."""
    return "each" if per_level else one_of("comparison", comparison, COMPARISONS)


@dataclass(frozen=True)
class PooledLevels:
    """Two ensembles sorted together once, so that relabelling members needs no further sort."""

    gaps: np.ndarray
    """distance to the next level, shape (pool − 1,)"""
    owner: np.ndarray
    """member that each sorted level belongs to, shape (pool,); members of y follow those of x"""
    width: float
    """pooled width"""

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, comparison: str) -> list["PooledLevels"]:
        """One pool of all levels, or one per mode. x, y: shapes (members_x, modes), (members_y, modes)."""
        if x.shape[-1] != y.shape[-1]:
            raise InputError(
                f"x and y must have the same number of modes, got {x.shape[-1]} and {y.shape[-1]}"
            )
        if comparison == "pooled":
            return [cls._of(x, y)]
        return [cls._of(x[:, k : k + 1], y[:, k : k + 1]) for k in range(x.shape[-1])]

    @classmethod
    def _of(cls, x: np.ndarray, y: np.ndarray) -> "PooledLevels":
        levels = np.concatenate([x, y])
        order = np.argsort(levels, axis=None, kind="stable")
        within = (x.size * x.var() + y.size * y.var()) / levels.size
        return cls(np.diff(levels.ravel()[order]), order // x.shape[-1], float(np.sqrt(within)))

    def distances(self, labels: np.ndarray, name: str) -> np.ndarray:
        """The distance for every labelling. labels: shape (labellings, members), True for the first group."""
        n_first = np.count_nonzero(labels[0])
        modes = self.owner.size // labels.shape[1]
        # cdf difference after each pooled level: (count in first)/n_x − (count in second)/n_y.
        a, b = 1 / (n_first * modes), 1 / ((labels.shape[1] - n_first) * modes)
        # `take` of bytes: indexing a boolean array here is five times slower.
        in_first = np.take(labels.view(np.int8), self.owner[:-1], axis=1)
        count = np.cumsum(in_first, axis=1, dtype=np.int32)
        difference = count * (a + b)
        difference -= b * np.arange(1, self.owner.size)
        return DISTANCES[name](difference, self.gaps, self.width)


def _relative(length: np.ndarray, width: float) -> np.ndarray:
    """length/width, where two constant ensembles are at distance 0 or infinity."""
    if width > 0:
        return length / width
    return np.where(length > 0, np.inf, 0.0)


def _wasserstein(difference, gaps, width):
    return _relative(np.abs(difference, out=difference) @ gaps, width)


def _energy(difference, gaps, width):
    return np.sqrt(_relative(2 * np.square(difference, out=difference) @ gaps, width))


def _kolmogorov_smirnov(difference, gaps, width):
    # Between tied levels the cdfs have no value of their own.
    distinct = gaps > 0
    return np.abs(difference[:, distinct]).max(axis=1, initial=0.0)


DISTANCES = {"wasserstein": _wasserstein, "kolmogorov_smirnov": _kolmogorov_smirnov, "energy": _energy}


@renamed.arguments(comparison="levels")
@of_members(samples=2)
def wasserstein(
    x: ArrayLike,
    y: ArrayLike,
    per_level: bool = False,
    comparison: str = "mean",
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray | float:
    """Wasserstein-1 distance ∫|F_x − F_y| dx of two ensembles, in units of a level's own width.

    Levels that move by one standard deviation give 1.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members_x, modes)
        Levels of the first ensemble.
    y : array_like or DataArray, shape (..., members_y, modes)
        Levels of the second ensemble, in the same units.
    per_level : bool, default False
        The older way to ask for comparison="each".
    comparison : {"mean", "each", "pooled"}, default "mean"
        How many levels are compared:

        - "mean": level k with level k in units of that level's own width, averaged over the levels.
        - "each": the same without the average.
        - "pooled": the densities of all levels together, in units of the width of the whole spectrum.

    Returns
    -------
    float or ndarray or DataArray, shape (...) or (..., modes)
        Distance without unit, one for each level with "each".

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If x and y differ in their modes or leading axes, or hold a NaN.

    Notes
    -----
    The width is the root of the mean variance inside the two ensembles. "pooled" sees what a histogram shows:
    two narrow levels far apart that each move by three of their own widths count little.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> y = x + [0.0, 0.5]  # the second level moves by half of its width
    >>> dj.spectra.wasserstein(x, y, comparison="each").round(1).tolist()
    [0.0, 0.5]
    """
    return _distance(x, y, "wasserstein", which(comparison, per_level))


@renamed.arguments(comparison="levels")
@of_members(samples=2)
def kolmogorov_smirnov(
    x: ArrayLike,
    y: ArrayLike,
    per_level: bool = False,
    comparison: str = "mean",
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray | float:
    """Kolmogorov-Smirnov distance max|F_x − F_y| of two ensembles, between 0 and 1.

    For a p-value use `permutation_test`; the tabulated one assumes independent levels.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members_x, modes)
        Levels of the first ensemble.
    y : array_like or DataArray, shape (..., members_y, modes)
        Levels of the second ensemble, in the same units.
    per_level : bool, default False
        The older way to ask for comparison="each".
    comparison : {"mean", "each", "pooled"}, default "mean"
        How many levels are compared, see `wasserstein`.

    Returns
    -------
    float or ndarray or DataArray, shape (...) or (..., modes)
        Distance without unit, one for each level with "each".

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If x and y differ in their modes or leading axes, or hold a NaN.

    Examples
    --------
    >>> x = np.arange(4.0)[:, None]
    >>> dj.spectra.kolmogorov_smirnov(x, x + 1.0)  # one of four levels lies below all of the others
    0.25
    """
    return _distance(x, y, "kolmogorov_smirnov", which(comparison, per_level))


@renamed.arguments(comparison="levels")
@of_members(samples=2)
def energy_distance(
    x: ArrayLike,
    y: ArrayLike,
    per_level: bool = False,
    comparison: str = "mean",
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray | float:
    """Energy distance √(2∫(F_x − F_y)² dx / width) of two ensembles.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members_x, modes)
        Levels of the first ensemble.
    y : array_like or DataArray, shape (..., members_y, modes)
        Levels of the second ensemble, in the same units.
    per_level : bool, default False
        The older way to ask for comparison="each".
    comparison : {"mean", "each", "pooled"}, default "mean"
        How many levels are compared, see `wasserstein`.

    Returns
    -------
    float or ndarray or DataArray, shape (...) or (..., modes)
        Distance without unit, one for each level with "each".

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If x and y differ in their modes or leading axes, or hold a NaN.

    Examples
    --------
    Unlike the Wasserstein distance it grows faster than the shift while that is small.

    >>> x = np.random.default_rng(0).normal(size=(2000, 1))
    >>> [round(dj.spectra.energy_distance(x, x + shift), 2) for shift in (0.1, 0.2)]
    [0.08, 0.15]
    """
    return _distance(x, y, "energy", which(comparison, per_level))


def chance_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The `wasserstein` distance to be expected of two samples of these sizes from one law, that of both.

    x, y: shapes (members_x, modes) and (members_y, modes). The difference of two empirical cdfs is a Brownian
    bridge: E|F_x − F_y| = √(2/π) √(F(1 − F)(1/n + 1/m)), level by level, averaged over the levels.
    """
    both = np.sort(np.concatenate([x, y]), axis=0)
    cdf = np.arange(1, len(both))[:, None] / len(both)
    width = np.sqrt((len(x) * x.var(axis=0) + len(y) * y.var(axis=0)) / len(both))
    integral = np.sum(np.sqrt(cdf * (1 - cdf)) * np.diff(both, axis=0), axis=0)
    scale = np.sqrt(2 / np.pi * (1 / len(x) + 1 / len(y)))
    # A level that is constant in both samples does not move, by chance either.
    return float(np.mean(scale * integral / np.where(width > 0, width, 1.0)))


def _distance(x, y, name: str, levels: str):
    x, y = as_members("x", x), as_members("y", y)
    lead = x.shape[:-2]
    if y.shape[:-2] != lead:
        raise InputError(f"x and y must share their leading axes, got shapes {x.shape} and {y.shape}")
    values = []
    for a, b in zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True):
        first = (np.arange(len(a) + len(b)) < len(a))[None]
        found = [pool.distances(first, name)[0] for pool in PooledLevels.of(a, b, levels)]
        values.append(found if levels == "each" else np.mean(found))
    shape = (*lead, x.shape[-1]) if levels == "each" else lead
    result = np.reshape(values, shape)
    return result if shape else float(result)

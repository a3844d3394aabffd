"""Distances between two ensembles of levels, all from one function: the difference of their cdfs.

Every distance is free of units: lengths are divided by the pooled width, the root of the mean within-
ensemble variance, so that 0.1 means "a tenth of the ensemble's own spread".
"""

from dataclasses import dataclass

import numpy as np

from dysonjax.checks import InputError
from dysonjax.spectra.batching import as_members


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
    def of(cls, x: np.ndarray, y: np.ndarray, per_level: bool) -> list["PooledLevels"]:
        """One pool of all levels, or one per mode. x, y: shapes (members_x, modes), (members_y, modes)."""
        if x.shape[-1] != y.shape[-1]:
            raise InputError(
                f"x and y must have the same number of modes, got {x.shape[-1]} and {y.shape[-1]}"
            )
        if not per_level:
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
        count = np.cumsum(labels[:, self.owner[:-1]], axis=1, dtype=np.int32)
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


def wasserstein(x, y, per_level: bool = False) -> np.ndarray | float:
    """Wasserstein-1 distance ∫|F_x − F_y| dx relative to the pooled width.

    x, y: levels, shapes (..., members_x, modes) and (..., members_y, modes). All levels of an ensemble are
    pooled, giving shape (...); with `per_level` mode k is compared with mode k, giving (..., modes), each
    relative to that mode's own width. A shift by one standard deviation gives 1.

    >>> x = np.random.default_rng(0).normal(size=(2000, 1))
    >>> round(float(wasserstein(x, x + x.std())), 3)
    1.0
    """
    return _distance(x, y, "wasserstein", per_level)


def kolmogorov_smirnov(x, y, per_level: bool = False) -> np.ndarray | float:
    """Kolmogorov-Smirnov distance max|F_x − F_y|, between 0 and 1; shapes as in `wasserstein`.

    For a p-value use `permutation_test`: the tabulated one assumes independent levels.
    """
    return _distance(x, y, "kolmogorov_smirnov", per_level)


def energy_distance(x, y, per_level: bool = False) -> np.ndarray | float:
    """Energy distance √(2∫(F_x − F_y)² dx / width); shapes as in `wasserstein`."""
    return _distance(x, y, "energy", per_level)


def _distance(x, y, name: str, per_level: bool):
    x, y = as_members("x", x), as_members("y", y)
    lead = x.shape[:-2]
    if y.shape[:-2] != lead:
        raise InputError(f"x and y must share their leading axes, got shapes {x.shape} and {y.shape}")
    values = []
    for a, b in zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True):
        first = (np.arange(len(a) + len(b)) < len(a))[None]
        pools = PooledLevels.of(a, b, per_level)
        values.append([pool.distances(first, name)[0] for pool in pools])
    shape = (*lead, x.shape[-1]) if per_level else lead
    result = np.reshape(values, shape)
    return result if shape else float(result)

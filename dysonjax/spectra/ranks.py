"""Sizes of a matrix from its levels: norms, ranks, and the log-determinant of its largest levels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dysonjax.spectra.marchenko_pastur import MarchenkoPastur


@dataclass(frozen=True)
class Ranks:
    """Means over members, of matrices whose squared singular values are x."""

    spectral_norm: float
    """√x_max"""
    frobenius_norm: float
    """√Σx"""
    stable_rank: float
    """Σx/x_max"""
    effective_rank: float
    """exp of the entropy of s/Σs, s = √x: Roy & Vetterli, EUSIPCO 2007"""
    rank: int
    """levels above rounding"""
    logdet_levels: int | None
    """largest m for which the m largest levels, in units of the mean level, have a product of at least 1: the
    effective correlation space of SETOL; None where that is not meaningful"""
    logdet_start: float | None
    """smallest level of that space, units of x: to be compared with the start of the tail, which the
    condition of an exact renormalisation group wants to be the same"""


FEWEST_FOR_LOGDET = 20


def ranks(levels: np.ndarray, meaningful: bool = True) -> Ranks:
    """Sizes from levels, shape (members, modes), ascending.

    meaningful: whether the levels are those of a full-rank matrix with anything to fit. The product of its
    largest levels needs at least 20 of them, none zero and not all near 1.
    """
    top, total = levels[:, -1], levels.sum(axis=1)
    alive = top > 0
    s = np.sqrt(levels)
    share = s / np.where(s.sum(axis=1, keepdims=True) > 0, s.sum(axis=1, keepdims=True), 1.0)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    size = start = None
    if meaningful and levels.shape[1] >= FEWEST_FOR_LOGDET and (levels[:, 0] > 0).all():
        size, start = _correlation_space(levels)
    return Ranks(
        float(np.sqrt(top).mean()),
        float(np.sqrt(total).mean()),
        float((total[alive] / top[alive]).mean()) if alive.any() else 0.0,
        float(np.exp(entropy[alive]).mean()) if alive.any() else 0.0,
        int((levels > 0).sum(axis=1).max()),
        size,
        start,
    )


def _correlation_space(levels: np.ndarray) -> tuple[int, float]:
    """How many of the largest levels have a product of at least 1 in units of the mean, and the last one."""
    pooled = np.sort(levels.ravel())[::-1]
    # Of noise that is not square, or narrow spectra, nearly all levels may belong; the count says so.
    product = np.cumsum(np.log(pooled / pooled.mean()))
    size = int(np.flatnonzero(product >= 0)[-1]) + 1
    return size, float(pooled[size - 1])


@lru_cache(maxsize=64)
def noise_logdet_levels(modes: int, rows: int) -> int:
    """`logdet_levels` of one Gaussian matrix of this shape, by the law of Marchenko and Pastur."""
    return _correlation_space(MarchenkoPastur(modes / rows, 1.0).ppf((np.arange(modes) + 0.5) / modes))[0]


def logdet_meaning(start: float | None, xmin: float | None, noise: int | None) -> str:
    """What the largest levels of determinant one say. start: of their space; xmin: of the tail, if one was
    accepted; noise: how many there are in noise."""
    if start is None:
        return ""
    if xmin is None:
        return f"no accepted tail: only its distance from noise of this shape ({noise} levels) has a meaning"
    return f"starts at {start / xmin:.2f} xmin of the accepted tail; exact renormalisation wants 1"

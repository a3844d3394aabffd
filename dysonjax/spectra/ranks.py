"""Sizes of a matrix from its levels: norms, ranks, and the log-determinant of its largest levels."""

from dataclasses import dataclass

import numpy as np


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
        pooled = np.sort(levels.ravel())[::-1]
        # Of noise that is not square, or narrow spectra, nearly all levels may belong; the count says so.
        product = np.cumsum(np.log(pooled / pooled.mean()))
        inside = np.flatnonzero(product >= 0)
        size = int(inside[-1]) + 1
        start = float(pooled[size - 1])
    return Ranks(
        float(np.sqrt(top).mean()),
        float(np.sqrt(total).mean()),
        float((total[alive] / top[alive]).mean()) if alive.any() else 0.0,
        float(np.exp(entropy[alive]).mean()) if alive.any() else 0.0,
        int((levels > 0).sum(axis=1).max()),
        size,
        start,
    )

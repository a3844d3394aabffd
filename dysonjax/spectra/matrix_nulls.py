"""What of a spectrum comes from the entries' sizes alone: the same entries in another order, or with other
signs.

The shuffled matrix keeps the distribution of the entries and nothing else: outliers that survive are due to
single large entries ("correlation traps"), not to correlations. Random signs keep in addition which rows and
columns are large: what survives them is a profile of variances, not a direction that was learned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cholesky
from scipy.linalg.lapack import get_lapack_funcs

from dysonjax.spectra.spikes import noise_edge

_BUDGET = 1e10  # multiplications of all draws: a quarter of a second
FOR_A_P_VALUE = 19  # draws
_KEPT = 2**23  # entries of the largest order that is kept


@dataclass(frozen=True)
class MatrixNulls:
    """Of one matrix; draws of each null, and p-values (1 + k)/(1 + draws) that need at least 19 of them."""

    draws: int
    shuffled_outliers: float
    """levels of a shuffled matrix beyond the edge of noise with the entries' variance, mean over draws"""
    shuffled_p: float | None
    """how often a shuffled matrix has as large a level as the data"""
    signed_outliers: float
    """the same with random signs"""
    signed_p: float | None


def default_draws(rows: int, modes: int) -> int:
    """Enough for a p-value where that takes a moment, otherwise one: more would sharpen a count alone."""
    cost = 2 * rows * modes**2 + modes**3 + 100 * rows * modes
    return FOR_A_P_VALUE if cost * FOR_A_P_VALUE <= _BUDGET else 1


def matrix_nulls(weights: np.ndarray, top: float, draws: int, seed: int = 0) -> MatrixNulls:
    """Both nulls of one matrix, shape (rows, columns). top: its largest level."""
    rng = np.random.default_rng(seed)
    modes, rows = sorted(weights.shape)
    # Single precision: the edge of noise is known to a percent, levels to a millionth of the largest.
    w = np.asarray(weights if weights.shape[0] == rows else weights.T, np.float32).ravel()
    edge = noise_edge(rows * float(np.mean(np.square(w, dtype=np.float64))), rows, modes)
    known = draws >= FOR_A_P_VALUE
    counts, as_high = np.zeros((2, draws)), np.zeros((2, draws), bool)
    shuffled = _shuffled(w, seed, draws, rng)
    for draw in range(draws):
        for null, entries in enumerate((next(shuffled), w * _signs(rng, w.size))):
            matrix = entries.reshape(rows, modes)
            gram = matrix.T @ matrix
            beyond = counts[null, draw] = levels_above(gram, edge)
            # What lies beyond one of the two bounds lies beyond the lower one.
            if known and (beyond > 0) != (top > edge):
                as_high[null, draw] = beyond > 0
            elif known:
                as_high[null, draw] = levels_above(gram, top) > 0
    p = (1 + as_high.sum(axis=1)) / (1 + draws) if known else (None, None)
    shuffled_p, signed_p = (None if value is None else float(value) for value in p)
    return MatrixNulls(draws, float(counts[0].mean()), shuffled_p, float(counts[1].mean()), signed_p)


def _shuffled(w: np.ndarray, seed: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The entries in random orders."""
    if w.size > _KEPT:  # no order takes the memory of the entries
        yield from (rng.permutation(w) for _ in range(draws))
        return
    order = _order(w.size, seed)
    for draw in range(draws):
        # One permutation and a shift: as random an order as another permutation, at a third of the time.
        yield (np.roll(w, rng.integers(w.size)) if draw else w)[order]


@lru_cache(maxsize=3)
def _order(size: int, seed: int) -> np.ndarray:
    """A random order, the same for all matrices of one size: it takes as long as their levels do."""
    order = np.arange(size, dtype=np.int32)
    np.random.default_rng([seed, 1]).shuffle(order)
    return order


def levels_above(gram: np.ndarray, x: float) -> int:
    """How many eigenvalues of a symmetric matrix exceed x, by Sylvester's law of inertia.

    Their number is that of the negative pivots of x − G. Where there are none, a factorisation of Cholesky
    shows it in a tenth of the time that the levels take.
    """
    shifted = -gram
    shifted[np.diag_indices_from(shifted)] += x
    try:
        cholesky(shifted, lower=True, check_finite=False)
        return 0
    except np.linalg.LinAlgError:
        pass
    factor = get_lapack_funcs(("sytrf",), (shifted,))[0]
    pivots, places, _ = factor(shifted, lower=1)
    single = places > 0
    # Every block of two rows of Bunch and Kaufman has one eigenvalue of either sign.
    return int((np.diagonal(pivots)[single] < 0).sum() + (~single).sum() // 2)


def _signs(rng: np.random.Generator, size: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(rng.bytes(size // 8 + 1), np.uint8), count=size)
    return bits.view(np.int8) * np.int8(2) - np.int8(1)

"""What of a spectrum comes from the entries' sizes alone: the same entries in another order, or with other
signs.

The shuffled matrix keeps the distribution of the entries and nothing else: outliers that survive are due to
single large entries ("correlation traps"), not to correlations. Random signs keep in addition which rows and
columns are large: what survives them is a profile of variances, not a direction that was learned.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from dysonjax.spectra.singular_values import squared_singular_values
from dysonjax.spectra.spikes import noise_edge

# Levels up to which the whole spectrum is computed: at 768 that takes an eighth of the time of the Lanczos
# iterations that the crowded edge of noise needs.
_DENSE = 2000
_TOP = 8  # levels sought in larger ones
_BUDGET = 6e9  # multiplications of all draws: a second or two
FOR_A_P_VALUE = 19  # draws


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
    """Enough for a p-value where that takes a moment, fewer for large matrices."""
    return int(np.clip(_BUDGET // (rows * modes**2 + 3 * modes**3), 1, FOR_A_P_VALUE))


def matrix_nulls(
    weights: np.ndarray, top: float, draws: int, seed: int = 0, dense: int = _DENSE
) -> MatrixNulls:
    """Both nulls of one matrix, shape (rows, columns). top: its largest level. dense: levels up to which the
    whole spectrum is computed."""
    rng = np.random.default_rng(seed)
    modes, rows = sorted(weights.shape)
    w = np.asarray(weights, np.float32 if modes > dense or weights.dtype.itemsize < 8 else np.float64)
    edge = noise_edge(rows * float(np.mean(np.square(w, dtype=np.float64))), rows, modes)
    counts, highest = np.zeros((2, draws)), np.zeros((2, draws))
    for draw in range(draws):
        shuffled = rng.permutation(w.ravel()).reshape(w.shape)
        signs = rng.integers(0, 2, size=w.shape, dtype=np.int8) * np.int8(2) - np.int8(1)
        for null, matrix in enumerate((shuffled, w * signs)):
            found = _largest(matrix, rng, dense)
            counts[null, draw] = np.count_nonzero(found > edge)
            highest[null, draw] = found.max()
    p = (1 + (highest >= top).sum(axis=1)) / (1 + draws) if draws >= FOR_A_P_VALUE else (None, None)
    shuffled_p, signed_p = (None if value is None else float(value) for value in p)
    return MatrixNulls(draws, float(counts[0].mean()), shuffled_p, float(counts[1].mean()), signed_p)


def _largest(w: np.ndarray, rng: np.random.Generator, dense: int) -> np.ndarray:
    """The largest levels; of a large matrix eight of them, by Lanczos iterations on WᵀW."""
    if min(w.shape) <= dense:
        return squared_singular_values(w[None])[0]
    long = w if w.shape[0] >= w.shape[1] else w.T
    size = long.shape[1]
    operator = LinearOperator(
        (size, size), matvec=lambda v: long.T @ (long @ v.astype(w.dtype)), dtype=w.dtype
    )
    start = rng.normal(size=size).astype(w.dtype)
    return eigsh(operator, k=_TOP, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)

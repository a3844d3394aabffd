"""Do the levels of a matrix repel as those of a Gaussian matrix of its own shape do?

The null is simulated at the size of the data: at small N and near a hard edge the spacing ratio and the
spacings differ from their bulk laws by more than the statistical error, and neighbouring spacings of one
member are correlated. Both are in the null as they are in the data.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from dysonjax.checks import InputError, positive, positive_int
from dysonjax.spectra.batching import as_members, over_leading_axes

LARGEST_NULL = 256  # levels simulated; local statistics of larger matrices have the same law, only sharper
INDEX_MEMBERS = 10  # fewest members over which a spacing's own mean can be taken
WINDOW = 11  # spacings in the running mean that unfolds a single spectrum


@dataclass(frozen=True)
class SpacingTest:
    """Level repulsion against Gaussian matrices of the same shape; arrays of the leading shape."""

    ratio: np.ndarray
    """mean spacing ratio r̃ of the data"""
    null_ratio: np.ndarray
    """its mean under the null"""
    null_ratio_err: np.ndarray
    """its standard deviation under the null, for data of this size"""
    ratio_p: np.ndarray
    """two-sided p-value of r̃"""
    distance: np.ndarray
    """Kolmogorov-Smirnov distance of the unfolded spacings from those of the null"""
    distance_p: np.ndarray
    """its p-value"""
    unfolding: str
    """how the spacings were made free of units: index, or local (running mean of 11 spacings)"""


def spacing_test(x, ratio: float, n: int = 500, seed: int = 0) -> SpacingTest:
    """Compare spacing ratio and unfolded spacings with Gaussian matrices of the same shape.

    x: eigenvalues of WᵀW, shape (..., members, modes), ascending, at least 3 modes. ratio: r = N/M ≤ 1 with
    N = modes; take the smaller of WᵀW and WWᵀ. n: simulated ensembles; p-values are (1 + k)/(1 + n).
    From 10 members on the spacings are unfolded by index, below that by a local running mean; the null is
    treated alike. Raises ValueError for NaN, unsorted levels, fewer than 3 modes, or ratio outside (0, 1].
    """
    x = as_members("x", x)
    ratio, n = positive("ratio", ratio), positive_int("n", n, minimum=2)
    if ratio > 1:
        raise InputError(f"ratio must not exceed 1 (take the smaller Gram matrix), got {ratio:g}")
    if x.shape[-1] < 3:
        raise InputError(f"a spacing test needs at least 3 levels, got {x.shape[-1]}")
    if (np.diff(x, axis=-1) < 0).any():
        raise InputError("levels must be ascending along the last axis; sort them first")
    return over_leading_axes(lambda levels: _test(levels, ratio, n, seed), x)


def unfolded_spacings(x: np.ndarray) -> tuple[np.ndarray, str]:
    """Spacings of mean about one and the name of the method. x: (..., members, modes), ascending."""
    s = np.diff(x, axis=-1)
    if x.shape[-2] >= INDEX_MEMBERS:
        mean = s.mean(axis=-2, keepdims=True)
        return s / np.where(mean > 0, mean, 1.0), "index"
    half = min(WINDOW, s.shape[-1]) // 2
    total = np.concatenate([np.zeros_like(s[..., :1]), np.cumsum(s, axis=-1)], axis=-1)
    # The window stops at the ends of the spectrum instead of reflecting: there the density has an edge.
    first = np.maximum(np.arange(s.shape[-1]) - half, 0)
    last = np.minimum(np.arange(s.shape[-1]) + half + 1, s.shape[-1])
    mean = (total[..., last] - total[..., first]) / (last - first)
    return s / np.where(mean > 0, mean, 1.0), f"local ({2 * half + 1} spacings)"


def _test(x: np.ndarray, ratio: float, n: int, seed: int) -> SpacingTest:
    members, modes = x.shape
    null_modes = min(modes, LARGEST_NULL)
    null_ratios, null_distances, pool = _null(members, null_modes, null_modes / ratio, n, seed)
    # r̃ and √k × distance are averages over the spectrum: their spread falls as that of k spacings.
    sharper = np.sqrt((null_modes - 1) / (modes - 1))
    center = null_ratios.mean()
    null_ratios = center + (null_ratios - center) * sharper
    s, unfolding = unfolded_spacings(x)
    observed, distance = _mean_ratio(x), _distance(s.ravel()[None], pool)[0]
    tail = min(np.count_nonzero(null_ratios <= observed), np.count_nonzero(null_ratios >= observed))
    return SpacingTest(
        observed,
        center,
        null_ratios.std(ddof=1),
        min(1.0, 2 * (1 + tail) / (1 + n)),
        distance,
        (1 + np.count_nonzero(null_distances * sharper >= distance)) / (1 + n),
        unfolding,
    )


@lru_cache(maxsize=64)
def _null(members: int, modes: int, rows: float, n: int, seed: int):
    """Mean ratios and distances of `n` simulated ensembles, and their spacings pooled and sorted."""
    rng = np.random.default_rng(seed)
    ensembles = gaussian_spectra(rng, rows, modes, n * members).reshape(n, members, modes)
    s = unfolded_spacings(ensembles)[0].reshape(n, -1)
    pool = np.sort(s, axis=None)
    return np.array([_mean_ratio(x) for x in ensembles]), _distance(s, pool), pool


def gaussian_spectra(rng: np.random.Generator, rows: float, modes: int, count: int) -> np.ndarray:
    """Eigenvalues of WᵀW for Gaussian W of unit variance, ascending, shape (count, modes); rows ≥ modes.

    From the bidiagonal form of W, whose entries are independent χ (Dumitriu & Edelman, J. Math. Phys. 43,
    5830 (2002)), for which `rows` need not be whole.
    """
    freedom = rows - np.arange(modes)
    diagonal = rng.chisquare(np.maximum(freedom, 1e-3), size=(count, modes))
    off = rng.chisquare(np.arange(modes - 1, 0, -1), size=(count, modes - 1))
    main = diagonal.copy()
    main[:, 1:] += off
    side = np.sqrt(diagonal[:, :-1] * off)
    if modes > 48:
        levels = np.array([eigvalsh_tridiagonal(d, e) for d, e in zip(main, side, strict=True)])
    else:
        matrix = np.zeros((count, modes, modes))
        index = np.arange(modes)
        matrix[:, index, index] = main
        matrix[:, index[1:], index[:-1]] = side  # eigvalsh reads the lower triangle
        levels = np.linalg.eigvalsh(matrix)
    return np.maximum(levels, 0.0)


def _mean_ratio(x: np.ndarray) -> float:
    s = np.diff(x, axis=-1)
    low, high = np.minimum(s[..., 1:], s[..., :-1]), np.maximum(s[..., 1:], s[..., :-1])
    return float((low / np.where(high > 0, high, 1.0)).mean())


def _distance(s: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance of every row from the pooled sample."""
    cdf = np.searchsorted(pool, np.sort(s, axis=1), side="right") / len(pool)
    count = s.shape[1]
    return np.abs(cdf - (np.arange(count) + 0.5) / count).max(axis=1) + 0.5 / count

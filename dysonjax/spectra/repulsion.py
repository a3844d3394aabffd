"""Do the levels of a matrix repel as those of a Gaussian matrix of its own shape do?

The null is simulated at the size of the data: at small N and near a hard edge the spacing ratio and the
spacings differ from their bulk laws by more than the statistical error, and neighbouring spacings of one
member are correlated. Both are in the null as they are in the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, positive, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import Numbers, as_members, over_leading_axes
from dysonjax.spectra.members import of_members
from dysonjax.spectra.wishart_pool import LARGEST, wishart_pool

INDEX_MEMBERS = 10  # fewest members over which a spacing's own mean can be taken
MOST_MEMBERS = 500  # members tested; more would only make the simulated null take longer
WORK = 4e7  # spacings of all simulated ensembles together: some two seconds
WINDOW = 11  # spacings in the running mean that unfolds a single spectrum
# ⟨r̃⟩ in the bulk of infinite matrices, 0.5307(1): Atas et al., PRL 110, 084101 (2013). At N levels it differs
# from that by the edges' share, which falls as 1/N.
BULK_RATIO = 0.5307
MOST_NULLS = 32  # shapes whose null is kept
FEWEST_LEVELS = 50_000  # simulated for the distribution that spacings are compared with
_CELLS, _END = 4000, 10.0  # of the table of the spacings' distribution

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SpacingTest:
    """Level repulsion against Gaussian matrices of the same shape; arrays of the leading shape."""

    spacing_ratio: Numbers
    """mean spacing ratio r̃ of the data"""
    null_ratio: Numbers
    """its mean under the null"""
    null_ratio_err: Numbers
    """its standard deviation under the null, for data of this size"""
    ratio_p: Numbers
    """two-sided p-value of r̃"""
    distance: Numbers
    """Kolmogorov-Smirnov distance of the unfolded spacings from those of the null"""
    distance_p: Numbers
    """its p-value"""
    unfolding: str
    """how the spacings were made free of units: index, or local (running mean of 11 spacings)"""

    ratio = renamed.field("spacing_ratio", "ratio")


@renamed.arguments(n_resamples="n")
@keyed
@of_members(trailing=())
def spacing_test(
    x: ArrayLike,
    ratio: float,
    n_resamples: int = 500,
    key: Key = 0,
    progress: Progress | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> SpacingTest:
    """Compare spacing ratio and unfolded spacings with those of Gaussian matrices of the same shape.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Eigenvalues of WᵀW, ascending, at least 3 modes. Of more than 500 members, 500 evenly spaced ones are
        tested.
    ratio : float
        r = N/M ≤ 1 with N = modes. Take the smaller of WᵀW and WWᵀ.
    n_resamples : int, default 500
        Simulated ensembles. p-values are (1 + k)/(1 + n_resamples).
    key : int or jax.Array, default 0
        Of the simulation.
    progress : callable, optional
        Called as progress(done, total) while they are made.

    Returns
    -------
    SpacingTest
        The mean spacing ratio and the spacings beside those of the null, with p-values.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, unsorted levels, fewer than 3 modes, or a ratio outside (0, 1].

    Notes
    -----
    From 10 members on, the spacings are unfolded by index after every member was divided by its median level,
    so that members may differ in scale. Below that they are unfolded by a local running mean. The null is
    treated alike. Beyond 256 levels the null is simulated at 256. Mean ratio and distribution of spacings are
    carried on with their 1/N approach to the bulk, and their spread falls as that of independent spacings.

    Examples
    --------
    Independent levels do not repel, and the test notices.

    >>> x = dj.spectra.sample_wishart(0, n=16, m=32, shape=20)
    >>> apart = np.sort(np.random.default_rng(0).random((20, 16)), axis=1)
    >>> found = [dj.spectra.spacing_test(y, ratio=0.5, n_resamples=99) for y in (x, apart)]
    >>> [bool(test.ratio_p > 0.05) for test in found]
    [True, False]
    """
    x = as_members("x", x)
    ratio, n_resamples = positive("ratio", ratio), positive_int("n_resamples", n_resamples, minimum=2)
    if ratio > 1:
        raise InputError(f"ratio must not exceed 1 (take the smaller Gram matrix), got {ratio:g}")
    if x.shape[-1] < 3:
        raise InputError(f"a spacing test needs at least 3 levels, got {x.shape[-1]}")
    if (np.diff(x, axis=-1) < 0).any():
        raise InputError("levels must be ascending along the last axis; sort them first")
    if x.shape[-2] > MOST_MEMBERS:
        x = x[..., np.linspace(0, x.shape[-2] - 1, MOST_MEMBERS).round().astype(int), :]
    key = int(key)
    shape = (*x.shape[-2:], ratio, n_resamples, key)
    null = _MADE.get(shape) or _null(x.shape[-2], x.shape[-1], ratio, n_resamples, key, progress)
    _MADE.pop(shape, None)
    _MADE[shape] = null
    if len(_MADE) > MOST_NULLS:
        del _MADE[next(iter(_MADE))]
    return over_leading_axes(lambda levels: _test(levels, null, n_resamples), x)


def unfolded_spacings(x: np.ndarray) -> tuple[np.ndarray, str]:
    """Spacings of mean about one and the name of the method. x: (..., members, modes), ascending."""
    if x.shape[-2] >= INDEX_MEMBERS:
        return _by_index(_of_unit_scale(x)), "index"
    s = np.diff(x, axis=-1)
    half = min(WINDOW, s.shape[-1]) // 2
    total = np.concatenate([np.zeros_like(s[..., :1]), np.cumsum(s, axis=-1)], axis=-1)
    # The window stops at the ends of the spectrum instead of reflecting: there the density has an edge.
    first = np.maximum(np.arange(s.shape[-1]) - half, 0)
    last = np.minimum(np.arange(s.shape[-1]) + half + 1, s.shape[-1])
    mean = (total[..., last] - total[..., first]) / (last - first)
    return s / np.where(mean > 0, mean, 1.0), f"local ({2 * half + 1} spacings)"


def _of_unit_scale(x: np.ndarray) -> np.ndarray:
    """Spacings in units of the member's median level."""
    own = np.median(x, axis=-1, keepdims=True)
    return np.diff(x, axis=-1) / np.where(own > 0, own, 1.0)


def _by_index(s: np.ndarray) -> np.ndarray:
    mean = s.mean(axis=-2, keepdims=True)
    return s / np.where(mean > 0, mean, 1.0)


def _test(x: np.ndarray, null: "_Null", n: int) -> SpacingTest:
    s, unfolding = unfolded_spacings(x)
    observed, distance = _mean_ratios(x).mean(), np.abs(_shares(s) - null.distribution).max()
    tail = min(np.count_nonzero(null.ratios <= observed), np.count_nonzero(null.ratios >= observed))
    return SpacingTest(
        observed,
        null.center,
        null.ratios.std(ddof=1),
        min(1.0, 2 * (1 + tail) / (1 + n)),
        distance,
        (1 + np.count_nonzero(null.distances >= distance)) / (1 + n),
        unfolding,
    )


_MADE: dict[tuple, "_Null"] = {}  # by shape: the layers of a network share a few


class _Null(NamedTuple):
    center: float  # mean ratio
    ratios: np.ndarray  # of simulated ensembles, (n,)
    distribution: np.ndarray  # of their unfolded spacings, at the ends of the cells
    distances: np.ndarray  # of each ensemble from it, (n,)


def _null(members: int, modes: int, ratio: float, n: int, seed: int, progress: Progress | None) -> _Null:
    """Ensembles of `members` drawn from a pool of simulated matrices."""
    size = min(modes, LARGEST)
    most = max(n * members, FEWEST_LEVELS // size)
    pool = wishart_pool(size, size / ratio, seed, most)
    means = _mean_ratios(pool)
    # r̃ and √k × distance are averages over the spectrum: their spread falls as that of k spacings.
    sharper = np.sqrt((size - 1) / (modes - 1))
    center = BULK_RATIO + (means.mean() - BULK_RATIO) * (size / modes) if modes > size else means.mean()
    # The pool's own mean is off by what so many members are.
    blunt = np.sqrt(1 + members / len(pool) * (size / modes))
    rng = np.random.default_rng(seed)
    index = members >= INDEX_MEMBERS
    # The distance of k members is 1/√k times a law that hardly depends on k: with many levels fewer will do.
    drawn = min(members, max(INDEX_MEMBERS, 50, int(WORK / (n * size)))) if index else members
    ratios, distributions = np.empty(n), np.empty((n, _CELLS))
    spacings = _pool_spacings(pool, index)
    for i in range(n):
        chosen = rng.integers(len(pool), size=members)
        ratios[i] = means[chosen].mean()
        distributions[i] = _distribution(spacings[chosen[:drawn]], index)
        if progress is not None and i % 20 == 0:
            progress(i, n)
    distribution = distributions.mean(axis=0)
    distances = np.abs(distributions - distribution).max(axis=1)
    if modes > size:
        # Edges have spacings of their own, whose share falls as 1/N: carried on from half the size.
        half = _pool_spacings(wishart_pool(size // 2, size // 2 / ratio, seed, 2 * most), index)
        if index:
            draws = (rng.integers(len(half), size=drawn) for _ in range(n))
            half = np.mean([_distribution(half[chosen], index) for chosen in draws], axis=0)
        else:
            half = _shares(half)
        distribution = distribution + (distribution - half) * (1 - size / modes)
    if progress is not None:
        progress(n, n)
    return _Null(
        float(center),
        center + (ratios - means.mean()) * sharper * blunt,
        distribution,
        distances * np.sqrt(drawn / members) * sharper * blunt,
    )


def _mean_ratios(x: np.ndarray) -> np.ndarray:
    """Mean r̃ of every member."""
    s = np.diff(x, axis=-1)
    low, high = np.minimum(s[..., 1:], s[..., :-1]), np.maximum(s[..., 1:], s[..., :-1])
    return (low / np.where(high > 0, high, 1.0)).mean(axis=-1)


def _pool_spacings(pool: np.ndarray, index: bool) -> np.ndarray:
    return _of_unit_scale(pool) if index else unfolded_spacings(pool[:, None])[0][:, 0]


def _distribution(s: np.ndarray, index: bool) -> np.ndarray:
    return _shares(_by_index(s) if index else s)


def _shares(s: np.ndarray) -> np.ndarray:
    """Share of the spacings below the end of every cell of a fine table."""
    cell = np.minimum((s * (_CELLS / _END)).astype(int), _CELLS - 1)
    return np.cumsum(np.bincount(cell.ravel(), minlength=_CELLS)) / s.size

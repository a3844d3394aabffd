"""Long-range order of unfolded levels: number variance and spectral rigidity."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array, positive_int
from dysonjax.spectra.levels import ascending
from dysonjax.spectra.members import of_members

_WEARS = of_members(
    trailing=("length",),
    coordinates={"length": lambda found, arguments: np.atleast_1d(arguments["lengths"])},
)


@_WEARS
def number_variance(
    x: ArrayLike,
    lengths: ArrayLike,
    windows: int = 64,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray:
    """Number variance Σ²(L): the variance of the number of levels in an interval of length L.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Unfolded levels, ascending, of mean spacing one. Cut the edges off first where the unfolding is poor.
    lengths : array_like, shape (k,)
        Lengths L of the intervals, in mean spacings.
    windows : int, default 64
        Intervals of each member, evenly spread over the range that every member covers; they overlap where
        need be. The variance is over members and windows together.

    Returns
    -------
    ndarray or DataArray, shape (..., k)
        Σ²(L), without unit; of labelled levels along the dimension `length`.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If lengths are not positive, or one is longer than the range of the levels.

    Notes
    -----
    Σ² = L for Poisson levels, and (2/π²)(ln 2πL + γ + 1 − π²/8) + O(1/L) for GOE: Mehta, Random Matrices, 3rd
    ed., Eq. 16.1.4.

    Examples
    --------
    >>> x = dj.spectra.sample_beta_hermite(0, n=100, beta=1.0, shape=200)
    >>> x = dj.spectra.unfold(x, dj.spectra.Semicircle(radius=20.0))
    >>> poisson = 100 * np.sort(np.random.default_rng(0).random((200, 100)), axis=1)
    >>> [dj.spectra.number_variance(y[:, 20:-20], [5.0]).round(1).tolist() for y in (x, poisson)]
    [[0.8], [4.8]]
    """
    x, lengths = _prepare(x, lengths)
    windows = positive_int("windows", windows)
    flat = x.reshape(-1, *x.shape[-2:])
    result = [[_counts(levels, L, windows)[0].var() for L in lengths] for levels in flat]
    return np.array(result).reshape(*x.shape[:-2], lengths.size)


@_WEARS
def rigidity(
    x: ArrayLike,
    lengths: ArrayLike,
    windows: int = 64,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray:
    """Spectral rigidity Δ₃(L): the least mean square distance of the staircase from a straight line over a
    length L.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Unfolded levels, ascending, of mean spacing one.
    lengths : array_like, shape (k,)
        Lengths L of the intervals, in mean spacings.
    windows : int, default 64
        Intervals of each member, as in `number_variance`.

    Returns
    -------
    ndarray or DataArray, shape (..., k)
        Δ₃(L), without unit; of labelled levels along the dimension `length`.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        If lengths are not positive, or one is longer than the range of the levels.

    Notes
    -----
    Δ₃ = L/15 for Poisson levels, and (ln 2πL + γ − 5/4 − π²/8)/π² + O(1/L) for GOE: Mehta, Random Matrices,
    3rd ed., Eq. 16.2.4. The minimum over the line is taken in closed form: Bohigas & Giannoni, Ann. Phys. 89
    (1975) 393.

    Examples
    --------
    >>> x = dj.spectra.sample_beta_hermite(0, n=100, beta=1.0, shape=200)
    >>> x = dj.spectra.unfold(x, dj.spectra.Semicircle(radius=20.0))
    >>> dj.spectra.rigidity(x[:, 20:-20], [5.0, 10.0]).round(2).tolist()
    [0.17, 0.24]
    """
    x, lengths = _prepare(x, lengths)
    windows = positive_int("windows", windows)
    flat = x.reshape(-1, *x.shape[-2:])
    result = [[_delta3(levels, L, windows).mean() for L in lengths] for levels in flat]
    return np.array(result).reshape(*x.shape[:-2], lengths.size)


def _prepare(x: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    x, lengths = ascending(x, min_ndim=2), np.atleast_1d(finite_array("lengths", lengths, 0))
    if lengths.ndim != 1 or not (lengths > 0).all():
        raise InputError(f"lengths must be a list of positive numbers, got {lengths.tolist()}")
    shortest = (x[..., -1].min(axis=-1) - x[..., 0].max(axis=-1)).min()
    if lengths.max() > shortest:
        raise InputError(
            f"lengths must not exceed the range that all members cover, {shortest:.4g} mean spacings, "
            f"got {lengths.max():.4g}"
        )
    return x, lengths


def _counts(
    x: np.ndarray, length: float, windows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Levels in each window, shape (members, windows), first and end index, and the windows' centres."""
    low, high = x[:, 0].max(), x[:, -1].min()
    start = np.linspace(low, high - length, windows)
    # One search for all members: each is moved to a stretch of its own.
    span = (x[:, -1].max() - x[:, 0].min()) + 1.0
    shift = span * np.arange(len(x))[:, None]
    line = (x - x[:, 0].min() + shift).ravel()
    own = np.arange(len(x))[:, None] * x.shape[1]
    left = start - x[:, 0].min() + shift
    first = np.searchsorted(line, left) - own
    end = np.searchsorted(line, left + length) - own
    return end - first, first, end, start + length / 2


def _delta3(x: np.ndarray, length: float, windows: int) -> np.ndarray:
    n, first, end, centre = _counts(x, length, windows)
    # Sums over a window from running sums; centred on the spectrum to keep their digits.
    middle = x.mean()
    y, centre = x - middle, centre - middle

    def window_sum(values: np.ndarray) -> np.ndarray:
        running = np.concatenate([np.zeros((len(x), 1)), np.cumsum(values, axis=1)], axis=1)
        return np.take_along_axis(running, end, 1) - np.take_along_axis(running, first, 1)

    sum1, sum2, ranked = window_sum(y), window_sum(y**2), window_sum(y * np.arange(x.shape[1]))
    # Integrals of the staircase N(e), N², and e N over the window, and the line projected out of them.
    # e = y − centre is the position in the window, i = 1 … n the rank in it.
    e1 = sum1 - n * centre
    e2 = sum2 - 2 * centre * sum1 + n * centre**2
    rank_e = (ranked - (first - 1) * sum1) - centre * n * (n + 1) / 2
    return (
        n**2 / 16
        - (e1 / length) ** 2
        + 1.5 * n * e2 / length**2
        - 3 * (e2 / length**2) ** 2
        + ((n + 1) * e1 - 2 * rank_e) / length
    )

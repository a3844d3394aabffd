"""Bootstrap and jackknife over members.

The levels of one member repel each other and are not independent draws; resampling them one by one would
give errors that are too small or too large. Everything here draws whole members.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy import special, stats

from dysonjax import renamed
from dysonjax.checks import InputError, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import CHUNK, as_members
from dysonjax.spectra.members import MODE, Axes, of_members
from dysonjax.spectra.permutation import PermutationTest, permutation_test  # noqa: F401  (formerly here)


class ConfidenceInterval(NamedTuple):
    """Ends of a confidence interval, of the shape of the statistic."""

    low: np.ndarray
    """lower end"""
    high: np.ndarray
    """upper end"""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its sampling error. Arrays have the shape of the statistic.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(400, 3))
    >>> found = dj.spectra.bootstrap(x, lambda x: x.mean(axis=(-2, -1)))
    >>> low, high = found.confidence_interval(0.68)
    >>> bool(abs((high - low) / (2 * found.estimate_err) - 1) < 0.1)  # 68 % lie within one error
    True
    """

    BEFORE: ClassVar = ("replicates",)

    estimate: np.ndarray
    """the statistic of the data as given; of the jackknife, corrected for bias"""
    estimate_err: np.ndarray
    """standard error"""
    replicates: np.ndarray = field(repr=False)
    """the statistic of every resample, shape (n_resamples, ...); of the jackknife, with one block left out"""
    members: int = field(repr=False)
    """independent members (jackknife: blocks) behind the estimate"""
    method: str = field(repr=False, default="bootstrap")
    """bootstrap or jackknife, which decides what `confidence_interval` is"""

    def confidence_interval(self, confidence_level: float = 0.95) -> ConfidenceInterval:
        """Central confidence interval of the estimate, as results in SciPy have it.

        Parameters
        ----------
        confidence_level : float, default 0.95
            Probability with which the interval is to hold the truth.

        Returns
        -------
        ConfidenceInterval
            Lower and upper end, each of the shape of the statistic.

        Raises
        ------
        InputError
            If the level is not between 0 and 1.

        Notes
        -----
        For the bootstrap the ends are expanded percentiles of its replicates. For the jackknife they are
        those of Student's t about the estimate, since its leave-one-out values lie √(members) times too close
        together.
        """
        if not 0 < confidence_level < 1:
            raise InputError(f"confidence_level must lie between 0 and 1, got {confidence_level!r}")
        estimate, error = np.asarray(self.estimate), np.asarray(self.estimate_err)
        if self.method == "jackknife":
            width = stats.t.ppf(0.5 + confidence_level / 2, np.asarray(self.members) - 1) * error
            ends = estimate + np.stack([-width, width])
        else:
            ends = _expanded_percentile(
                np.asarray(self.replicates), np.asarray(self.members), confidence_level
            )
        if isinstance(self.estimate, xr.DataArray):
            return ConfidenceInterval(*(self.estimate.copy(data=end) for end in ends))
        return ConfidenceInterval(*ends)

    @property
    def error(self) -> np.ndarray:
        """Old name of `estimate_err`."""
        warnings.warn("error is now called estimate_err", DeprecationWarning, stacklevel=2)
        return self.estimate_err

    @property
    def interval(self) -> np.ndarray:
        """Older form of `confidence_interval()`, shape (2, ...)."""
        warnings.warn("interval is now called confidence_interval()", DeprecationWarning, stacklevel=2)
        return self._ends(0.95)

    def confidence(self, level: float) -> np.ndarray:
        """Older form of `confidence_interval`, one array for both ends.

        Parameters
        ----------
        level : float
            Probability with which the interval is to hold the truth.

        Returns
        -------
        ndarray or DataArray, shape (2, ...)
            Lower and upper end; of labelled levels along the dimension `bound`.
        """
        warnings.warn("confidence is now called confidence_interval", DeprecationWarning, stacklevel=2)
        return self._ends(level)

    def _ends(self, level: float) -> np.ndarray:
        ends = self.confidence_interval(level)
        if isinstance(self.estimate, xr.DataArray):
            coords = {**self.estimate.coords, "bound": ["lower", "upper"]}
            return xr.DataArray(np.stack(ends), coords, ("bound", *self.estimate.dims))
        return np.stack(ends)


_ESTIMATE = {"replicates": Axes((MODE,), ("replicate",))}


@renamed.arguments(n_resamples="n")
@keyed
@of_members(min_members=2, axes=_ESTIMATE)
def bootstrap(
    x: ArrayLike,
    statistic: Callable,
    n_resamples: int = 1000,
    key: Key = 0,
    vectorised: bool | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> Estimate:
    """Standard error and confidence interval of a statistic, by drawing members with replacement.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels of at least 2 members.
    statistic : callable
        Maps such an array to one without the axis of the members, as `lambda x: x.mean(axis=-2)` does, or
        with `axis=(-2, -1)`. It is called with the replicates stacked in front.
    n_resamples : int, default 1000
        Replicates, at least 2.
    key : int or jax.Array, default 0
        Of the draws.
    vectorised : bool, optional
        Whether `statistic` takes replicates that are stacked in front. With False it is called once for each
        replicate. By default the stacked form is tried, and dropped if the result lacks the axis of
        replicates.

    Returns
    -------
    Estimate
        The statistic of the data, its error and the replicates.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 2 members, or a statistic that returns another shape for a replicate than for the data.

    Notes
    -----
    The interval is the expanded percentile interval. Its percentiles are widened so that the mean of normal
    members is covered as by Student's t, which matters below about 50 members: Hesterberg, Am. Stat. 69, 371
    (2015). Errors carry the matching factor √(m/(m − 1)) for m members.

    Examples
    --------
    The mean of 100 members whose 4 levels are equal is no better known than that of 100 numbers.

    >>> x = np.random.default_rng(0).normal(size=(100, 1)).repeat(4, axis=1)
    >>> found = dj.spectra.bootstrap(x, lambda x: x.mean(axis=(-2, -1)))
    >>> bool(0.08 < found.estimate_err < 0.12)
    True
    """
    x = as_members("x", x, min_members=2)
    n_resamples = positive_int("n_resamples", n_resamples, minimum=2)
    members = x.shape[-2]
    rng = np.random.default_rng(key)
    estimate = np.asarray(statistic(x), dtype=np.float64)
    if vectorised is None:
        vectorised = _broadcasts(statistic, x, estimate)
    chunk = max(1, CHUNK // x.size) if vectorised else 1
    parts = []
    for start in range(0, n_resamples, chunk):
        draws = rng.integers(members, size=(min(chunk, n_resamples - start), members))
        if vectorised:
            parts.append(statistic(np.moveaxis(x[..., draws, :], -3, 0)))
        else:
            parts.append([statistic(x[..., draw, :]) for draw in draws])
    replicates = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    if replicates.shape != (n_resamples, *estimate.shape):
        raise InputError(
            f"statistic must map (..., members, modes) to an array without the member axis, got shape "
            f"{replicates.shape[1:]} for a replicate and {estimate.shape} for the data"
        )
    error = replicates.std(axis=0, ddof=1) * np.sqrt(members / (members - 1))
    return Estimate(estimate, error, replicates, members)


def _broadcasts(statistic: Callable, x: np.ndarray, estimate: np.ndarray) -> bool:
    """Whether the statistic keeps an axis stacked in front and treats its entries one by one."""
    try:
        both = np.asarray(statistic(np.stack([x, x[..., ::2, :].repeat(2, axis=-2)[..., : x.shape[-2], :]])))
    except Exception:
        return False  # a statistic of (members, modes) alone may raise anything when handed more axes
    return both.shape == (2, *estimate.shape) and np.allclose(both[0], estimate, equal_nan=True)


def _expanded_percentile(replicates: np.ndarray, members: np.ndarray, level: float) -> np.ndarray:
    """Ends, shape (2, ...). members: a number, or one for each leading entry of a replicate."""
    t = stats.t.ppf(0.5 + level / 2, members - 1)
    tail = special.ndtr(-np.sqrt(members / (members - 1)) * t)
    if tail.ndim == 0:
        return np.quantile(replicates, [tail, 1 - tail], axis=0)
    flat = np.moveaxis(replicates, 0, -1).reshape(tail.size, -1, len(replicates))
    ends = [
        np.full((2, len(values)), np.nan) if np.isnan(q) else np.quantile(values, [q, 1 - q], axis=-1)
        for q, values in zip(tail.ravel(), flat, strict=True)
    ]
    return np.moveaxis(np.array(ends), 1, 0).reshape(2, *replicates.shape[1:])


@renamed.arguments(n_blocks="blocks")
@of_members(min_members=2, axes=_ESTIMATE)
def jackknife(
    x: ArrayLike,
    statistic: Callable,
    n_blocks: int = 200,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> Estimate:
    """Estimate of a smooth statistic, corrected for bias, and its standard error, by leaving members out.

    It is not for quantiles and other statistics that are not smooth, where the jackknife is inconsistent: use
    `bootstrap`.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels of at least 2 members.
    statistic : callable
        Maps such an array to one without the axis of the members, as in `bootstrap`. It is called once for
        each block.
    n_blocks : int, default 200
        The largest number of blocks. With more members than that, a block of members is left out at a time.

    Returns
    -------
    Estimate
        The corrected statistic, its error and the values with one block left out. Its intervals are those of
        Student's t with blocks − 1 degrees of freedom.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 2 members or blocks.

    Examples
    --------
    The square of a mean is too large on average. The jackknife takes this bias away.

    >>> x = np.array([[1.0], [2.0], [4.0], [5.0]])
    >>> found = dj.spectra.jackknife(x, lambda x: x.mean(axis=(-2, -1)) ** 2)
    >>> bool(np.isclose(found.estimate, 3.0**2 - x.var(ddof=1) / 4))
    True
    """
    x = as_members("x", x, min_members=2)
    n_blocks = min(positive_int("n_blocks", n_blocks, minimum=2), x.shape[-2])
    block = np.arange(x.shape[-2]) % n_blocks
    full = np.asarray(statistic(x), dtype=np.float64)
    left_out = np.array([statistic(x[..., block != b, :]) for b in range(n_blocks)], dtype=np.float64)
    mean = left_out.mean(axis=0)
    error = np.sqrt((n_blocks - 1) * ((left_out - mean) ** 2).mean(axis=0))
    estimate = full - (n_blocks - 1) * (mean - full)
    return Estimate(estimate, error, left_out, n_blocks, "jackknife")

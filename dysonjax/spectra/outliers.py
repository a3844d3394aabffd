"""How many levels of an ensemble lie beyond the edge of noise, and how strong the signals behind them are."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, positive, positive_int
from dysonjax.spectra.batching import as_members, over_leading_axes
from dysonjax.spectra.fit_marchenko_pastur import fit_marchenko_pastur, nonnegative_levels
from dysonjax.spectra.members import Axes, of_members
from dysonjax.spectra.spike_null import spike_null
from dysonjax.spectra.spiked import overlaps_of, spiked, squared_strength
from dysonjax.spectra.spikes import noise_edge
from dysonjax.spectra.student import widening
from dysonjax.spectra.wishart_largest import centre_and_scale


@dataclass(frozen=True)
class Outliers:
    """Levels beyond the edge of noise. Arrays have the leading shape of the data."""

    count: np.ndarray
    """such levels of each member, (..., members)"""
    total: np.ndarray
    """of all members together"""
    edge: np.ndarray
    """units of x; the largest level of all members together lies above it with the stated probability, if
    they are noise"""
    sigma2: np.ndarray
    """σ² of the noise, fitted to the bulk of all members or as given"""
    sigma2_err: np.ndarray
    """its standard error, that of Gaussian noise of this shape; 0 if σ² was given"""


class _Shape(NamedTuple):
    """A matrix, turned so that it has rows ≥ modes; r > 1 is 1/r with σ² counted per column."""

    rows: int
    modes: int
    turn: float  # σ² of the turned matrix over that of the one given


@of_members(trailing=(), axes={"count": Axes(("member",))})
def count_outliers(
    x: ArrayLike,
    ratio: float,
    false_positives: float = 0.01,
    sigma2: float | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> Outliers:
    """Count levels of X = WᵀW beyond the edge of noise.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels in any order.
    ratio : float
        r = N/M, columns over rows of W.
    false_positives : float, default 0.01
        Probability that noise alone shows any outlier, in all members together.
    sigma2 : float, optional
        σ² = M × variance of the noise, where it is known. By default it is that of a Marchenko-Pastur fit to
        all members.

    Returns
    -------
    Outliers
        How many levels lie outside, and the edge.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For what `fit_marchenko_pastur` refuses, and for a probability outside (0, 1).

    Notes
    -----
    Where σ² is known the edge is exact: de Bruijn's Pfaffian for the largest level of a finite matrix, whose
    limit is the law of Tracy and Widom. Where σ² is fitted, the edge is moved outward for the error of σ², by
    as much as simulated noise demands when the same fit is made to it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> w = rng.normal(size=(5, 256, 64)) / 16
    >>> w[:3, 0, 0] += 2.0
    >>> levels = np.linalg.svd(w, compute_uv=False) ** 2
    >>> dj.spectra.count_outliers(levels, ratio=64 / 256, sigma2=1.0).count.tolist()
    [1, 1, 1, 0, 0]
    """
    ratio, x = _levels(x, ratio)
    false_positives = between_0_and_1("false_positives", false_positives)
    sigma2 = None if sigma2 is None else positive("sigma2", sigma2)
    return over_leading_axes(lambda y: _count(y, ratio, false_positives, sigma2), x)


@dataclass(frozen=True)
class SpikeEstimate:
    """The strongest spikes, the strongest first. Arrays are (..., spike), means over members with errors."""

    theta: np.ndarray
    """θ, units of √x"""
    theta_err: np.ndarray
    """standard error: over members, or by theory for a single one; with the error of σ²"""
    strength: np.ndarray
    """θ/θ_c"""
    overlap_right: np.ndarray
    """|⟨v, v̂⟩|² with the vector of N entries that the position implies"""
    overlap_right_err: np.ndarray
    """standard error"""
    overlap_left: np.ndarray
    """|⟨u, û⟩|² with that of M entries"""
    overlap_left_err: np.ndarray
    """standard error"""
    outside: np.ndarray
    """fraction of the members in which this level lies outside the bulk; the others enter with θ_c, so that
    θ is an upper bound where it is not 1"""
    sigma2: np.ndarray
    """σ² of the noise"""


@of_members(trailing=("spike",), axes={"sigma2": Axes(())})
def estimate_spikes(
    x: ArrayLike,
    ratio: float,
    count: int | None = None,
    sigma2: float | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> SpikeEstimate:
    """Estimate strengths θ and overlaps of spikes from levels alone, with errors from the spread of members.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels in any order.
    ratio : float
        r = N/M, columns over rows of W.
    count : int, optional
        How many of the largest levels of each member are spikes. By default the largest number that
        `count_outliers` finds in more than half of the members.
    sigma2 : float, optional
        σ² = M × variance of the noise, as in `count_outliers`.

    Returns
    -------
    SpikeEstimate
        Strengths, overlaps and their errors, the strongest spike first.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For no spike, or as many as there are levels.

    Notes
    -----
    The law is that of large matrices, see `spiked`. At 256×64, θ is right to 1 % from 1.5 θ_c on. Overlaps
    are those that the levels imply if the noise is white, not measured ones.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(8, 256, 64)) / 16
    >>> w[:, 0, 0] += 2.0
    >>> levels = np.linalg.svd(w, compute_uv=False) ** 2
    >>> found = dj.spectra.estimate_spikes(levels, ratio=64 / 256, count=1, sigma2=1.0)
    >>> bool(abs(found.theta[0] - 2.0) < 3 * found.theta_err[0])
    True
    """
    ratio, x = _levels(x, ratio)
    sigma2 = None if sigma2 is None else positive("sigma2", sigma2)
    if count is not None and positive_int("count", count) >= x.shape[-1]:
        raise InputError(f"count must leave levels to the noise: below {x.shape[-1]}, got {count}")
    if count is None:
        seen = over_leading_axes(lambda y: _count(y, ratio, 0.01, sigma2), x).count
        count = int(np.median(seen, axis=-1).max())
        if not count:
            raise InputError(
                "no level lies beyond the edge of noise in more than half of the members; give count to "
                "look at the largest levels all the same"
            )
    return over_leading_axes(lambda y: _estimate(y, ratio, count, sigma2), x)


def _levels(x, ratio: float) -> tuple[float, np.ndarray]:
    return positive("ratio", ratio), np.sort(nonnegative_levels(as_members("x", x)), axis=-1)


def between_0_and_1(name: str, value: float) -> float:
    if not positive(name, value) < 1:
        raise InputError(f"{name} must lie between 0 and 1, got {value}")
    return float(value)


def _shape(modes: int, ratio: float) -> _Shape:
    if ratio <= 1:
        return _Shape(round(modes / ratio), modes, 1.0)
    return _Shape(modes, round(modes / ratio), ratio)


def _noise(x: np.ndarray, ratio: float, sigma2: float | None) -> tuple[float, float]:
    """σ² and its standard error."""
    if sigma2 is not None:
        return sigma2, 0.0
    shape = _shape(x.shape[-1], ratio)
    fitted = float(fit_marchenko_pastur(x, ratio, n_resamples=2, n_null=0).sigma2)
    return fitted, fitted * spike_null(len(x), shape.modes, shape.rows).sigma2_err


def _count(x: np.ndarray, ratio: float, false_positives: float, known: float | None) -> Outliers:
    sigma2, error = _noise(x, ratio, known)
    rows, modes, turn = _shape(x.shape[-1], ratio)
    if known is not None:
        edge = noise_edge(sigma2 * turn, rows, modes, (1 - false_positives) ** (1 / len(x)))
    else:
        centre, scale = centre_and_scale(rows, modes)
        z = spike_null(len(x), modes, rows).edge(false_positives)
        edge = sigma2 * turn / rows * (centre + z * scale)
    count = (x > edge).sum(axis=-1)
    return Outliers(count, np.asarray(count.sum()), np.asarray(edge), np.asarray(sigma2), np.asarray(error))


def _estimate(x: np.ndarray, ratio: float, count: int, known: float | None) -> SpikeEstimate:
    sigma2, sigma2_err = _noise(x, ratio, known)
    rows = round(x.shape[-1] / ratio)
    top = x[:, ::-1][:, :count]  # (members, spikes)

    def numbers(noise: float) -> np.ndarray:
        """θ and both overlaps of every level, (3, members, spikes)."""
        y = squared_strength(top / noise, ratio)
        return np.stack([np.sqrt(noise * y), *overlaps_of(y, ratio)])

    found = numbers(sigma2)
    mean = found.mean(axis=1)
    if len(x) > 1:
        error = found.std(axis=1) / np.sqrt(len(x)) * widening(len(x))
    else:
        error = _spread(mean, sigma2, ratio, rows)
    # σ² comes from the bulk, which does not know where the spike is.
    step = 1e-4 * sigma2
    slope = (numbers(sigma2 + step) - numbers(sigma2 - step)).mean(axis=1) / (2 * step)
    error = np.hypot(error, slope * sigma2_err)
    threshold = np.sqrt(sigma2) * ratio**0.25
    edge = sigma2 * (1 + np.sqrt(ratio)) ** 2
    return SpikeEstimate(
        mean[0],
        error[0],
        mean[0] / threshold,
        mean[1],
        error[1],
        mean[2],
        error[2],
        (top > edge).mean(axis=0),
        np.asarray(sigma2),
    )


def _spread(mean: np.ndarray, sigma2: float, ratio: float, rows: int) -> np.ndarray:
    """Standard deviations of θ and overlaps of a single matrix, by the law of the outlier's position."""
    law = spiked(mean[0], np.sqrt(sigma2), ratio)
    y = np.maximum(mean[0] ** 2 / sigma2, np.sqrt(ratio) * (1 + 1e-9))
    of_y = law.spread / np.sqrt(rows) / sigma2 / (1 - ratio / y**2)
    step = 1e-5 * y
    higher, lower = overlaps_of(y + step, ratio), overlaps_of(np.maximum(y - step, np.sqrt(ratio)), ratio)
    slopes = [(high - low) / (2 * step) for high, low in zip(higher, lower, strict=True)]
    return np.stack([np.sqrt(sigma2 / y) / 2 * of_y, *(slope * of_y for slope in slopes)])

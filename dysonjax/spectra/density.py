"""The level density of an ensemble as a histogram with errors, and its Binder cumulant."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array, positive_int
from dysonjax.spectra.members import Axes, of_members

# A heavy tail makes the rule ask for millions of bins, nearly all of them empty.
MOST_BINS = 2000


class LevelDensity(NamedTuple):
    """Histogram of levels, normalised to unit area. The bins are common to all leading axes."""

    edges: np.ndarray
    """shape (bins + 1,), units of the levels"""
    density: np.ndarray
    """shape (..., bins), 1/units"""
    density_err: np.ndarray
    """shape (..., bins), standard error over members; NaN for a single member"""
    counts: np.ndarray
    """shape (..., bins), number of levels; a χ² must use these"""

    @property
    def error(self) -> np.ndarray:
        """Old name of `density_err`."""
        warnings.warn("error is now called density_err", DeprecationWarning, stacklevel=2)
        return self.density_err

    @property
    def centers(self) -> np.ndarray:
        """Middle of each bin, shape (bins,)."""
        edges = np.asarray(self.edges)
        return (edges[1:] + edges[:-1]) / 2


@of_members(
    masks=True,
    one_axis="modes",
    trailing=("bin",),
    axes={"edges": Axes(("edge",), lead=False)},
    coordinates={"bin": lambda found, arguments: found.centers},
)
def level_density(
    x: ArrayLike,
    bins: int | None = None,
    limits: tuple[float, float] | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> LevelDensity:
    """Histogram of all levels of an ensemble, with errors over its members.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels in any order. Every entry of the leading axes has a density of its own in common bins.
    bins : int, optional
        Number of bins. By default their width is 2 IQR/n^{1/3} for n levels, after Freedman and Diaconis, and
        there are at most 2000.
    limits : tuple of float, optional
        Lower and upper edge, by default the smallest and the largest level. Levels outside are left out of
        the counts, not of the normalisation.

    Returns
    -------
    LevelDensity
        Edges, densities, their errors and the counts. Errors are over members, because the levels of one
        member are correlated.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 2 levels, or limits that are not finite and ascending.

    Examples
    --------
    >>> x = dj.spectra.sample_goe(0, n=10, shape=1000)
    >>> found = dj.spectra.level_density(x, bins=20)
    >>> exact = dj.spectra.GOEDensity(n=10).pdf(found.centers)
    >>> z = (found.density - exact)[5:-5] / found.density_err[5:-5]  # in the bulk
    >>> bool(np.abs(z).mean() < 2)
    True
    """
    alive = ~np.ma.getmaskarray(x).any(axis=-1) if np.ma.isMaskedArray(x) else None
    x = np.atleast_2d(finite_array("x", np.ma.getdata(x)) if alive is None else np.ma.getdata(x))
    alive = np.ones(x.shape[:-1], dtype=bool) if alive is None else alive
    known = finite_array("x", x[alive])
    if known.size < 2:
        raise InputError(f"x must hold at least 2 levels for a density, got {known.size}")
    low, high = (float(known.min()), float(known.max())) if limits is None else map(float, limits)
    if not (np.isfinite([low, high]).all() and (low < high or limits is None)):
        raise InputError(f"limits must be two finite numbers in ascending order, got {limits!r}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    if bins is None:
        lower, upper = np.quantile(known, [0.25, 0.75])
        width = 2 * (upper - lower) / known.size ** (1 / 3)
        bins = int(min(np.ceil((high - low) / width), MOST_BINS)) if width > 0 else int(np.sqrt(known.size))
    bins = positive_int("bins", bins)
    edges = np.linspace(low, high, bins + 1)
    lead, members = x.shape[:-2], alive.sum(axis=-1)
    point = np.broadcast_to(np.arange(members.size).reshape(*lead, 1), alive.shape)[alive]
    where = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, bins - 1) + bins * point[:, None]
    inside = (known >= low) & (known <= high)
    cells = bins * members.size
    counts = np.bincount(where[inside], minlength=cells).reshape(*lead, bins)
    # Σ over members of (their count in a bin)², without a dense table of members × bins.
    rows = np.broadcast_to(np.arange(len(known))[:, None], known.shape)
    own, number = np.unique(rows[inside] * cells + where[inside], return_counts=True)
    squares = np.bincount(own % cells, weights=number.astype(float) ** 2, minlength=cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        m = members[..., None].astype(float)
        scale = bins / (high - low) / (m * x.shape[-1])
        spread = np.maximum(squares.reshape(*lead, bins) - counts**2 / m, 0)
        density, error = counts * scale, scale * np.sqrt(spread * m / (m - 1))
    return LevelDensity(edges, density, error, counts)


@of_members(along=("center",))
def binder_cumulant(
    x: ArrayLike,
    center: ArrayLike | None = None,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> np.ndarray | float:
    """Binder cumulant of levels, U₄ = ⟨x⁴⟩/(3⟨x²⟩²) − 1.

    It is −4/27 for a degenerate pair and 0 for a Gaussian.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Levels. The average is over members and modes.
    center : array_like or DataArray, optional
        What levels are counted from, broadcast against the leading axes; by default the mean level.

    Returns
    -------
    float or ndarray or DataArray, shape (...)
        U₄, without unit.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For fewer than 2 levels, or if all levels of an ensemble equal the center.

    Notes
    -----
    [C].

    Examples
    --------
    >>> pairs = dj.spectra.TwoMode(sigma=0.3, center=5.0).rvs((20000, 2), random_state=0)
    >>> bool(abs(dj.spectra.binder_cumulant(pairs) + 4 / 27) < 0.01)
    True
    """
    x = finite_array("x", x, 2)
    if x.shape[-1] * x.shape[-2] < 2:
        raise InputError(f"x must hold at least 2 levels per ensemble, got shape {x.shape}")
    middle = x.mean(axis=(-2, -1)) if center is None else finite_array("center", center, 0)
    y = x - np.asarray(middle)[..., None, None]
    # Rescaled, so that the fourth power cannot overflow.
    size = np.abs(y).max(axis=(-2, -1), keepdims=True)
    if (size == 0).any():
        raise InputError("x has no spread about its center, so that the Binder cumulant is undefined")
    y = y / size
    value = (y**4).mean(axis=(-2, -1)) / (3 * (y**2).mean(axis=(-2, -1)) ** 2) - 1
    return float(value) if np.ndim(value) == 0 else value

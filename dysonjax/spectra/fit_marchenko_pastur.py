"""Marchenko-Pastur fits with free width σ² and area A, where 1 − A of the levels belong to a tail."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, one_of, positive, positive_int
from dysonjax.keys import Key, keyed
from dysonjax.spectra.batching import Numbers, as_members, over_leading_axes
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.marchenko_pastur_match import (
    COARSE,
    FINE,
    NO_KURTOSIS,
    Bins,
    counts,
    even_bins,
    match,
)
from dysonjax.spectra.marchenko_pastur_notes import advice
from dysonjax.spectra.marchenko_pastur_null import (
    draws,
    noise_fits,
    scale_spread,
    template_error,
    template_of,
    to_common_scale,
    two_sided,
)
from dysonjax.spectra.members import of_members
from dysonjax.spectra.student import widening

MIN_LEVELS = 8


@dataclass(frozen=True)
class MarchenkoPasturFit:
    """ρ(x) = A × the law of noise of this shape, [A] Eq. 3.3. Arrays have the leading shape of the data."""

    sigma2: Numbers
    """σ², units of x; with a common scale the mean over the matrices"""
    area: Numbers
    """A, the fraction of the levels that the law accounts for; least squares may exceed 1 by noise"""
    sigma2_err: Numbers
    """standard error by bootstrap over members, widened as Student's t; NaN for a single member"""
    area_err: Numbers
    """standard error of `area`; NaN for a single member"""
    lower: Numbers
    """x₋, units of x"""
    upper: Numbers
    """x₊, units of x"""
    ratio: float
    """r = N/M"""
    method: str
    """least_squares or likelihood"""
    p_value: Numbers
    """goodness of fit: how often noise of this shape lies as far from its own fit over the bulk; NaN without
    simulated ensembles. A small value says that A and σ² describe something else than such noise"""
    area_p: Numbers
    """two-sided p-value of A under the same noise, where A = 1: small and A < 1 for a tail"""
    scale_spread: Numbers
    """relative spread of the matrices' scales beyond that of noise, of their median levels; NaN for one"""
    note: np.ndarray
    """what to know before reading A and σ², in sentences; empty if nothing speaks against them"""


@renamed.arguments(n_resamples="n", n_matrices="matrices", n_null="null")
@keyed
@of_members(trailing=())
def fit_marchenko_pastur(
    x: ArrayLike,
    ratio: float,
    method: str = "least_squares",
    n_resamples: int = 300,
    key: Key = 0,
    n_matrices: int = 1,
    common_scale: bool = False,
    n_null: int = 199,
    *,
    member_axis: int | str | None = None,
    nan_policy: str = "raise",
) -> MarchenkoPasturFit:
    """Fit area A and width σ² of a Marchenko-Pastur density to eigenvalues of X = WᵀW.

    Levels of a tail, if there is one, are left unexplained: A is the fraction of the others.

    Parameters
    ----------
    x : array_like or DataArray, shape (..., members, modes)
        Eigenvalues ≥ 0, in any order.
    ratio : float
        r = N/M, columns over rows of W.
    method : {"least_squares", "likelihood"}, default "least_squares"
        "least_squares" compares the density, as [A] does. "likelihood" maximises the probability of the
        levels up to the edge and counts the others, assuming nothing about where those lie.
    n_resamples : int, default 300
        Bootstrap replicates over members, for the errors.
    key : int or jax.Array, default 0
        Of bootstrap and simulation.
    n_matrices : int, default 1
        From how many matrices of one shape a member's levels come, one after the other, such as the heads of
        a network. They are fitted together and resampled together.
    common_scale : bool, default False
        Bring every matrix to the same median level first.
    n_null : int, default 199
        Ensembles of Gaussian matrices of the same shape that are simulated for the p-values, 0 for none.

    Returns
    -------
    MarchenkoPasturFit
        σ², A, their errors and p-values. σ² scales exactly with the data. For r > 1 it still is M times the
        variance of an entry, and A refers to the levels that are not zero.

    Other Parameters
    ----------------
    member_axis : int or str, optional
        Where the members are, if not next to last; of labelled levels the name of their dimension.
    nan_policy : {"raise", "propagate", "omit"}, default "raise"
        Refuse NaN, answer NaN where one went in, or leave out whole members that hold one.

    Raises
    ------
    InputError
        For NaN, levels that are negative beyond rounding, ratio ≤ 0, a ratio > 1 without the zero levels that
        belong to it, fewer than 8 levels that are not zero, or levels that are mostly zero.

    Notes
    -----
    The law is the exact one of Gaussian matrices of this size (`WishartDensity`), whose limit is the law of
    Marchenko and Pastur, [A] Eq. 3.3. It is corrected to order 1/N for the kurtosis of the entries, which is
    fitted between −2 and 0.3, so that it also fits uniform entries. Bins are of equal width in √x, where the
    density stays finite at r = 1. For r > 1 the N − M zero levels are set aside.

    Matrices that differ in scale look, when pooled, like a bulk with a tail: Gaussian ones that differ by 30
    % like A = 0.94. `common_scale` removes that. Entries that are not Gaussian then leave a bias of order
    1/N: uniform ones of 64 × 16 give A = 1.003 and σ² 1 % high.

    Examples
    --------
    >>> w = np.random.default_rng(0).normal(size=(50, 64, 16))
    >>> levels = np.linalg.svd(w, compute_uv=False) ** 2
    >>> fit = dj.spectra.fit_marchenko_pastur(levels, ratio=16 / 64, n_resamples=50, n_null=49)
    >>> bool(abs(fit.sigma2 / 64 - 1) < 0.02), bool(abs(fit.area - 1) < 0.02), str(fit.note)
    (True, True, '')
    """
    ratio = positive("ratio", ratio)
    one_of("method", method, ("least_squares", "likelihood"))
    n_resamples, n_null = (
        positive_int("n_resamples", n_resamples, minimum=2),
        positive_int("n_null", n_null, minimum=0),
    )
    x = nonnegative_levels(as_members("x", x))
    if x.shape[-1] % positive_int("n_matrices", n_matrices):
        raise InputError(f"n_matrices must divide the number of levels, {x.shape[-1]}, got {n_matrices}")
    # (..., members, matrices, levels of one): each matrix has its own zeros and its own scale.
    x = np.sort(x.reshape(*x.shape[:-1], n_matrices, -1), axis=-1)
    if ratio > 1:
        x = _without_zeros(x, ratio)
    levels = x.shape[-3] * x.shape[-2] * x.shape[-1]
    if levels < MIN_LEVELS:
        raise InputError(f"a Marchenko-Pastur fit needs at least {MIN_LEVELS} non-zero levels, got {levels}")
    return over_leading_axes(
        lambda y: _fit(y, ratio, method, n_resamples, int(key), common_scale, n_null), x, core=3
    )


def nonnegative_levels(x: np.ndarray) -> np.ndarray:
    """Eigenvalues with rounding errors below zero clipped; anything more negative is refused."""
    lowest, rounding = x.min(), -1e-6 * np.abs(x).max()
    if lowest < rounding:
        raise InputError(f"eigenvalues of WᵀW must not be negative, but the smallest is {lowest:.6g}")
    return np.maximum(x, 0.0)


def _without_zeros(x: np.ndarray, ratio: float) -> np.ndarray:
    zeros = round(x.shape[-1] * (1 - 1 / ratio))
    if (x[..., :zeros] > 1e-6 * x.max(axis=-1, keepdims=True)).any():
        raise InputError(
            f"ratio {ratio:g} means that {zeros} of {x.shape[-1]} levels of a matrix are zero, but they are "
            f"not: ratio is columns over rows of W, perhaps {1 / ratio:g}"
        )
    return x[..., zeros:]


def _fit(
    x: np.ndarray, ratio: float, method: str, n_resamples: int, seed: int, common_scale: bool, null: int
) -> MarchenkoPasturFit:
    # WᵀW and WWᵀ share their non-zero levels: r > 1 is 1/r with σ² counted per column.
    shape = min(ratio, 1 / ratio)
    members, matrices, modes = x.shape
    own = np.median(x, axis=-1)  # the scale of each matrix
    template = template_of(modes, shape, common_scale)
    scale = np.median(x) / template.median
    if not scale > 0 or (common_scale and not own.min() > 0):
        hint = f", as for a ratio of {1 / ratio:g}" if ratio < 1 else ""
        raise InputError(
            f"more than half of the levels are zero{hint}; a Marchenko-Pastur fit needs non-zero levels"
        )
    y = to_common_scale(x.reshape(-1, modes)) if common_scale else x
    root = np.sqrt(y / scale).reshape(members, -1)
    rng = np.random.default_rng(seed)
    weights = np.ones((1, members))
    if members > 1:
        weights = np.concatenate([weights, draws(rng, members, members, n_resamples)])
    stop = np.sqrt(COARSE.high * template.limit.upper)
    bins = even_bins(root, stop)
    total = counts(root, bins.edges).sum(axis=0, keepdims=True) / x.size
    center = match(total, bins, template, COARSE, "least_squares", NO_KURTOSIS).sigma2[0]
    bins = even_bins(root / np.sqrt(center), stop)
    if method == "likelihood":
        bins = Bins(float(np.sqrt(template.limit.upper)), 100)
    found = match(weights @ counts(root / np.sqrt(center), bins.edges) / x.size, bins, template, FINE, method)
    sigma2, error, area_error = found.sigma2 * center * scale / max(ratio, 1.0), np.nan, np.nan
    if common_scale:
        sigma2 *= weights @ own.mean(axis=1) / (members * own.mean())
    if members > 1:
        few = widening(members)
        few *= template_error(template, members * matrices) if common_scale else 1.0
        error, area_error = (few * values[1:].std(ddof=1) for values in (sigma2, found.area))
    p_value = area_p = np.nan
    if null:
        noise = noise_fits(members * matrices, modes, shape, common_scale, bins, method, null, seed)
        p_value = (1 + np.count_nonzero(noise.misfit >= found.misfit[0])) / (1 + null)
        area_p = two_sided(noise.area, found.area[0])
    spread = scale_spread(rng, own.ravel(), modes, shape)
    note = advice(x, shape, found.area[0], p_value, area_p, *spread, common_scale)
    law = MarchenkoPastur(ratio, sigma2[0])
    return MarchenkoPasturFit(
        sigma2[0], found.area[0], error, area_error, law.lower, law.upper, ratio, method,
        p_value, area_p, spread[0], np.asarray(note),
    )  # fmt: skip

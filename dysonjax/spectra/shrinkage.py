"""Take the noise out of a matrix: optimal shrinkage of singular values.

Gavish & Donoho, IEEE Trans. Inf. Theory 63, 2137 (2017): of all estimates that keep the singular vectors of
W = signal + noise and change its singular values one by one, these lose least in the limit of large matrices.
Their value for the operator norm is that of square matrices; the one here holds for every shape (Leeb, Stat.
Probab. Lett. 186 (2022)).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array, one_of, positive
from dysonjax.spectra.outliers import between_0_and_1, count_outliers
from dysonjax.spectra.spiked import overlaps_of, squared_strength

LOSSES = ("frobenius", "operator", "nuclear")
MIN_SIDE = 8  # levels that a fit of σ² needs


def shrink(values: ArrayLike, sigma: float, ratio: float, loss: str = "frobenius") -> np.ndarray:
    """Singular values of the signal that belong to those of W = signal + noise.

    Parameters
    ----------
    values : array_like
        Singular values of W, any shape.
    sigma : float
        σ > 0, where σ² = M × variance of the noise.
    ratio : float
        r = N/M, columns over rows.
    loss : {"frobenius", "operator", "nuclear"}, default "frobenius"
        Norm of the difference to the signal that is made smallest.

    Returns
    -------
    ndarray
        Shrunk values, of the shape of `values`; 0 inside the bulk of the noise.

    Raises
    ------
    InputError
        For negative values or another loss.

    Notes
    -----
    θ is the strength that belongs to a value, and c, s are the cosine and the sine of the angle by which
    noise turns the right vector, c̃, s̃ those of the left one. The result is θ c c̃ for the Frobenius norm, θ
    (c c̃ − s s̃), but not below 0, for the nuclear norm, and θ times the smaller of c/c̃ and c̃/c for the
    operator norm (θ alone for square matrices): the difference to the signal then has a singular vector along
    the one that turned more. Gavish & Donoho, IEEE Trans. Inf. Theory 63, 2137 (2017); Leeb, Stat. Probab.
    Lett. 186 (2022).

    Examples
    --------
    Noise has singular values up to σ(1 + √r) = 1.5, so that 1.4 tells of no signal.

    >>> dj.spectra.shrink([1.4, 3.0], sigma=1.0, ratio=0.25).round(4).tolist()
    [0.0, 2.5617]
    """
    values = finite_array("values", values, min_ndim=0)
    if (values < 0).any():
        raise InputError(f"values must be singular values, which are not negative, got {values.min():g}")
    sigma, ratio = positive("sigma", sigma), positive("ratio", ratio)
    one_of("loss", loss, list(LOSSES))
    y = squared_strength((values / sigma) ** 2, ratio)
    theta, right, left = sigma * np.sqrt(y), *overlaps_of(y, ratio)
    outside = values > sigma * (1 + np.sqrt(ratio))
    if loss == "operator":
        with np.errstate(invalid="ignore"):
            best = theta * np.sqrt(np.minimum(right, left) / np.maximum(right, left))
    else:
        best = theta * np.sqrt(right * left)
        if loss == "nuclear":
            best = np.maximum(best - theta * np.sqrt((1 - right) * (1 - left)), 0)
    return np.where(outside, best, 0.0)


@dataclass(frozen=True)
class Denoised:
    """A matrix, or an ensemble of them, taken apart: signal + noise is what was given."""

    signal: np.ndarray
    """what lies beyond the edge of noise, its singular values shrunk; (..., M, N)"""
    noise: np.ndarray
    """the rest, (..., M, N)"""
    rank: np.ndarray
    """of the signal, one for each matrix"""
    sigma2: float
    """σ² = M × variance of the noise"""


def denoise(
    w: ArrayLike, loss: str = "frobenius", sigma2: float | None = None, false_positives: float = 0.01
) -> Denoised:
    """Remove the noise part of a weight matrix, or of matrices of one shape that share their noise.

    Parameters
    ----------
    w : array_like, shape (M, N) or (members, M, N)
        The matrices.
    loss : {"frobenius", "operator", "nuclear"}, default "frobenius"
        What the signal is to be close in, see `shrink`.
    sigma2 : float, optional
        σ² = M × variance of the noise, where it is known. By default it is that of a Marchenko-Pastur fit to
        the levels of all matrices.
    false_positives : float, default 0.01
        Probability that pure noise is left with a signal, in any of all matrices together.

    Returns
    -------
    Denoised
        Signal, noise, rank of the signal and σ².

    Raises
    ------
    InputError
        For another shape, or for fewer than 8 rows or columns without sigma2.

    Notes
    -----
    A tail that is not low rank plus white noise is treated as if it were: look at the p-value of
    `fit_marchenko_pastur` first.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = 2 * np.outer(np.eye(200)[0], np.eye(100)[0])
    >>> found = dj.spectra.denoise(signal + rng.normal(size=(200, 100)) / np.sqrt(200), sigma2=1.0)
    >>> int(found.rank), bool(np.linalg.norm(found.signal - signal) < 1.5)
    (1, True)
    """
    w = finite_array("w", w, min_ndim=2)
    if w.ndim > 3 or 0 in w.shape:
        raise InputError(f"w must have shape (M, N) or (members, M, N), got {w.shape}")
    rows, columns = w.shape[-2:]
    if sigma2 is None and min(rows, columns) < MIN_SIDE:
        raise InputError(
            f"w must have at least {MIN_SIDE} rows and columns to fit its noise, got {rows}×{columns}; "
            "give sigma2"
        )
    between_0_and_1("false_positives", false_positives)
    one_of("loss", loss, list(LOSSES))
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    ratio = columns / rows
    levels = np.zeros((*s.shape[:-1], columns))  # with the zeros of a matrix with more columns than rows
    levels[..., : s.shape[-1]] = s**2
    found = count_outliers(np.atleast_2d(levels), ratio, false_positives, sigma2)
    rank = np.reshape(found.count, s.shape[:-1])
    best = shrink(s, float(np.sqrt(found.sigma2)), ratio, loss)
    best = np.where(np.arange(s.shape[-1]) < rank[..., None], best, 0.0)
    signal = (u * best[..., None, :]) @ vt
    return Denoised(signal, w - signal, rank, float(found.sigma2))

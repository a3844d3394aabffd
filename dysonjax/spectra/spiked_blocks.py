"""A signal of rank one in noise whose columns have unequal variances: outlier, overlaps and threshold.

W = u wᵀ + G T^{1/2}, shape (M, N), G_ij ~ N(0, 1/M), r = N/M, T diagonal with the variances τ_b on a fraction
c_b of the columns; u of unit length, w = Σ_b θ_b v_b, where v_b is the part of a unit vector v in block b and
|v_b|² = p_b. As for a teacher v that is learned at another rate in each block.

Outside of the bulk the resolvents of the noise become deterministic (Silverstein & Bai, J. Multivariate Anal.
54, 175 (1995)): (T^{1/2}GᵀGT^{1/2} − x)^{-1} → −(1/x)(1 − gT)^{-1} and (GTGᵀ − x)^{-1} → −g, where
x(g) = 1/g + r Σ_b c_b τ_b/(1 − τ_b g) decreases on 0 < g < g_e to its minimum, the edge x_e = x(g_e). With
the method of Benaych-Georges & Nadakuditi (2012) a singular value √x of W beyond the edge solves
F(g) = g Σ_b p_b θ_b²/(1 − τ_b g) = 1, and F grows: there is one if and only if F(g_e) > 1. From the residue
of the resolvent there, |⟨u, û⟩|² = −g x′(g)/F′(g) and
|⟨v, v̂⟩|² = |⟨u, û⟩|² [Σ_b p_b θ_b/(1 − τ_b g)]²/x. With one block these are the formulas of `spiked`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array, positive


class SpikedBlocks(NamedTuple):
    """What a spike looks like in noise of block variances. Arrays of the leading shape of θ and τ."""

    strength: np.ndarray
    """√F(g_e): how many times stronger than at the transition it is; below 1 it leaves no trace"""
    position: np.ndarray
    """the outlier of X = WᵀW, units of τ; the edge of the bulk for strength ≤ 1"""
    overlap_right: np.ndarray
    """|⟨v, v̂⟩|²; 0 for strength ≤ 1"""
    overlap_left: np.ndarray
    """|⟨u, û⟩|²"""
    edge: np.ndarray
    """x_e of the bulk"""
    edge_scale: np.ndarray
    """M^{2/3} × the scale of the fluctuations of Tracy and Widom at the edge, (x″(g_e)/2)^{1/3}"""


def spiked_blocks(
    theta: ArrayLike, variance: ArrayLike, ratio: float, share: ArrayLike | None = None
) -> SpikedBlocks:
    """Position and overlaps of a spike of strengths θ_b ≥ 0 in noise of variances τ_b ≥ 0.

    Parameters
    ----------
    theta : array_like, shape (..., block)
        Strengths θ_b ≥ 0 of the signal, units of W.
    variance : array_like, shape (..., block)
        τ_b ≥ 0, M times the variance of an entry. Broadcasts with `theta`.
    ratio : float
        r = N/M > 0.
    share : array_like, shape (block,), optional
        Fractions of the columns in each block, positive, with the sum 1; the signal is spread in the same
        way. By default blocks are of equal size. At finite N the shares p_b of a drawn vector v scatter by
        √(2 c_b(1 − c_b)/N).

    Returns
    -------
    SpikedBlocks
        Position, overlaps and threshold.

    Raises
    ------
    InputError
        For negative values, no noise at all, or shares that are not positive or do not sum to 1.

    Examples
    --------
    >>> law = dj.spectra.spiked_blocks([2.0, 1.0], [1.0, 0.25], ratio=0.25)
    >>> law.position.round(4).item(), law.overlap_left.round(4).item()
    (3.5915, 0.7154)
    """
    theta, tau = finite_array("theta", theta, min_ndim=1), finite_array("variance", variance, min_ndim=1)
    ratio = positive("ratio", ratio)
    theta, tau = np.broadcast_arrays(theta, tau)
    for name, value in (("theta", theta), ("variance", tau)):
        if (value < 0).any():
            raise InputError(f"{name} must not be negative, got {value.min():g}")
    largest = tau.max(axis=-1)
    if not (largest > 0).all():
        raise InputError("variance must be positive in one block at least")
    c = np.full(tau.shape[-1], 1 / tau.shape[-1]) if share is None else finite_array("share", share)
    if c.shape != tau.shape[-1:] or (c <= 0).any() or abs(c.sum() - 1) > 1e-9:
        raise InputError(f"share must be {tau.shape[-1]} positive fractions with the sum 1, got {c.tolist()}")
    # In units of the largest variance, so that 0 < g < 1.
    tau, y = tau / largest[..., None], theta**2 / largest[..., None]

    def inside(g):
        return 1 - tau * g[..., None]

    def slope(g):
        return -1 / g**2 + ratio * np.sum(c * (tau / inside(g)) ** 2, axis=-1)

    def signal(g):
        return g * np.sum(c * y / inside(g), axis=-1)

    end = _root(slope, largest.shape, np.ones(largest.shape))
    strength = np.sqrt(signal(end))
    g = np.minimum(_root(lambda g: signal(g) - 1, largest.shape, end), end)

    def place(g):
        return 1 / g + ratio * np.sum(c * tau / inside(g), axis=-1)

    left = -g * slope(g) / np.sum(c * y / inside(g) ** 2, axis=-1).clip(1e-300)
    right = left * np.sum(c * np.sqrt(y) / inside(g), axis=-1) ** 2 / place(g)
    seen = strength > 1
    curvature = 2 / end**3 + 2 * ratio * np.sum(c * (tau / inside(end)) ** 3, axis=-1)
    return SpikedBlocks(
        strength,
        largest * place(g),
        np.where(seen, right, 0.0),
        np.where(seen, left, 0.0),
        largest * place(end),
        largest * np.cbrt(curvature / 2),
    )


def strength_at(x, theta, variance, ratio: float) -> np.ndarray:
    """The strength that an outlier at x means if its θ_b have the ratios given: √(F(g_e)/F(g(x))), 1 inside
    the bulk and where all θ_b are zero. Shapes and units as in `spiked_blocks`, x of the leading shape."""
    theta, tau = np.broadcast_arrays(np.asarray(theta, float), np.asarray(variance, float))
    largest = tau.max(axis=-1)
    tau, x = tau / largest[..., None], np.asarray(x, float) / largest
    c = 1 / tau.shape[-1]

    def sums(g, values, power=1):
        return np.sum(c * values / (1 - tau * g[..., None]) ** power, axis=-1)

    end = _root(lambda g: -1 / g**2 + ratio * sums(g, tau**2, 2), largest.shape, np.ones(largest.shape))
    g = _root(lambda g: x - 1 / g - ratio * sums(g, tau), largest.shape, end)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.sqrt(end * sums(end, theta**2) / (g * sums(g, theta**2)))
    return np.where(np.isfinite(x), np.where(np.isfinite(found), np.maximum(found, 1), 1.0), np.nan)


def _root(function, shape, end) -> np.ndarray:
    """Where a growing function of 0 < g < end is zero, by bisection; the end if it is nowhere."""
    low, high = np.zeros(shape), np.array(np.broadcast_to(end, shape), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(60):
            middle = (low + high) / 2
            above = function(middle) > 0
            low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2

"""Marchenko-Pastur fits with free width σ² and area A, where 1 − A of the levels belong to a tail."""

from dataclasses import dataclass

import numpy as np

from dysonjax.checks import InputError, one_of, positive, positive_int
from dysonjax.spectra.batching import as_members, over_leading_axes
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur

MIN_LEVELS = 8
_COARSE = np.geomspace(0.1, 8.0, 350)  # σ² in units of the median's σ²: a tail of half the levels is inside
_FINE = np.geomspace(0.7, 1.4, 141)  # about the first estimate; in steps of 0.5 %, then interpolated
# Blur of √x that the fit may choose from, where 1 is the full excess variance of Gaussian matrices. Finite N
# smears the edges; without it A of 64×16 Gaussian matrices comes out as 0.98.
_BLUR = (0.0, 0.45, 0.9)
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


@dataclass(frozen=True)
class MarchenkoPasturFit:
    """ρ(x) = A × Marchenko-Pastur(ratio, σ²), [A] Eq. 3.3. Arrays have the leading shape of the data."""

    sigma2: np.ndarray
    """σ², units of x"""
    area: np.ndarray
    """A, the fraction of the levels that the law accounts for; least squares may exceed 1 by noise"""
    sigma2_err: np.ndarray
    """standard error by bootstrap over members; NaN for a single member"""
    area_err: np.ndarray
    """standard error of `area`; NaN for a single member"""
    lower: np.ndarray
    """x₋, units of x"""
    upper: np.ndarray
    """x₊, units of x"""
    ratio: float
    """r = N/M"""
    method: str
    """least_squares or likelihood"""


def fit_marchenko_pastur(
    x, ratio: float, method: str = "least_squares", n: int = 300, seed: int = 0, matrices: int = 1
) -> MarchenkoPasturFit:
    """Fit A and σ² of A·ρ_MP to eigenvalues of X = WᵀW, whose tail, if any, is left unexplained.

    x: eigenvalues ≥ 0, shape (..., members, modes), in any order. ratio: r = N/M, columns over rows of W.
    method: `least_squares` compares the density, as in [A]; `likelihood` maximises the probability of the
    levels up to the edge and counts the others, assuming nothing about where those lie; on small noise
    matrices its σ² is some 0.5 to 1 % low. n: bootstrap replicates over members for the errors.
    matrices: from how many matrices of the same shape a member's levels come, such as the heads of one
    network: they are fitted together and resampled together.

    The density is compared in bins of equal width in √x, where it stays finite at r = 1, and the bins hold
    the integral of the law, not its value at the centre, so that they may be wide. The law may be blurred
    by up to what finite N does to its edges, whichever amount fits best. All of it happens in units of the
    median: the result scales exactly with the data. For r > 1 the N − M zero levels are set aside,
    `area` refers to the others and `sigma2` still is M times the variance of an entry.
    Raises ValueError for NaN, negative levels beyond rounding, ratio ≤ 0, fewer than 8 non-zero levels, or
    levels that are mostly zero.

    >>> w = np.random.default_rng(0).normal(size=(50, 64, 16))
    >>> fit = fit_marchenko_pastur(np.linalg.svd(w, compute_uv=False) ** 2, ratio=16 / 64)
    >>> bool(abs(fit.sigma2 / 64 - 1) < 0.02), bool(abs(fit.area - 1) < 0.02)
    (True, True)
    """
    ratio = positive("ratio", ratio)
    one_of("method", method, ("least_squares", "likelihood"))
    n = positive_int("n", n, minimum=2)
    x = nonnegative_levels(as_members("x", x))
    if x.shape[-1] % positive_int("matrices", matrices):
        raise InputError(f"matrices must divide the number of levels, {x.shape[-1]}, got {matrices}")
    if ratio > 1:
        zeros = round(x.shape[-1] * (1 - 1 / ratio))
        x = np.sort(x, axis=-1)[..., zeros:]
    levels = x.shape[-2] * x.shape[-1]
    if levels < MIN_LEVELS:
        raise InputError(f"a Marchenko-Pastur fit needs at least {MIN_LEVELS} non-zero levels, got {levels}")
    return over_leading_axes(lambda levels: _fit(levels, ratio, method, n, seed, matrices), x)


def nonnegative_levels(x: np.ndarray) -> np.ndarray:
    """Eigenvalues with rounding errors below zero clipped; anything more negative is refused."""
    lowest, rounding = x.min(), -1e-6 * np.abs(x).max()
    if lowest < rounding:
        raise InputError(f"eigenvalues of WᵀW must not be negative, but the smallest is {lowest:.6g}")
    return np.maximum(x, 0.0)


def _fit(x: np.ndarray, ratio: float, method: str, n: int, seed: int, matrices: int) -> MarchenkoPasturFit:
    # WᵀW and WWᵀ share their non-zero levels: r > 1 is 1/r with σ² counted per column.
    law = MarchenkoPastur(min(ratio, 1 / ratio), 1.0)
    scale = np.median(x) / law.ppf(0.5)
    if not scale > 0:
        raise InputError(
            "more than half of the levels are zero; a Marchenko-Pastur fit needs non-zero levels"
        )
    root = np.sqrt(x / scale)
    members, modes = x.shape
    rng = np.random.default_rng(seed)
    weights = np.ones((1, members))
    if members > 1:
        # How often every member is drawn; NumPy's multinomial takes four times as long.
        draws = rng.integers(members, size=(n, members)) + members * np.arange(n)[:, None]
        times = np.bincount(draws.ravel(), minlength=n * members).reshape(n, members)
        weights = np.concatenate([weights, times])
    edges = _bins(root, np.sqrt(_COARSE[-1] * law.upper))
    total = _counts(root, edges).sum(axis=0, keepdims=True)
    first = _peak(_least_squares(total, _masses(edges, law, _COARSE, 0.0))[0], np.log(_COARSE))[0]
    center = np.exp(first[0])
    grid = center * _FINE
    match = _least_squares
    if method == "likelihood":
        edges, match = np.linspace(0, np.sqrt(center * law.upper), 101), _likelihood
    counts = weights @ _counts(root, edges) / x.size
    # Excess variance σ⁴/M of Gaussian matrices over the limit law, as a blur of √x.
    unit = 0.5 * np.sqrt(center * law.ratio / (modes / matrices))
    fits = [match(counts, _masses(edges, law, grid, blur * unit)) for blur in _BLUR]
    peaks = [_peak(value, np.log(grid)) for value, _ in fits]
    best = np.argmax([top for _, top in peaks], axis=0)
    rows = np.arange(len(weights))
    # The blurred law has mean σ² + blur²; σ² is defined as the mean of the levels that it accounts for.
    added = (np.array(_BLUR)[best] * unit) ** 2 * scale / max(ratio, 1.0)
    log_sigma2 = np.array([at for at, _ in peaks])[best, rows]
    area = np.array(
        [
            [np.interp(a, np.log(grid), line) for a, line in zip(at, areas, strict=True)]
            for (at, _), (_, areas) in zip(peaks, fits, strict=True)
        ]
    )[best, rows]
    sigma2 = np.exp(log_sigma2) * scale / max(ratio, 1.0) + added
    spread = [np.nan, np.nan]
    if members > 1:
        spread = [v[1:].std(ddof=1) * np.sqrt(members / (members - 1)) for v in (sigma2, area)]
    scaled = MarchenkoPastur(ratio, sigma2[0])
    return MarchenkoPasturFit(
        sigma2[0], area[0], spread[0], spread[1], scaled.lower, scaled.upper, ratio, method
    )


def _bins(root: np.ndarray, stop: float) -> np.ndarray:
    """Edges of Freedman-Diaconis width from 0 to the highest edge in question."""
    quartiles = np.quantile(root, [0.25, 0.75])
    width = 2 * (quartiles[1] - quartiles[0]) / root.size ** (1 / 3)
    # Equal levels have no width of their own; a hundred bins then say as much as a thousand.
    count = int(np.clip(np.ceil(stop / width), 40, 1000)) if width > 0 else 100
    return np.linspace(0, stop, count + 1)


def _counts(root: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Histogram of every member, shape (members, bins); levels outside the edges are not counted."""
    bins = len(edges) - 1
    index = np.searchsorted(edges, root, side="right") - 1
    index = np.where((index >= 0) & (index < bins), index, bins)
    index += (bins + 1) * np.arange(len(root))[:, None]
    return np.bincount(index.ravel(), minlength=len(root) * (bins + 1)).reshape(len(root), -1)[:, :bins]


def _masses(edges: np.ndarray, law: MarchenkoPastur, grid: np.ndarray, blur: float) -> np.ndarray:
    """Probability of every bin for every σ² of the grid and one blur of √x, shape (grid, bins)."""
    nodes = [0.0] if blur == 0 else _NODES * blur
    weights = [1.0] if blur == 0 else _NODE_WEIGHTS
    cdf = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        at = edges + node
        # Reflected at zero, so that what is blurred below it comes back: a hard edge keeps its levels.
        cdf = cdf + weight * np.sign(at) * law.cdf(at**2 / grid[:, None])
    return np.diff(cdf, axis=1)


def _least_squares(share, mass) -> tuple[np.ndarray, np.ndarray]:
    """Fall of Σ(share − A·mass)² from A = 0, and A, both of shape (samples, grid): linear regression in A."""
    norm = np.einsum("gb,gb->g", mass, mass)
    overlap = share @ mass.T
    return overlap**2 / norm, overlap / norm


def _likelihood(share, mass) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of the window's bins, and A, both of shape (samples, grid).

    Levels beyond the window are one class: the fraction inside fixes A·(mass of the window) as long as
    that leaves A ≤ 1, and the shape inside fixes σ².
    """
    window = mass.sum(axis=1)
    shape = mass / window[:, None]
    # A stray level in a bin that the law excludes must cost something finite.
    log_shape = np.log(0.999 * shape + 0.001 / mass.shape[1])
    inside = share.sum(axis=1)[:, None]
    area = np.minimum(inside / window, 1.0)
    expected = np.clip(area * window, 1e-12, 1 - 1e-12)
    split = inside * np.log(expected) + (1 - inside) * np.log1p(-expected)
    return share @ log_shape.T + split, area


def _peak(value: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and height of every row's maximum, by the parabola through its three highest neighbours."""
    k = np.clip(np.argmax(value, axis=1), 1, len(position) - 2)
    rows = np.arange(len(value))
    left, top, right = value[rows, k - 1], value[rows, k], value[rows, k + 1]
    curvature = left - 2 * top + right
    safe = np.where(curvature < 0, curvature, -np.inf)
    shift = np.clip(0.5 * (left - right) / safe, -0.5, 0.5)
    return position[k] + shift * (position[1] - position[0]), top - 0.25 * (left - right) * shift

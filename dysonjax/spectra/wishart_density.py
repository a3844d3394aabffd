"""The exact density of one eigenvalue of a real Wishart matrix, for which Marchenko-Pastur is the limit."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from scipy.special import gammaln

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.spectra.law import (
    Derived,
    RandomState,
    Size,
    invert,
    probability,
    real,
    scalar_or_array,
    uniform,
)
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur

LARGEST = 256  # levels up to which the density is computed; beyond, its distance from the limit falls as 1/N
POINTS = 16  # nodes of a panel


@dataclass(frozen=True)
class WishartDensity(Derived):
    """Exact density of one eigenvalue of X = WᵀW for a Gaussian W of finite size.

    W has the shape (rows, modes) and entries of variance σ²/rows. The limit for large matrices is
    `MarchenkoPastur`.

    Parameters
    ----------
    modes : int
        Number of levels N ≥ 1. Above 256 the law is the limit plus its difference from the exact law at 256
        levels of the same ratio, times 256/N.
    rows : float
        M ≥ N, any real number.
    sigma2 : float, default 1.0
        σ² > 0, units of x, the mean of the law.

    Raises
    ------
    InputError
        If a parameter is not positive, or rows is smaller than modes.

    Notes
    -----
    With w(x) = x^{(rows−modes−1)/2} e^{−x/2}, functions f_j = w × (a polynomial of degree j), (εf)(x) =
    ½∫sgn(x−y) f(y) dy and A_jk = ∫ f_j εf_k, the density of all levels is Σ_jk (A⁻¹)_kj f_j(x) εf_k(x) for an
    even number of them; for an odd one A is bordered by ∫f_j. De Bruijn, J. Indian Math. Soc. 19 (1955) 133.
    With Laguerre functions of x = t², integrated over t, A is well conditioned (10³ at 256 levels), and the
    moments are exact to 1e-15.

    Examples
    --------
    >>> law = dj.spectra.WishartDensity(modes=16, rows=64, sigma2=1.0)
    >>> bool(abs(law.var() - 17 / 64) < 1e-12), bool(law.sf(2.25) > 0.005)  # the limit law ends at 2.25
    (True, True)
    """

    modes: int
    rows: float
    sigma2: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "modes", checks.positive_int("modes", self.modes))
        object.__setattr__(self, "rows", checks.positive("rows", self.rows))
        object.__setattr__(self, "sigma2", checks.positive("sigma2", self.sigma2))
        if self.rows < self.modes:
            raise InputError(f"rows must be at least modes = {self.modes}, got {self.rows:g}: transpose W")

    def pdf(self, x: ArrayLike) -> Any:
        """Density at x.

        Parameters
        ----------
        x : array_like
            Where to take it, units of x.

        Returns
        -------
        float or ndarray
            The density, in 1/units of x; infinite at 0 for a square matrix.
        """
        y = real(x) / self.sigma2
        if self.modes <= LARGEST:
            return scalar_or_array(_pdf(y, self.modes, self.rows) / self.sigma2)
        share = LARGEST / self.modes
        near = share * _pdf(y, LARGEST, self.rows * share) + (1 - share) * self._limit.pdf(y)
        return scalar_or_array(near / self.sigma2)

    def cdf(self, x: ArrayLike) -> Any:
        """Probability of a level ≤ x.

        Parameters
        ----------
        x : array_like
            The upper end, units of x.

        Returns
        -------
        float or ndarray
            The probability, between 0 and 1.
        """
        y = real(x) / self.sigma2
        if self.modes <= LARGEST:
            return scalar_or_array(_cdf(y, self.modes, self.rows))
        share = LARGEST / self.modes
        return scalar_or_array(share * _cdf(y, LARGEST, self.rows * share) + (1 - share) * self._limit.cdf(y))

    def ppf(self, u: ArrayLike) -> Any:
        """Inverse of `cdf`.

        Parameters
        ----------
        u : array_like
            Probabilities; outside [0, 1] the result is NaN.

        Returns
        -------
        float or ndarray
            The quantile, in units of x.
        """
        modes = min(self.modes, LARGEST)
        low, high = _table(modes, self.rows * modes / self.modes)[0].x[[0, -1]]
        unit = WishartDensity(self.modes, self.rows)
        # In √x, where the density is finite at a hard edge.
        root = invert(
            lambda t: np.asarray(unit.cdf(t**2)),
            lambda t: 2 * t * np.asarray(unit.pdf(t**2)),
            probability(u),
            low,
            high,
        )
        return scalar_or_array(self.sigma2 * root**2)

    def rvs(self, size: Size = None, random_state: RandomState = None) -> Any:
        """Independent levels, each from a matrix of its own.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the result.
        random_state : int or Generator or RandomState, optional
            Seed or generator, as in SciPy.

        Returns
        -------
        float or ndarray
            The draws, a float where `size` is None.
        """
        return self.ppf(uniform(size, random_state))

    def mean(self) -> float:
        """Mean of the levels, from ⟨tr X⟩.

        Returns
        -------
        float
            σ².
        """
        return self.sigma2

    def var(self) -> float:
        """Variance of the levels, from ⟨tr X²⟩.

        Returns
        -------
        float
            σ⁴ (N + 1)/M.
        """
        return self.sigma2**2 * (self.modes + 1) / self.rows

    @property
    def _limit(self) -> MarchenkoPastur:
        return MarchenkoPastur(self.modes / self.rows, 1.0)


def _cdf(y: np.ndarray, modes: int, rows: float) -> np.ndarray:
    cdf = _table(modes, rows)[0]
    t = np.sqrt(np.maximum(y, 0))
    value = np.where(t <= cdf.x[0], 0.0, np.clip(cdf(np.clip(t, cdf.x[0], cdf.x[-1])), 0, 1))
    return np.where(np.isnan(y), np.nan, np.where(t >= cdf.x[-1], 1.0, value))


def _pdf(y: np.ndarray, modes: int, rows: float) -> np.ndarray:
    cdf, slope = _table(modes, rows)
    t = np.sqrt(np.maximum(y, 0))
    inside = (t > cdf.x[0]) & (t < cdf.x[-1])
    value = np.maximum(slope(np.clip(t, cdf.x[0], cdf.x[-1])), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(inside, value / (2 * t), 0.0)
    if cdf.x[0] == 0 and rows == modes:
        value = np.where(y == 0, np.inf, value)
    return np.where(np.isnan(y), np.nan, value)


@functools.lru_cache(maxsize=64)
def _table(modes: int, rows: float) -> tuple[CubicHermiteSpline, CubicHermiteSpline]:
    """cdf and density of t = √x at σ² = 1, as functions of t."""
    t, weight, integral, f = laguerre_basis(modes, rows, panel_ends(modes, rows))
    total = f @ weight
    eps = (f.reshape(-1, POINTS) @ integral.T).reshape(modes, -1, POINTS)
    half = weight.reshape(-1, POINTS).sum(axis=1) / 2
    panels = (f * weight).reshape(modes, -1, POINTS).sum(axis=2)
    before = np.cumsum(panels, axis=1) - panels
    eps = (before[:, :, None] + half[:, None] * eps).reshape(modes, -1) - total[:, None] / 2
    skew = (f * weight) @ eps.T
    skew = (skew - skew.T) / 2
    if modes % 2:
        skew = np.block([[skew, total[:, None]], [-total[None], np.zeros((1, 1))]])
        eps = np.concatenate([eps, np.ones((1, t.size))])
    inverse = np.linalg.inv(skew)[:, :modes]
    density = np.einsum("jt,jt->t", inverse.T @ eps, f) / modes
    panel = (density * weight).reshape(-1, POINTS).sum(axis=1)
    cdf = (np.cumsum(panel) - panel)[:, None] + half[:, None] * (density.reshape(-1, POINTS) @ integral.T)
    ends = t[0] - weight[0], t[-1] + weight[-1]  # beyond the outermost nodes there is nothing
    low = max(0.0, ends[0]) if rows > modes + 1 else 0.0
    grid = np.concatenate([[low], t, [ends[1]]]) / np.sqrt(rows)
    # At a hard edge the density of t is level.
    first = density[0] if rows <= modes + 1e-9 else 0.0
    slope = np.concatenate([[first], density, [0.0]]) * np.sqrt(rows)
    cdf = CubicHermiteSpline(grid, np.concatenate([[0.0], cdf.ravel(), [1.0]]), slope)
    return cdf, cdf.derivative()


def panel_ends(modes: int, rows: float) -> np.ndarray:
    """Ends of panels in t = √x that resolve the functions of `laguerre_basis`."""
    reach = 7.0  # of the Gaussian decay of t beyond the edges √M ± √N
    low = max(0.0, np.sqrt(rows) - np.sqrt(modes) - reach)
    return np.linspace(low, np.sqrt(rows) + np.sqrt(modes) + reach, int(modes / 1.5) + 25)


def laguerre_basis(
    modes: int, rows: float, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights in t = √x (unit variance of the entries) of panels between `edges`, the matrix that
    integrates over a panel of unit half-width, and 2 φ_j(t²), shape (modes, nodes), with the orthonormal
    Laguerre functions φ_j."""
    node, weight = np.polynomial.legendre.leggauss(POINTS)
    half = np.diff(edges) / 2
    t = (edges[:-1, None] + half[:, None] * (1 + node)).ravel()
    legendre = np.polynomial.legendre
    rise = [legendre.legval(node, legendre.legint(row, lbnd=-1)) for row in np.eye(POINTS)]
    integral = np.transpose(rise) @ np.linalg.inv(legendre.legvander(node, POINTS - 1))
    a, x = rows - modes, t**2
    # φ_0 may underflow where φ_j does not: the recurrence carries a scale of its own.
    log_scale = (a * np.log(x) - x - gammaln(a + 1)) / 2
    f = np.empty((modes, t.size))
    previous, current = np.zeros_like(t), np.ones_like(t)
    for k in range(modes):
        f[k] = 2 * current * np.exp(log_scale)
        following = ((2 * k + 1 + a - x) * current - np.sqrt(k * (k + a)) * previous) / np.sqrt(
            (k + 1) * (k + 1 + a)
        )
        previous, current = current, following
        large = np.maximum(np.abs(previous), np.abs(current)) > 1e100
        previous, current = (np.where(large, value * 1e-100, value) for value in (previous, current))
        log_scale = np.where(large, log_scale + 100 * np.log(10), log_scale)
    return t, (half[:, None] * weight).ravel(), integral, f

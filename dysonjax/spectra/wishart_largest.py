"""The exact law of the largest level of a real Wishart matrix, of which that of Tracy and Widom is the limit.

With the functions and matrices of `WishartDensity`, all levels lie below x with the probability
Pf A(x)/Pf A(∞), where A_jk(x) = ∫∫_{[0,x]²} f_j(y) ½sgn(y − z) f_k(z): de Bruijn, J. Indian Math. Soc. 19
(1955) 133.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from threadpoolctl import threadpool_limits

from dysonjax.spectra.tracy_widom import TracyWidom
from dysonjax.spectra.wishart_density import POINTS, laguerre_basis, panel_ends

_GRID = np.arange(-5.0, 13.5, 0.5)  # z, the level in units of its fluctuations, where F is computed
_EXACT = 128  # levels up to which it is computed
_DEEP = 1e-12  # of 1 − F, below which it is rounding


class LargestLevel(NamedTuple):
    """ln(1 − F) of z = (x − centre)/scale, tabulated."""

    z: np.ndarray
    log_sf: np.ndarray  # falls

    def isf(self, probability) -> np.ndarray:
        """z that is exceeded with this probability."""
        return carried_on(-np.log(probability), -self.log_sf, self.z)


def carried_on(x, at: np.ndarray, values: np.ndarray):
    """Linear interpolation, beyond the last point along the line through the last tenth of them: ln p falls
    faster than that, so that p comes out too large rather than too small."""
    tenth = -1 - len(at) // 10
    slope = (values[-1] - values[tenth]) / (at[-1] - at[tenth])
    return np.interp(x, at, values) + slope * np.maximum(np.asarray(x) - at[-1], 0)


def centre_and_scale(rows: float, modes: float) -> tuple[float, float]:
    """Of the largest level for entries of variance 1, with which it follows the law of Tracy and Widom up to
    N^(−2/3): Ma, Bernoulli 18, 322 (2012)."""
    a, b = np.sqrt(rows - 0.5), np.sqrt(modes - 0.5)
    return float((a + b) ** 2), float((a + b) * (1 / a + 1 / b) ** (1 / 3))


@lru_cache(maxsize=32)
def largest_level(modes: int, rows: float) -> LargestLevel:
    """For `modes` ≤ `rows`, good to 1e-3 of 1 − F below a half. Beyond 128 levels ln(1 − F) is the
    limit of Tracy and Widom plus the difference at 128, which falls as N^(−2/3)."""
    if modes > _EXACT:
        exact = largest_level(_EXACT, rows * _EXACT / modes)
        limit = np.log(np.maximum(TracyWidom(1).sf(exact.z), _DEEP / 100))
        return LargestLevel(exact.z, limit + (exact.log_sf - limit) * (_EXACT / modes) ** (2 / 3))
    centre, scale = centre_and_scale(rows, modes)
    x = centre + scale * _GRID
    wide = panel_ends(modes, rows)
    fine = np.sqrt(x[(x > wide[0] ** 2) & (x < wide[-1] ** 2)])
    edges = np.concatenate([wide[wide < fine[0] - 1e-9], fine, wide[wide > fine[-1] + 1e-9]])
    _, weight, integral, f = laguerre_basis(modes, rows, edges)
    panels = f.reshape(modes, -1, POINTS)
    weighted = panels * weight.reshape(-1, POINTS)
    total = np.cumsum(weighted.sum(axis=2), axis=1)  # ∫ f up to the end of each panel
    before = np.pad(total, ((0, 0), (1, 0)))[:, :-1, None]
    inner = before + (np.diff(edges) / 2)[:, None] * (panels.reshape(-1, POINTS) @ integral.T).reshape(
        panels.shape
    )
    start = int(np.searchsorted(edges, fine[0] - 1e-9))  # panels below the first x
    skew = np.tensordot(weighted[:, :start], inner[:, :start], ((1, 2), (1, 2)))
    log_pfaffian = [_log_pfaffian(skew, total[:, start - 1])]
    with threadpool_limits(1, "blas"):  # which wait for each other longer than such a determinant takes
        for p in range(start, start + len(fine) - 1):
            skew += weighted[:, p] @ inner[:, p].T
            log_pfaffian.append(_log_pfaffian(skew, total[:, p]))
        skew += np.tensordot(weighted[:, p + 1 :], inner[:, p + 1 :], ((1, 2), (1, 2)))
        whole = _log_pfaffian(skew, total[:, -1])
    z, beyond = (fine**2 - centre) / scale, -np.expm1(np.array(log_pfaffian) - whole)
    known = beyond > _DEEP
    grid = np.linspace(z[0], z[known][-1], 1000)
    log_sf = CubicSpline(z[known], np.log(beyond[known]))(grid)
    return LargestLevel(grid, np.minimum.accumulate(np.minimum(log_sf, 0.0)))


def _log_pfaffian(skew: np.ndarray, total: np.ndarray) -> float:
    matrix = (skew - skew.T) / 2
    if len(skew) % 2:
        matrix = np.block([[matrix, total[:, None]], [-total[None], np.zeros((1, 1))]])
    return np.linalg.slogdet(matrix)[1] / 2

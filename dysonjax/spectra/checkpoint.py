"""One weight tensor in, one row of spectral statistics out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from dysonjax.checks import InputError
from dysonjax.spectra.fit_marchenko_pastur import MarchenkoPasturFit, fit_marchenko_pastur
from dysonjax.spectra.power_law import PowerLawFit, fit_power_law
from dysonjax.spectra.repulsion import SpacingTest, spacing_test, unfolded_spacings
from dysonjax.spectra.tracy_widom import TracyWidom

MAX_CANDIDATES = 100  # values of xmin tried; keeps a layer of thousands of levels within seconds


@dataclass(frozen=True)
class MatrixSpectrum:
    """Statistics of one weight matrix, or of an ensemble of them; None where a fit was not possible."""

    name: str
    how: str
    """how the tensor became a matrix"""
    rows: int
    """M, the longer side"""
    modes: int
    """N, the shorter side = number of levels of a member"""
    members: int
    levels: np.ndarray = field(repr=False)
    """squared singular values, shape (members, modes), ascending"""
    marchenko_pastur: MarchenkoPasturFit | None
    edge: float | None
    """largest level expected of noise: x₊ shifted by the 99 % Tracy-Widom quantile at this M and N"""
    outliers: int | None
    """levels beyond `edge`, over all members"""
    spacings: SpacingTest | None
    unfolded: np.ndarray | None = field(repr=False)
    """spacings of mean one, shape (members, modes − 1)"""
    tail: PowerLawFit | None
    notes: tuple[str, ...]
    """why a fit is missing"""

    def row(self) -> dict[str, Any]:
        """The numbers as plain Python values for a table, CSV or JSON; None where there is none."""
        mp, s, tail = self.marchenko_pastur, self.spacings, self.tail
        row = {
            "name": self.name,
            "shape": f"{self.rows}x{self.modes}",
            "members": self.members,
            "how": self.how,
        }
        for key in ("area", "area_err", "sigma2", "sigma2_err", "lower", "upper"):
            row[f"mp_{key}"] = mp and getattr(mp, key)
        row |= {"tracy_widom_edge": self.edge, "outliers": self.outliers}
        row |= {"ratio": s and s.ratio, "null_ratio": s and s.null_ratio}
        row |= {"null_ratio_err": s and s.null_ratio_err, "ratio_p": s and s.ratio_p}
        row |= {"spacing_distance": s and s.distance, "spacing_p": s and s.distance_p}
        row |= {"unfolding": s and s.unfolding}
        row |= {
            f"tail_{key}": tail and getattr(tail, key) for key in ("alpha", "alpha_err", "xmin", "n_tail")
        }
        row |= {"tail_p": tail and tail.p_value, "tail_lognormal_p": tail and tail.lognormal_p}
        row |= {"tail_truncated_p": tail and tail.truncated_p, "tail_accepted": tail and tail.accepted()}
        row["notes"] = "; ".join(self.notes)
        return {key: _plain(value) for key, value in row.items()}


def analyse_matrix(
    weights, name: str = "", how: str = "as stored", n: int = 200, seed: int = 0
) -> MatrixSpectrum:
    """Spectral statistics of a weight matrix.

    weights: shape (rows, columns), or (members, rows, columns) for an ensemble; the levels are the squared
    singular values, those of the smaller of WᵀW and WWᵀ. n: replicates, simulated spectra and synthetic
    samples behind each error and p-value. A fit for which the matrix is too small or degenerate is left out
    with a note. Raises ValueError for NaN, infinity or fewer than 2 levels.
    """
    try:
        w = np.asarray(weights).astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"entries of type {np.asarray(weights).dtype} are not real numbers") from None
    w = w[None] if w.ndim == 2 else w
    if not np.isfinite(w).all():
        raise InputError(f"{np.size(w) - np.isfinite(w).sum()} of {w.size} entries are NaN or infinite")
    modes, rows = sorted(w.shape[-2:])
    if modes < 2:
        raise InputError(f"a {w.shape[-2]}x{w.shape[-1]} matrix has a single level; at least 2 are needed")
    with np.errstate(over="ignore"):
        levels = np.linalg.svd(w, compute_uv=False)[..., ::-1] ** 2
    if not np.isfinite(levels).all():
        raise InputError("the squared singular values exceed the range of float64")
    notes: list[str] = []
    # Levels that are zero up to rounding (of float32 weights: 6e-8 squared, times the size) count as zero.
    levels[levels <= 1e-12 * levels[:, -1:]] = 0.0
    mp = _noted(notes, lambda: fit_marchenko_pastur(levels, modes / rows, seed=seed))
    edge = outliers = None
    if mp is not None:
        edge = noise_edge(float(mp.sigma2), rows, modes)
        outliers = int(np.count_nonzero(levels > edge))
    spacings = unfolded = tail = None
    if (levels[:, 0] == 0).any():
        notes.append("rank deficient: spacings and tail left out")
    else:
        spacings = _noted(notes, lambda: spacing_test(levels, modes / rows, n=n, seed=seed))
        unfolded = unfolded_spacings(levels)[0] if spacings else None
        pooled = levels.ravel()
        tail = _noted(notes, lambda: fit_power_law(pooled, n=n, seed=seed, max_candidates=MAX_CANDIDATES))
    return MatrixSpectrum(
        name,
        how,
        rows,
        modes,
        len(levels),
        levels,
        mp,
        edge,
        outliers,
        spacings,
        unfolded,
        tail,
        tuple(notes),
    )


def noise_edge(sigma2: float, rows: int, modes: int, probability: float = 0.99) -> float:
    """What the largest level of a noise matrix stays below with this probability, units of sigma2.

    Centre (√(M−1) + √N)² and scale (√(M−1) + √N)(1/√(M−1) + 1/√N)^⅓ in units of the entries' variance
    σ²/M: Johnstone, Ann. Stat. 29, 295 (2001). sigma2: σ² = M × variance.
    """
    a, b = np.sqrt(max(rows - 1, 1)), np.sqrt(modes)
    quantile = _tracy_widom_quantile(probability)
    return float(sigma2 / rows * ((a + b) ** 2 + quantile * (a + b) * (1 / a + 1 / b) ** (1 / 3)))


@lru_cache(maxsize=8)
def _tracy_widom_quantile(probability: float) -> float:
    return float(TracyWidom(1).ppf(probability))


def _noted(notes: list[str], fit: Callable[[], Any]) -> Any:
    try:
        return fit()
    except InputError as error:
        notes.append(str(error))
        return None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    number = np.asarray(value).item()
    return None if isinstance(number, float) and not np.isfinite(number) else number

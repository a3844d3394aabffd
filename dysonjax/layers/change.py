"""What training did to a matrix: its entries, its singular values and the directions of the largest ones."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import svds

from dysonjax.checks import InputError
from dysonjax.spectra.singular_values import squared_singular_values

_DENSE = 512  # columns up to which all singular vectors are computed


@dataclass(frozen=True)
class Change:
    """Of W against W₀; means over the members of an ensemble."""

    change: float
    """‖W − W₀‖ / ‖W₀‖, Frobenius"""
    level_change: float
    """mean |s_i − s_i⁰| over the mean s_i⁰ of the singular values in their order"""
    change_stable_rank: float
    """stable rank of W − W₀: how many directions were learned"""
    directions: int
    """k, the largest singular values whose vectors are compared"""
    overlap_right: float
    """‖V_kᵀV_k⁰‖²/k of the shorter side; 1 if they span the same space"""
    overlap_left: float
    """the same of the longer side"""
    overlap_chance: float
    """k/N, what random directions of the shorter side have"""


def compare(after: np.ndarray, before: np.ndarray, k: int) -> Change:
    """Both of shape (members, rows, columns). Raises InputError if they differ or are not finite."""
    if after.shape != before.shape:
        sizes = ("×".join(map(str, w.shape[-2:] if len(w) == 1 else w.shape)) for w in (before, after))
        raise InputError("its start has the shape {}, not {}".format(*sizes))
    numbers = [_compare(w, w0, k) for w, w0 in zip(after, before, strict=True)]
    mean = np.mean(numbers, axis=0)
    modes = min(after.shape[-2:])
    k = min(k, modes)
    distance, level, rank, right, left = map(float, mean)
    return Change(distance, level, rank, k, right, left, k / modes)


def _compare(w: np.ndarray, w0: np.ndarray, k: int) -> tuple[float, ...]:
    if w.shape[0] < w.shape[1]:
        w, w0 = w.T, w0.T
    dtype = np.float64 if w.shape[1] <= _DENSE else np.float32
    w, w0 = w.astype(dtype), w0.astype(dtype)
    if not np.isfinite(w0).all():
        raise InputError("its start has entries that are NaN or infinite")
    difference = w - w0
    s, s0 = (np.sqrt(squared_singular_values(m[None])[0]) for m in (w, w0))
    learned = squared_singular_values(difference[None])[0]
    (u, v), (u0, v0) = _largest(w, k), _largest(w0, k)
    k = v.shape[1]
    return (
        float(np.linalg.norm(difference)) / max(float(np.linalg.norm(w0)), 1e-300),
        float(np.abs(s - s0).mean() / max(s0.mean(), 1e-300)),
        float(learned.sum() / learned[-1]) if learned[-1] > 0 else 0.0,
        float(np.square(v.T @ v0).sum() / k),
        float(np.square(u.T @ u0).sum() / k),
    )


def _largest(w: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right singular vectors of the k largest singular values, shapes (M, k) and (N, k)."""
    k = min(k, w.shape[1])
    if w.shape[1] <= _DENSE or not w.any():
        u, _, vt = np.linalg.svd(w, full_matrices=False)
        return u[:, :k], vt[:k].T
    start = np.random.default_rng(0).normal(size=min(w.shape)).astype(w.dtype)
    u, _, vt = svds(w, k=k, v0=start)
    return u, vt.T

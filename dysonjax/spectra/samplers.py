"""Exact samples of the β-Hermite and β-Laguerre ensembles, any β > 0, and dense matrices to check them.

Every random number is a function of the key, the number of its draw and its place in the matrix: the first
draws of a larger `shape` are those of a smaller one, and nothing depends on how the work is cut up. All
functions compute in float64 whatever JAX's setting and return NumPy arrays, levels ascending along the last
axis.
"""

import math
import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.checks import InputError, finite, positive, positive_int, random_key
from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues
from dysonjax.spectra.variates import log_gammas, normals

Shape = int | tuple[int, ...]
# Numbers held by one task: small enough for the caches, large enough to hide the cost of a call.
CHUNK = 100_000


def sample_beta_hermite(key: Any, n: int, beta: float, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Levels with joint law ∝ Π_{i<j}|x_i − x_j|^β exp(−β Σ x²/(4 scale²)), shape (*shape, n).

    β = 1 is a GOE matrix with off-diagonal variance scale² (`sample_goe`); the density tends to a
    semicircle of radius 2 scale √n for every β. ⟨Σx²⟩ = scale² n (n − 1 + 2/β).
    Tridiagonal model of Dumitriu & Edelman, J. Math. Phys. 43 (2002) 5830.
    key: JAX key; n: number of levels ≥ 1; beta, scale: positive. Raises InputError.

    >>> x = sample_beta_hermite(jax.random.key(0), n=8, beta=2.0, scale=1.0, shape=(1000,))
    >>> x.shape, bool((np.diff(x) > 0).all())
    ((1000, 8), True)
    """
    n, beta, scale = positive_int("n", n), positive("beta", beta), positive("scale", scale)
    shapes = beta * np.arange(n - 1, 0, -1) / 2

    def levels(key, identity):
        unit = scale * math.sqrt(2 / beta)
        diagonal = unit * normals(key, identity, n)
        return tridiagonal_eigenvalues(diagonal, unit * np.exp(0.5 * log_gammas(key, identity, shapes)))

    return _in_chunks(levels, random_key("key", key), shape, n)


def sample_beta_laguerre(
    key: Any, n: int, m: float, beta: float, scale: float = 1.0, shape: Shape = ()
) -> np.ndarray:
    """Levels with joint law ∝ Π_{i<j}|x_i − x_j|^β Π x^{β(m−n+1)/2−1} exp(−β Σ x/(2 scale²)).

    Shape (*shape, n). β = 1 with an integer m are the eigenvalues of WᵀW, W of shape (m, n) with entries
    N(0, scale²) (`sample_wishart`); the density tends to MarchenkoPastur(n/m, m scale²) for every β.
    ⟨Σx⟩ = scale² m n.
    Bidiagonal model of Dumitriu & Edelman (2002).
    key: JAX key; n: number of levels ≥ 1; m: any real number > n − 1; beta, scale: positive.
    Raises InputError.
    """
    n, beta, scale = positive_int("n", n), positive("beta", beta), positive("scale", scale)
    m = finite("m", m)
    if m <= n - 1:
        raise InputError(f"m must be above n - 1 = {n - 1}, got {m}: for fewer rows sample the transpose")
    shapes = beta / 2 * np.concatenate([m - np.arange(n), np.arange(n - 1, 0, -1)])

    def levels(key, identity):
        entries = scale**2 * 2 / beta * np.exp(log_gammas(key, identity, shapes))
        q, e = entries[:, :n], entries[:, n:]
        diagonal = q.copy()
        diagonal[:, 1:] += e
        # The matrix is positive: what rounding leaves below zero is zero.
        return np.maximum(tridiagonal_eigenvalues(diagonal, np.sqrt(q[:, :-1] * e)), 0)

    return _in_chunks(levels, random_key("key", key), shape, 2 * n)


def sample_goe(key: Any, n: int, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Eigenvalues of dense symmetric matrices: variance scale² off the diagonal, 2 scale² on it.

    The law of `sample_beta_hermite` with β = 1, at O(n³) a draw. Shape (*shape, n). Raises InputError.
    """
    n, scale = positive_int("n", n), positive("scale", scale)

    def levels(key, identity):
        a = normals(key, identity, n * n).reshape(-1, n, n)
        return np.linalg.eigvalsh(scale * (a + a.swapaxes(1, 2)) / math.sqrt(2))

    # One thread: the dense solvers of NumPy use all cores themselves.
    return _in_chunks(levels, random_key("key", key), shape, n * n, workers=1)


def sample_wishart(key: Any, n: int, m: int, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Eigenvalues of WᵀW, W of shape (m, n) with entries N(0, scale²); n − m exact zeros for m < n.

    The law of `sample_beta_laguerre` with β = 1. Shape (*shape, n). Raises InputError.
    """
    n, m, scale = positive_int("n", n), positive_int("m", m), positive("scale", scale)

    def levels(key, identity):
        w = scale * normals(key, identity, m * n).reshape(-1, m, n)
        singular = np.linalg.svd(w, compute_uv=False)[:, ::-1]
        return np.pad(singular**2, ((0, 0), (max(0, n - m), 0)))

    return _in_chunks(levels, random_key("key", key), shape, m * n, workers=1)


def _in_chunks(
    levels: Callable, key: Any, shape: Shape, numbers: int, workers: int | None = None
) -> np.ndarray:
    """`levels(key, identity)` for the draws of `shape`, in chunks that run on all cores."""
    if not (
        isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    ):
        raise InputError(f"key must be one JAX key, as from jax.random.key(0), got {key!r}")
    try:
        shape = tuple(
            operator.index(size) for size in (shape if isinstance(shape, tuple | list) else (shape,))
        )
    except TypeError:
        raise InputError(f"shape must be a tuple of integers, got {shape!r}") from None
    if any(size < 0 for size in shape):
        raise InputError(f"shape must not be negative, got {shape!r}")
    total = math.prod(shape)
    workers = workers or os.cpu_count() or 1
    # Equal shares for the cores, and none so large that its arrays leave the caches.
    chunk = max(1, math.ceil(min(total / workers, CHUNK / numbers)))

    def work(start: int) -> np.ndarray:
        # The context is local to the thread, and the caller's setting must not change.
        with jax.enable_x64(True):
            return np.sort(levels(key, np.arange(start, min(start + chunk, total))), axis=-1)

    starts = range(0, max(total, 1), chunk)
    if len(starts) == 1 or workers == 1:
        pieces = [work(start) for start in starts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            pieces = list(pool.map(work, starts))
    levels = np.concatenate(pieces)
    return levels.reshape(*shape, levels.shape[-1])

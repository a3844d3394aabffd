"""Exact samples of the β-Hermite and β-Laguerre ensembles, any β > 0, and dense matrices to check them.

Every random number is a function of the key, the number of its draw and its place in the matrix: the first
draws of a larger `shape` are those of a smaller one, and nothing depends on how the work is cut up. All
functions compute in float64 whatever JAX's setting and return NumPy arrays, levels ascending along the last
axis.
"""

import math
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import cache
from dysonjax.checks import InputError, finite, positive, positive_int, random_key
from dysonjax.keys import Key
from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues
from dysonjax.spectra.variates import log_gammas, normals

Shape = int | tuple[int, ...]
# Numbers held by one task: small enough for the caches, large enough to hide the cost of a call.
CHUNK = 100_000


def sample_beta_hermite(key: Key, n: int, beta: float, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Draw levels of the β-Hermite ensemble, the Gaussian ensemble at any β.

    Parameters
    ----------
    key : int or JAX key
        Randomness.
    n : int
        Number of levels, at least 1.
    beta : float
        Dyson index β > 0. β = 1 is a GOE matrix whose entries off the diagonal have the variance scale², as
        in `sample_goe`.
    scale : float, default 1.0
        Unit of the levels, positive.
    shape : int or tuple of int, default ()
        Number of draws along each axis.

    Returns
    -------
    ndarray, shape (*shape, n)
        Levels, ascending along the last axis.

    Raises
    ------
    InputError
        If an argument is not positive, or key is no key.

    Notes
    -----
    The joint law is ∝ Π_{i<j}|x_i − x_j|^β exp(−β Σ x²/(4 scale²)), drawn exactly by the tridiagonal model of
    Dumitriu & Edelman, J. Math. Phys. 43 (2002) 5830. For every β the density tends to a semicircle of radius
    2 scale √n, and ⟨Σx²⟩ = scale² n (n − 1 + 2/β).

    Examples
    --------
    >>> x = dj.spectra.sample_beta_hermite(0, n=8, beta=2.0, shape=(1000,))
    >>> x.shape, bool(abs((x**2).sum(axis=1).mean() / (8 * 8) - 1) < 0.02)
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
    key: Key, n: int, m: float, beta: float, scale: float = 1.0, shape: Shape = ()
) -> np.ndarray:
    """Draw levels of the β-Laguerre ensemble, the Wishart ensemble at any β.

    Parameters
    ----------
    key : int or JAX key
        Randomness.
    n : int
        Number of levels, at least 1.
    m : float
        Any real number above n − 1. For β = 1 it is the number of rows of W.
    beta : float
        Dyson index β > 0. β = 1 with an integer m are the eigenvalues of WᵀW for W of shape (m, n) with
        entries N(0, scale²), as in `sample_wishart`.
    scale : float, default 1.0
        Standard deviation of an entry, positive; the unit of the levels is scale².
    shape : int or tuple of int, default ()
        Number of draws along each axis.

    Returns
    -------
    ndarray, shape (*shape, n)
        Levels, ascending along the last axis.

    Raises
    ------
    InputError
        If an argument is not positive, m is too small, or key is no key.

    Notes
    -----
    The joint law is ∝ Π_{i<j}|x_i − x_j|^β Π x^{β(m−n+1)/2−1} exp(−β Σ x/(2 scale²)), drawn exactly by the
    bidiagonal model of Dumitriu & Edelman, J. Math. Phys. 43 (2002) 5830. For every β the density tends to
    MarchenkoPastur(n/m, m scale²), and ⟨Σx⟩ = scale² m n.

    Examples
    --------
    >>> x = dj.spectra.sample_beta_laguerre(0, n=8, m=10.5, beta=2.0, shape=(1000,))
    >>> bool(abs(x.sum(axis=1).mean() / (10.5 * 8) - 1) < 0.02)
    True
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


def sample_goe(key: Key, n: int, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Draw eigenvalues of dense symmetric Gaussian matrices.

    The law is that of `sample_beta_hermite` with β = 1, at the cost of O(n³) a draw.

    Parameters
    ----------
    key : int or JAX key
        Randomness.
    n : int
        Number of rows, columns and levels, at least 1.
    scale : float, default 1.0
        Standard deviation of the entries off the diagonal, positive. On the diagonal the variance is 2
        scale².
    shape : int or tuple of int, default ()
        Number of draws along each axis.

    Returns
    -------
    ndarray, shape (*shape, n)
        Levels, ascending along the last axis, units of scale.

    Raises
    ------
    InputError
        If n or scale is not positive, or key is no key.

    Examples
    --------
    >>> x = dj.spectra.sample_goe(0, n=10, shape=2000)
    >>> bool(abs(x.var() / dj.spectra.GOEDensity(n=10).var() - 1) < 0.03)
    True
    """
    n, scale = positive_int("n", n), positive("scale", scale)

    def levels(key, identity):
        a = normals(key, identity, n * n).reshape(-1, n, n)
        return np.linalg.eigvalsh(scale * (a + a.swapaxes(1, 2)) / math.sqrt(2))

    # One thread: the dense solvers of NumPy use all cores themselves.
    return _in_chunks(levels, random_key("key", key), shape, n * n, workers=1)


def sample_wishart(key: Key, n: int, m: int, scale: float = 1.0, shape: Shape = ()) -> np.ndarray:
    """Draw eigenvalues of X = WᵀW for dense Gaussian matrices W.

    The law is that of `sample_beta_laguerre` with β = 1.

    Parameters
    ----------
    key : int or JAX key
        Randomness.
    n : int
        Columns of W and number of levels, at least 1.
    m : int
        Rows of W, at least 1. For m < n, n − m levels are exactly zero.
    scale : float, default 1.0
        Standard deviation of the entries of W, positive.
    shape : int or tuple of int, default ()
        Number of draws along each axis.

    Returns
    -------
    ndarray, shape (*shape, n)
        Levels, ascending along the last axis, units of scale².

    Raises
    ------
    InputError
        If an argument is not positive, or key is no key.

    Examples
    --------
    >>> x = dj.spectra.sample_wishart(0, n=3, m=2, shape=4)
    >>> (x > 0).astype(int).tolist()  # a matrix of two rows has rank two
    [[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 1, 1]]
    """
    n, m, scale = positive_int("n", n), positive_int("m", m), positive("scale", scale)

    def levels(key, identity):
        w = scale * normals(key, identity, m * n).reshape(-1, m, n)
        singular = np.linalg.svd(w, compute_uv=False)[:, ::-1]
        return np.pad(singular**2, ((0, 0), (max(0, n - m), 0)))

    return _in_chunks(levels, random_key("key", key), shape, m * n, workers=1)


def _in_chunks(
    levels: Callable, key: Key, shape: Shape, numbers: int, workers: int | None = None
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
    workers = workers or cache.cores()
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
    found = np.concatenate(pieces)
    return found.reshape(*shape, found.shape[-1])

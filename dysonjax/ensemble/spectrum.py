"""Squared singular values of many weight matrices at once, in double precision on the host.

The Gram matrix is formed in float64, whatever the precision of the training: in float32 its small
eigenvalues would be lost. Small matrices go sixteen at a time through compiled C; large ones, and all where
there is no C compiler, go through LAPACK one by one. Batched eigensolvers on accelerators are slower at these
sizes. Which way a matrix goes depends on its shape alone, so that its levels do not depend on the others.
"""

import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from dysonjax import cache
from dysonjax.compile import CompilerError, levels

_POOL_LIMIT = 16
Found = TypeVar("Found")


def squared_singular_values(matrices: np.ndarray) -> np.ndarray:
    """Eigenvalues of X = W^T W (or W W^T if smaller), shape (members, mode), ascending.

    matrices: shape (members, m, n). A matrix with a NaN or an infinity gives NaN and never reaches the
    eigensolver, which could return numbers for it.
    """
    if levels.takes(*matrices.shape[1:]) and in_lanes():
        known = matrices.dtype in (np.float32, np.float64)
        weights = matrices if known else matrices.astype(np.float64)
        return np.concatenate(in_parts(levels.squared_singular_values, weights, 512))
    return np.concatenate(in_parts(_gram_eigenvalues, matrices, 64))


@functools.cache
def in_lanes() -> bool:
    """Whether levels can be found by compiled C here."""
    try:
        return levels.compiled() is not None
    except CompilerError:
        return False


def in_parts(function: Callable[[np.ndarray], Found], matrices: np.ndarray, least: int) -> list[Found]:
    """What a function makes of parts of many matrices, at least so many each, one part a core.

    BLAS is kept to one thread a part. By itself it starts one a core for every single matrix: eigenvectors of
    64 levels took 0.7 ms with one thread and 4 to 9 ms with two on cores that were busy.
    """
    workers = min(cache.cores(), _POOL_LIMIT, max(1, len(matrices) // least))
    with _one_blas_thread():
        if workers == 1:
            return [function(matrices)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, np.array_split(matrices, workers)))


def _one_blas_thread() -> contextlib.AbstractContextManager:
    try:
        return _blas().limit(limits=1, user_api="blas")
    except ImportError:  # an environment that was made before: slower, and nothing else
        return contextlib.nullcontext()


@functools.cache
def _blas():
    """The thread pools of the BLAS libraries that this process has loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _gram_eigenvalues(matrices: np.ndarray) -> np.ndarray:
    weights = np.asarray(matrices, np.float64)
    if weights.shape[-2] < weights.shape[-1]:
        weights = weights.swapaxes(-1, -2)
    finite = np.asarray(np.isfinite(weights).all(axis=(-2, -1)))
    weights = np.where(finite[:, None, None], weights, 0.0)
    values = np.linalg.eigvalsh(weights.swapaxes(-1, -2) @ weights)
    return np.where(finite[:, None], np.maximum(values, 0.0), np.nan)

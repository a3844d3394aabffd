"""Squared singular values of many weight matrices at once, in double precision on the host.

The Gram matrix is formed in float64, whatever the precision of the training: in float32 its small
eigenvalues would be lost. LAPACK on the host is used on every platform; batched eigensolvers on accelerators
are slower at these sizes.
"""

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np

_POOL_LIMIT = 16


def squared_singular_values(matrices: np.ndarray) -> np.ndarray:
    """Eigenvalues of X = W^T W (or W W^T if smaller), shape (members, mode), ascending.

    matrices: shape (members, m, n). A matrix with a NaN or an infinity gives NaN and never reaches the
    eigensolver, which could return numbers for it.
    """
    workers = min(cpu_count() or 1, _POOL_LIMIT, max(1, len(matrices) // 64))
    if workers == 1:
        return _gram_eigenvalues(matrices)
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(_gram_eigenvalues, np.array_split(matrices, workers))))


def _gram_eigenvalues(matrices: np.ndarray) -> np.ndarray:
    weights = np.asarray(matrices, np.float64)
    if weights.shape[-2] < weights.shape[-1]:
        weights = weights.swapaxes(-1, -2)
    finite = np.isfinite(weights).all(axis=(-2, -1))
    weights = np.where(finite[:, None, None], weights, 0.0)
    values = np.linalg.eigvalsh(weights.swapaxes(-1, -2) @ weights)
    return np.where(finite[:, None], np.maximum(values, 0.0), np.nan)

"""Eigenvalues of many symmetric tridiagonal matrices of one size."""

import numpy as np
from scipy.linalg.lapack import dsterf


def tridiagonal_eigenvalues(diagonal: np.ndarray, off_diagonal: np.ndarray) -> np.ndarray:
    """Ascending eigenvalues, shape (members, n), of tridiagonal matrices.

    diagonal: shape (members, n); off_diagonal: shape (members, n − 1); float64 and finite.
    """
    if diagonal.shape[1] == 1:
        return diagonal.copy()
    levels = np.empty_like(diagonal)
    for member, (d, e) in enumerate(zip(diagonal, off_diagonal, strict=True)):
        levels[member], info = dsterf(d, e)
        if info:
            raise RuntimeError(f"LAPACK dsterf did not converge: info = {info}")
    return levels

"""Squared singular values of one matrix or many, by the fastest route that keeps their digits."""

import numpy as np

from dysonjax.checks import InputError

_ROWS = 2048  # rows widened to float64 at a time, so that a large matrix of float16 is not copied whole


def squared_singular_values(weights: np.ndarray) -> np.ndarray:
    """Eigenvalues of the smaller Gram matrix, ascending, shape (members, min(rows, columns)).

    weights: shape (members, rows, columns), any float type. The Gram matrix is summed in float64 and costs
    half of what a singular value decomposition does, less for long matrices. Its levels are exact to 1e-15 of
    the largest; what the entries of trained networks are rounded to is a thousand times coarser.
    """
    return np.stack([_levels(matrix) for matrix in weights])


def _levels(matrix: np.ndarray) -> np.ndarray:
    product = gram(matrix)
    if not np.isfinite(product).all():
        raise InputError("the squared singular values exceed the range of float64")
    return np.maximum(np.linalg.eigvalsh(product), 0.0)


def gram(matrix: np.ndarray) -> np.ndarray:
    """WᵀW of a matrix with its longer side first, in float64."""
    long = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    total = np.zeros((long.shape[1],) * 2)
    for start in range(0, long.shape[0], _ROWS):
        rows = np.asarray(long[start : start + _ROWS], np.float64)
        total += rows.T @ rows
    return total

"""Squared singular values of one matrix or many, by the fastest route that keeps their digits."""

import numpy as np

from dysonjax.checks import InputError

_CLEAR = 0.01  # of the largest level: single precision resolves what is above it to 1e-5
_LEAST = 1e-30  # of a column's sum of squares, below which those of single precision lose digits
_ROWS = 2048  # rows widened to float64 at a time, so that a large matrix of float16 is not copied whole


def squared_singular_values(weights: np.ndarray) -> np.ndarray:
    """Eigenvalues of the smaller Gram matrix, ascending, shape (members, min(rows, columns)).

    weights: shape (members, rows, columns), any float type. The Gram matrix costs half of what a singular
    value decomposition does, less for long matrices. It is summed in float64, and levels are exact to 1e-15
    of the largest. That of entries in single precision or less is multiplied in single precision where no
    level is small beside the largest, as in noise of twice as many rows as columns: then every level is
    right to 1e-5 of itself, and most to 1e-7.
    """
    return np.stack([_levels(matrix) for matrix in weights])


def _levels(matrix: np.ndarray) -> np.ndarray:
    if matrix.dtype.itemsize <= 4 and 2 * min(matrix.shape) <= max(matrix.shape):
        levels = _single(matrix)
        if levels is not None:
            return levels
    product = gram(matrix)
    if not np.isfinite(product).all():
        raise InputError("the squared singular values exceed the range of float64")
    return np.maximum(np.linalg.eigvalsh(product), 0.0)


def _single(matrix: np.ndarray) -> np.ndarray | None:
    """Levels from products in single precision; None where they would not be right."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = gram(matrix, np.float32)
    sizes = np.diagonal(product)
    if not (np.isfinite(product).all() and sizes.min() > _LEAST):
        return None
    levels = np.linalg.eigvalsh(product)
    return levels if levels[0] > _CLEAR * levels[-1] else None


def gram(matrix: np.ndarray, dtype=np.float64) -> np.ndarray:
    """WᵀW of a matrix with its longer side first, in float64. dtype: of the products of blocks of rows."""
    long = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    total = np.zeros((long.shape[1],) * 2)
    for start in range(0, long.shape[0], _ROWS):
        rows = np.asarray(long[start : start + _ROWS], dtype)
        total += rows.T @ rows
    return total

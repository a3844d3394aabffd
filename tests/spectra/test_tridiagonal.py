"""The batched tridiagonal solver against dense matrices."""

import numpy as np
import pytest

from dysonjax.spectra.tridiagonal import tridiagonal_eigenvalues


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_tridiagonal_and_dense_eigenvalues_agree(n):
    rng = np.random.default_rng(n)
    diagonal, off_diagonal = rng.normal(size=(50, n)), rng.normal(size=(50, n - 1))
    kept = diagonal.copy()
    dense = np.zeros((50, n, n))
    i = np.arange(n)
    dense[:, i, i] = diagonal
    dense[:, i[1:], i[:-1]] = dense[:, i[:-1], i[1:]] = off_diagonal
    levels = tridiagonal_eigenvalues(diagonal, off_diagonal)
    np.testing.assert_allclose(levels, np.linalg.eigvalsh(dense), atol=1e-13)
    np.testing.assert_array_equal(diagonal, kept)


def test_a_matrix_that_falls_apart_is_solved():
    levels = tridiagonal_eigenvalues(np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]]), np.zeros((2, 2)))
    np.testing.assert_array_equal(levels, [[1, 2, 3], [0, 0, 0]])


def test_shapes_must_match():
    with pytest.raises(ValueError, match="off_diagonal must have shape"):
        tridiagonal_eigenvalues(np.zeros((2, 3)), np.zeros((2, 3)))

"""Small dense linear algebra in plain array operations, safe and fast inside a model's functions.

jaxlib's batched LAPACK calls must not run inside a model (see `base.eigh`), and cost more than the arithmetic
on ten levels. Written out, the factorisation of a 10 x 10 matrix takes 0.5 µs a member on one core.
"""

import jax
import jax.numpy as jnp

UNROLLED = 32  # larger matrices are factorised in a loop, so that compile time stays short


def cholesky(matrix: jax.Array, often: bool = True) -> jax.Array:
    """Lower factor L of a symmetric matrix (n, n) = L Lᵀ; NaN or infinite if not positive definite.

    often: whether it is computed in every step; if not, it had better compile fast.
    """
    n = matrix.shape[-1]
    if n > UNROLLED or not often:
        return _cholesky_loop(matrix)
    columns, rest = [], matrix
    for j in range(n):
        column = rest[:, 0] * jax.lax.rsqrt(rest[0, 0])
        columns.append(jnp.pad(column, (j, 0)))
        # The barrier keeps XLA from computing every remaining matrix anew for each of its uses.
        rest = jax.lax.optimization_barrier(rest[1:, 1:] - column[1:, None] * column[None, 1:])
    return jnp.stack(columns, axis=1)


def is_factor(lower: jax.Array) -> jax.Array:
    """Whether `cholesky` succeeded, that is, whether its matrix was positive definite; shape ()."""
    pivots = jnp.diagonal(lower)
    return jnp.all((pivots > 0) & jnp.isfinite(pivots))


def log_det(lower: jax.Array) -> jax.Array:
    """ln det of the matrix whose Cholesky factor this is, shape ()."""
    return 2 * jnp.sum(jnp.log(jnp.diagonal(lower)))


def inverse_lower(lower: jax.Array, often: bool = True) -> jax.Array:
    """Inverse of a lower triangular matrix (n, n), row by row; `often` as for `cholesky`."""
    n = lower.shape[-1]
    identity = jnp.eye(n, dtype=lower.dtype)

    def row(i, inverse):
        below = identity[i] - lower[i] @ inverse  # rows of `inverse` from i on are still zero
        return inverse.at[i].set(below / lower[i, i])

    return jax.lax.fori_loop(0, n, row, jnp.zeros_like(lower), unroll=often and n <= UNROLLED)


def _cholesky_loop(matrix: jax.Array) -> jax.Array:
    n = matrix.shape[-1]
    rows = jnp.arange(n)

    def column(j, state):
        rest, lower = state
        below = jnp.where(rows >= j, rest[:, j], 0) * jax.lax.rsqrt(rest[j, j])
        return rest - below[:, None] * below[None, :], lower.at[:, j].set(below)

    return jax.lax.fori_loop(0, n, column, (matrix, jnp.zeros_like(matrix)))[1]

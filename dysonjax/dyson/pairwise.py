"""Smooth forces between levels, beside the Coulomb repulsion.

The repulsion of `integrate` is β g_i²/(x_i − x_j) with g_i read at the moving level. Two more forces shift
the mean levels to the same order as it does:

- Levels with noise g(x_i) repel by g_i g_j. The difference to g_i² has no pole, −g_i (g_i − g_j)/(x_i − x_j).
- A drift that favours directions e_k of space (a target's eigenvectors) mixes as the eigenvectors u_i do,
  K_i = Σ_k (u_i·e_k)² K_i^(k). `mixing_share` says how much two levels share.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from dysonjax.checks import InputError, finite_array


@dataclasses.dataclass(frozen=True)
class Pairwise:
    """A smooth force between levels beside the Coulomb repulsion, Σ_{j≠i} force(x_i, x_j, *params_ij).

    Attributes
    ----------
    force : callable
        force(x, other, *params), elementwise, written with jax.numpy, units of x over time. It must be finite
        where levels meet.
    params : tuple of arrays, each of shape (levels, levels)
        Entry [i, j] is for the force of level j on level i.

    Examples
    --------
    Levels that attract each other like springs of stiffness 0.1:

    >>> springs = dj.dyson.Pairwise(lambda x, other, k: -k * (x - other), params=(np.full((3, 3), 0.1),))
    >>> [round(float(f), 3) for f in springs(np.array([-1.0, 0.0, 2.0]))]
    [0.4, 0.1, -0.5]
    """

    force: Callable[..., Any]
    params: tuple[np.ndarray, ...] = ()

    def __call__(self, x: ArrayLike) -> jax.Array:
        """The force on levels of shape (..., levels)."""
        x = jnp.asarray(x)
        each = self.force(x[..., :, None], x[..., None, :], *self.params)
        return jnp.sum(jnp.where(jnp.eye(x.shape[-1], dtype=bool), 0.0, each), axis=-1)


def check_pairwise(pairs: Pairwise, levels: int) -> None:
    """Raise InputError unless the parameters are finite matrices for this number of levels."""
    for k, value in enumerate(pairs.params):
        if finite_array(f"params[{k}] of the pairwise force", value).shape != (levels, levels):
            raise InputError(
                f"params[{k}] of a pairwise force must have shape {(levels, levels)}, got {np.shape(value)}"
            )


def total_force(force: Callable, params, x: jax.Array) -> jax.Array:
    """The force in lanes: x of shape (levels, members), a loop over partners as for the repulsion."""

    def add(j, total):
        other = lax.dynamic_slice_in_dim(x, j, 1, axis=0)
        mine = lax.broadcasted_iota(jnp.int32, x.shape, 0) == j
        each = force(x, other, *(lax.dynamic_slice_in_dim(p, j, 1, axis=1) for p in params))
        return total + jnp.where(mine, 0.0, each)

    return lax.fori_loop(0, x.shape[0], add, jnp.zeros_like(x))


def mixing_share(gap: ArrayLike, target_gap: ArrayLike, variance: ArrayLike) -> jax.Array:
    """Mean of (u_i·e_j)² for two levels a distance `gap` apart whose targets are `target_gap` apart.

    Parameters
    ----------
    gap : float or array
        Distance S of the two levels, units of x. Its sign does not matter.
    target_gap : float or array
        Distance S_t of their targets, units of x, not negative.
    variance : float or array
        Variance v of the off-diagonal element of X in the frame of the targets, units of x². The diagonal
        ones have twice that.

    Returns
    -------
    array, of the common shape of the arguments
        Between 0 and 1/2.

    Notes
    -----
    X has the weight exp(−tr(X − X_t)²/4v). At given levels the angle θ by which u turns away from e has the
    weight exp(z cos 2θ) with z = S S_t/4v. Hence ⟨sin²θ⟩ = (1 − I₁(z)/I₀(z))/2: v/S² for levels far apart and
    1/2 where they meet. This is exact for two levels (the β = 1 integral over the rotations). With more
    levels, pairs are taken as independent, which is exact again to leading order in v/S². The stationary law
    gets a factor e^{−z} I₀(z) ~ S^{−1/2}: levels of different targets repel like β = 1/2.

    Examples
    --------
    >>> share = dj.dyson.mixing_share(np.array([0.0, 10.0]), target_gap=10.0, variance=0.1)
    >>> [round(float(s), 4) for s in share]
    [0.5, 0.001]
    """
    z = jnp.abs(jnp.asarray(gap)) * jnp.asarray(target_gap) / (4 * jnp.asarray(variance))
    return 0.5 * (1 - jax.scipy.special.i1e(z) / jax.scipy.special.i0e(z))

"""Noise strengths g_i² and normals that belong to a member, a step and a level, whatever the batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.checks import InputError, finite_array, positive


@dataclasses.dataclass(frozen=True)
class SquareRoot:
    """State-dependent noise g_i² = c x_i (Itô): that of the eigenvalues of X = WᵀW when W has additive noise.

    Attributes
    ----------
    c : float, default 1.0
        Units of x over time, above 0. Entries of W with dW = √(c/2) dB give this c.

    Raises
    ------
    InputError
        If `c` is not positive and finite.

    Notes
    -----
    The integrators work with ξ = 2√(x/c), in which the noise is additive (Lamperti) and the repulsion becomes
    β/(ξ_i − ξ_j) + β/(ξ_i + ξ_j). Levels stay positive exactly, and no order is lost at x = 0. Together with
    `wishart` this is the β-Laguerre process.

    Examples
    --------
    >>> noise = dj.dyson.SquareRoot(c=2.0)
    >>> noise(np.array([0.0, 0.5, 3.0]))
    array([0., 1., 6.])
    """

    c: float = 1.0

    def __post_init__(self):
        positive("c of SquareRoot", self.c)

    def __call__(self, x: Any) -> Any:
        return self.c * x


Strength = float | np.ndarray | SquareRoot | Callable[[Any], Any]


def check_strength(g2: Strength, x: np.ndarray) -> np.ndarray | Callable:
    """`g2` as an array that broadcasts against x of shape (..., levels), or as the function it is.

    A function g2(x) is elementwise in x, written with jax.numpy, and is read in the sense of Itô.
    Raises InputError if a value is not positive or the shape does not fit.
    """
    if callable(g2):
        with jax.enable_x64(True):
            value = np.asarray(g2(jnp.asarray(np.atleast_1d(x))))
        if value.shape != np.shape(np.atleast_1d(x)):
            raise InputError(
                f"g2 must be elementwise, but maps shape {np.shape(np.atleast_1d(x))} to {value.shape}"
            )
        if not (np.isfinite(value).all() and np.all(value >= 0)):
            raise InputError("g2(x) must be finite and not negative at the start; check it on the domain")
        return g2
    array = finite_array("g2", g2, min_ndim=0)
    if not np.all(array > 0):
        raise InputError(f"g2 must be positive, got {float(np.min(array)):g}")
    try:
        np.broadcast_to(array, np.shape(x))
    except ValueError:
        raise InputError(
            f"g2 of shape {array.shape} does not fit levels of shape {np.shape(x)}; give one per level"
        ) from None
    return array


@threefry.settled()
def key_words(key) -> jax.Array:
    """The two 32-bit words that seed the counters, from any kind of jax key; shape (2,), uint32."""
    return jax.random.bits(key, (2,), jnp.uint32)


def fold(words: jax.Array, tag) -> jax.Array:
    """Words of an independent stream."""
    return jnp.stack(threefry.block(words, jnp.asarray(tag, jnp.uint32), jnp.uint32(0x9E3779B9)))


def normals(words: jax.Array, members: jax.Array, step, count: int) -> jax.Array:
    """Standard normals of shape (count, members), float64, functions of (words, member id, step, row) alone.

    One threefry hash gives two uniforms of 32 bits: the tails end at 6.3 standard deviations, and the
    variance is exact to 1e-8. `jax.random.normal` would tie each number to its place in the batch.
    """
    half = (count + 1) // 2
    row = jnp.arange(half, dtype=jnp.uint32)[:, None]
    counter = jnp.asarray(step, jnp.uint32) * jnp.uint32(half) + row
    shape = (half, members.shape[0])
    words = threefry.block(words, jnp.broadcast_to(members[None, :], shape), jnp.broadcast_to(counter, shape))
    word = jnp.concatenate(words)[:count]
    uniform = (word.astype(jnp.float64) + 0.5) * 2.0**-31 - 1.0
    return np.sqrt(2.0) * jax.lax.erf_inv(uniform)

"""Four ways to get the second moments Ŝ = (1/|B|) Σ φφᵀ of an RBM's persistent chains.

k sweeps map φ to A^k φ + noise, with A = σ_h² W Wᵀ/μ² and noise of one sweep of covariance
1/μ² + σ_h² W Wᵀ/μ⁴ = (1 + A)/μ². All commute, so that the noise of k sweeps has covariance
Q = (1 + A)/μ² · Σ_{j<k} A^{2j} = (1/μ²) Σ_{j<2k} A^j = (1 − A^{2k}) K⁻¹, and the chains rest at K⁻¹.

- "gibbs": the literal sweeps.
- "collapsed": one draw of the same law, φ′ = A^k φ + L η with L Lᵀ = Q: |B|·N_v normals instead of
  |B|·k·(N_v + N_h), which bind the speed.
- "langevin": Ŝ = K⁻¹ + Gaussian noise with the covariance of |B| independent draws, in the eigenbasis
  ⟨δS_ij²⟩ = 1/(λ_i λ_j |B|), twice that on the diagonal; fresh in every step. Matrix Langevin of [A] 2.1.
- "langevin-chains": S′ = A^k S A^k + Q + noise, which has the chains' exact mean at any W and, at rest, their
  covariance at any time lag: entry (i, j) forgets by (x_i x_j/μ⁴)^k a step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dysonjax.models import dense
from dysonjax.models.base import normal, split

UNROLLED_SWEEPS = 8


class Shape(NamedTuple):
    """What the chains depend on besides the weights."""

    visible: int
    hidden: int
    mu: float
    sigma_h: float
    k: int


class Moments(NamedTuple):
    """Pure functions of one network's chains."""

    start: Callable[[jax.Array], Any]  # chains (batch_size, visible) -> memory
    draw: Callable[[jax.Array, int], tuple]  # key, batch size -> the normals of one step
    advance: Callable  # memory, normals, weight, batch size -> Ŝ (visible, visible), memory


def gibbs(shape: Shape) -> Moments:
    """k sweeps h|φ, φ|h, one after the other."""
    mu, sigma_h, k = shape.mu, shape.sigma_h, shape.k

    def draw(key, batch_size):
        key_h, key_v = split(key)
        # Kept as rows: XLA would fuse a reshape into the generator and make its innermost loop ten long.
        return (
            normal(key_h, (k * batch_size * shape.hidden,)),
            normal(key_v, (k * batch_size * shape.visible,)),
        )

    def advance(chains, normals, weight, batch_size):
        def sweep(phi, noise):
            h = sigma_h**2 * (phi @ weight) + sigma_h * noise[0]
            return h @ (weight.T / mu**2) + noise[1] / mu, None

        noise = (
            normals[0].reshape(k, batch_size, shape.hidden),
            normals[1].reshape(k, batch_size, shape.visible),
        )
        chains, _ = jax.lax.scan(sweep, chains, noise, unroll=min(k, UNROLLED_SWEEPS))
        return chains.T @ chains / batch_size, chains

    return Moments(lambda chains: chains, draw, advance)


def collapsed(shape: Shape) -> Moments:
    """k sweeps in one Gaussian draw."""

    def draw(key, batch_size):
        return (normal(key, (batch_size * shape.visible,)),)

    def advance(chains, normals, weight, batch_size):
        power, noise = collapsed_law(weight, shape)
        normals = normals[0].reshape(batch_size, shape.visible)
        chains = chains @ power + normals @ dense.cholesky(noise).T
        return chains.T @ chains / batch_size, chains

    return Moments(lambda chains: chains, draw, advance)


def langevin(shape: Shape) -> Moments:
    """Exact mean and Gaussian noise, fresh in every step."""

    def draw(key, batch_size):
        return (normal(key, (shape.visible, shape.visible)),)

    def advance(memory, normals, weight, batch_size):
        root = _covariance_root(weight, shape)
        noise = _symmetric(normals[0]) / jnp.sqrt(batch_size)
        return root @ (jnp.eye(shape.visible, dtype=noise.dtype) + noise) @ root.T, memory

    return Moments(lambda chains: (), draw, advance)


def langevin_chains(shape: Shape) -> Moments:
    """The linear Gaussian process that a large number of chains tends to."""

    def start(chains):
        return chains.T @ chains / len(chains)

    def draw(key, batch_size):
        keys = split(key)
        square = (shape.visible, shape.visible)
        return normal(keys[0], square), normal(keys[1], square)

    def advance(moments, normals, weight, batch_size):
        power, noise = collapsed_law(weight, shape)
        kept, fresh = power @ _covariance_root(weight, shape), dense.cholesky(noise)
        # Chains at rest times fresh noise, and fresh noise times itself.
        cross = kept @ normals[0] @ fresh.T
        both = cross + cross.T + fresh @ _symmetric(normals[1]) @ fresh.T
        moments = power @ moments @ power + noise + both / jnp.sqrt(batch_size)
        return moments, moments

    return Moments(start, draw, advance)


MOMENTS = {
    "gibbs": gibbs,
    "collapsed": collapsed,
    "langevin": langevin,
    "langevin-chains": langevin_chains,
}


def collapsed_law(weight: jax.Array, shape: Shape) -> tuple[jax.Array, jax.Array]:
    """A^k and the noise covariance Q of k sweeps, both (visible, visible) and symmetric."""
    a = (shape.sigma_h / shape.mu) ** 2 * (weight @ weight.T)
    one = jnp.eye(shape.visible, dtype=weight.dtype)
    # Binary powers: S_n = Σ_{j<n} A^j obeys S_2n = S_n (1 + A^n) and S_{n+1} = S_n + A^n.
    power, total = a, one

    def doubled():
        return total + (power if total is one else total @ power)

    for bit in bin(shape.k)[3:]:
        total = doubled()
        power = power @ power
        if bit == "1":
            total, power = total + power, power @ a
    return power, doubled() / shape.mu**2


def _covariance_root(weight: jax.Array, shape: Shape) -> jax.Array:
    """R with R Rᵀ = K⁻¹; not a number if K is not positive definite."""
    one = jnp.eye(shape.visible, dtype=weight.dtype)
    precision = shape.mu**2 * one - shape.sigma_h**2 * weight @ weight.T
    return dense.inverse_lower(dense.cholesky(precision)).T


def _symmetric(normals: jax.Array) -> jax.Array:
    """A symmetric matrix with unit variance off the diagonal and 2 on it."""
    return (normals + normals.T) / jnp.sqrt(2.0)

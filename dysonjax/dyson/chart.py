"""Unconstrained coordinates for ordered levels: a sampler can neither cross them nor leave the domain."""

import dataclasses
import math

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class OrderedChart:
    """Log-gaps: z ∈ ℝᴺ ↔ lower < x_1 < … < x_N < upper.

    Without limits z_1 = x_1 and z_k = log(x_k − x_{k−1}); with one, the first gap is counted from there;
    with two, the N + 1 gaps are shares of the interval (a softmax).
    """

    lower: float = -math.inf
    upper: float = math.inf

    def levels(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x and log |det ∂x/∂z| for z of shape (..., N)."""
        below, above = math.isfinite(self.lower), math.isfinite(self.upper)
        if below and above:
            logits = jnp.concatenate([z, jnp.zeros_like(z[..., :1])], axis=-1)
            share = jax.nn.log_softmax(logits, axis=-1)
            width = self.upper - self.lower
            x = self.lower + width * jnp.cumsum(jnp.exp(share), axis=-1)[..., :-1]
            return x, jnp.sum(share, axis=-1) + z.shape[-1] * math.log(width)
        if below:
            return self.lower + jnp.cumsum(jnp.exp(z), axis=-1), jnp.sum(z, axis=-1)
        if above:
            gaps = jnp.exp(z)
            return self.upper - jnp.flip(jnp.cumsum(jnp.flip(gaps, -1), axis=-1), -1), jnp.sum(z, axis=-1)
        gaps = jnp.concatenate([z[..., :1], jnp.exp(z[..., 1:])], axis=-1)
        return jnp.cumsum(gaps, axis=-1), jnp.sum(z[..., 1:], axis=-1)

    def positions(self, z: jax.Array) -> jax.Array:
        """x alone."""
        return self.levels(z)[0]

    def coordinates(self, x: jax.Array) -> jax.Array:
        """The inverse of `levels`; x strictly ascending and inside the limits."""
        below, above = math.isfinite(self.lower), math.isfinite(self.upper)
        gaps = jnp.diff(x, axis=-1)
        if below and above:
            ends = jnp.concatenate([x[..., :1] - self.lower, gaps, self.upper - x[..., -1:]], axis=-1)
            return jnp.log(ends[..., :-1]) - jnp.log(ends[..., -1:])
        if below:
            return jnp.log(jnp.concatenate([x[..., :1] - self.lower, gaps], axis=-1))
        if above:
            return jnp.log(jnp.concatenate([gaps, self.upper - x[..., -1:]], axis=-1))
        return jnp.concatenate([x[..., :1], jnp.log(gaps)], axis=-1)

"""One coordinate u for all of a domain: walls and infinity lie at ±∞, densities fall off on both sides.

On the whole line x = sinh u, above a wall x = lower + e^u, below one x = upper − e^−u, and between two the
logistic function. A density that diverges at a wall like a power, or has a power tail, is smooth and
exponentially small at the ends of u.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

FAR = 34.0  # |u| up to which two walls can be told apart in float64
FARTHER = 300.0  # and x up to 1e130 on infinite domains

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 16


@dataclasses.dataclass(frozen=True)
class Line:
    """The domain (lower, upper) of a level."""

    lower: float = -math.inf
    upper: float = math.inf

    @property
    def reach(self) -> float:
        """The largest |u| that is used."""
        return FAR if math.isfinite(self.lower) and math.isfinite(self.upper) else FARTHER

    def x(self, u, xp=np):
        """Position at u; xp is numpy or jax.numpy."""
        below, above = math.isfinite(self.lower), math.isfinite(self.upper)
        if below and above:
            share = 1 / (1 + xp.exp(-xp.abs(u)))  # of the farther wall, exact near both
            near = (self.upper - self.lower) * xp.exp(-xp.abs(u)) * share
            return xp.where(u < 0, self.lower + near, self.upper - near)
        if below:
            return self.lower + xp.exp(u)
        if above:
            return self.upper - xp.exp(-u)
        return xp.sinh(u)

    def log_slope(self, u, xp=np):
        """log dx/du."""
        below, above = math.isfinite(self.lower), math.isfinite(self.upper)
        if below and above:
            size = xp.abs(u)
            return math.log(self.upper - self.lower) - size - 2 * xp.log1p(xp.exp(-size))
        if below:
            return u + 0.0
        if above:
            return -u
        return xp.abs(u) + xp.log1p(xp.exp(-2 * xp.abs(u))) - math.log(2)

    def u(self, x, xp=np):
        """The inverse of `x`."""
        below, above = math.isfinite(self.lower), math.isfinite(self.upper)
        if below and above:
            return xp.log(x - self.lower) - xp.log(self.upper - x)
        if below:
            return xp.log(x - self.lower)
        if above:
            return -xp.log(self.upper - x)
        return xp.arcsinh(x)


def integral(function, line: Line, reference: float, x):
    """∫ function from `reference` to x, elementwise in x, for a JAX function; 256 Gauss nodes in u.

    Derivatives are those of the integrand, not of the quadrature.
    """
    begin = float(line.u(np.float64(reference)))
    here = jax.lax.stop_gradient(x)
    panel = (line.u(here, jnp) - begin) / _PANELS
    nodes, weights = (jnp.asarray(np.tile(v, _PANELS)) for v in (_NODES, _WEIGHTS))

    def add(k, total):
        u = begin + panel * (k // len(_NODES) + 0.5 * (1 + nodes[k]))
        return total + weights[k] * function(line.x(u, jnp)) * jnp.exp(line.log_slope(u, jnp))

    shape = jax.eval_shape(function, here)
    total = jax.lax.fori_loop(0, len(_NODES) * _PANELS, add, jnp.zeros(shape.shape, shape.dtype))
    # From x to itself: zero, but with the right derivatives up to the fourth.
    step = 0.5 * (x - here)
    rest = sum(function(here + step * (1 + sign / math.sqrt(3))) for sign in (-1, 1)) * step
    return jax.lax.stop_gradient(0.5 * panel * total) + rest

"""Exact draws of two levels: the joint density tabulated once, then inverted."""

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.dyson import mcmc

CELLS = 1200  # per direction; the density between grid points is bilinear, off by less than 1e-5


@threefry.settled()
def sample_pair(gas, key, n: int) -> np.ndarray:
    """n draws of (x_1, x_2) from a CoulombGas of two levels, shape (n, 2), ascending.

    The density on a grid of (x_1, x_2 − x_1) is a sum of bilinear cells: a cell is drawn by its weight, then
    a point in it, direction by direction. Falls back to MCMC where the density diverges at a wall.
    """
    low, size, gap = _extent(gas)
    first = low + size * np.linspace(0, 1, CELLS + 1)
    second = gap * np.linspace(0, 1, CELLS + 1)
    x = np.stack([np.broadcast_to(first[:, None], (CELLS + 1,) * 2), first[:, None] + second], axis=-1)
    log_density = gas.log_prob(x)
    if np.isposinf(log_density).any() or np.isnan(log_density).any():
        chains = gas.run_mcmc(key, n)
        mcmc.warn_if_poor(chains)
        return chains.flat(n)
    density = np.exp(log_density - log_density.max())
    corners = density[:-1, :-1], density[1:, :-1], density[:-1, 1:], density[1:, 1:]
    weight = np.cumsum((corners[0] + corners[1] + corners[2] + corners[3]).ravel())
    with jax.enable_x64(True):
        uniform = np.asarray(jax.random.uniform(key, (3, n), jnp.float64))
    cell = np.minimum(np.searchsorted(weight, uniform[0] * weight[-1], side="right"), weight.size - 1)
    a, b, c, d = (corner.ravel()[cell] for corner in corners)
    u = _linear_quantile(a + c, b + d, uniform[1])
    v = _linear_quantile(a + u * (b - a), c + u * (d - c), uniform[2])
    row, column = np.divmod(cell, CELLS)
    start = low + size * (row + u) / CELLS
    return np.stack([start, start + gap * (column + v) / CELLS], axis=1)


def _linear_quantile(left, right, p):
    """Quantile of a density on [0, 1] that goes linearly from `left` to `right`."""
    return p * (left + right) / (left + np.sqrt(left**2 + p * (right**2 - left**2)) + 1e-300)


def _extent(gas) -> tuple[float, float, float]:
    """Start and length of the x_1 range and length of the gap range; the density outside is below e^-36."""
    chart = gas.chart
    mode = gas.most_likely()
    top = gas.log_prob(mode)

    def reach(direction) -> float:
        """How far one can go from the mode before the density is negligible."""
        length = 1e-3 * (1 + abs(mode[1] - mode[0]))
        while length < 1e6 and gas.log_prob(mode + 2 * length * direction) > top - 36:
            length *= 1.1
        return 2 * length

    down = min(reach(np.array([-1.0, 0.0])), reach(np.array([-1.0, 0.0])))
    both_down, both_up = reach(np.array([-1.0, -1.0])), reach(np.array([1.0, 1.0]))
    up = reach(np.array([0.0, 1.0]))
    low = max(mode[0] - max(down, both_down), chart.lower)
    high = min(mode[0] + both_up, chart.upper)
    gap = mode[1] - mode[0] + max(up, down)
    return low, high - low, gap

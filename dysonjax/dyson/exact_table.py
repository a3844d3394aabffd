"""Exact draws of one, two or three levels by rejection from a table over the whole support.

The line is cut into cells. In a cell e^{−U_i} has an upper bound, and so has the distance of levels in two
cells: together they bound the density in every box of cells. A box is drawn by its bound, a point evenly in
it (in the coordinate u of `Line`), and the point is kept with probability density/bound. Draws are
independent and follow the density itself; cells only decide how many are thrown away. Three levels need no
table of triples: outer levels are drawn first, from a product of matrices that sums over the middle one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax import threefry
from dysonjax.checks import InputError
from dysonjax.dyson.landscape import Landscape, scan

MOST_CELLS = {1: 4000, 2: 1600, 3: 700}
VARIATION = 0.1  # of log e^{−U} within a cell that matters
NEGLIGIBLE = 1e-13  # share of a cell, summed over levels, that need not be resolved
ENDS = 1e-6  # share of the law that may lie in the last cell, beyond which nothing is resolved
PROBES = 9  # points of a cell at which its bound is sought
MARGIN = 0.01  # what the density may exceed these by
LARGEST_LEVELS = 3


class Table(NamedTuple):
    """Cells in u, their bounds, and the cumulative weights of boxes.

    edges: (cells + 1,). bounds: log of the bound of e^{−U_i} dx/du, (levels, cells). reach: bound of the
    distance of levels in two cells to the power β, (cells, cells). cumulative: over cells, or over pairs of
    cells of the outer levels. unit: shift of log P that was taken out.
    """

    landscape: Landscape
    edges: np.ndarray
    bounds: np.ndarray
    reach: np.ndarray
    cumulative: np.ndarray


def build_table(landscape: Landscape) -> Table:
    """The table of a gas of at most three levels. Raises InputError if a tail is too heavy."""
    edges = _first_edges(landscape)
    for _ in range(60):
        middle, bounds = _bounds(landscape, edges)
        table = _weigh(landscape, edges, bounds)
        mass = _marginals(table)
        width = np.diff(edges)
        spread = np.ptp(middle, axis=1)
        needed = (spread > VARIATION) & (mass > NEGLIGIBLE) & (width > 1e-12 * (1 + np.abs(edges[1:])))
        needed |= mass.max(axis=0) > 8 / MOST_CELLS[landscape.levels]
        cut = np.flatnonzero(needed.any(axis=0))
        room = MOST_CELLS[landscape.levels] - len(width)
        if not cut.size or room <= 0:
            break
        worth = (mass * (spread + VARIATION)).max(axis=0)[cut]
        cut = cut[np.argsort(-worth)[: max(room, 1)]]
        edges = np.sort(np.concatenate([edges, 0.5 * (edges[cut] + edges[cut + 1])]))
    if mass[:, [0, -1]].max() > ENDS:
        raise InputError(
            "this law reaches too far, or too close to a wall, for exact draws in double precision; choose a "
            "potential that confines more strongly"
        )
    return table


@threefry.settled()
def sample_table(table: Table, log_prob: Callable[[np.ndarray], np.ndarray], key, n: int) -> np.ndarray:
    """n independent draws, shape (n, levels), ascending. log_prob: that of the gas, up to a constant."""
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), jnp.uint32)))
    kept, have, rate = [], 0, 0.5
    while have < n:
        count = int(min(1.1 * (n - have) / rate + 50, 400_000))
        x, log_bound = _propose(table, rng, count)
        ordered = np.all(np.diff(x, axis=1) > 0, axis=1)
        log_density = np.full(count, -np.inf)
        log_density[ordered] = log_prob(x[ordered])
        good = np.log(rng.random(count)) < log_density - log_bound
        kept.append(x[good])
        have += int(good.sum())
        rate = max(good.mean(), 1e-3)
    return np.concatenate(kept)[:n]


def _propose(table: Table, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and the log of the bound of the density in x that they were drawn from."""
    line, levels = table.landscape.line, table.landscape.levels
    cells = len(table.edges) - 1
    flat = np.searchsorted(table.cumulative, rng.random(count) * table.cumulative[-1], side="right")
    flat = np.minimum(flat, table.cumulative.size - 1)
    if levels == 1:
        box = flat[:, None]
    else:
        outer = np.stack(np.divmod(flat, cells), axis=1)
        box = outer if levels == 2 else np.insert(outer, 1, _middle(table, outer, rng), axis=1)
    low, width = table.edges[box], np.diff(table.edges)[box]
    u = low + width * rng.random(box.shape)
    x = line.x(u)
    rows = np.arange(levels)
    log_bound = table.bounds[rows, box].sum(axis=1) - line.log_slope(u).sum(axis=1)
    for i in range(levels):
        for j in range(i + 1, levels):
            log_bound += np.log(table.reach[box[:, i], box[:, j]])
    return x, log_bound


def _middle(table: Table, outer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The cell of the middle level given those of the outer ones."""
    weight = np.exp(table.bounds[1] - table.bounds[1].max()) * np.diff(table.edges)
    result = np.empty(len(outer), int)
    for start in range(0, len(outer), 20_000):
        part = outer[start : start + 20_000]
        rows = np.cumsum(table.reach[part[:, 0]] * weight * table.reach.T[part[:, 1]], axis=1)
        goal = rng.random(len(part)) * rows[:, -1]
        result[start : start + 20_000] = (rows < goal[:, None]).sum(axis=1)
    return np.minimum(result, len(weight) - 1)


def _first_edges(landscape: Landscape) -> np.ndarray:
    """Edges at the ends of the support, at the bottom of every well, and some in between."""
    points, energy, slope = scan(landscape)
    line = landscape.line
    down = (slope[:-1] > 0) & (slope[1:] <= 0)
    bottoms = points[:-1][down.any(axis=1)]
    u = line.u(points)
    reward = landscape.beta * landscape.levels * np.log1p(np.abs(points))
    log_density = np.max(reward[:, None] - energy + energy.min(axis=0), axis=1) + line.log_slope(u)
    inside = np.flatnonzero(log_density > log_density.max() - 60)
    first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, len(u) - 1)
    low, high = u[first], u[last]
    # Where the scan ends before the density does, the table goes on.
    low = -line.reach if first == 0 else low
    high = line.reach if last == len(u) - 1 else high
    return np.unique(np.concatenate([np.linspace(low, high, 101), line.u(bottoms), u[first : last + 1 : 20]]))


def _bounds(landscape: Landscape, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log(e^{−U_i} dx/du) at points of each cell, (levels, points, cells), and its bound, (levels, cells)."""
    u = edges[:-1] + np.linspace(1e-9, 1 - 1e-9, PROBES)[:, None] * np.diff(edges)
    x = landscape.line.x(u)
    rows = np.repeat(x.reshape(-1, 1), landscape.levels, axis=1)
    with np.errstate(all="ignore"):
        energy = landscape.local(rows)[0].T.reshape(landscape.levels, *u.shape)
    value = np.nan_to_num(landscape.line.log_slope(u) - energy, nan=-1e300, neginf=-1e300, posinf=-1e300)
    return value, value.max(axis=1) + MARGIN * np.minimum(1 + np.ptp(value, axis=1), 5)


def _weigh(landscape: Landscape, edges: np.ndarray, bounds: np.ndarray) -> Table:
    x = landscape.line.x(edges)
    with np.errstate(over="ignore"):
        distance = np.maximum(x[1:] - x[:-1, None], 0.0) ** landscape.beta
    reach = np.triu(np.nan_to_num(distance, posinf=1e300))
    table = Table(landscape, edges, bounds, reach, np.empty(0))
    return table._replace(cumulative=np.cumsum(_boxes(table)))


def _cell_weights(table: Table) -> np.ndarray:
    return np.exp(table.bounds - table.bounds.max(axis=1, keepdims=True)) * np.diff(table.edges)


def _boxes(table: Table) -> np.ndarray:
    """Weights of the cells of one level, or of pairs of cells of the outer levels."""
    weight = _cell_weights(table)
    if table.landscape.levels == 1:
        return weight[0]
    boxes = weight[0][:, None] * table.reach * weight[-1]
    return boxes * ((table.reach * weight[1]) @ table.reach) if table.landscape.levels == 3 else boxes


def _marginals(table: Table) -> np.ndarray:
    """Share of every cell in the law of each level, (levels, cells)."""
    boxes = _boxes(table)
    if table.landscape.levels == 1:
        return (boxes / boxes.sum())[None]
    outer = boxes.sum(axis=1), boxes.sum(axis=0)
    if table.landscape.levels == 2:
        return np.stack(outer) / boxes.sum()
    weight = _cell_weights(table)
    pairs = weight[0][:, None] * table.reach * weight[2]
    middle = weight[1] * np.einsum("ab,ab->b", table.reach, pairs @ table.reach.T)
    return np.stack([outer[0] / boxes.sum(), middle / middle.sum(), outer[1] / boxes.sum()])

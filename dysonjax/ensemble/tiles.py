"""How the members of a run are cut into tiles, one tile a device at a time.

A tile is worlds x points members (see `programs`). Tiles of one run all have the same shape, so that one
compilation serves them; places that no member fills repeat the last one and are dropped afterwards.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax.ensemble.config import Config
from dysonjax.ensemble.grid import Grid, identities
from dysonjax.ensemble.keys import Identity

FIXED = 16  # what a step of a tile costs besides its networks, in networks (5 to 9 by XLA, measured)


class Wave(NamedTuple):
    """One tile for each device."""

    identity: Identity
    # (devices, worlds, points): position in the grid of one batch size, -1 for padding
    index: np.ndarray  # type: ignore[assignment]  # hides `tuple.index`, which nobody needs


def choose(
    worlds: int, points: int, members: int, devices: int, cost: Callable[[int, int], float]
) -> tuple[int, int]:
    """Worlds and points of the tiles in which `worlds` x `points` networks are trained soonest.

    members: the most that a tile may have. cost: of a step of a tile with so many worlds and points.

    A wave takes as long as one tile, full or not, on one device or on all of them. So the time of a run is
    the number of waves times the cost of a tile: large tiles need few waves, and the cheapest among the sizes
    that need as many leaves the fewest places empty.
    """

    def time(size):
        w, p = size
        waves = -(-(-(-worlds // w) * -(-points // p)) // devices)
        return waves * (cost(w, p) + FIXED), waves, w

    sizes = ((w, p) for w in _even_parts(worlds) for p in _even_parts(points))
    return min((size for size in sizes if math.prod(size) <= members), key=time)


def waves(config: Config, grid: Grid, batch_size: int, worlds: int, points: int) -> list[Wave]:
    """The waves of one batch size; the members of a seed stand close together. grid: some of the seeds."""
    point, common, devices = grid.points(), config.common, len(config.devices)
    count = len(point)
    ids = identities(point, batch_size, config.identity_bits)
    # Member (seed s, point p) has position p * seeds + s in the grid of one batch size.
    if common:
        members = np.arange(count)[None, :] * grid.seeds + np.arange(grid.seeds)[:, None]
    else:
        members = (np.arange(count)[None, :] * grid.seeds + np.arange(grid.seeds)[:, None]).reshape(-1, 1)
    tiles = [
        _pad(members[w : w + worlds, p : p + points], (worlds, points))
        for w in range(0, members.shape[0], worlds)
        for p in range(0, members.shape[1], points)
    ]
    result = []
    for first in range(0, len(tiles), devices):
        index = _pad(np.stack(tiles[first : first + devices]), (devices, worlds, points))
        filled = np.where(index < 0, index.max(), index)
        seed, place = filled % grid.seeds, filled // grid.seeds
        identity = Identity(
            np.full(devices, config.seed, np.uint32),
            (seed[:, :, 0] + grid.first_seed).astype(np.uint32),
            ids[place[:, :, 0]],
            {name: np.array([p[name] for p in point], config.dtype)[place] for name in point[0]},
        )
        result.append(Wave(identity, index))
    return result


def member_bytes(state_of_one: Any) -> int:
    """Bytes of one member's state, from its shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_of_one))


def _even_parts(total: int) -> list[int]:
    """The sizes of parts into which `total` can be cut as evenly as possible, whatever their number."""
    root = math.isqrt(total) + 1
    return sorted({-(-total // parts) for parts in range(1, root + 1)} | set(range(1, min(root, total) + 1)))


def _pad(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.pad(array, [(0, n - m) for n, m in zip(shape, array.shape, strict=True)], constant_values=-1)

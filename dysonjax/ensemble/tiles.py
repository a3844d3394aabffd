"""How the members of a run are cut into tiles, one tile a device at a time.

A tile is worlds x points members (see `programs`). Tiles of one run all have the same shape, so that one
compilation serves them; places that no member fills repeat the last one and are dropped afterwards.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from dysonjax.ensemble.grid import Grid, identities
from dysonjax.ensemble.programs import Identity

# State of one tile on a CPU core, for XLA, whose step needs several times as much. A [3, 32, 16, 1] network's
# step takes 1040, 500, 490, 470, 480 and 460 ns with 36, 72, 144, 288, 576 and 1440 kB on a core with 1 MB of
# cache, an RBM's 4.3, 4.0, 3.6, 3.2 and 3.8 µs with 40, 80, 160, 320 and 640 kB, with 10 % of noise. Where
# neighbours left less of the cache 640 kB were slower, 760 ns instead of 450. `tuning` measures it.
CACHE_BYTES = 160 * 1024
DEVICE_FRACTION = 0.25  # of an accelerator's memory that the state of one tile may take
FALLBACK_DEVICE_BYTES = 8 * 2**30
# In lanes (see `lanes`) only sixteen networks at a time have to fit into a cache; a tile is what is started
# and observed together. A student's step took 185 ns with 0.25 MB, 163 with 0.5, 152 with 1, 149 with 4 and
# with 16; an RBM's 810, 750, 790, 780, 760 (3 % of noise).
LANES_BYTES = 2**20
# What a step costs besides its networks, in networks: for each tile (5 to 9 by XLA, measured), and by XLA for
# each world, whose batch is drawn or looked up once.
FIXED, SHARED = 16, 4


class Wave(NamedTuple):
    """One tile for each device."""

    identity: Identity
    index: np.ndarray  # (devices, worlds, points): position in the grid of one batch size, -1 for padding


def largest(member_bytes: int, device: jax.Device, in_lanes: bool = False) -> int:
    """How many members a tile may have, from the memory of a device (or the cache of a core).

    in_lanes: for a step that is compiled by `dysonjax.native`.
    """
    if in_lanes:
        budget = LANES_BYTES
    elif device.platform == "cpu":
        budget = CACHE_BYTES
    else:
        stats = device.memory_stats() or {}
        budget = DEVICE_FRACTION * stats.get("bytes_limit", FALLBACK_DEVICE_BYTES)
    return max(1, int(budget // member_bytes))


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


def cost_by_xla(worlds: int, points: int) -> int:
    """Of a step of a tile, in networks."""
    return worlds * (points + SHARED)


def waves(
    grid: Grid,
    batch_size: int,
    common: bool,
    root: int,
    devices: int,
    worlds: int,
    points: int,
    dtype,
    bits: int = 64,
):
    """The waves of one batch size, as a list of `Wave`; the members of a seed stand close together."""
    point = grid.points()
    count = len(point)
    ids = identities(point, batch_size, bits)
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
            np.full(devices, root, np.uint32),
            (seed[:, :, 0] + grid.first_seed).astype(np.uint32),
            ids[place[:, :, 0]],
            {name: np.array([p[name] for p in point], dtype)[place] for name in point[0]},
        )
        result.append(Wave(identity, index))
    return result


def member_bytes(state_of_one: jax.ShapeDtypeStruct) -> int:
    """Bytes of one member's state, from the shapes of a state with one world and one point."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_of_one))


def _even_parts(total: int) -> list[int]:
    """The sizes of parts into which `total` can be cut as evenly as possible, whatever their number."""
    root = math.isqrt(total) + 1
    return sorted({-(-total // parts) for parts in range(1, root + 1)} | set(range(1, min(root, total) + 1)))


def _pad(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.pad(array, [(0, n - m) for n, m in zip(shape, array.shape, strict=True)], constant_values=-1)

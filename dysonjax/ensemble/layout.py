"""Where the members of a tile stand in memory; nothing else in the package knows.

A tile is `worlds` x `points` members on each device. Between targets, and in checkpoints, its state is in the
*plain* form: every leaf (devices, worlds, points, ...), the array of a member last. A target keeps another
form while it trains:

- XLA's programs have the points inside each array of a world (`Points`). A weight (n_in, n_out) becomes
  (n_in, points, n_out), or (n_in, n_out, points) if the model asks for it: the product of a shared batch with
  all weights is then ONE product (batch, n_in) x (n_in, points * n_out) without a transposition. With the
  points last, everything else of a step runs along them too, in vector lanes. With n_out last XLA unrolls its
  innermost loop when n_out is small, and LLVM then compiles the update to scalar code: the step of the
  [3, 32, 16, 1] student took 372 ns of a core like that, of which 164 in the update, and 227 with the points
  last, 52 in the update. Between a few points there is nothing to vectorise. Where both factors of a product
  differ from member to member the inner position is the better one: XLA's batched products want n_out last,
  and its reductions along an axis that is not the last are scalar when they are long.
- Compiled C has sixteen networks in the last axis (`Lanes`): points of one world, whose own arrays are then
  shared by the lanes, or the same point of sixteen worlds. Or it has each network by itself (`apart`).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.compile import LANES, WARP, aligned, in_memory
from dysonjax.compile.cuts import first_position, part_extent, place_of
from dysonjax.models.base import Model

FEWEST_LANES = 16  # points in a tile from which on they go to the last axis, for models that ask for it
VECTOR = 64  # bytes of the longest vector that a processor has


class OneNetwork:
    """No members at all: functions of one network are what they are."""

    @staticmethod
    def each(function: Callable, like: Any) -> Callable:
        return function

    @staticmethod
    def along(values, leaf):
        return values


ONE = OneNetwork()


class Points(NamedTuple):
    """The points of a world inside each array of XLA's programs: in the last axis, or next to the last."""

    last: bool

    def axis(self, ndim: int) -> int:
        """Theirs in an array with `ndim` axes, of one world."""
        return ndim - 1 if self.last else max(ndim - 2, 0)

    def axes(self, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: self.axis(leaf.ndim), tree)

    def each(self, function: Callable, like: Any) -> Callable:
        """A function of one network for all points; like: arrays with as many axes as the results have."""

        def mapped(*arguments):
            return jax.vmap(function, in_axes=self.axes(arguments), out_axes=self.axes(like))(*arguments)

        return mapped

    def along(self, values: jax.Array, leaf: jax.Array) -> jax.Array:
        """One value a point, shaped to broadcast against an array of the state."""
        shape = [1] * leaf.ndim
        shape[self.axis(leaf.ndim)] = len(values)
        return values.reshape(shape)

    def plain(self, leaf: Any) -> Any:
        """A leaf of all devices and worlds in the plain form, as a view; a random key as one of JAX."""
        moved: Any = jnp.moveaxis if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.moveaxis
        return moved(leaf, 2 + self.axis(leaf.ndim - 2), 2)

    def plain_shape(self, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        axes = list(leaf.shape)
        axes.insert(2, axes.pop(2 + self.axis(leaf.ndim - 2)))
        return jax.ShapeDtypeStruct(axes, leaf.dtype)

    def of_plain(self, leaf: np.ndarray) -> np.ndarray:
        return np.moveaxis(leaf, 2, 2 + self.axis(leaf.ndim - 2))


def points(model: Model, count: int) -> Points:
    """Where XLA's programs have `count` points of a model's worlds."""
    return Points(model.member_axis == "last" and count >= FEWEST_LANES)


class Lanes(NamedTuple):
    """Sixteen networks in the last axis: the same point of sixteen worlds, or points of one world.

    A call of a kernel takes one world, or sixteen; an array of it is (networks, elements, LANES). Lanes
    without a network repeat the last one.
    """

    over_worlds: bool

    def pack(self, leaf: np.ndarray) -> list[np.ndarray]:
        """A plain leaf of one device, (worlds, points, ...), call by call."""
        leaf = in_memory(leaf, varying=True).reshape(*leaf.shape[:2], -1)
        axis = 0 if self.over_worlds else 1
        missing = -leaf.shape[axis] % LANES
        if missing:
            leaf = np.pad(leaf, [(0, missing if a == axis else 0) for a in range(3)], mode="edge")
        worlds, points, elements = leaf.shape
        if self.over_worlds:
            groups = leaf.reshape(-1, LANES, points, elements).transpose(0, 2, 3, 1)
        else:
            groups = leaf.reshape(worlds, -1, LANES, elements).transpose(0, 1, 3, 2)
        return [aligned(group) for group in groups]

    def unpack(self, groups: list[np.ndarray], shape: tuple[int, ...], dtype) -> np.ndarray:
        """The inverse of `pack`; shape: (worlds, points, ...)."""
        worlds, points = shape[:2]
        together = np.stack(groups)
        if self.over_worlds:
            found = together.transpose(0, 3, 1, 2).reshape(-1, *together.shape[1:3])[:worlds]
        else:
            found = together.transpose(0, 1, 3, 2).reshape(len(groups), -1, together.shape[2])[:, :points]
        return found.astype(dtype, copy=False).reshape(shape)

    def pack_worlds(self, leaves: list[np.ndarray], used: tuple[bool, ...]) -> list[list]:
        """Arrays (worlds, ...) for each call: those of one world, or of sixteen; None for what is unused."""
        worlds = len(leaves[0])
        places: Iterable = range(worlds)
        if self.over_worlds:
            places = [np.minimum(np.arange(c, c + LANES), worlds - 1) for c in range(0, worlds, LANES)]
        return [
            [self._world(leaf, place) if use else None for leaf, use in zip(leaves, used, strict=False)]
            for place in places
        ]

    def _world(self, leaf: np.ndarray, place) -> np.ndarray:
        leaf = in_memory(leaf[place], self.over_worlds)
        return aligned(np.moveaxis(leaf, 0, -1)) if self.over_worlds else resting(leaf)


class Warps(NamedTuple):
    """Networks in the threads of warps, see `dysonjax.compile.warps`: (warps, elements of a thread, 32).

    A network is `threads` of them, and its array is cut along `axis`, or whole in each (None). A block is
    `block` warps of one world; places without a network repeat the last one.
    """

    threads: int
    axis: int | None
    block: int

    def warps(self, points: int) -> int:
        """Of a world."""
        networks = WARP // self.threads * self.block
        return -(-points // networks) * self.block

    def idle(self, worlds: int, points: int) -> np.ndarray:
        """Which warps of all worlds have no network at all: they help to draw for their world."""
        used = -(-points * self.threads // WARP)
        return np.tile(np.arange(self.warps(points)) >= used, worlds)

    def pack(self, leaf: jax.Array) -> jax.Array:
        """A leaf of one device, (worlds, points, ...)."""
        _, points, *shape = leaf.shape
        missing = self.warps(points) * WARP // self.threads - points
        if leaf.dtype == bool:  # a mask
            leaf = -leaf.astype(np.int32)
        leaf = jnp.pad(leaf, [(0, 0), (0, missing), *[(0, 0)] * len(shape)], mode="edge")
        leaf = leaf.reshape(-1, *shape)
        if self.axis is None:
            held = jnp.repeat(leaf.reshape(len(leaf), 1, -1), self.threads, axis=1)
        else:
            extent = shape[self.axis]
            n = part_extent(extent, self.threads)
            first = [first_position(extent, self.threads, thread) for thread in range(self.threads)]
            held = jnp.take(leaf, np.add.outer(first, np.arange(n)), axis=1 + self.axis)
            held = jnp.moveaxis(held, 1 + self.axis, 1).reshape(len(leaf), self.threads, -1)
        return held.reshape(-1, WARP, held.shape[-1]).transpose(0, 2, 1)

    def unpack(self, held: jax.Array, shape: tuple[int, ...], dtype) -> jax.Array:
        """The inverse of `pack`; shape: (worlds, points, ...)."""
        worlds, points, *rest = shape
        networks = held.shape[0] * WARP // self.threads
        held = held.transpose(0, 2, 1).reshape(networks, self.threads, held.shape[1])
        if self.axis is None:
            leaf = held[:, 0].reshape(worlds, -1, *rest)
        else:
            extent = rest[self.axis]
            local = [part_extent(n, self.threads) if a == self.axis else n for a, n in enumerate(rest)]
            held = jnp.moveaxis(held.reshape(networks, self.threads, *local), 1, 1 + self.axis)
            held = held.reshape(networks, *(rest[: self.axis]), -1, *rest[self.axis + 1 :])
            n = part_extent(extent, self.threads)
            owners = [place_of(extent, self.threads, position) for position in range(extent)]
            held = jnp.take(held, np.array([thread * n + place for thread, place in owners]), 1 + self.axis)
            leaf = held.reshape(worlds, -1, *rest)
        return leaf[:, :points].astype(dtype)


def apart(leaf: np.ndarray) -> list[np.ndarray]:
    """A plain leaf of one device, (worlds, points, ...), network by network, each an array of its own."""
    return [aligned(in_memory(leaf[place], varying=False)) for place in np.ndindex(*leaf.shape[:2])]


def together(networks: list[np.ndarray], shape: tuple[int, ...], dtype) -> np.ndarray:
    """The inverse of `apart`; shape: (worlds, points, ...)."""
    return np.stack(networks).astype(dtype, copy=False).reshape(shape)


def by_device(leaf: jax.Array) -> list[np.ndarray]:
    """The parts of an array (devices, ...), one a device, in their order."""
    shards = sorted(leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return [np.asarray(shard.data)[0] for shard in shards]


def resting(values: np.ndarray) -> np.ndarray:
    """The array itself if kernels can read it where it is, else an aligned copy. Nobody may write to it.

    A data set can be larger than all networks together. Where it begins must not change how a loop over it is
    cut into vectors, and with that its sums.
    """
    values = np.asarray(values)
    there = values.flags.c_contiguous and values.ctypes.data % VECTOR == 0
    return values if there else aligned(values)

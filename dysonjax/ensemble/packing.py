"""The arrays of a tile as compiled C reads them: sixteen networks in the last axis.

The sixteen are points of one world, whose own arrays are then shared by the lanes, or the same point of
sixteen worlds (`over_worlds`). A call of the kernel takes one world, or sixteen.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dysonjax import native, threefry
from dysonjax.ensemble import programs
from dysonjax.ensemble.programs import Identity
from dysonjax.models.base import Model

LANES = native.LANES


def costs(model: Model, worlds: int, points: int) -> tuple[float, float]:
    """Of a step of a tile, in networks: with its worlds in the lanes, and with its points in them.

    Lanes that stay empty cost as much as full ones. A world's draws cost as much as 8 and 8 networks of an
    RBM, 60 and 110 linear 2 x 2 networks, 1 and 9 students. Looking up data that differ between the lanes
    makes a student's step 1.6 times as long.
    """
    if model.draws:
        return _rounded(worlds) * (points + 8), worlds * (_rounded(points) + 12)
    return 1.6 * _rounded(worlds) * points, worlds * _rounded(points)


def cost(model: Model, worlds: int, points: int) -> float:
    return min(costs(model, worlds, points))


def over_worlds(model: Model, worlds: int, points: int) -> bool:
    """Whether the lanes of a tile are worlds or points of one world."""
    with_worlds, with_points = costs(model, worlds, points)
    return with_worlds < with_points


class Shared:
    """What the networks of a tile read and never change: keys of random streams, world and point.

    identity, world: as the programs take them, the latter as shapes. streams: numbers of the random streams.
    """

    def __init__(self, model: Model, common: bool, identity: Identity, world: Any, streams: tuple[int, ...]):
        _, worlds, points = identity.point["lr"].shape
        self.over_worlds = over_worlds(model, worlds, points)
        self.common, self.streams = common, streams
        leaves, self.tree = jax.tree.flatten(world)
        self.world = [jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype) for leaf in leaves]
        self.names = sorted(identity.point)
        keys = [jax.ShapeDtypeStruct((2,), np.uint32)] * len(streams)
        self.inputs = [
            *(native.Input(*_words(s), native.WORLD, self.over_worlds) for s in (*keys, *self.world)),
            *(native.Input((), identity.point[n].dtype, native.NETWORK, True) for n in self.names),
        ]

    def of_one(self, values: list) -> tuple[list, Any, dict]:
        """Keys, world and point of one network, from the inputs of a compiled function."""
        count = len(self.streams)
        keys = [jax.random.wrap_key_data(words, impl="threefry2x32") for words in values[:count]]
        world, points = values[count:][: len(self.world)], values[count + len(self.world) :]
        world = [_as_key(value, shape) for value, shape in zip(world, self.world, strict=True)]
        return keys, jax.tree.unflatten(self.tree, world), dict(zip(self.names, points, strict=True))

    def arrays(self, identity: Identity, world: Any, used: tuple[bool, ...]) -> list[list[list]]:
        """For every device and call of the kernel the inputs; None where `used` says that it is not read."""
        keys = [keys_of(identity, self.common, stream) for stream in self.streams]
        of_worlds = [by_device(words(leaf)) for leaf in jax.tree.leaves(world)]
        found = []
        for device in range(len(identity.seed)):
            points = [self.pack(identity.point[name][device][:, :, None]) for name in self.names]
            worlds = self._worlds([*(k[device] for k in keys), *(leaf[device] for leaf in of_worlds)], used)
            found.append([[*w, *p] for w, p in zip(worlds, zip(*points, strict=True), strict=True)])
        return found

    def _worlds(self, leaves: list[np.ndarray], used: tuple[bool, ...]) -> list[list]:
        """Arrays (worlds, ...) for each call: those of one world, or sixteen worlds in the last axis."""
        worlds = len(leaves[0])
        leaves = [
            native.in_memory(leaf, self.over_worlds) if use else None
            for leaf, use in zip(leaves, used, strict=False)
        ]
        if not self.over_worlds:
            return [[None if leaf is None else aligned(leaf[w]) for leaf in leaves] for w in range(worlds)]
        calls = range(0, worlds, LANES)
        places = [np.minimum(np.arange(c, c + LANES), worlds - 1) for c in calls]
        return [
            [None if leaf is None else aligned(np.moveaxis(leaf[place], 0, -1)) for leaf in leaves]
            for place in places
        ]

    def pack(self, leaf: np.ndarray) -> list[np.ndarray]:
        """An array (worlds, points, elements) for each call of the kernel as (networks, elements, LANES)."""
        leaf = native.in_memory(leaf, lanes=True)
        axis = 0 if self.over_worlds else 1
        missing = -leaf.shape[axis] % LANES
        if missing:
            widths = [(0, missing if a == axis else 0) for a in range(3)]
            leaf = np.pad(leaf, widths, mode="edge")
        worlds, points, elements = leaf.shape
        if self.over_worlds:
            groups = leaf.reshape(-1, LANES, points, elements).transpose(0, 2, 3, 1)
        else:
            groups = leaf.reshape(worlds, -1, LANES, elements).transpose(0, 1, 3, 2)
        return [aligned(group) for group in groups]

    def unpack(self, groups: list[np.ndarray], worlds: int, points: int) -> np.ndarray:
        """The inverse of `pack`, (worlds, points, elements)."""
        together = np.stack(groups)
        if self.over_worlds:
            return together.transpose(0, 3, 1, 2).reshape(-1, *together.shape[1:3])[:worlds]
        return together.transpose(0, 1, 3, 2).reshape(len(groups), -1, together.shape[2])[:, :points]


class Own:
    """What each network has of its own: leaves (devices, worlds, ...) with the points in some axis.

    tree: as the programs have it, as shapes. Raises native.Unsupported for a typed random key.
    """

    def __init__(self, model: Model, points: int, tree: Any):
        leaves, self.tree = jax.tree.flatten(tree)
        self.leaves = leaves
        last = programs.points_last(model, points)
        self.axes = [programs.point_axis(leaf.ndim, last) for leaf in leaves]
        self.shapes = [
            jax.ShapeDtypeStruct(np.delete(leaf.shape, (0, 1, axis)).tolist(), leaf.dtype)
            for leaf, axis in zip(leaves, self.axes, strict=True)
        ]
        if any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves):
            raise native.Unsupported("a random key in the state of a network")

    def of_one(self, values: list) -> Any:
        return jax.tree.unflatten(self.tree, values)

    def in_lanes(self, shared: Shared, state: Any) -> "Packed":
        """A state as the kernels of lanes have it."""
        return packed(
            self, state, functools.partial(self.pack, shared), functools.partial(self.unpack, shared)
        )

    def pack(self, shared: Shared, leaves: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Leaves (worlds, ...) of one device, for each call."""
        packed = []
        for leaf, axis in zip(leaves, self.axes, strict=True):
            inner = np.moveaxis(leaf, axis - 1, 1)
            packed.append(shared.pack(inner.reshape(*inner.shape[:2], -1)))
        return [list(call) for call in zip(*packed, strict=True)]

    def unpack(self, shared: Shared, calls: list[list[np.ndarray]]) -> list[np.ndarray]:
        """The inverse of `pack`."""
        found = []
        for groups, leaf, axis in zip(zip(*calls, strict=True), self.leaves, self.axes, strict=True):
            worlds, points = leaf.shape[1], leaf.shape[axis]
            flat = shared.unpack(list(groups), worlds, points)
            flat = (-flat if leaf.dtype == bool else flat).astype(leaf.dtype, copy=False)
            rest = np.delete(leaf.shape, (0, 1, axis)).tolist()
            found.append(np.moveaxis(flat.reshape(worlds, points, *rest), 1, axis - 1))
        return found


class Packed:
    """The states of a tile as the kernels have them: of each device and call the leaves.

    They stay like this from piece to piece. Nobody changes them: who advances them takes a copy.
    unpack: makes leaves (worlds, ...) of the calls of a device.
    """

    def __init__(self, own: Own, calls: list[list[list[np.ndarray]]], unpack: Callable[[list], list]):
        self.own, self.calls, self.unpack = own, calls, unpack

    @functools.cached_property
    def state(self) -> Any:
        """As the programs have it, of NumPy arrays."""
        devices = map(self.unpack, self.calls)
        return jax.tree.unflatten(self.own.tree, [np.stack(leaves) for leaves in zip(*devices, strict=True)])


def packed(
    own: Own, state: Any, pack: Callable[[list[np.ndarray]], list], unpack: Callable[[list], list]
) -> Packed:
    """A state, packed if it is not; pack: the inverse of unpack."""
    if isinstance(state, Packed):
        return state
    leaves = zip(*(by_device(leaf) for leaf in jax.tree.leaves(state)), strict=True)
    return Packed(own, [pack(list(device)) for device in leaves], unpack)


def unpacked(state: Any) -> Any:
    return state.state if isinstance(state, Packed) else state


def shards(leaf: jax.Array) -> list:
    """The parts of an array, one a device, in their order."""
    return sorted(leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0)


def by_device(leaf: jax.Array) -> list[np.ndarray]:
    return [np.asarray(shard.data)[0] for shard in shards(leaf)]


def keys_of(identity: Identity, common: bool, stream: int) -> np.ndarray:
    """Words of the key of a stream of every world, (devices, worlds, 2); as by `programs.stream_key`."""
    root = np.asarray(identity.root)[:, None]
    found = np.zeros_like(root), root
    of_point = () if common else np.moveaxis(np.asarray(identity.point_id), -1, 0)
    for number in (identity.seed, *of_point, np.uint32(stream)):
        found = threefry.rounds(found, np.uint32(0), np.asarray(number))
    return np.stack(found, axis=-1)


def words(leaf: jax.Array) -> jax.Array:
    """Random keys as words."""
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _words(shape: jax.ShapeDtypeStruct) -> tuple[tuple[int, ...], Any]:
    """Shape and type of an array, of random keys those of their words."""
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return (*shape.shape, 2), np.uint32
    return shape.shape, shape.dtype


def _as_key(value, shape):
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(value, impl="threefry2x32")
    return value


def aligned(values: np.ndarray) -> np.ndarray:
    copy = native.aligned(values.shape, values.dtype)
    copy[...] = values
    return copy


def _rounded(count: int) -> int:
    return -(-count // LANES) * LANES

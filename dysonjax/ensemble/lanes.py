"""`Programs.advance` on a CPU by a compiled C step, see `dysonjax.native`.

Sixteen networks share the lanes of a vector: sixteen points of one world, which then is read as numbers, or
the same point of sixteen worlds, so that their batches are drawn in lanes.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dysonjax import native, threefry
from dysonjax.ensemble import programs
from dysonjax.ensemble.programs import Identity, State
from dysonjax.models.base import Model

LANES = native.LANES
# State of a network above which sixteen of them take half of a 1 MB cache; the best value was not measured.
MOST_BYTES = 32 * 1024


def check(devices: list) -> None:
    """Raise native.Unsupported if no step can be compiled here."""
    if devices[0].platform != "cpu":
        raise native.Unsupported("it needs a CPU")
    if native.compiler_path() is None:
        raise native.Unsupported("there is no C compiler (install one, or set CC to its path)")


def over_worlds(model: Model, worlds: int, points: int) -> bool:
    """Whether the lanes of a tile are worlds or points of one world, so that few of them stay empty."""
    worlds_filled, points_filled = worlds / _rounded(worlds), points / _rounded(points)
    # Drawn noise vectorises along the worlds; data that are looked up cost least where lanes share them.
    return worlds_filled >= points_filled / 2 if model.draws else worlds_filled > points_filled


def step_of_one(model: Model, optimizer: optax.GradientTransformation, batch_size: int):
    """One step of one network, as `Programs.advance` does it for many."""

    def step(key, world, point, state, index):
        batch = model.batch(threefry.derive(key, index), world, index, batch_size)
        update = model.update(state.params, state.memory, batch, world, point)
        direction, optimizer_state = optimizer.update(update.direction, state.optimizer, state.params)
        alive = (state.diverged_at < 0) & update.healthy

        def keep(new, old):
            return jnp.where(alive, new, old)

        moved = jax.tree.map(lambda p, d: p - point["lr"].astype(p.dtype) * d, state.params, direction)
        return State(
            jax.tree.map(keep, moved, state.params),
            jax.tree.map(keep, update.memory, state.memory),
            jax.tree.map(keep, optimizer_state, state.optimizer),
            jnp.where(alive | (state.diverged_at >= 0), state.diverged_at, index),
        )

    return step


def step_on_arrays(model, optimizer, batch_size: int, identity: Identity, world: Any, state: Any):
    """The step of one network as a function of lists of arrays, `step(fixed, carried, index) -> carried`.

    identity, world, state: as `Programs.advance` takes them, the latter two as shapes. Returns the step, the
    shapes of its fixed inputs (the key's words, the world, the hyperparameters) and of what it carries, the
    structure of that, and the names of the hyperparameters. Raises native.Unsupported if the state holds a
    random key.
    """
    leaves, tree = jax.tree.flatten(state)
    last = programs.points_last(model, identity.point["lr"].shape[2])
    members = [
        jax.ShapeDtypeStruct(
            np.delete(leaf.shape, (0, 1, programs.point_axis(leaf.ndim, last))).tolist(), leaf.dtype
        )
        for leaf in leaves
    ]
    for leaf in members:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise native.Unsupported("a random key in the state of a network")
    worlds, of_world = jax.tree.flatten(world)
    world_one = [jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype) for leaf in worlds]
    names = sorted(identity.point)
    point_one = [jax.ShapeDtypeStruct((), identity.point[name].dtype) for name in names]
    one = step_of_one(model, optimizer, batch_size)

    def step(fixed, carried, index):
        key, *rest = fixed
        world = jax.tree.unflatten(of_world, [_as_key(v, s) for v, s in zip(rest, world_one, strict=False)])
        point = dict(zip(names, rest[len(world_one) :], strict=True))
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
        return jax.tree.leaves(one(key, world, point, jax.tree.unflatten(tree, carried), index))

    of_key = jax.ShapeDtypeStruct((2,), np.uint32)
    fixed = [of_key, *(jax.ShapeDtypeStruct(*_words(s)) for s in world_one), *point_one]
    return step, fixed, members, tree, names


class Lowered:
    """The step of a tile, ready to be compiled; like the result of `jax.jit(...).lower`.

    identity, world, state: as `Programs.advance` takes them, the latter two as shapes. Raises
    native.Unsupported if the step cannot be written in C.
    """

    def __init__(self, model, optimizer, batch_size, common, identity: Identity, world: Any, state: Any):
        self.common, self.identity, self.out_info = common, identity, state
        _, worlds, points = identity.point["lr"].shape
        self.over_worlds = over_worlds(model, worlds, points)
        last = programs.points_last(model, points)
        step, arrays, members, self.tree, self.names = step_on_arrays(
            model, optimizer, batch_size, identity, world, state
        )
        last = programs.points_last(model, points)
        self.axes = [programs.point_axis(leaf.ndim, last) for leaf in jax.tree.leaves(state)]
        shared = len(arrays) - len(self.names)
        fixed = [
            *(native.Input(a.shape, a.dtype, native.WORLD, self.over_worlds) for a in arrays[:shared]),
            *(native.Input((), a.dtype, native.NETWORK, True) for a in arrays[shared:]),
        ]
        # The last leaf of a state is its `diverged_at`.
        self.source = native.write_step(step, fixed, members, len(members) - 1)

    def compile(self) -> "Advance":
        """Raises native.CompilerError if there is no C compiler or if it fails."""
        return Advance(self, native.Kernel(self.source))


class Advance:
    """Like the compiled `Programs.advance`, but what it returns is `Pending`."""

    def __init__(self, lowered: Lowered, kernel: native.Kernel):
        self.lowered, self.kernel = lowered, kernel
        self.threads = ThreadPoolExecutor(len(lowered.identity.seed), "dysonjax-native")
        # The last identity and worlds, and their arrays as the kernel reads them.
        self.worlds: tuple[Any, Any, list] | None = None

    def __call__(self, identity: Identity, world: Any, state: Any, first: np.ndarray, count: np.ndarray):
        if self.worlds is None or self.worlds[0] is not identity or self.worlds[1] is not world:
            self.worlds = (identity, world, self._fixed(identity, world))
        states = [by_device(leaf) for leaf in jax.tree.leaves(state)]
        running = [
            self.threads.submit(
                self._train, fixed, [leaf[device] for leaf in states], int(first[0]), int(count[0])
            )
            for device, fixed in enumerate(self.worlds[2])
        ]
        return Pending(self.lowered, running, state)

    def _fixed(self, identity, world) -> list[list]:
        """For every device and call of the kernel what the step reads: key, world, point."""
        lowered = self.lowered
        keys = keys_of(identity, lowered.common)
        of_worlds = [by_device(data(leaf)) for leaf in jax.tree.leaves(world)]
        return [
            [
                [*shared, *own]
                for shared, own in zip(
                    self._worlds([keys[device], *(leaf[device] for leaf in of_worlds)]),
                    self._points([identity.point[name][device] for name in lowered.names]),
                    strict=True,
                )
            ]
            for device in range(len(keys))
        ]

    def _worlds(self, leaves) -> list[list]:
        """Arrays (worlds, ...) for each call: those of one world, or sixteen worlds in the last axis."""
        used = self.kernel.used[: len(leaves)]
        leaves = [_memory(leaf) if use else None for leaf, use in zip(leaves, used, strict=True)]
        worlds = next(len(leaf) for leaf in leaves if leaf is not None) if any(used) else len(leaves[0])
        if not self.lowered.over_worlds:
            return [[None if leaf is None else _aligned(leaf[w]) for leaf in leaves] for w in range(worlds)]
        calls = range(0, worlds, LANES)
        places = [np.minimum(np.arange(c, c + LANES), worlds - 1) for c in calls]
        return [
            [None if leaf is None else _aligned(np.moveaxis(leaf[place], 0, -1)) for leaf in leaves]
            for place in places
        ]

    def _points(self, leaves) -> list[list]:
        return list(zip(*(self._pack(leaf[:, :, None]) for leaf in leaves), strict=True))

    def _pack(self, leaf: np.ndarray) -> list[np.ndarray]:
        """An array (worlds, points, elements) for each call of the kernel as (networks, elements, LANES)."""
        leaf = _memory(leaf)
        axis = 0 if self.lowered.over_worlds else 1
        missing = -leaf.shape[axis] % LANES
        if missing:
            widths = [(0, missing if a == axis else 0) for a in range(3)]
            leaf = np.pad(leaf, widths, mode="edge")
        worlds, points, elements = leaf.shape
        if self.lowered.over_worlds:
            groups = leaf.reshape(-1, LANES, points, elements).transpose(0, 2, 3, 1)
        else:
            groups = leaf.reshape(worlds, -1, LANES, elements).transpose(0, 1, 3, 2)
        return [_aligned(group) for group in groups]

    def _unpack(self, groups: list[np.ndarray], worlds: int, points: int) -> np.ndarray:
        """The inverse of `_pack`, (worlds, points, elements)."""
        together = np.stack(groups)
        if self.lowered.over_worlds:
            return together.transpose(0, 3, 1, 2).reshape(-1, *together.shape[1:3])[:worlds]
        return together.transpose(0, 1, 3, 2).reshape(len(groups), -1, together.shape[2])[:, :points]

    def _train(self, fixed: list[list], leaves: list[np.ndarray], first: int, count: int) -> list[np.ndarray]:
        """Advance the states (worlds, ...) of one device."""
        lowered = self.lowered
        inner = [np.moveaxis(leaf, axis - 1, 1) for leaf, axis in zip(leaves, lowered.axes, strict=True)]
        worlds, points = inner[0].shape[:2]
        packed = [self._pack(leaf.reshape(worlds, points, -1)) for leaf in inner]
        for call, arrays in enumerate(fixed):
            self.kernel(arrays, [leaf[call] for leaf in packed], first, count)
        result = []
        for groups, like, axis in zip(packed, inner, lowered.axes, strict=True):
            flat = self._unpack(groups, worlds, points)
            flat = -flat if like.dtype == bool else flat
            result.append(np.moveaxis(flat.reshape(like.shape).astype(like.dtype, copy=False), 1, axis - 1))
        return result


class Pending:
    """States that are being computed."""

    def __init__(self, lowered: Lowered, running: list[Future], before: Any):
        self.lowered, self.running, self.before = lowered, running, before

    def result(self) -> Any:
        parts = [work.result() for work in self.running]
        leaves = []
        for number, old in enumerate(jax.tree.leaves(self.before)):
            devices = [shard.device for shard in _shards(old)]
            rows = [
                jax.device_put(np.ascontiguousarray(part[number])[None], device)
                for part, device in zip(parts, devices, strict=True)
            ]
            leaves.append(jax.make_array_from_single_device_arrays(old.shape, old.sharding, rows))
        return jax.tree.unflatten(self.lowered.tree, leaves)


def settled(states: Any) -> Any:
    """What `Programs.advance` returned, when it is there."""
    return states.result() if isinstance(states, Pending) else jax.block_until_ready(states)


def keys_of(identity: Identity, common: bool) -> np.ndarray:
    """Words of the key of the batches of every world, (devices, worlds, 2); as by `programs.stream_key`."""
    root = np.asarray(identity.root)[:, None]
    words = np.zeros_like(root), root
    for number in (identity.seed, *(() if common else (identity.point_id,)), np.uint32(programs.BATCH)):
        words = threefry.rounds(words, np.uint32(0), np.asarray(number))
    return np.stack(words, axis=-1)


def _shards(leaf: jax.Array) -> list:
    return sorted(leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0)


def by_device(leaf: jax.Array) -> list[np.ndarray]:
    return [np.asarray(shard.data)[0] for shard in _shards(leaf)]


def data(leaf: jax.Array) -> jax.Array:
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


def _memory(leaf: np.ndarray) -> np.ndarray:
    """Truth values as the kernel keeps them: 0 or -1."""
    return -leaf.astype(np.int32) if leaf.dtype == bool else leaf


def _aligned(values: np.ndarray) -> np.ndarray:
    copy = native.aligned(values.shape, values.dtype)
    copy[...] = values
    return copy


def _rounded(count: int) -> int:
    return -(-count // LANES) * LANES

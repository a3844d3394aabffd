"""What the targets that compile C share: the step as a function of lists of arrays, and what stays XLA's.

Compiled C knows arrays alone: first those that it reads, keys of random streams, world and point, then those
that it changes, the state. XLA starts networks, and observes them where C cannot.
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from dysonjax import threefry
from dysonjax.compile import CompilerError, Source, Unsupported, compiler_path
from dysonjax.ensemble import step
from dysonjax.ensemble.contract import Later, Refused, Task, Tile
from dysonjax.ensemble.keys import Identity
from dysonjax.ensemble.layout import by_device
from dysonjax.ensemble.thresholds import VALUES


def refuses(task: Task) -> str | None:
    """Why no C can be compiled here, if so."""
    if task.devices[0].platform != "cpu":
        return "it needs a CPU"
    if compiler_path() is None:
        return "there is no C compiler (install one, or set CC to its path)"
    return None


def most_members(task: Task) -> int:
    """Of a tile: what is started and observed together."""
    return VALUES["lanes_tile_bytes"] // task.state_bytes


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """The compiler's reasons are those of a target."""
    try:
        yield
    except (Unsupported, CompilerError) as reason:
        raise Refused(str(reason)) from None


class Fixed(NamedTuple):
    """What the networks of a tile read and never change."""

    tree: Any  # of the world
    worlds: list[jax.ShapeDtypeStruct]  # leaves of one world
    points: list[jax.ShapeDtypeStruct]  # hyperparameters of one network
    names: list[str]  # theirs
    streams: tuple[int, ...]  # of random keys
    common: bool

    @property
    def of_world(self) -> list[jax.ShapeDtypeStruct]:
        """Keys, then the world; random keys are their words."""
        return [_words(s) for s in (*[_KEY] * len(self.streams), *self.worlds)]

    def of_one(self, values: list) -> tuple[list, Any, dict]:
        """Keys, world and point of one network, from the arrays of a compiled function."""
        count = len(self.streams)
        keys = [jax.random.wrap_key_data(words, impl="threefry2x32") for words in values[:count]]
        world, points = values[count:][: len(self.worlds)], values[count + len(self.worlds) :]
        world = [_as_key(value, shape) for value, shape in zip(world, self.worlds, strict=True)]
        return keys, jax.tree.unflatten(self.tree, world), dict(zip(self.names, points, strict=True))

    def arrays(self, identity: Identity, world: Any) -> list[tuple[list, list]]:
        """On each device the arrays (worlds, ...) of worlds and (worlds, points) of points."""
        of_world: list = [identity.key_words(self.common, stream) for stream in self.streams]
        of_world += [by_device(key_data(leaf)) for leaf in jax.tree.leaves(world)]
        of_point = [identity.point[name] for name in self.names]
        return [
            ([leaf[device] for leaf in of_world], [leaf[device] for leaf in of_point])
            for device in range(len(identity.seed))
        ]


def fixed(task: Task, tile: Tile, *streams: int) -> Fixed:
    leaves, tree = jax.tree.flatten(tile.world)
    worlds = [jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype) for leaf in leaves]
    names = sorted(tile.identity.point)
    points = [jax.ShapeDtypeStruct((), tile.identity.point[name].dtype) for name in names]
    return Fixed(tree, worlds, points, names, streams, task.common)


PackLeaf = Callable[[np.ndarray], list]  # a leaf of one device, for each call
UnpackLeaf = Callable[[list, tuple[int, ...], Any], np.ndarray]  # of each call -> a leaf


class Form(NamedTuple):
    """The state of a tile: what compiled C has for it, call by call, and the plain form."""

    tree: Any
    leaves: list[jax.ShapeDtypeStruct]  # (devices, worlds, points, ...)
    pack_leaf: PackLeaf
    unpack_leaf: UnpackLeaf

    @property
    def of_one(self) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(leaf.shape[3:], leaf.dtype) for leaf in self.leaves]

    def pack(self, plain: Any) -> list[list[list[np.ndarray]]]:
        """On each device the leaves of each call. Nobody changes them: who advances them takes a copy."""
        leaves = jax.tree.leaves(plain)
        return [
            [list(call) for call in zip(*(self.pack_leaf(leaf[device]) for leaf in leaves), strict=True)]
            for device in range(len(leaves[0]))
        ]

    def unpack(self, state: list[list[list[np.ndarray]]]) -> Any:
        found = []
        for number, leaf in enumerate(self.leaves):
            parts = ([call[number] for call in calls] for calls in state)
            found.append(np.stack([self.unpack_leaf(part, leaf.shape[1:], leaf.dtype) for part in parts]))
        return jax.tree.unflatten(self.tree, found)


def _unmoved(*_: Any) -> Any:
    raise TypeError("this target packs its state by itself")


def form(tile: Tile, pack_leaf: PackLeaf = _unmoved, unpack_leaf: UnpackLeaf = _unmoved) -> Form:
    """Raises Refused for a typed random key. A target that packs by itself needs no functions for a leaf."""
    leaves, tree = jax.tree.flatten(tile.plain)
    if any(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves):
        raise Refused("a random key in the state of a network")
    return Form(tree, leaves, pack_leaf, unpack_leaf)


def on_arrays(task: Task, fixed: Fixed, form: Form) -> Callable:
    """The step of one network as `function(fixed, carried, index) -> carried`, lists of arrays."""

    def function(values, carried, index):
        (key,), world, point = fixed.of_one(values)
        batch = task.model.batch(threefry.derive(key, index), world, index, task.batch_size)
        state = jax.tree.unflatten(form.tree, carried)
        return jax.tree.leaves(step.advance(task.model, task.optimizer, batch, world, point, state, index))

    return function


def source(task: Task, what: str, tile: Tile, write: Callable[[], Source]) -> Source:
    """The C that `write` writes for a tile, or wrote in an earlier run."""
    return task.traces.kept(what, (tile.identity, tile.world, tile.state), write)


def started_by_xla(task: Task, tile: Tile, form: Form) -> Callable[[], Callable]:
    """`Executable.start`, to be compiled."""
    compiled = task.traces.program("start", task.programs.start, tile.identity)

    def compile():
        program = compiled()

        def start(identity):
            world, state = program(identity)
            return world, form.pack(jax.tree.map(lambda leaf: tile.points.plain(np.asarray(leaf)), state))

        return start

    return compile


def observed_by_xla(task: Task, tile: Tile, form: Form) -> Callable[[], Callable]:
    """`Executable.observe`, to be compiled."""
    compiled = task.traces.program("observe", task.programs.observe, tile.identity, tile.world, tile.state)

    def compile():
        program = compiled()

        def observe(identity, world, state):
            found = program(identity, world, jax.tree.map(tile.points.of_plain, form.unpack(state)))
            return Later(lambda: jax.block_until_ready(found))

        return observe

    return compile


def on_threads(devices: int) -> Callable[..., Later]:
    """A function that calls another one with the arguments of each device, on a thread each."""
    threads = ThreadPoolExecutor(devices, "dysonjax-native")

    def call(function: Callable, *of_devices, joined: Callable[[list], Any] = list) -> Later:
        running = [threads.submit(function, *arguments) for arguments in zip(*of_devices, strict=True)]
        return Later(lambda: joined([work.result() for work in running]))

    return call


def remembered(function: Callable) -> Callable:
    """A function of a wave, `function(identity, world)`, that remembers its last result."""
    last: list[tuple[Identity | None, Any, Any]] = [(None, None, None)]

    def of_wave(identity: Identity, world: Any) -> Any:
        if last[0][0] is not identity or last[0][1] is not world:
            last[0] = (identity, world, function(identity, world))
        return last[0][2]

    return of_wave


_KEY = jax.ShapeDtypeStruct((2,), np.uint32)


def _is_key(leaf) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _words(shape: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*shape.shape, 2), np.uint32) if _is_key(shape) else shape


def key_data(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _as_key(value, shape):
    return jax.random.wrap_key_data(value, impl="threefry2x32") if _is_key(shape) else value

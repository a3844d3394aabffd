"""The three compiled programs of a run: start a tile of members, advance it, observe it.

A tile is `worlds` x `points` members. A world is one draw of everything random (with common randomness one
seed, with independent randomness one seed at one grid point); its members differ in their point alone.

Layout, and why it is as it is. Inside a world a weight (n_in, n_out) becomes (n_in, points, n_out), or
(n_in, n_out, points) if the model asks for it: the product of a shared batch with all weights is then ONE
product (batch, n_in) x (n_in, points * n_out) without a transposition. The update stands outside the vmap,
since vmap would move the point axis to the front and copy every weight twice a step.

With the points last, everything else of a step runs along them too, in vector lanes. With n_out last XLA
unrolls its innermost loop when n_out is small, and LLVM then compiles the update to scalar code: the step of
the [3, 32, 16, 1] student took 372 ns of a core like that, of which 164 in the update, and 227 with the
points last, 52 in the update. Between a few points there is nothing to vectorise. Where both factors of a
product differ from member to member the inner position is the better one: XLA's batched products want n_out
last, and its reductions along an axis that is not the last are scalar when they are long.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dysonjax import threefry
from dysonjax.models.base import Model, Update

# Streams of randomness within a world.
WORLD, INIT, BATCH, OBSERVE = range(4)

FEWEST_LANES = 16  # points in a tile from which on they go to the last axis


class State(NamedTuple):
    """What training carries from step to step. Every leaf has a point axis, see `build`."""

    params: Any
    memory: Any
    optimizer: Any
    diverged_at: jax.Array  # (points,), int32; the step whose update was refused, -1 while alive


class Identity(NamedTuple):
    """Who the members of a tile are; shapes as the engine passes them in."""

    root: jax.Array  # (devices,), uint32: root seed of the run
    seed: jax.Array  # (devices, worlds), uint32
    point_id: jax.Array  # (devices, worlds, words), uint32; enters the keys of independent randomness only
    point: dict[str, jax.Array]  # each (devices, worlds, points)


class Programs(NamedTuple):
    """Functions over tiles; the leading axis of everything is the device."""

    start: Callable  # tile -> worlds, states
    advance: Callable  # tile, worlds, states, first step, number of steps -> states; the states are donated
    observe: Callable  # tile, worlds, states -> `Observed`
    targets: Callable | None = None  # tile, worlds -> targets of `Observed` alone


class Observed(NamedTuple):
    """What is brought to the host at a record; the leading axis of everything is the device."""

    numbers: dict[str, jax.Array]  # (worlds, points)
    matrices: dict[str, jax.Array]  # (worlds, points, m, n)
    targets: dict[str, jax.Array]  # (worlds, m, n)
    diverged_at: jax.Array  # (worlds, points)


def build(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    common: bool,
    mesh: jax.sharding.Mesh,
) -> Programs:
    """The programs for one batch size; nothing is compiled before the first call."""

    def stream(identity, number):
        return stream_key(identity.root, identity.seed, None if common else identity.point_id, number)

    def place(identity, ndim):
        """The axis of the points in a leaf with `ndim` axes."""
        last = points_last(model, identity.point["lr"].shape[0])
        return ndim - 1 if last else max(ndim - 2, 0)

    def point_axes(identity, tree):
        return jax.tree.map(lambda leaf: place(identity, leaf.ndim), tree)

    def along(identity, values, leaf):
        """One value a point, (points,), shaped to broadcast against a leaf of the state."""
        shape = [1] * leaf.ndim
        shape[place(identity, leaf.ndim)] = values.shape[0]
        return values.reshape(shape)

    def members(identity, world):
        key = stream(identity, INIT)

        def one(point):
            params, memory = model.init(key, world, point)
            return State(params, memory, optimizer.init(params), jnp.int32(-1))

        single = jax.eval_shape(one, jax.tree.map(lambda a: a[0], identity.point))
        axes = jax.tree.map(lambda leaf: place(identity, leaf.ndim + 1), single)
        return jax.vmap(one, out_axes=axes)(identity.point)

    def start(identity):
        world = model.world(stream(identity, WORLD), batch_size)
        return world, members(identity, world)

    def advance(identity, world, state, first, count):
        key = stream(identity, BATCH)
        point = identity.point

        def draw(index):
            return model.batch(threefry.derive(key, index), world, index, batch_size)

        def step(index, carried):
            state, batch = carried
            batch = batch if model.draws else draw(index)
            axes = point_axes(identity, state)
            update = jax.vmap(
                lambda params, memory, point: model.update(params, memory, batch, world, point),
                in_axes=(axes.params, axes.memory, 0),
                out_axes=Update(axes.params, axes.memory, 0, 0),
            )(state.params, state.memory, point)
            optimise = jax.vmap(
                optimizer.update,
                in_axes=(axes.params, axes.optimizer, axes.params),
                out_axes=(axes.params, axes.optimizer),
            )
            spread = functools.partial(along, identity)
            state = after_step(state, update, optimise, point["lr"], index, spread)
            return state, draw(index + 1) if model.draws else ()

        # Noise is drawn one step ahead and carried: what a loop carries is computed once, while XLA would
        # fuse the generator into every use of a normal and evaluate it anew for each grid point.
        return jax.lax.fori_loop(first, first + count, step, (state, draw(first) if model.draws else ()))[0]

    def targets(identity, world):
        return model.targets(world)

    def observe(identity, world, state):
        key = stream(identity, OBSERVE)
        axes = point_axes(identity, state.params)

        def one(params, initial, point):
            return model.observe(params, initial, world, key, point)

        initial = members(identity, world).params
        numbers = jax.vmap(one, in_axes=(axes, axes, 0))(state.params, initial, identity.point)
        matrices = jax.vmap(model.matrices, in_axes=(axes,))(state.params)
        return Observed(numbers, matrices, targets(identity, world), state.diverged_at)

    def on_devices(function, *in_axes, donate=()):
        """Map over the worlds of a tile, and run one tile on each device."""
        over_worlds = jax.vmap(function, in_axes=(Identity(None, 0, 0, 0), *in_axes))

        def local(*args):
            with jax.default_matmul_precision("highest"):  # no silent TF32
                result = over_worlds(*jax.tree.map(lambda a: a[0], args))
            return jax.tree.map(lambda a: a[None], result)

        spec = jax.sharding.PartitionSpec(mesh.axis_names[0])
        return jax.jit(
            jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False),
            donate_argnums=donate,
        )

    return Programs(
        on_devices(start),
        on_devices(advance, 0, 0, None, None, donate=2),
        on_devices(observe, 0, 0),
        on_devices(targets, 0),
    )


def after_step(
    state: State, update: Update, optimise: Callable, lr: jax.Array, index, spread: Callable
) -> State:
    """The state after a step, of one network or of many; those that are not healthy stay where they are.

    optimise: `optimizer.update`, for as many. lr: of each. spread(values, leaf): values of each network as
    they broadcast against a leaf of the state.
    """
    direction, optimizer_state = optimise(update.direction, state.optimizer, state.params)
    alive = (state.diverged_at < 0) & update.healthy

    def keep(new, old):
        return jnp.where(spread(alive, old), new, old)

    params = jax.tree.map(lambda p, d: p - spread(lr, p).astype(p.dtype) * d, state.params, direction)
    return State(
        jax.tree.map(keep, params, state.params),
        jax.tree.map(keep, update.memory, state.memory),
        jax.tree.map(keep, optimizer_state, state.optimizer),
        jnp.where(alive | (state.diverged_at >= 0), state.diverged_at, index),
    )


def points_last(model: Model, points: int) -> bool:
    """Whether the points stand in the last axis of every leaf of a state, or next to the last."""
    return model.member_axis == "last" and points >= FEWEST_LANES


def point_axis(ndim: int, last: bool) -> int:
    """Where the points stand in a leaf (devices, worlds, ...) of a state."""
    return ndim - 1 if last else max(ndim - 2, 2)


def stream_key(root, seed, point_id, number) -> jax.Array:
    """The key of one stream of a world; point_id: words, or None if a seed's points share their randomness.

    Batches fold in the global step as well. Nothing else enters a key, above all no position in an array.
    """
    key = threefry.derive(threefry.root(root), seed)
    for word in range(0 if point_id is None else len(point_id)):
        key = threefry.derive(key, point_id[word])
    return threefry.derive(key, number)

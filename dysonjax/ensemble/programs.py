"""The programs of a run by XLA: start a tile of members, advance it, observe it.

A tile is `worlds` x `points` members. A world is one draw of everything random (with common randomness one
seed, with independent randomness one seed at one grid point); its members differ in their point alone. See
`layout` for where the points stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from dysonjax import threefry
from dysonjax.ensemble import layout, step
from dysonjax.ensemble.contract import Programs
from dysonjax.ensemble.keys import BATCH, INIT, OBSERVE, WORLD, Identity, stream_key
from dysonjax.ensemble.step import Observed, State
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax

# Of products on accelerators, and JAX's names for them. A CPU always computes in full.
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}


def products(precision: str, platform: str) -> str:
    """JAX's name for a precision of products while training on a kind of device."""
    return PRECISIONS["float32" if platform == "cpu" else precision]


def build(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    common: bool,
    mesh: jax.sharding.Mesh,
    like: State,
    precision: str = "float32",
) -> Programs:
    """The programs for one batch size; nothing is compiled before the first call.

    like: shapes of the state of one network. precision: of the products of training, see `PRECISIONS`.
    """
    in_full, training = PRECISIONS["float32"], products(precision, mesh.devices.flat[0].platform)

    def stream(identity, number):
        return stream_key(identity.root, identity.seed, None if common else identity.point_id, number)

    def points(identity):
        return layout.points(model, len(identity.point["lr"]))

    def members(identity, world):
        key = stream(identity, INIT)

        def one(point):
            return step.start(model, optimizer, key, world, point)

        axes = jax.tree.map(lambda leaf: points(identity).axis(leaf.ndim + 1), like)
        return jax.vmap(one, out_axes=axes)(identity.point)

    def start(identity):
        world = model.world(stream(identity, WORLD), batch_size)
        return world, members(identity, world)

    def advance(identity, world, state, first, count):
        key = stream(identity, BATCH)

        def draw(index):
            return model.batch(threefry.derive(key, index), world, index, batch_size)

        def one(index, carried):
            state, batch = carried
            batch = batch if model.draws else draw(index)
            state = step.advance(
                model, optimizer, batch, world, identity.point, state, index, points(identity)
            )
            return state, draw(index + 1) if model.draws else ()

        # Noise is drawn one step ahead and carried: what a loop carries is computed once, while XLA would
        # fuse the generator into every use of a normal and evaluate it anew for each grid point.
        return jax.lax.fori_loop(first, first + count, one, (state, draw(first) if model.draws else ()))[0]

    def targets(identity, world):
        return model.targets(world)

    def observe(identity, world, state):
        key = stream(identity, OBSERVE)
        axes = points(identity).axes(state.params)

        def one(params, initial, point):
            return step.observe(model, key, world, point, params, initial)

        initial = members(identity, world).params
        numbers, matrices = jax.vmap(one, in_axes=(axes, axes, 0))(state.params, initial, identity.point)
        return Observed(numbers, matrices, targets(identity, world), state.diverged_at, {})

    def on_devices(function, *in_axes, donate=(), precision=in_full):
        """Map over the worlds of a tile, and run one tile on each device."""
        over_worlds = jax.vmap(function, in_axes=(Identity._make((None, 0, 0, 0)), *in_axes))

        def local(*args):
            with jax.default_matmul_precision(precision):  # no silent TF32
                result = over_worlds(*jax.tree.map(lambda a: a[0], args))
            return jax.tree.map(lambda a: a[None], result)

        spec = jax.sharding.PartitionSpec(mesh.axis_names[0])
        return jax.jit(
            jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False),
            donate_argnums=donate,
        )

    return Programs(
        on_devices(start),
        on_devices(advance, 0, 0, None, None, donate=2, precision=training),
        on_devices(observe, 0, 0),
        on_devices(targets, 0),
    )

"""Shapes of what a tile holds, from those of one network.

Tracing one network tells them all. Mapping it over devices, worlds and points only to learn the shapes took a
third of the time of lowering a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from dysonjax.ensemble import step
from dysonjax.ensemble.keys import Identity
from dysonjax.ensemble.layout import Points
from dysonjax.ensemble.step import Observed, State
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax


class OfOne(NamedTuple):
    """Shapes of one network: its world, its state, and what is observed of it."""

    world: Any
    state: State
    numbers: Any
    matrices: Any
    targets: Any

    def of_world(self, devices: int, worlds: int) -> Any:
        """Of the worlds of a tile."""
        return jax.tree.map(lambda leaf: _with(leaf, devices, worlds), self.world)

    def of_state(self, devices: int, worlds: int, points: int, layout: Points) -> State:
        """Of the states of a tile, as XLA's programs have them."""

        def leaf(one):
            shape = list(one.shape)
            shape.insert(layout.axis(one.ndim + 1), points)
            return jax.ShapeDtypeStruct((devices, worlds, *shape), one.dtype)

        return jax.tree.map(leaf, self.state)

    def of_observed(self, devices: int, worlds: int, points: int) -> Observed:
        """Of what is observed of a tile."""

        def each(tree):
            return jax.tree.map(lambda leaf: _with(leaf, devices, worlds, points), tree)

        aims = jax.tree.map(lambda leaf: _with(leaf, devices, worlds), self.targets)
        return Observed(each(self.numbers), each(self.matrices), aims, each(self.state.diverged_at), {})


def of_one(
    model: Model, optimizer: optax.GradientTransformation, batch_size: int, identity: Identity
) -> OfOne:
    """By tracing the functions of a model for one network; identity: of any tile of the run."""

    def everything(key_data, point):
        key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        world = model.world(key, batch_size)
        state = step.start(model, optimizer, key, world, point)
        numbers, matrices = step.observe(model, key, world, point, state.params, state.params)
        return OfOne(world, state, numbers, matrices, model.targets(world))

    words = jax.ShapeDtypeStruct((2,), jnp.uint32)
    point = {name: jax.ShapeDtypeStruct((), values.dtype) for name, values in identity.point.items()}
    return jax.eval_shape(everything, words, point)


def _with(leaf: jax.ShapeDtypeStruct, *leading: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((*leading, *leaf.shape), leaf.dtype)

"""One training step and what is observed at a record, described once for every target.

The functions below are those of one network. XLA's programs hand in a layout that maps the model's own
functions over the points of a world; compiled C takes them as they are, and has networks in its lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.ensemble.layout import ONE, OneNetwork, Points
from dysonjax.models.base import Model, Update

if TYPE_CHECKING:
    import optax


class State(NamedTuple):
    """What training carries from step to step; with many points, every leaf has an axis of them."""

    params: Any
    memory: Any
    optimizer: Any
    diverged_at: jax.Array  # int32; the step whose update was refused, -1 while alive. Always the last leaf.


class Observed(NamedTuple):
    """What is brought to the host at a record; the leading axis of everything is the device."""

    numbers: dict[str, jax.Array]  # (worlds, points)
    matrices: dict[str, jax.Array]  # (worlds, points, m, n); if nobody reads them, those without `levels`
    targets: dict[str, jax.Array]  # (worlds, m, n)
    diverged_at: jax.Array | np.ndarray  # (worlds, points)
    levels: dict[str, jax.Array]  # of matrices, (worlds, points, mode), where the target finds them


def start(model: Model, optimizer: optax.GradientTransformation, key, world, point) -> State:
    """A network before its first step."""
    params, memory = model.init(key, world, point)
    return State(params, memory, optimizer.init(params), jnp.int32(-1))


def advance(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch: Any,
    world: Any,
    point: dict[str, jax.Array],
    state: State,
    index,
    layout: OneNetwork | Points = ONE,
) -> State:
    """The state after step number `index`, of one network or of all points of a world.

    A network that is not healthy stays where it is, for good. The update stands outside the vmap, since vmap
    would move the axis of the points to the front and copy every weight twice a step.
    """

    def update(params, memory, point):
        return model.update(params, memory, batch, world, point)

    like = Update(state.params, state.memory, point["lr"], point["lr"])
    updated = layout.each(update, like)(state.params, state.memory, point)
    optimise = layout.each(optimizer.update, (state.params, state.optimizer))
    direction, optimizer_state = optimise(updated.direction, state.optimizer, state.params)
    alive = (state.diverged_at < 0) & updated.healthy

    def keep(new, old):
        return jnp.where(layout.along(alive, old), new, old)

    def moved(old, direction):
        return old - layout.along(point["lr"], old).astype(old.dtype) * direction

    return State(
        jax.tree.map(keep, jax.tree.map(moved, state.params, direction), state.params),
        jax.tree.map(keep, updated.memory, state.memory),
        jax.tree.map(keep, optimizer_state, state.optimizer),
        jnp.where(alive | (state.diverged_at >= 0), state.diverged_at, index),
    )


def observe(model: Model, key, world, point, params, initial) -> tuple[dict, dict]:
    """Numbers and matrices of one network; initial: its parameters before training."""
    return model.observe(params, initial, world, key, point), model.matrices(params)

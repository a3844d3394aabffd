"""The matrix Langevin rung for any model without theory of its own. [A] 2.1.

W′ = W − α E[∂L] + (α/√|B|) √Var(∂L) ∘ η with η_ij ~ N(0, 1): mini-batches are replaced by the mean gradient
and noise of the same variance in every element, uncorrelated between elements.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dysonjax import checks, renamed, threefry
from dysonjax.models.base import Model, normal, split


class Draws(NamedTuple):
    """What one step is made of."""

    batches: Any  # the model's own batches, stacked along a new leading axis
    normals: Any  # η: like params


@renamed.arguments(n_batches="draws")
def elementwise_langevin(model: Model, n_batches: int = 64) -> Model:
    """Make the Langevin twin of a model, from mean and elementwise variance of its own update directions.

    Parameters
    ----------
    model : Model
        Any model whose networks carry no memory from step to step.
    n_batches : int, default 64
        Mini-batches of |B| samples drawn in every step, at least 2. The cost of a step is that of so many
        steps of the model.

    Returns
    -------
    Model
        Its name is that of the model with "-langevin" at the end. A network is healthy if it is on each of
        the batches.

    Raises
    ------
    InputError
        If `n_batches` is below 2.
    ValueError
        At the first use, for a model whose networks carry memory.

    Notes
    -----
    W′ = W − α E[∂L] + (α/√|B|) √Var(∂L) ∘ η with η_ij ~ N(0, 1), [A] 2.1. Mean and variance are taken over
    the drawn mini-batches, whose directions have the variance Var(∂L)/|B| already. With a fixed data set of
    `n_batches` batches both are exact for that set; otherwise the mean's own error is counted into the noise.

    Examples
    --------
    >>> student = dj.models.teacher_student(batches=100)
    >>> twin = dj.models.elementwise_langevin(student, n_batches=100)
    >>> twin.name, twin.config["dynamics"]
    ('teacher-student-langevin', 'langevin-elementwise')
    """
    n_batches = checks.positive_int("n_batches", n_batches, 2)

    def batch(key, world, step, batch_size):
        key_batches, key_noise = split(key)

        def one(index):
            return model.batch(
                threefry.derive(key_batches, index), world, step * n_batches + index, batch_size
            )

        # Shapes alone are asked for here; no number depends on the point.
        point = {"lr": jnp.zeros(()), "sigma_w": jnp.ones(())}
        shapes = jax.eval_shape(lambda: model.init(key, world, point).params)
        leaves, tree = jax.tree.flatten(shapes)
        keys = split(key_noise, len(leaves))
        normals = [normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        return Draws(jax.vmap(one)(jnp.arange(n_batches)), jax.tree.unflatten(tree, normals))

    def update(params, memory, drawn, world, point):
        if jax.tree.leaves(memory):
            raise ValueError(
                f"{model.name} carries memory from step to step; it needs a Langevin form of its own"
            )
        each = jax.vmap(lambda one: model.update(params, memory, one, world, point))(drawn.batches)

        def direction(values, eta):
            # The variance over n draws is too small by 1/n of itself: just what the mean's error adds.
            return jnp.mean(values, axis=0) + jnp.std(values, axis=0) * eta

        return each._replace(
            direction=jax.tree.map(direction, each.direction, drawn.normals),
            memory=memory,
            loss=jnp.mean(each.loss),
            healthy=jnp.all(each.healthy),
        )

    config = {**model.config, "dynamics": "langevin-elementwise", "draws": n_batches}
    return dataclasses.replace(
        model,
        name=f"{model.name}-langevin",
        batch=batch,
        update=update,
        draws=True,
        member_axis="inner",
        config=config,
    )

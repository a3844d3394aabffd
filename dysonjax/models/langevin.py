"""The matrix Langevin rung for any model without theory of its own. [A] 2.1.

W′ = W − α E[∂L] + (α/√|B|) √Var(∂L) ∘ η with η_ij ~ N(0, 1): mini-batches are replaced by the mean gradient
and noise of the same variance in every element, uncorrelated between elements.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dysonjax import checks, threefry
from dysonjax.models.base import Model, normal, split


class Draws(NamedTuple):
    """What one step is made of."""

    batches: Any  # the model's own batches, stacked along a new leading axis
    normals: Any  # η: like params


def elementwise_langevin(model: Model, draws: int = 64) -> Model:
    """The Langevin twin of a model, from the mean and the elementwise variance of its own directions.

    Parameters
    ----------
    model : Model
        A model whose networks carry no memory from step to step.
    draws : int, default 64
        Mini-batches in every step, 2 or more.

    Returns
    -------
    Model
        A step costs as much as `draws` steps of the model.

    Raises
    ------
    InputError
        If `draws` is below 2.
    ValueError
        At the first use, for a model whose networks carry memory.

    Notes
    -----
    W′ = W − α E[∂L] + (α/√|B|) √Var(∂L) ∘ η with η_ij ~ N(0, 1), [A] 2.1. Every step draws `draws`
    mini-batches of |B| samples and takes mean and variance over them of the model's update direction, which
    has the variance Var(∂L)/|B| already. With a fixed data set of as many batches as `draws` both are exact
    for that set. Otherwise the mean's own error is counted into the noise. A network is healthy if it is on
    each of the batches.

    Examples
    --------
    >>> model = dj.models.teacher_student(batches=100)
    >>> dj.models.elementwise_langevin(model, draws=100).config["dynamics"]
    'langevin-elementwise'
    """
    draws = checks.positive_int("draws", draws, 2)

    def batch(key, world, step, batch_size):
        key_batches, key_noise = split(key)

        def one(index):
            return model.batch(threefry.derive(key_batches, index), world, step * draws + index, batch_size)

        # Shapes alone are asked for here; no number depends on the point.
        point = {"lr": jnp.zeros(()), "sigma_w": jnp.ones(())}
        shapes = jax.eval_shape(lambda: model.init(key, world, point).params)
        leaves, tree = jax.tree.flatten(shapes)
        keys = split(key_noise, len(leaves))
        normals = [normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        return Draws(jax.vmap(one)(jnp.arange(draws)), jax.tree.unflatten(tree, normals))

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

    config = {**model.config, "dynamics": "langevin-elementwise", "draws": draws}
    return dataclasses.replace(
        model,
        name=f"{model.name}-langevin",
        batch=batch,
        update=update,
        draws=True,
        member_axis="inner",
        config=config,
    )

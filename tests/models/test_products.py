"""The products that models write: the same as a plain one, whichever factor differs between members."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dysonjax.models.base import lane_product, product

MEMBERS, SAMPLES, INPUTS, OUTPUTS = 5, 4, 3, 2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("differ", [(None, 0), (0, None), (0, 0)], ids=str)
@pytest.mark.parametrize("multiply", [product, lane_product])
def test_products_and_their_gradients_are_those_of_matmul(multiply, differ, axis):
    rng = np.random.default_rng(0)
    shapes = ((SAMPLES, INPUTS), (INPUTS, OUTPUTS))
    arguments, axes = [], []
    for shape, differs in zip(shapes, differ, strict=True):
        values = rng.normal(size=shape if differs is None else (MEMBERS, *shape))
        axes.append(None if differs is None else axis)
        arguments.append(jnp.asarray(values if differs is None else np.moveaxis(values, 0, axis)))

    def value_and_gradient(function):
        loss = jax.value_and_grad(lambda x, w: jnp.sum(jnp.tanh(function(x, w)) ** 2), argnums=(0, 1))
        return jax.jit(jax.vmap(loss, in_axes=axes))(*arguments)

    expected, found = value_and_gradient(jnp.matmul), value_and_gradient(multiply)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)

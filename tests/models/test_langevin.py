import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from thin import loss_only

import dysonjax as dj
from dysonjax.checks import InputError


def test_direction_has_the_mean_and_variance_of_the_models_own_batches():
    """16 batches of a fixed data set, all of them drawn: exact mean and elementwise standard deviation."""
    model = dj.models.teacher_student(widths=[3, 6, 4, 1], batches=16)
    langevin = dj.models.elementwise_langevin(model, n_batches=16)
    key = jax.random.key(0)
    world = jax.jit(model.world, static_argnums=1)(key, 4)
    params, memory = jax.jit(model.init)(key, world, {"lr": jnp.float32(0.1), "sigma_w": jnp.float32(1.0)})

    def own(step):
        return model.update(params, memory, model.batch(key, world, step, 4), world, {}).direction["w2"]

    each = np.asarray(jax.jit(jax.vmap(own))(jnp.arange(16)))

    def direction(step):
        batch = langevin.batch(jax.random.fold_in(key, step), world, step, 4)
        return langevin.update(params, memory, batch, world, {}).direction["w2"]

    drawn = np.asarray(jax.jit(jax.vmap(direction))(jnp.arange(3000)))
    spread = each.std(axis=0)
    assert np.abs((drawn.mean(axis=0) - each.mean(axis=0)) / (spread / math.sqrt(3000))).max() < 4.5
    np.testing.assert_allclose(drawn.std(axis=0) / spread, 1, atol=0.07)


@pytest.mark.slow
def test_langevin_twin_learns_as_the_network_does():
    """Median loss of 32 seeds within a factor 1.5."""
    model = loss_only(dj.models.teacher_student(widths=[3, 8, 6, 1], batches=32))
    grid = dj.Grid(lr=0.1, batch_size=4, sigma_w=1.0, seeds=32)
    real = dj.train(model, grid, 400, [400]).dataset["train_loss"].median()
    twin = dj.train(dj.models.elementwise_langevin(model, 8), grid, 400, [400]).dataset["train_loss"].median()
    assert abs(math.log(float(twin / real))) < math.log(1.5)


def test_a_model_with_memory_and_too_few_draws_are_refused():
    with pytest.raises(InputError, match="n_batches must be an integer of at least 2"):
        dj.models.elementwise_langevin(dj.models.linear(), 1)
    grid = dj.Grid(lr=0.1, batch_size=4, seeds=1)
    with pytest.raises(ValueError, match="carries memory"):
        dj.train(dj.models.elementwise_langevin(dj.models.rbm()), grid, 2, [2])

"""A network that compiles in a moment: the tests of runs are about files and processes, not about physics."""

import jax
import jax.numpy as jnp

from dysonjax.models.base import Model, Start, Update


def tiny(size: int = 2) -> Model:
    """A matrix that is pulled towards its seed's target and kicked; it has a memory, and may diverge."""

    def init(key, world, point):
        return Start({"w": point["sigma_w"] * jax.random.normal(key, (size, 2))}, jnp.zeros(()))

    def update(params, memory, kick, world, point):
        direction = {"w": params["w"] - world + kick}
        loss = jnp.mean(params["w"] ** 2)
        return Update(direction, memory + loss, loss, loss < 1e4)

    def observe(params, initial, world, key, point):
        return {"train_loss": jnp.mean((params["w"] - world) ** 2)}

    return Model(
        "tiny",
        world=lambda key, batch_size: jax.random.normal(key, (size, 2)),
        init=init,
        batch=lambda key, world, step, batch_size: jax.random.normal(key, (size, 2)) / batch_size,
        update=update,
        matrices=lambda params: params,
        observe=observe,
        observables={"train_loss": "mean squared distance from the target"},
        config={"size": size},
    )

"""Large networks, one a core at a time: the same numbers as by XLA."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dysonjax as dj
from dysonjax import compile as compiler
from dysonjax.ensemble import jobs, tiles
from dysonjax.models.corpus import Corpus

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def transformer(**options):
    """Width 16, one layer of 2 heads, context 8: half the size at which lanes end, without its optimiser."""
    tokens = np.random.default_rng(0).integers(0, 11, 2000).astype(np.uint8)
    text = Corpus("random", "", "abcdefghijk", tokens[200:], tokens[:200])
    return dj.models.nanogpt(text, width=16, heads=2, layers=1, context=8, **options)


def perceptron():
    """Of the user's own, with a world, a memory and common data: 3 layers, momentum of its loss."""

    def world(key, batch_size):
        return jax.random.normal(key, (64, 20)), jax.random.normal(key, (20, 3))

    def init(key, world, point):
        one, two = jax.random.split(key)
        sigma = point["sigma_w"]
        params = {
            "a": sigma * jax.random.normal(one, (20, 150)) / 5,
            "b": sigma * jax.random.normal(two, (150, 3)) / 12,
        }
        return dj.models.Start(params, jnp.zeros(()))

    def batch(key, world, step, batch_size):
        x, teacher = world
        rows = jax.random.randint(key, (batch_size,), 0, len(x))
        return x[rows], x[rows] @ teacher

    def update(params, memory, batch, world, point):
        x, y = batch

        def loss(params):
            return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)

        value, direction = jax.value_and_grad(loss)(params)
        return dj.models.Update(direction, 0.9 * memory + value, value, jnp.isfinite(value))

    def observe(params, initial, world, key, point):
        return {"train_loss": jnp.mean((jnp.tanh(world[0] @ params["a"]) @ params["b"]) ** 2)}

    return dj.models.Model(
        "perceptron",
        world,
        init,
        batch,
        update,
        lambda params: params,
        observe,
        {"train_loss": "mean square"},
    )


CASES = {
    "transformer": (transformer(dropout=0.3), "adamw", "independent"),
    "perceptron": (perceptron(), "momentum", "common"),
    "orthogonal": (perceptron(), "muon", "common"),
}


# The transformer takes half a minute to compile; it runs by `make validate`.
@pytest.mark.parametrize("name", [pytest.param("transformer", marks=pytest.mark.slow), "perceptron"])
def test_large_networks_have_the_numbers_of_xla(name):
    model, optimizer, randomness = CASES[name]
    grid = dj.Grid(lr=[0.003, 1000.0], batch_size=3, sigma_w=[0.5, 1.0], seeds=2)
    options = {"optimizer": optimizer, "randomness": randomness, "x64": True, "keep_weights": "last"}
    runs = [
        dj.train(model, grid, 12, 3, backend=b, tile=t, **options) for b, t in (("native", 3), ("xla", None))
    ]
    assert [run.summary["backend"] for run in runs] == ["native", "xla"]
    ours, theirs = (run.dataset for run in runs)
    np.testing.assert_array_equal(ours["diverged_at"], theirs["diverged_at"])
    for variable in (v for v in ours.data_vars if v.startswith(("weights", "eigenvalues", "train_loss"))):
        pair = (data[variable].sel(lr=0.003) for data in (ours, theirs))
        np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-9, err_msg=variable)
    assert (ours["diverged_at"].sel(lr=0.003) < 0).all()


def reader(rows, columns=16):
    """A network that looks up a data set in its world, and is alone too large for lanes."""

    def world(key, batch_size):
        return {"data": jax.random.normal(key, (rows, columns)), "odd": jnp.arange(3.0)}

    def init(key, world, point):
        return dj.models.Start({"a": point["sigma_w"] * jax.random.normal(key, (columns, 640))})

    def batch(key, world, step, batch_size):
        return world["data"][jax.random.randint(key, (batch_size,), 0, rows)] + world["odd"][1]

    def update(params, memory, batch, world, point):
        value = jnp.mean((batch @ params["a"]) ** 2)
        return dj.models.Update({"a": batch.T @ (batch @ params["a"])}, memory, value, jnp.isfinite(value))

    return dj.models.Model(
        "reader",
        world,
        init,
        batch,
        update,
        lambda params: params,
        lambda params, initial, world, key, point: {"train_loss": jnp.mean(params["a"] ** 2)},
        {"train_loss": "mean square"},
    )


@pytest.mark.parametrize("columns, copies", [(16, 0), pytest.param(15, 1, marks=pytest.mark.slow)])
def test_a_large_world_is_not_copied_for_every_network_and_piece(columns, copies):
    """Memory, as Python sees it, of two pieces of eight networks; with 15 columns, worlds begin anywhere."""
    rows = 2**17 - 3 if columns == 15 else 2**17
    grid = dj.Grid(lr=[1e-4, 1e-3], sigma_w=[0.1, 0.2], batch_size=2, seeds=2)
    config = dj.ensemble.Config(grid, 10, 1, devices=1, backend="native")
    job = jobs.job(reader(rows, columns), config, 0, range(2)).compiled()
    assert job.target.name == "whole" and job.tile_members == 8
    identity, run = job.waves[0].identity, job.executable
    world, state = run.start(identity)
    size, number = rows * columns * 4, np.full(1, 5, np.int32)
    assert size > 10 * tiles.member_bytes(job.state)
    tracemalloc.start()
    try:
        for piece in range(2):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            state = run.advance(identity, world, state, piece * number, number).result()
            more = (tracemalloc.get_traced_memory()[1] - before) / size
            assert copies * (piece == 0) <= more < copies * (piece == 0) + 0.3
    finally:
        tracemalloc.stop()

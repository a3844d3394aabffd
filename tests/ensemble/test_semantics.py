"""Models with truth values, integers and JAX's own random numbers mean the same on every backend."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny

import dysonjax as dj
from dysonjax import compile as compiler
from dysonjax.ensemble import lanes
from dysonjax.ensemble.grid import identities, point_identity
from dysonjax.models.base import Model, Start, Update

needs_compiler = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")


def masked(size: int = 4) -> Model:
    """Rows are pulled where the world and the network's own flags allow it, by amounts that are integers."""
    mask = np.resize([True, False, True, True], size)

    def world(key, batch_size):
        return {"mask": jnp.asarray(mask), "level": jnp.arange(size, dtype=jnp.uint8)}

    def init(key, world, point):
        weight = point["sigma_w"] * jax.random.normal(key, (size, 2))
        return Start({"w": weight}, {"moved": jnp.zeros(size, bool), "turns": jnp.zeros(size, jnp.int32)})

    def batch(key, world, step, batch_size):
        return jax.random.randint(key, (size,), -3, 4, jnp.int32), jax.random.bernoulli(key, 0.5, (size,))

    def update(params, memory, batch, world, point):
        number, flag = batch
        share = jnp.where(number > 0, 7 // number, number) + jnp.where(flag, world["level"], 0)
        mask = world["mask"] & (flag | ~memory["moved"])
        direction = params["w"] * mask[:, None] + 0.01 * share[:, None].astype(params["w"].dtype)
        memory = {"moved": memory["moved"] ^ flag, "turns": memory["turns"] + number // (number - 1)}
        loss = jnp.sum(params["w"] ** 2)
        return Update({"w": direction}, memory, loss, loss < 1e4)

    def observe(params, initial, world, key, point):
        above = (params["w"] > 0).any(-1) & world["mask"]
        return {"train_loss": jnp.sum(params["w"] ** 2), "above": above.sum() > 1}

    names = {"train_loss": "squared length", "above": "whether several rows have something above zero"}
    return Model(
        "masked", world, init, batch, update, lambda params: params, observe, names, config={"size": size}
    )


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "x64"),
    [
        pytest.param((20, 1), True, id="points in the lanes"),
        pytest.param((2, 20), False, id="worlds in the lanes"),
        pytest.param((20, 1), False, id="points, single precision", marks=pytest.mark.slow),
        pytest.param((2, 20), True, id="worlds, double precision", marks=pytest.mark.slow),
    ],
)
def test_truth_values_and_integers_of_a_world_mean_what_they_mean_to_xla(shape, x64):
    grid = dj.Grid(lr=np.linspace(0.01, 0.5, shape[0]), batch_size=4, seeds=shape[1])
    options = {"x64": x64, "keep_weights": "all"}
    ours, theirs = (dj.train(masked(), grid, 20, 3, backend=b, **options) for b in ("native", "xla"))
    assert (ours.summary["backend"], theirs.summary["backend"]) == ("native", "xla")
    for name in theirs.dataset.data_vars:
        found, expected = ours.dataset[name], theirs.dataset[name]
        assert found.dtype == expected.dtype
        close = {"rtol": 1e-10, "atol": 1e-12} if x64 else {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(found, expected, **close, err_msg=name)


@pytest.mark.slow  # test_whole.py, tests/compile/test_table.py
@needs_compiler
def test_they_mean_the_same_to_one_network_a_core(monkeypatch):
    grid = dj.Grid(lr=[0.01, 0.5], batch_size=4, seeds=2)
    expected = dj.train(masked(), grid, 20, 3, backend="xla", x64=True).dataset
    monkeypatch.setitem(lanes.VALUES, "lanes_most_state_bytes", 0)
    run = dj.train(masked(), grid, 20, 3, backend="native", x64=True)
    assert run.summary["backend"] == "native"
    for name in expected.data_vars:
        np.testing.assert_allclose(run.dataset[name], expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=pytest.mark.slow), "xla"])
def test_random_numbers_do_not_depend_on_settings_of_jax(backend):
    if backend == "native" and compiler.compiler_path() is None:
        pytest.skip("needs a C compiler")
    grid = dj.Grid(lr=[0.01, 0.5], batch_size=4, seeds=2)
    settled = dj.train(masked(), grid, 5, 2, backend=backend).dataset
    with jax.threefry_partitionable(False):
        found = dj.train(masked(), grid, 5, 2, backend=backend).dataset
    for name in settled.data_vars:
        np.testing.assert_array_equal(found[name], settled[name], err_msg=name)
    with jax.threefry_partitionable(False):  # of which JAX itself makes other numbers
        other = jax.random.bits(jax.random.key(0), (3,))
    assert (other != jax.random.bits(jax.random.key(0), (3,))).any()


def test_draws_outside_of_training_do_not_depend_on_settings_of_jax():
    def drawn():
        key = jax.random.key(3, impl="threefry2x32")
        gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), 1.0, 1.0, 2)
        path = dj.dyson.integrate(dj.dyson.quadratic(), 1.0, np.array([[0.0, 1.0]]), 0.1, 3, key=key)
        return [gas.sample(key, 5), path.levels, dj.spectra.sample_goe(key, 3, shape=(2,))]

    settled = drawn()
    with jax.threefry_partitionable(False):
        found = drawn()
    for one, other in zip(found, settled, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_point_of_a_large_grid_has_an_identity_of_its_own():
    """Names of 32 bits, as they once were, are 89 998 here: two pairs of points shared their noise."""
    grid = dj.Grid(lr=np.linspace(0.01, 1, 300), sigma_w=np.linspace(0.1, 10, 300), batch_size=16)
    points = grid.points()
    assert len(np.unique(identities(points, 16), axis=0)) == len(points) == 90_000
    assert len({point_identity(point, 16, bits=32) for point in points}) == 89_998


def test_a_run_of_an_earlier_version_goes_on_with_its_own_random_numbers(tmp_path):
    grid = dj.Grid(lr=[0.01, 0.5], batch_size=4, seeds=2)
    options = {"randomness": "independent", "backend": "xla"}
    new = dj.train(tiny(), grid, 10, 3, **options).dataset

    class Crash(Exception):
        pass

    def crash(done, total):
        if done > 0.5 * total:
            raise Crash

    # When names had 32 bits, nothing was said about them.
    expected = dj.train(tiny(), grid, 10, 3, identity_bits=32, **options).dataset
    with pytest.raises(Crash):
        dj.train(tiny(), grid, 10, 3, identity_bits=32, out=tmp_path, progress=crash, **options)
    assert "identity_bits" not in json.loads(expected.attrs["config"])
    assert json.loads(new.attrs["config"])["identity_bits"] == 64
    found = dj.resume(tmp_path, tiny(), backend="xla").dataset
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert (new["train_loss"] != found["train_loss"]).any()
    first = dj.train(tiny(), grid, 1, [0, 1], **options).dataset  # of a member of its own, with 64 bits
    member = dj.member_of(tiny(), first, seed=1, batch_size=4, lr=0.5, sigma_w=1.0)
    start = first["train_loss"].sel(seed=1, lr=0.5, record=0).squeeze()
    np.testing.assert_allclose(np.mean((member.params["w"] - member.world) ** 2), start, rtol=1e-6)


@pytest.mark.parametrize(("first", "seeds"), [(2**32, 1), (2**32 - 2, 3)])
def test_seeds_that_would_begin_again_at_zero_are_refused(first, seeds):
    with pytest.raises(dj.InputError, match="first_seed"):
        dj.Grid(lr=0.1, batch_size=4, first_seed=first, seeds=seeds)
    with pytest.raises(dj.InputError, match="key must be"):
        dj.train(masked(), dj.Grid(lr=0.1, batch_size=4), 2, 2, key=2**32)

"""The engine: identity of members, divergence, optimisers, results."""

import dataclasses
import functools
import inspect
import json
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from thin import loss_only
from tiny import tiny

import dysonjax as dj
from dysonjax.ensemble import loop, session
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.spectrum import squared_singular_values

MODEL = loss_only(dj.models.teacher_student((3, 8, 6, 1), batches=20))
VALUES = [2.0**k for k in range(-3, 9)]
SLOW = pytest.mark.slow


def _train(grid, steps=200, records=(200,), model=MODEL, **options):
    return dj.train(model, grid, steps, records, keep_weights="last", x64=True, **options).dataset


@pytest.fixture(scope="module")
def full_grid():
    grid = dj.Grid(lr=VALUES[:4], sigma_w=VALUES, batch_size=4, seeds=3)
    return _train(grid, model=tiny())


@pytest.fixture(scope="module")
def independent_grid():
    """In another order, and with another batch size beside."""
    grid = dj.Grid(lr=[1.0, 0.5], sigma_w=[8.0, 2.0, 0.5], batch_size=[2, 4], seeds=3)
    return _train(grid, model=tiny(), randomness="independent")


@pytest.mark.parametrize("randomness", ["common", "independent"])
def test_a_member_is_the_same_in_every_grid_tile_and_device(randomness, request):
    """Alone on a device, in tiles of one of a small grid, and in large tiles on two devices.

    That other networks do so as well: tests/ensemble/test_lanes.py.
    """
    small = dj.Grid(lr=0.5, sigma_w=2.0, batch_size=4, seeds=1, first_seed=2)
    beside = dj.Grid(lr=[0.25, 0.5], sigma_w=2.0, batch_size=4, seeds=2, first_seed=1)
    alone = _train(small, model=tiny(), randomness=randomness, devices=1).weights
    by_one = _train(beside, model=tiny(), randomness=randomness, tile=1).weights.sel(lr=[0.5], seed=[2])
    within = request.getfixturevalue("full_grid" if randomness == "common" else "independent_grid")
    member = within.weights.sel(lr=[0.5], sigma_w=[2.0], seed=[2], batch_size=[4])
    for found in (alone, by_one):
        np.testing.assert_allclose(found, member, rtol=1e-12, atol=1e-14)


def test_record_times_do_not_change_a_trajectory():
    grid = dj.Grid(lr=0.5, sigma_w=1.0, batch_size=4, seeds=2)
    once = _train(grid, model=tiny())
    often = _train(grid, model=tiny(), records=(0, 1, 7, 100, 199, 200))
    np.testing.assert_array_equal(once.weights, often.weights)


@pytest.mark.slow  # test_lanes.py, of data online; test_identity.py
def test_grid_points_share_their_seeds_randomness_or_not():
    grid = dj.Grid(lr=[0.5, 1.0], sigma_w=1.0, batch_size=4, seeds=1)
    for randomness, same in (("common", True), ("independent", False)):
        targets = _train(grid, steps=1, records=(1,), randomness=randomness).target_eigenvalues
        assert np.array_equal(targets.isel(lr=0), targets.isel(lr=1)) == same


def test_spectra_equal_a_singular_value_decomposition_of_the_stored_weights():
    grid = dj.Grid(lr=[0.25, 8.0, 64.0], sigma_w=[0.5, 64.0], batch_size=4, seeds=2)
    data = dj.train(tiny(6), grid, 50, [0, 20, 50], keep_weights="all").dataset
    assert data.weights.dtype == np.float32
    expected = np.linalg.svd(data.weights.values, compute_uv=False)[..., ::-1].astype(np.float64) ** 2
    np.testing.assert_allclose(data.eigenvalues, expected, rtol=1e-5)


def test_matrices_that_are_not_finite_give_nan_and_leave_the_others_alone():
    matrices = np.random.default_rng(0).normal(size=(200, 6, 4))
    matrices[7, 2, 1], matrices[9, 0, 0] = np.nan, np.inf
    levels = squared_singular_values(matrices)
    assert np.isnan(levels[[7, 9]]).all() and np.isfinite(np.delete(levels, [7, 9], 0)).all()
    np.testing.assert_allclose(levels[3], np.linalg.svd(matrices[3])[1][::-1] ** 2, rtol=1e-12)
    wide = squared_singular_values(matrices[:5].swapaxes(1, 2))
    np.testing.assert_allclose(wide, levels[:5], rtol=1e-10)


def test_a_diverging_member_is_frozen_and_does_not_touch_the_others():
    grid = dj.Grid(lr=[0.05, 50.0], sigma_w=1.0, batch_size=4, seeds=3)
    data = _train(grid, model=tiny(), records=(0, 100, 200))
    alone = _train(dj.Grid(lr=0.05, sigma_w=1.0, batch_size=4, seeds=3), model=tiny())
    assert (data.diverged_at.sel(lr=50.0) >= 0).all() and (data.diverged_at.sel(lr=0.05) == -1).all()
    np.testing.assert_allclose(data.weights.sel(lr=[0.05]), alone.weights, rtol=1e-12)
    assert not data.alive.sel(lr=50.0).isel(record=-1).any() and data.alive.sel(lr=0.05).all()
    # Frozen: nothing changes after the step of divergence.
    frozen = data.sel(lr=50.0).eigenvalues
    np.testing.assert_array_equal(frozen.isel(record=1), frozen.isel(record=2))
    assert np.isfinite(frozen).all()


def test_divergence_is_marked_with_the_step_that_a_numpy_loop_finds():
    from dysonjax.bench.numpy_loop import train_one
    from dysonjax.ensemble.keys import WORLD, stream_key

    model = loss_only(dj.models.teacher_student((3, 8, 6, 1), train="all", batches=20))
    grid = dj.Grid(lr=[4.0, 12.0], sigma_w=4.0, batch_size=4, seeds=4)
    data = dj.train(model, grid, 300, [0, 300], x64=True, keep_weights="all").dataset
    found, world_of = 0, jax.jit(model.world, static_argnums=1)
    for seed in range(4):
        with jax.enable_x64(True):
            world = world_of(stream_key(0, seed, None, WORLD), 4)
        for lr in (4.0, 12.0):
            start = data.sel(lr=lr, seed=seed).isel(batch_size=0, sigma_w=0, record=0)
            student = [start[f"weights_w{k}"].values.copy() for k in (1, 2, 3)]
            step = train_one(student, [0, 1, 2], np.asarray(world.inputs), np.asarray(world.targets), lr, 300)
            assert int(start.diverged_at) == step
            found += step >= 0
    assert found > 0, "no member diverged: the test would not see a wrong step"


def muon(momentum):
    """Muon with five Newton-Schulz steps, written out."""

    def orthogonal(x):
        x = x / (jnp.sqrt(jnp.sum(x * x)) + 1e-8)
        for _ in range(5):
            square = x.T @ x  # the smaller side, (6, 6)
            x = x @ (3.4445 * jnp.eye(len(square)) - 4.7750 * square + 2.0315 * square @ square)
        return x

    def corrected(gradient, state, params=None):
        count, mean = state
        mean = momentum * mean + (1 - momentum) * gradient
        late, now = 1 - momentum ** (count + 2), 1 - momentum ** (count + 1)
        x = momentum * mean / late + (1 - momentum) * gradient / now
        return -0.05 * orthogonal(x), (count + 1, mean)

    return optax.GradientTransformation(lambda params: (0, jnp.zeros_like(params)), corrected)


@functools.cache
def world_of_seed_1():
    from dysonjax.ensemble.keys import WORLD, stream_key

    return jax.jit(MODEL.world, static_argnums=1)(stream_key(0, 1, None, WORLD), 4)


@pytest.mark.parametrize(
    "name", ["momentum", "adamw", pytest.param("adam", marks=SLOW), "muon", "weak momentum", "custom"]
)
def test_optimisers_equal_optax_with_its_own_learning_rate(name):
    own = {
        "momentum": optax.sgd(0.05, momentum=0.9),
        "weak momentum": optax.sgd(0.05, momentum=0.5),
        "adam": optax.adam(0.05),
        "muon": muon(0.95),
        "adamw": optax.adamw(0.05, weight_decay=0.01),
        "custom": optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.05)),
    }[name]
    given = {
        "custom": optax.clip_by_global_norm(0.1),
        "weak momentum": dj.Optimizer("momentum", momentum=0.5),
    }
    optimizer = given.get(name, name)
    grid = dj.Grid(lr=[0.05, 0.2], sigma_w=[0.5, 1.0], batch_size=4, seeds=2)
    data = dj.train(MODEL, grid, 50, [0, 50], x64=True, keep_weights="all", optimizer=optimizer).dataset
    with jax.enable_x64(True):
        world = world_of_seed_1()
        member = data.sel(lr=0.05, sigma_w=0.5, seed=1).isel(batch_size=0).weights
        weights = jnp.asarray(member.isel(record=0).values)
        state = own.init(weights)

        def loss(w, x, y):
            return 0.5 * jnp.mean((jnp.tanh(x @ w) @ world.teacher[2] - y) ** 2)

        @jax.jit
        def moved(weights, state, x, y):
            updates, state = own.update(jax.grad(loss)(weights, x, y), state, weights)
            return optax.apply_updates(weights, updates), state

        for step in range(50):
            weights, state = moved(weights, state, world.inputs[step % 20], world.targets[step % 20])
    np.testing.assert_allclose(member.isel(record=1), weights, rtol=1e-9, atol=1e-12)


def test_the_store_is_readable_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "SAVE_AT_RECORDS_SECONDS", 0.0)
    monkeypatch.setattr(session, "SAVE_COST", 0.0)
    seen = []

    def look(done, total):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = xr.open_zarr(tmp_path / "run.zarr")
        seen.append(float(np.isfinite(data.train_loss).mean()))

    grid = dj.Grid(lr=[0.5, 1.0], sigma_w=[1.0, 2.0], batch_size=4, seeds=4)
    run = dj.train(tiny(), grid, 100, 5, out=tmp_path, progress=look, devices=1)
    assert seen[0] < 1 and seen == sorted(seen)
    xr.testing.assert_identical(dj.read(tmp_path).load(), run.dataset)


@pytest.mark.parametrize("randomness", ["common", pytest.param("independent", marks=SLOW)])
def test_scalars_of_a_model_are_axes_of_the_grid(randomness, tmp_path):
    """Every member of the grid equals the one of a model built with its value; another value differs."""
    values, at = [0.05, 0.1, 0.4], {"lr": 0.2, "sigma_w": 0.5, "seed": 3, "batch_size": 8}
    grid = dj.Grid([0.1, 0.2], [4, 8], [0.5, 1.0], 3, 1, scalars={"epsilon": values})
    model = loss_only(dj.models.linear())
    run = dj.train(model, grid, 30, [0, 10, 30], x64=True, randomness=randomness, out=tmp_path, tile=5)
    data = run.dataset
    assert data.eigenvalues.dims == ("batch_size", "lr", "sigma_w", "epsilon", "seed", "record", "mode")
    assert data.eigenvalues.shape == (*grid.shape, 3, 2) and run.summary["members"] == 72
    assert data.epsilon.attrs["long_name"].startswith("standard deviation")
    xr.testing.assert_identical(dj.read(tmp_path).load(), data)
    alone = dj.Grid(0.2, 8, 0.5, 1, 3, scalars={} if randomness == "common" else {"epsilon": 0.4})
    fixed = loss_only(dj.models.linear(epsilon=0.4))
    expected = dj.train(fixed, alone, 30, [0, 10, 30], x64=True, randomness=randomness).dataset
    found = data.eigenvalues.sel(at)
    np.testing.assert_allclose(found.sel(epsilon=0.4), expected.eigenvalues.values.reshape(3, 2), rtol=1e-9)
    assert np.abs(found.sel(epsilon=0.1) - found.sel(epsilon=0.4)).isel(record=-1).max() > 1e-3


def test_a_grid_without_scalars_keeps_its_identity():
    """The keys of independent randomness are what they were before models had scalars."""
    from dysonjax.ensemble.grid import point_identity

    assert dj.Grid(0.5, 4, 2.0).points() == [{"lr": 0.5, "sigma_w": 2.0}]
    assert point_identity({"lr": 0.5, "sigma_w": 2.0}, 4, bits=32) == (2137903908,)
    assert point_identity({"lr": 0.5, "sigma_w": 2.0}, 4) == (959557919, 4235167820)


def test_results_say_how_they_were_made(tmp_path):
    grid = dj.Grid(lr=0.5, sigma_w=1.0, batch_size=4, seeds=2)
    run = dj.train(tiny(), grid, 10, [0, 10], out=tmp_path, key=7, optimizer="momentum")
    stored = dj.read(tmp_path)
    config = json.loads(stored.attrs["config"])
    assert config["model"]["size"] == 2 and config["seed"] == 7
    assert config["optimizer"] == "momentum" and config["records"] == [0, 10] and config["dtype"] == "float32"
    assert json.loads(stored.attrs["summary"]) == run.summary
    assert run.summary["members"] == 2 and run.summary["steps"] == 10
    assert stored.eigenvalues.dims == ("batch_size", "lr", "sigma_w", "seed", "record", "mode")
    assert all(variable.attrs.get("long_name") for variable in stored.variables.values())
    with pytest.raises(dj.InputError, match="holds a run already"):
        dj.train(tiny(), grid, 10, 2, out=tmp_path)


@pytest.mark.slow  # within a run: test_resume.py
def test_running_out_of_memory_halves_the_tile_and_changes_nothing(monkeypatch):
    grid = dj.Grid(lr=[0.5, 1.0], sigma_w=[1.0, 2.0], batch_size=[2, 4], seeds=4)
    expected = _train(grid, model=tiny())
    original, calls = loop.train_job, []

    def scarce(job, config, recorder):
        calls.append(job.tile_members)
        if job.tile_members > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        original(job, config, recorder)

    monkeypatch.setattr(loop, "train_job", scarce)
    with pytest.warns(UserWarning, match="out of device memory; going on with"):
        found = _train(grid, model=tiny(), tile=8)
    assert max(calls) > 2 and calls[-2:] == [calls[-1]] * 2 and calls[-1] <= 2
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too much"), "device memory"),
        (MemoryError(), "memory"),
    ],
)
def test_memory_that_no_tile_fits_into_ends_with_the_remedy(error, whose, monkeypatch, tmp_path):
    def scarce(job, config, recorder):
        raise error

    monkeypatch.setattr(loop, "train_job", scarce)
    said = []
    grid = dj.Grid(lr=0.5, batch_size=2, seeds=4)
    with pytest.raises(
        dj.RunError, match=r"not enough memory, even for small tiles; take .*resume .* --tile N"
    ):
        dj.train(tiny(), grid, 4, 1, tile=2, out=tmp_path, say=said.append)
    assert said[-1] == f"out of {whose}; going on with 1 members a tile"


IMPORT_ALL = """
import importlib, pkgutil
import jax
before = dict(jax.config.values)
import dysonjax
for module in pkgutil.walk_packages(dysonjax.__path__, "dysonjax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for more in ("", "jax.config.update('jax_enable_x64', True)"):
    exec(more)
    print([name for name in before if jax.config.values[name] != before[name]])
"""


def test_importing_every_module_changes_no_jax_setting():
    """The twin changes a setting, and is told."""
    found = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert found.stdout.splitlines() == ["[]", "['jax_enable_x64']"], found.stderr


def test_an_estimate_trains_nothing_and_is_of_the_right_size(monkeypatch):
    grid = dj.Grid(lr=[0.5, 1.0], sigma_w=[1.0, 2.0], batch_size=4, seeds=2)
    run = dj.train(tiny(), grid, steps=1000, records=3)
    monkeypatch.setattr(loop, "train_job", lambda *_: pytest.fail("an estimate must not train the run"))
    plan = dj.estimate(tiny(), grid, steps=1000, records=3)
    assert plan.members == 8 and plan.steps == 1000 and plan.bytes == run.dataset.nbytes
    # The time follows the steps; a fixed number would not.
    assert plan.seconds > 0
    longer = dj.estimate(tiny(), grid, steps=100_000_000, records=3)
    assert longer.seconds > 20 * plan.seconds and longer.bytes == plan.bytes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"lr": 0.0}, "lr must be positive and finite, got 0.0"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"lr": []}, "lr must hold at least one value"),
        ({"lr": [1.0, 1.0]}, "lr holds a value twice"),
        ({"sigma_w": -1.0}, "sigma_w must be positive"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer"),
        ({"seeds": 0}, "seeds must be a positive integer"),
        ({"first_seed": -1}, "first_seed must be an integer of at least 0"),
        ({"scalars": {"epsilon": []}}, "epsilon must hold at least one value"),
        ({"scalars": {"epsilon": [0.1, float("nan")]}}, "epsilon must be finite"),
        ({"scalars": {"lr": 0.1}}, "lr is a dimension of every result"),
    ],
)
def test_bad_grids_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(dj.InputError, match=sentence):
        dj.Grid(**({"lr": 1.0, "batch_size": 4, "sigma_w": 1.0, "seeds": 1} | arguments))


def test_scalars_that_a_model_does_not_have_are_refused():
    linear, grid = dj.models.linear(), dj.Grid(lr=1.0, batch_size=4, scalars={"epsilon": [0.1, -1.0]})
    with pytest.raises(dj.InputError, match="teacher-student has no scalar epsilon to vary; it takes none"):
        dj.train(MODEL, grid, 10)
    with pytest.raises(dj.InputError, match="epsilon must be zero or positive"):
        dj.train(linear, grid, 10)
    with pytest.raises(dj.InputError, match="has no scalar mass to vary; it takes epsilon, z_ratio"):
        dj.train(linear, dj.Grid(lr=1.0, batch_size=4, scalars={"mass": 1.0}), 10)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": 0}, "steps must be a positive integer"),
        ({"records": 0}, "records must be a positive integer"),
        ({"records": 101}, "records must be at most the number of steps"),
        ({"records": [0, 101]}, "records must not lie beyond the last step 100"),
        ({"randomness": "some"}, "randomness must be one of common, independent"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of sgd, momentum, adam, adamw, muon"),
        ({"optimizer": 3}, "optimizer must be one of"),
        ({"devices": "quantum"}, "devices must be one of cpu, gpu, tpu"),
        ({"devices": "tpu"}, "JAX sees cpu devices only"),
        ({"devices": 99}, "devices must be at most"),
        ({"tile": 0}, "tile must be a positive integer"),
        ({"keep_weights": "some"}, "keep_weights must be one of none, last, all"),
        ({"key": -1}, "key must be an integer of at least 0"),
    ],
)
def test_bad_training_arguments_are_refused_before_anything_is_written(arguments, sentence, tmp_path):
    grid = dj.Grid(lr=1.0, batch_size=4)
    with pytest.raises(dj.InputError, match=sentence):
        dj.train(MODEL, grid, **({"steps": 100, "records": 2, "out": tmp_path / "run"} | arguments))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["alive", "diverged_at", "eigenvalues", "weights", "lr", "seed", "record", "mode"]
)
def test_an_observable_that_would_hide_a_variable_is_refused(name, tmp_path):
    with pytest.raises(dj.InputError, match=f"the observable {name} of tiny"):
        dj.train(named(name), dj.Grid(0.1, 4), 2, 1, keep_weights="last", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["a/b", "/", "..", "", "a b", ".hidden", "x\n"])
def test_an_observable_whose_name_no_store_takes_is_refused(name, tmp_path):
    for out in (tmp_path / "run", None):
        with pytest.raises(dj.InputError, match="cannot be the name of a variable"):
            dj.train(named(name), dj.Grid(0.1, 4), 2, 1, out=out)
    assert not (tmp_path / "run").exists()


def named(name):
    """A model with an observable of this name."""
    model = tiny()
    return dataclasses.replace(
        model,
        observe=lambda *arguments: {**model.observe(*arguments), name: jnp.zeros(())},
        observables={**model.observables, name: "nothing"},
    )


@pytest.mark.parametrize("function", [dj.train, dj.estimate])
def test_help_lists_every_option(function):
    parameters = inspect.signature(function).parameters
    assert {field.name for field in dataclasses.fields(Config)} - {"seed"} <= set(parameters)
    assert parameters["key"].default == 0 and "options" not in parameters


@pytest.mark.parametrize("bits", [0, 16, "64"])
def test_identities_have_32_or_64_bits(bits):
    with pytest.raises(dj.InputError, match="identity_bits must be 32 or 64"):
        Config(dj.Grid(lr=0.1, sigma_w=1.0, batch_size=4, seeds=1), 100, identity_bits=bits)

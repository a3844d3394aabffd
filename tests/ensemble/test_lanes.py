"""Training in lanes: the same numbers as by XLA, and the same wherever a network stands."""

import functools

import jax
import numpy as np
import pytest
from thin import loss_only

import dysonjax as dj
from dysonjax import compile as compiler
from dysonjax.ensemble import c_step, jobs, keys, lanes, targets, thresholds, whole

pytestmark = pytest.mark.skipif(compiler.compiler_path() is None, reason="needs a C compiler")

DATA = 0.6 * np.random.default_rng(0).standard_normal((300, 3))
RATES = [0.01, 0.1, 4.0]
MODELS = {
    "middle": (dj.models.teacher_student((2, 6, 5, 1), batches=7), "common"),
    "all": (loss_only(dj.models.teacher_student((2, 6, 1), train="all", batches=7)), "common"),
    "online": (loss_only(dj.models.teacher_student((2, 6, 5, 1), data="online")), "independent"),
    "rbm": (dj.models.rbm(visible=3), "common"),
    "collapsed": (dj.models.rbm(visible=3, sampler="collapsed"), "independent"),
    "data": (dj.models.rbm(data=DATA), "independent"),
    "langevin": (dj.models.rbm(visible=3, dynamics="langevin"), "common"),
    "linear": (dj.models.linear(noise="label"), "common"),
}
# Weights of "middle": test_optimisers_equal_optax_with_its_own_learning_rate, its observables: test_identity;
# "all": test_divergence_is_marked_with_the_step_that_a_numpy_loop_finds; "rbm" and its variants:
# test_rbm_kernel_equals_the_engine.
LIKE_OTHERS, SLOW = ("middle", "all", "rbm", "data", "langevin"), pytest.mark.slow


def grid(seeds=5, lr=RATES, **kwargs):
    return dj.Grid(lr=lr, batch_size=4, sigma_w=[0.3, 1.0], seeds=seeds, **kwargs)


@pytest.fixture
def observed_by_xla(monkeypatch):
    """The tasks whose step is in C and whose observables are not."""
    found, original = [], c_step.observed_by_xla
    monkeypatch.setattr(
        c_step, "observed_by_xla", lambda task, *rest: (found.append(task), original(task, *rest))[1]
    )
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW) if n in LIKE_OTHERS else n for n in MODELS])
def test_every_model_has_the_numbers_of_xla(name, observed_by_xla):
    model, randomness = MODELS[name]
    options = {"randomness": randomness, "x64": True, "keep_weights": "all"}
    runs = [dj.train(model, grid(), 40, 3, backend=b, **options) for b in ("native", "xla")]
    assert [run.summary["backend"] for run in runs] == ["native", "xla"]
    ours, theirs = (run.dataset for run in runs)
    np.testing.assert_array_equal(ours["diverged_at"], theirs["diverged_at"])
    assert not observed_by_xla
    for variable in ours.data_vars:
        np.testing.assert_allclose(ours[variable], theirs[variable], rtol=1e-8, atol=1e-10, err_msg=variable)


@pytest.mark.slow  # of one matrix alone: test_optimisers_equal_optax_with_its_own_learning_rate
@pytest.mark.parametrize("name", ["adam", "muon"])
def test_every_optimizer_has_the_numbers_of_xla(name):
    """Of a network with matrices and vectors: Muon is for the former alone, see `Optimizer`."""
    options = {"optimizer": name, "keep_weights": "last"}
    runs = [with_biases_by(backend=b, **options) for b in ("native", "xla")]
    assert [run.summary["target"] for run in runs] == ["lanes", "xla"]
    ours, theirs = (run.dataset for run in runs)
    for variable in ours.data_vars:
        np.testing.assert_allclose(ours[variable], theirs[variable], rtol=1e-6, atol=1e-9, err_msg=variable)
    plain = with_biases_by().dataset
    assert abs(ours["train_loss"] / plain["train_loss"] - 1).isel(record=-1).max() > 0.01


@functools.cache
def with_biases_by(**options):
    small = dj.Grid(lr=[0.001, 0.01], batch_size=4, sigma_w=[0.3, 1.0], seeds=3)
    return dj.train(with_biases(), small, 20, 3, x64=True, **options)


def with_biases():
    """A perceptron y = c·tanh(xW + b) with a matrix and two vectors to learn."""

    def init(key, world, point):
        w = point["sigma_w"] * jax.random.normal(key, (3, 5))
        return dj.models.Start({"w": w, "b": jax.numpy.zeros(5), "c": jax.numpy.ones(5)})

    def batch(key, world, step, batch_size):
        return jax.random.normal(key, (batch_size, 3))

    def loss(params, x):
        y = jax.numpy.tanh(x @ params["w"] + params["b"]) @ params["c"]
        return 0.5 * jax.numpy.mean((y - x[:, 0] - 0.3) ** 2)

    def update(params, memory, x, world, point):
        value, gradient = jax.value_and_grad(loss)(params, x)
        return dj.models.Update(gradient, memory, value, value < 100)

    def observe(params, initial, world, key, point):
        return {"train_loss": loss(params, jax.random.normal(key, (64, 3)))}

    return dj.models.Model(
        "with-biases", lambda key, size: (), init, batch, update, lambda p: {"w": p["w"]}, observe,
        {"train_loss": "half the mean square of the error"},
    )  # fmt: skip


@pytest.mark.slow  # test_divergence_is_marked_with_the_step_that_a_numpy_loop_finds
def test_members_that_diverge_are_frozen_at_the_step_of_xla():
    model, _ = MODELS["all"]
    wild = grid(lr=[0.1, 3.0, 30.0])
    ours, theirs = (
        dj.train(model, wild, 40, 3, backend=b, x64=True, keep_weights="all").dataset
        for b in ("native", "xla")
    )
    assert (ours["diverged_at"] >= 0).any() and (ours["diverged_at"] < 0).any()
    np.testing.assert_array_equal(ours["diverged_at"], theirs["diverged_at"])
    for variable in ours.data_vars:
        np.testing.assert_allclose(ours[variable], theirs[variable], rtol=1e-8, atol=1e-10, err_msg=variable)


@pytest.mark.slow  # of a small network: tests/ensemble/test_training.py, test_semantics.py
@pytest.mark.parametrize("name", ["middle", "rbm"])
def test_a_member_is_the_same_in_every_grid_tile_and_lane(name):
    model = loss_only(MODELS[name][0])

    def weights(some, **options):
        run = dj.train(model, some, 30, 2, backend="native", keep_weights="last", x64=True, **options)
        data = run.dataset.sel(lr=0.1, sigma_w=1.0, seed=2)
        return np.concatenate([data[v].values.ravel() for v in data.data_vars if v.startswith("weights")])

    alone = weights(dj.Grid(lr=0.1, batch_size=4, sigma_w=1.0, seeds=1, first_seed=2))
    over_worlds = weights(grid(seeds=20))
    over_points = weights(
        dj.Grid(lr=np.linspace(0.01, 0.1, 20).tolist(), batch_size=4, sigma_w=[0.5, 1.0], seeds=3)
    )
    cut = weights(grid(), tile=4, devices=1)
    for other in (over_worlds, over_points, cut):
        np.testing.assert_allclose(other, alone, rtol=1e-11, atol=1e-13)


def test_lanes_are_worlds_or_points_so_that_few_stay_empty():
    drawn, looked_up = dj.models.linear(), dj.models.teacher_student()
    assert lanes.over_worlds(drawn, worlds=32, points=10)
    assert not lanes.over_worlds(drawn, worlds=7, points=10)  # 9 of 16 lanes would draw in vain
    assert not lanes.over_worlds(drawn, worlds=2, points=32)
    assert not lanes.over_worlds(looked_up, worlds=16, points=144)
    assert lanes.over_worlds(looked_up, worlds=16, points=3)


@pytest.mark.slow  # test_targets.py
def test_a_step_that_c_cannot_hold_is_trained_by_xla_or_refused_with_the_reason():
    linear = dj.models.linear()

    def update(params, *rest):
        update = linear.update(params, *rest)
        return update._replace(direction={"w": jax.lax.lgamma(update.direction["w"])})

    model = dj.models.Model(**{**vars(linear), "update": update})
    assert dj.train(model, grid(), 5, 2).summary["backend"] == "xla"
    with pytest.raises(
        dj.InputError,
        match=r"cannot train the model linear: the operation lgamma, in line .*; use backend='auto'",
    ):
        dj.train(model, grid(), 5, 2, backend="native")
    with pytest.raises(dj.InputError, match="backend must be one of auto, cuda, native, xla"):
        dj.train(linear, grid(), 5, 2, backend="metal")


def test_batch_sizes_that_are_compiled_differently_are_told_apart():
    linear = dj.models.linear()

    def batch(key, world, step, batch_size):
        found = linear.batch(key, world, step, batch_size)
        return jax.tree.map(jax.lax.lgamma, found) if batch_size == 2 else found

    model = dj.models.Model(**{**vars(linear), "batch": batch})
    for sizes, backends in (([4, 8], "native"), ([4, 2], "native, xla")):
        some = dj.Grid(lr=0.1, batch_size=sizes, seeds=2)
        assert dj.train(model, some, 5, 2).summary["backend"] == backends


def test_observables_that_c_cannot_compute_are_xlas_while_the_step_is_in_c(observed_by_xla):
    linear = dj.models.linear()

    def observe(params, *rest):
        return linear.observe(params, *rest) | {"train_loss": jax.lax.lgamma(params["w"].ravel())[0]}

    model = dj.models.Model(**{**vars(linear), "observe": observe})
    runs = [dj.train(model, grid(), 9, 4, backend=b, x64=True).dataset for b in ("native", "xla")]
    assert len(observed_by_xla) == 1
    np.testing.assert_allclose(*(run["train_loss"] for run in runs), rtol=1e-10)


def test_without_a_working_compiler_xla_takes_over(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert dj.train(dj.models.linear(), grid(), 5, 2).summary["backend"] == "xla"
    with pytest.raises(dj.InputError, match="there is no C compiler"):
        dj.train(dj.models.linear(), grid(), 5, 2, backend="native")
    monkeypatch.setenv("CC", "false")  # a program that fails
    monkeypatch.setenv("DYSONJAX_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match="compiler .*false failed: exit status 1;.* going on with xla"):
        run = dj.train(dj.models.linear(), grid(), 5, 2)
    assert run.summary["backend"] == "xla"


@pytest.mark.slow  # test_targets.py
def test_a_mistake_of_the_compiler_is_told_and_the_next_target_takes_over(monkeypatch):
    def mistaken(*args, **kwargs):
        raise KeyError("dimension_numbers")

    monkeypatch.setattr(lanes, "write_step", mistaken)
    monkeypatch.setitem(thresholds.VALUES, "whole_least_bytes", 0)
    told = "could not be written in C .KeyError: 'dimension_numbers'.; please report this; going on with "
    with pytest.warns(UserWarning, match=f"{told}whole"):
        assert dj.train(dj.models.linear(), grid(), 5, 2).summary["target"] == "whole"
    monkeypatch.setattr(whole, "write_step", mistaken)
    with pytest.warns(UserWarning, match=f"{told}xla"):
        assert dj.train(dj.models.linear(), grid(), 5, 2).summary["backend"] == "xla"
    with pytest.raises(KeyError):
        dj.train(dj.models.linear(), grid(), 5, 2, backend="native")


@pytest.mark.parametrize("common", [True, False])
def test_keys_of_batches_are_those_of_the_engine(common):
    seed, point_id = np.uint32([[0, 7], [8, 2**31]]), np.uint32([[[5, 1], [6, 2]], [[2**32 - 1, 3], [5, 0]]])
    found = keys.Identity(np.uint32([3, 3]), seed, point_id, {}).key_words(common, keys.BATCH)
    for place in np.ndindex(2, 2):
        key = keys.stream_key(3, seed[place], None if common else point_id[place], keys.BATCH)
        np.testing.assert_array_equal(found[place], jax.random.key_data(key))
        folded = jax.random.key(3, impl="threefry2x32")
        for number in (seed[place], *(() if common else point_id[place]), keys.BATCH):
            folded = jax.random.fold_in(folded, number)
        np.testing.assert_array_equal(found[place], jax.random.key_data(folded))


ON_A_CPU = [target for target in targets.TARGETS if target.name != "cuda"]  # that one: tests/cuda


@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=SLOW if t.name == "xla" else (), id=t.name) for t in ON_A_CPU]
)
def test_states_come_back_plain_from_every_target(target, monkeypatch):
    monkeypatch.setitem(thresholds.VALUES, "whole_least_bytes", 0)
    model = loss_only(MODELS["rbm"][0])
    others = {other.name: "not asked" for other in targets.TARGETS if other is not target}
    config = dj.ensemble.Config(grid(), 1, 1, keep_weights="all")
    job = jobs.job(model, config, 0, range(5), others).compiled()
    assert job.target is target
    identity, run = job.waves[0].identity, job.executable
    world, state = run.start(identity)
    plain = jax.tree.map(np.array, run.unpack(state))
    assert jax.tree.map(lambda leaf: leaf.shape, plain) == jax.tree.map(lambda leaf: leaf.shape, job.state)
    jax.tree.map(np.testing.assert_array_equal, run.unpack(run.pack(plain)), plain)
    observed = run.observe(identity, world, state)
    count = [np.full(len(identity.seed), n, np.int32) for n in (0, 3)]
    moved = run.unpack(run.advance(identity, world, state, *count).result())
    assert (moved.params["w"] != plain.params["w"]).any()
    # A record is worked up while the next steps are made: it still is that of before.
    np.testing.assert_array_equal(np.asarray(observed.result().matrices["w"]), plain.params["w"])

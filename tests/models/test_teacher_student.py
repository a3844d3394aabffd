"""The teacher-student network against NumPy code that shares nothing with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from thin import loss_only

import dysonjax as dj
from dysonjax.bench.numpy_loop import train_one
from dysonjax.ensemble.keys import INIT, WORLD, stream_key


def _world(model, seed, batch_size):
    return jax.jit(model.world, static_argnums=1)(stream_key(0, seed, None, WORLD), batch_size)


def _data(model, seed, batch_size):
    """Teacher matrices and the data set of one seed as NumPy arrays, x reconstructed from the key."""
    world = _world(model, seed, batch_size)
    return [np.asarray(m) for m in world.teacher], np.asarray(world.inputs), np.asarray(world.targets)


@pytest.mark.parametrize("train", ["middle", "all"])
def test_500_steps_equal_an_independent_numpy_loop(train):
    model = loss_only(dj.models.teacher_student((3, 8, 6, 1), train=train, batches=20))
    grid = dj.Grid(lr=[0.1, 1.0], sigma_w=[0.5, 2.0], batch_size=4, seeds=2, first_seed=3)
    run = dj.train(model, grid, steps=500, records=[0, 500], x64=True, keep_weights="all")
    names = ["weights"] if train == "middle" else ["weights_w1", "weights_w2", "weights_w3"]
    for seed in (3, 4):
        with jax.enable_x64(True):
            teacher, inputs, targets = _data(model, seed, 4)
        for lr, sigma_w in [(0.1, 0.5), (1.0, 2.0), (0.1, 2.0)]:
            member = run.dataset.sel(lr=lr, sigma_w=sigma_w, seed=seed).isel(batch_size=0)
            student = [member[name].isel(record=0).values.copy() for name in names]
            if train == "middle":
                # The data enter behind the first layer, which is the teacher's.
                train_one([student[0], teacher[2]], [0], inputs, targets, lr, 500, 100.0)
            else:
                train_one(student, [0, 1, 2], inputs, targets, lr, 500, 100.0)
            for name, expected in zip(names, student, strict=False):
                trained = member[name].isel(record=1).values
                assert np.abs(trained - member[name].isel(record=0).values).max() > 1e-4
                np.testing.assert_allclose(trained, expected, rtol=1e-10, atol=1e-12)


def test_targets_are_the_teachers_outputs():
    model = dj.models.teacher_student(train="all", batches=20)
    with jax.enable_x64(True):
        (m, w, z), x, y = _data(model, 0, 4)
    np.testing.assert_allclose(y, np.tanh(np.tanh(x @ m) @ w) @ z, rtol=1e-12)


def test_middle_training_starts_behind_the_teachers_first_layer():
    full = dj.models.teacher_student(train="all", batches=5)
    middle = dj.models.teacher_student(train="middle", batches=5)
    teacher, x, y = _data(full, 0, 4)
    _, features, y_middle = _data(middle, 0, 4)
    np.testing.assert_allclose(features, np.tanh(x @ teacher[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y_middle, y, rtol=1e-4, atol=1e-6)


def _initial_weights(sigma_w, seeds=400):
    model = dj.models.teacher_student(batches=1)
    point = {"lr": jnp.float32(1), "sigma_w": jnp.float32(sigma_w)}

    def one(seed):
        world = model.world(stream_key(0, seed, None, WORLD), 4)
        return model.init(stream_key(0, seed, None, INIT), world, point).params["w2"], world.teacher[1]

    return jax.jit(jax.vmap(one))(jnp.arange(seeds))


def _sigmas_off(sample, variance):
    """How many standard errors the sample's variance is from the stated one."""
    n = sample.size
    return abs(np.var(sample) / variance - 1) / np.sqrt(2 / n)


def test_initial_weights_have_variance_sigma_w_squared_over_n_in():
    student, teacher = _initial_weights(3.0)
    assert _sigmas_off(student, 9 / 32) < 3  # 204 800 entries: 0.3 % of the variance is one standard error
    assert _sigmas_off(teacher, 1 / 32) < 3
    assert _sigmas_off(student, 9 / 16) > 100  # the twin: n_out in place of n_in


def test_online_data_are_fresh_in_every_step_and_label_noise_has_its_size():
    model = dj.models.teacher_student(data="online", label_noise=0.5, train="all")
    world = _world(model, 0, 4)
    keys = jax.random.split(jax.random.key(1), 5000)
    x, y = jax.jit(jax.vmap(lambda key: model.batch(key, world, 0, 4)))(keys)
    assert len(np.unique(np.asarray(x))) > 0.99 * x.size  # float32 draws coincide now and then
    m, w, z = map(np.asarray, world.teacher)
    noise = np.asarray(y) - np.tanh(np.tanh(x @ m) @ w) @ z
    assert _sigmas_off(noise, 0.25) < 3
    assert _sigmas_off(noise, 0.5) > 20  # the twin: noise variance for its standard deviation


def test_fixed_batches_are_passed_in_order_every_epoch():
    model = dj.models.teacher_student(batches=7)
    world = _world(model, 0, 4)
    key, batch = jax.random.key(0), jax.jit(lambda *args: model.batch(*args, 4))
    for step in (0, 5, 7, 12, 700):
        x, y = batch(key, world, jnp.int32(step))
        np.testing.assert_array_equal(x, world.inputs[step % 7])
        np.testing.assert_array_equal(y, world.targets[step % 7])


def test_observables_equal_their_definitions():
    model = dj.models.teacher_student(batches=100)
    with jax.enable_x64(True):
        point = {"lr": jnp.float64(1), "sigma_w": jnp.float64(0.7)}
        world = _world(model, 0, 4)

        @jax.jit
        def observed(world, point, *keys):
            initial, params = (model.init(key, world, point).params for key in keys[:2])
            return initial, params, model.observe(params, initial, world, keys[2], point)

        initial, params, seen = observed(world, point, *map(jax.random.key, (1, 2, 3)))
        seen = {name: float(value) for name, value in seen.items()}
        x = np.asarray(jax.random.normal(jax.random.key(3), (128, 3)))
    m, t, z = (np.asarray(a) for a in world.teacher)
    w, w0 = np.asarray(params["w2"]), np.asarray(initial["w2"])
    below = np.tanh(x @ m)
    y, phi, phi0 = np.tanh(below @ t) @ z, np.tanh(below @ w), np.tanh(below @ w0)
    h = y @ z.T
    assert seen["test_loss"] == pytest.approx(np.mean((y - phi @ z) ** 2))
    assert seen["target_variance"] == pytest.approx(np.mean(y**2))
    assert seen["feature_overlap"] == pytest.approx(np.mean(phi * phi0))
    assert seen["feature_memory"] == pytest.approx(
        np.sum(phi * phi0) / np.linalg.norm(phi) / np.linalg.norm(phi0)
    )
    aligned = np.sum(h * phi) / np.linalg.norm(h) / np.linalg.norm(phi) / 128
    assert seen["field_alignment"] == pytest.approx(aligned)
    cosines = np.sum(h * phi, 1) / np.linalg.norm(h, axis=1) / np.linalg.norm(phi, axis=1)
    assert seen["field_alignment_per_sample"] == pytest.approx(np.mean(cosines))
    assert seen["preactivation_variance"] == pytest.approx(np.mean((below @ w) ** 2))
    per_feature = np.sum(h * phi, 0) / np.linalg.norm(h, axis=0) / np.linalg.norm(phi, axis=0)
    assert seen["field_alignment_per_feature"] == pytest.approx(np.mean(per_feature))
    # Noise and drift with the definitions written out, matrix by matrix.
    _, basis = np.linalg.eigh(w.T @ w)
    basis = basis[:, ::-1]
    d = ((phi @ z - y) @ z.T) * (1 - phi**2)
    as_they_are = []
    for sample in range(128):
        g = np.outer(below[sample], d[sample])
        as_they_are.append(w.T @ g + g.T @ w)
    turned = [basis.T @ dx @ basis for dx in as_they_are]
    mean, variance = np.mean(turned, 0), np.var(turned, 0)
    n = 16
    k = np.abs(mean[0, 0]) - np.abs(mean[n - 1, n - 1])
    v = 2 * variance[0, n - 1] / (n - 1)
    v += sum((variance[0, j] + variance[n - 1, n - 1 - j]) / j for j in range(1, n - 1))
    assert seen["drift_gap"] == pytest.approx(k)
    assert seen["noise_gap"] == pytest.approx(v)
    basis = basis * np.sign(basis[0])  # the convention for what depends on the signs of eigenvectors
    published = basis.T @ np.var(as_they_are, 0) @ basis
    v = 2 * published[0, n - 1] / (n - 1)
    v += sum((published[0, j] + published[n - 1, n - j]) / j for j in range(1, n - 1))
    assert seen["noise_gap_published"] == pytest.approx(v)
    # Loss and gradient on the training sample, by finite differences.
    inputs, targets = (np.asarray(a).reshape(-1, a.shape[-1])[:256] for a in (world.inputs, world.targets))

    def loss(w):
        return 0.5 * np.mean((np.tanh(inputs @ w) @ z - targets) ** 2)

    assert seen["train_loss"] == pytest.approx(loss(w))
    gradient = np.zeros_like(w)
    for index in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[index] = 1e-5
        gradient[index] = (loss(w + step) - loss(w - step)) / 2e-5
    assert seen["grad_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"widths": (3, 1)}, "at least one hidden layer"),
        ({"widths": (3, 0, 16, 1)}, "widths must be a positive integer, got 0"),
        ({"widths": (3, 16, 1)}, "train='middle' needs two hidden layers"),
        ({"activation": "sine"}, "activation must be one of tanh, relu, identity, got 'sine'"),
        ({"train": "last"}, "train must be one of"),
        ({"data": "stream"}, "data must be one of"),
        ({"batches": 0}, "batches must be a positive integer, got 0"),
        ({"label_noise": -1.0}, "label_noise must be zero or positive"),
        ({"label_noise": float("nan")}, "label_noise must be finite"),
        ({"test_samples": 0}, "test_samples must be a positive integer"),
    ],
)
def test_bad_arguments_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(dj.InputError, match=sentence):
        dj.models.teacher_student(**arguments)

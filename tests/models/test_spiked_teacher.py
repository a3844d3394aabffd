"""A network that learns a matrix of low rank: its moments by the recursion, its gradients by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.analysis import spikes_theory
from dysonjax.models import spiked_teacher

POINT = {"lr": 0.1, "sigma_w": 1.0}


@pytest.mark.parametrize(
    "shape",
    [(12, 5), pytest.param((5, 12), marks=pytest.mark.slow), pytest.param((6, 6), marks=pytest.mark.slow)],
)
def test_the_teacher_has_the_singular_values_of_its_profile(shape):
    model = spiked_teacher(*shape, (2.0, 1.0, 1.0), s=3.0)
    world = model.world(jax.random.key(0), 4)
    target = np.asarray(model.targets(world)["w"])
    assert target.shape == shape
    found = np.linalg.svd(target, compute_uv=False)
    np.testing.assert_allclose(found, [6, 3, 3] + [0] * (min(shape) - 3), atol=1e-5)


def test_a_teacher_of_full_rank_is_orthogonal_to_the_last_digits():
    teacher = spiked_teacher(24, 24, np.ones(24)).world(jax.random.key(1), 4).teacher
    np.testing.assert_allclose(np.asarray(teacher) @ np.asarray(teacher).T, np.eye(24), atol=2e-5)


@pytest.mark.parametrize(
    ("activation", "noise"),
    [
        ("identity", "label"),
        ("relu", "data"),
        *(
            pytest.param(activation, noise, marks=pytest.mark.slow)
            for activation, noise in (
                ("tanh", "label"),
                ("relu", "label"),
                ("identity", "data"),
                ("tanh", "data"),
            )
        ),
    ],
)
def test_the_direction_is_the_gradient_of_half_the_mean_squared_error(activation, noise):
    model = spiked_teacher(
        7, 4, (1.0,), s=2.0, epsilon=0.5, noise=noise, activation=activation, blocks=(2.0, 1.0)
    )
    phi = {"identity": lambda z: z, "tanh": jnp.tanh, "relu": jax.nn.relu}[activation]

    def loss(weight, world, batch):
        labels = phi(batch.inputs @ (2.0 * world.teacher)) + (0.5 * batch.noise if noise == "label" else 0)
        return 0.5 * jnp.mean(jnp.sum((phi(batch.inputs @ weight) - labels) ** 2, axis=-1))

    @jax.jit
    def directions():
        world = model.world(jax.random.key(0), 8)
        params = model.init(jax.random.key(1), world, POINT).params
        batch = model.batch(jax.random.key(2), world, 0, 8)
        update = model.update(params, (), batch, world, POINT)
        return update.direction["w"], jax.grad(loss)(params["w"], world, batch)

    np.testing.assert_allclose(*directions(), rtol=2e-4, atol=2e-5)


def test_inputs_of_blocks_have_their_variances():
    model = spiked_teacher(3, 6, noise="data", blocks=(4.0, 1.0, 0.25))
    world = model.world(jax.random.key(0), 4000)
    x = np.asarray(jax.jit(lambda key: model.batch(key, world, 0, 4000).inputs)(jax.random.key(1)))
    np.testing.assert_allclose(x.var(axis=0), [4, 4, 1, 1, 0.25, 0.25], rtol=4 * (2 / 4000) ** 0.5)


@pytest.mark.parametrize("noise, epsilon", [("gradient", 0.7), ("label", 0.7), ("data", 0.0)])
def test_the_variance_of_the_weights_follows_the_recursion(noise, epsilon):
    """The mean square of W − W* with ten members of 16·8 elements, four errors; with half of the noise's
    variance theory is off by more, where there is noise besides that of the inputs."""
    model = spiked_teacher(16, 8, s=1.0, epsilon=epsilon, noise=noise)
    grid = dj.Grid(lr=0.2, batch_size=8, sigma_w=0.5, seeds=64)
    run = dj.train(model, grid, 12, [12]).dataset
    measured = 2 * run.train_loss.values.ravel() / (16 * 8)
    setting = spikes_theory.settings(run)._replace(lr=np.array(0.2))

    def mean_square(setting):
        at = spikes_theory.course(setting, 12)
        residual = (1.0 - at.theta.item()) ** 2 / (16 * 8)  # of the mean W
        return at.sigma.item() ** 2 / 16 + residual

    error = measured.std() / 8
    assert abs(measured.mean() - mean_square(setting)) < 4 * error
    if epsilon:
        wrong = setting._replace(epsilon=setting.epsilon / 2**0.5)
        assert abs(measured.mean() - mean_square(wrong)) > 4 * error


@pytest.mark.slow
def test_fresh_inputs_diverge_where_the_mean_square_does():
    """α = 2/(1 + (N+1)/|B|) = 0.5 here; at 0.8 of it members live, at twice as much they do not."""
    model = spiked_teacher(16, 11, noise="data")
    grid = dj.Grid(lr=[0.4, 1.0], batch_size=4, sigma_w=0.5, seeds=4)
    run = dj.train(model, grid, 600, [600])
    assert spikes_theory.stable(spikes_theory.settings(run.dataset)).ravel().tolist() == [True, False]
    assert (run.dataset.diverged_at.sel(lr=0.4) < 0).all() and (
        run.dataset.diverged_at.sel(lr=1.0) >= 0
    ).all()


def test_strengths_of_a_grid_scale_the_target_that_is_recorded():
    model = spiked_teacher(8, 4, (1.0, 0.5), s=2.0)
    run = dj.train(model, dj.Grid(lr=0.1, batch_size=4, scalars={"s": [2.0, 3.0]}), 2, [2]).dataset
    expected = [[0, 0, 1, 4], [0, 0, 2.25, 9]]
    np.testing.assert_allclose(run.target_eigenvalues.squeeze(), expected, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"profile": (1.0,) * 5, "columns": 4}, "rank of the teacher must not exceed min"),
        ({"profile": (1.0, 0.0)}, "profile must be a list of positive"),
        ({"profile": ()}, "profile must be a list of positive"),
        ({"s": 0.0}, "s must be positive"),
        ({"s": -1.0}, "s must be positive"),
        ({"epsilon": -0.1}, "epsilon must be zero or positive"),
        ({"noise": "gas"}, "noise must be one of"),
        ({"activation": "tanh"}, "take noise label or data"),
        ({"blocks": (1.0, -1.0)}, "blocks must be positive"),
        ({"blocks": (1.0, 2.0, 3.0)}, "cannot be cut into 3 blocks"),
        ({"rows": 10**6, "columns": 10**6}, "memory"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(arguments, words):
    with pytest.raises(dj.InputError, match=words):
        spiked_teacher(**{"rows": 16, "columns": 8} | arguments)


def test_a_strength_of_a_grid_must_be_positive():
    with pytest.raises(dj.InputError, match="s must be positive"):
        dj.train(spiked_teacher(8, 4), dj.Grid(lr=0.1, batch_size=4, scalars={"s": [1.0, -1.0]}), 2, [2])

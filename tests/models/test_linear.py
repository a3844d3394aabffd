import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.models.linear import _random_orthogonal, _sign_of_permutations
from dysonjax.models.predictions import linear_pair, linear_two_species_spacing

START = 0.1 * math.sqrt(2)


def singular_values(model, lr=0.2, batch_size=4, seeds=2000, steps=200, records=None, **options):
    """Singular values of W, (batch sizes, learning rates, seeds, modes)."""
    grid = dj.Grid(lr=lr, batch_size=batch_size, sigma_w=START, seeds=seeds)
    dataset = dj.train(model, grid, steps, [steps], **options).dataset
    return np.sqrt(dataset["eigenvalues"].values[:, :, 0, :, -1])


def mean_spacing(levels):
    s = np.diff(levels, axis=-1)[..., 0]
    return s.mean(axis=-1), s.std(axis=-1, ddof=1) / math.sqrt(s.shape[-1])


def test_mean_spacing_of_singular_values_matches_theory():
    """Second order within 3.5 standard errors of 1.2 % at six points; the first is off where |B| is small."""
    lr, batch_size = np.array([0.05, 0.2, 0.5]), np.array([[4], [16]])
    levels = singular_values(dj.models.linear(), lr.tolist(), batch_size.ravel().tolist(), steps=300)
    mean, error = mean_spacing(levels)
    theory = linear_pair(0.1, lr, batch_size, order=2).mean_spacing
    assert np.abs((mean - theory) / error).max() < 3.5
    first = linear_pair(0.1, lr, batch_size).mean_spacing
    assert (mean / first)[0, 2] > 1.05  # α = 0.5, |B| = 4: xxᵀ fluctuates
    np.testing.assert_allclose(first, np.sqrt(2 * np.pi * lr * 0.01 / (batch_size * (2 - lr))))
    # Forgetting the finite step, 2 − α → 2, is noticed.
    wrong = np.sqrt(2 * np.pi * lr * 0.01 / (batch_size * 2))
    assert np.abs((mean - wrong) / error).max() > 10


def test_first_correction_for_small_batches_is_the_stated_one():
    alpha, size = 0.01, 50
    ratio = linear_pair(0.1, alpha, size, order=2).mean_spacing / linear_pair(0.1, alpha, size).mean_spacing
    assert ratio - 1 == pytest.approx(alpha / (size * (2 - alpha)), rel=1e-3)


def test_a_reflected_teacher_shows_no_repulsion_and_a_rotated_one_does():
    """With one number to split the pair, ⟨S⟩ is 2/π of the surmise's, 20 standard errors below it.

    |B| = 64, since the fluctuations of xxᵀ, of relative size α/(|B|(2 − α)), bring back a little repulsion.
    """
    angle = 0.7
    rotation = 2 * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    theory = linear_pair(0.1, 0.1, 64, order=2).mean_spacing
    for teacher, factor in ((rotation, 1), (rotation * [1, -1], 2 / math.pi)):
        levels = singular_values(dj.models.linear(teacher=teacher), lr=0.1, batch_size=64)
        mean, error = mean_spacing(levels[0, 0])
        assert abs(mean - factor * theory) < 3.5 * error
        small = (np.diff(levels[0, 0])[:, 0] < 0.1 * mean).mean()
        assert small < 0.02 if factor == 1 else small > 0.04


@pytest.mark.parametrize("noise", ["gradient", pytest.param("label", marks=pytest.mark.slow)])
def test_langevin_has_the_spacings_of_the_mini_batches(noise):
    """|B| = 8: within 3.5 standard errors of 1.7 %."""
    real, error = mean_spacing(singular_values(dj.models.linear(noise=noise, z="equal"), batch_size=8))
    model = dj.models.linear(noise=noise, z="equal", dynamics="langevin")
    langevin, other = mean_spacing(singular_values(model, batch_size=8, key=1))
    assert abs(real - langevin) < 3.5 * np.hypot(error, other)


def test_label_noise_on_a_plain_network_halves_the_variance_of_the_splitting():
    """Its matrix is not symmetric: half of v remains in the symmetric part, for any orthogonal teacher."""
    mean, error = mean_spacing(singular_values(dj.models.linear(noise="label", basis="orthogonal"), lr=0.1))
    theory = linear_pair(0.1, 0.1, 4).mean_spacing / math.sqrt(2)
    assert abs(mean[0, 0] - theory) < 4 * error[0, 0] + 0.03 * theory


@pytest.mark.parametrize("z", ["identity", pytest.param("equal", marks=pytest.mark.slow), "unequal"])
def test_modes_relax_at_rates_proportional_to_z_squared(z):
    """W_t − W decays as (1 − α z_i²)^t along the right singular vectors of Z; within 3 %."""
    model = dj.models.linear(z, teacher=[[2.0, 0.0], [0.0, 2.0]], epsilon=0.05)
    forward = np.array(model.config["z"])
    _, singular, vectors = np.linalg.svd(forward)
    grid = dj.Grid(lr=0.01, batch_size=16, sigma_w=START, seeds=300)
    dataset = dj.train(model, grid, 120, [60, 120], keep_weights="all").dataset
    error = vectors @ (np.array(model.config["teacher"]) - dataset["weights"].values[0, 0, 0].mean(axis=0))
    early, late = (np.diag(error[i] @ vectors.T) for i in range(2))
    rates = np.log(early / late) / 60
    np.testing.assert_allclose(rates, -np.log1p(-0.01 * singular**2), rtol=0.03)


@pytest.mark.parametrize("noise", ["gradient", pytest.param("label", marks=pytest.mark.slow)])
def test_the_ratio_of_singular_values_is_an_axis(noise):
    """Members of the axis are those of a Z with that ratio; Z keeps its largest value and its directions."""
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    grid = dj.Grid(lr=0.1, batch_size=8, sigma_w=START, seeds=3, scalars={"z_ratio": [0.25, 1.0]})
    axis = dj.train(dj.models.linear(turned * [1.5, 0.5], noise=noise), grid, 40, [40], x64=True).dataset
    one = dj.Grid(lr=0.1, batch_size=8, sigma_w=START, seeds=3)
    fixed = dj.models.linear(turned * [1.5, 1.5 * 0.25], noise=noise)
    expected = dj.train(fixed, one, 40, [40], x64=True).dataset.eigenvalues.values
    np.testing.assert_allclose(axis.eigenvalues.sel(z_ratio=0.25), expected, rtol=1e-9)
    assert abs(axis.eigenvalues.sel(z_ratio=1.0) / expected - 1).max() > 0.01


@pytest.mark.slow
def test_spacing_of_two_species_is_that_of_a_matrix_whose_eigenvectors_mix():
    """Within 3.5 standard errors of 0.9 %; the gas of levels with a rate each is 5 and 14 % too wide."""
    ratios, lr, size = [0.25, 0.5, 1.0], 0.2, 64
    grid = dj.Grid(lr=lr, batch_size=size, sigma_w=START, seeds=3500, scalars={"z_ratio": ratios})
    dataset = dj.train(dj.models.linear(), grid, 600, [600]).dataset
    mean, error = mean_spacing(np.sqrt(dataset["eigenvalues"].values[0, 0, 0, ..., -1, :]))
    theory = linear_two_species_spacing(0.1, lr, size, 1.0, np.array(ratios))
    assert np.abs((mean - theory) / error).max() < 3.5
    own = [linear_pair(0.1, lr, size, z).sigma ** 2 for z in (1.0, np.array(ratios))]
    gas = np.sqrt(np.pi / 2 * (own[0] + own[1]))
    assert ((gas - mean) / error)[:2].min() > 3.5
    np.testing.assert_allclose(theory[2], gas[2])


@pytest.mark.slow
def test_noise_of_strength_zero_learns_the_teacher_exactly():
    model = dj.models.linear("unequal", values=[3.0, 1.0], epsilon=0.0)
    grid = dj.Grid(lr=0.2, batch_size=16, sigma_w=START, seeds=4)
    dataset = dj.train(model, grid, 800, [800]).dataset
    np.testing.assert_allclose(dataset["eigenvalues"][0, 0, 0, :, -1], [[1.0, 9.0]] * 4, rtol=1e-4)
    assert float(dataset["train_loss"].max()) < 1e-8


@pytest.mark.slow
def test_larger_teachers_keep_clean_pairs():
    """Two pairs at 1 and 3 in four dimensions, within 3.5 standard errors of 2.3 % (|B| = 64)."""
    levels = singular_values(
        dj.models.linear(np.eye(4), values=[1, 1, 3, 3]), lr=0.1, batch_size=64, seeds=500, steps=150
    )[0, 0]
    theory = linear_pair(0.1, 0.1, 64).mean_spacing
    for pair in (0, 2):
        s = np.diff(levels)[:, pair]
        assert abs(s.mean() - theory) < 3.5 * s.std() / math.sqrt(len(s))


@pytest.mark.slow
def test_random_orthogonal_matrices_are_orthogonal_with_the_asked_sign():
    keys = jax.random.split(jax.random.key(0), 200)
    for size in (2, 4):
        q = np.asarray(jax.jit(jax.vmap(lambda k, n=size: _random_orthogonal(k, n, True)))(keys))
        np.testing.assert_allclose(q @ q.swapaxes(1, 2), np.broadcast_to(np.eye(size), q.shape), atol=1e-5)
        sign = np.linalg.det(q)
        assert 60 < (sign > 0).sum() < 140
        np.testing.assert_allclose(jax.jit(jax.vmap(_sign_of_permutations))(jnp.asarray(q)), np.sign(sign))
        rotation = np.asarray(jax.jit(jax.vmap(lambda k, n=size: _random_orthogonal(k, n, False)))(keys))
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-4)


def test_a_large_learning_rate_freezes_the_member():
    grid = dj.Grid(lr=[0.1, 4.0], batch_size=16, sigma_w=START, seeds=3)
    dataset = dj.train(dj.models.linear(), grid, 100, [100]).dataset
    assert (dataset["diverged_at"].sel(lr=4.0) > 0).all() and (dataset["diverged_at"].sel(lr=0.1) < 0).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"z": [[1.0, 2.0], [2.0, 4.0]]}, "z must be invertible"),
        ({"z": [[1.0, 2.0]]}, "at least as many rows as columns"),
        ({"z": [[1.0, math.nan], [0.0, 1.0]]}, "must be finite"),
        ({"z": "diagonal"}, "z must be one of identity, equal, unequal"),
        ({"teacher": np.eye(3)}, r"teacher must have shape \(2, 2\)"),
        ({"teacher": [[1.0, math.inf], [0.0, 1.0]]}, "must be finite"),
        ({"values": [2.0]}, "values must hold 2 positive singular values"),
        ({"values": [2.0, -1.0]}, "values must hold 2 positive"),
        ({"epsilon": -0.1}, "epsilon must be zero or positive"),
        ({"noise": "input"}, "noise must be one of gradient, label"),
        ({"basis": "any"}, "basis must be one of"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        dj.models.linear(**options)

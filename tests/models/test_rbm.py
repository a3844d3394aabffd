import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_pcd import pcd_levels

import dysonjax as dj
from dysonjax.checks import InputError
from dysonjax.models import dense
from dysonjax.models.predictions import degenerate_pairs, rbm_pair
from dysonjax.models.rbm_moments import MOMENTS, Shape, collapsed_law

PUBLISHED_WIDTH = 0.1 * math.sqrt(10)


def final_levels(model, lr=0.1, batch_size=16, seeds=256, steps=1500, **options):
    """Levels of all seeds at the last step, (seeds, modes)."""
    grid = dj.Grid(lr=lr, batch_size=batch_size, sigma_w=PUBLISHED_WIDTH, seeds=seeds)
    dataset = dj.train(model, grid, steps, [steps], **options).dataset
    return dataset["eigenvalues"].values[0, 0, 0, :, -1]


def z_scores(x, y):
    """Difference of the means of two ensembles, (members, ...), in standard errors."""
    error = np.hypot(x.std(axis=0, ddof=1) / math.sqrt(len(x)), y.std(axis=0, ddof=1) / math.sqrt(len(y)))
    return (x.mean(axis=0) - y.mean(axis=0)) / error


@pytest.fixture(scope="module")
def collapsed_levels():
    return final_levels(dj.models.rbm(sampler="collapsed"), seeds=512)


# ---- the target


def test_lattice_target_has_two_single_and_four_double_levels():
    kappa = dj.models.rbm().config["kappa"]
    assert kappa[0] == 4 and kappa[-1] == 8
    assert degenerate_pairs(kappa).tolist() == [1, 3, 5, 7]


def test_every_description_of_a_target_gives_the_same_fixed_point(tmp_path):
    samples = np.random.default_rng(0).normal(size=(50, 3)) * [0.5, 0.6, 0.7]
    covariance = samples.T @ samples / 50
    kappa = np.linalg.eigvalsh(np.linalg.inv(covariance))
    for options in ({"data": samples}, {"covariance": covariance}, {"kappa": kappa}):
        np.testing.assert_allclose(dj.models.rbm(**options).config["kappa"], kappa)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mu": 2.5}, r"must lie below mu² = 6.25.*raise mu above 2.828"),
        ({"kappa": [4.0, 9.0]}, "no fixed point"),
        ({"kappa": [4.0, -1.0]}, "kappa must be positive"),
        ({"kappa": [4.0, 5.0], "visible": 3}, r"shape \(visible,\) with visible = 3"),
        ({"covariance": [[1.0, 0.5], [0.2, 1.0]]}, "must be symmetric"),
        ({"covariance": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite"),
        ({"covariance": [[1.0, 0.0]]}, r"shape \(visible, visible\)"),
        ({"covariance": [[math.nan, 0.0], [0.0, 1.0]]}, "must be finite"),
        ({"data": [[1.0, 2.0], [2.0, 4.0]]}, "more samples than components"),
        ({"data": [[1.0, math.nan]]}, "must be finite"),
        ({"data": np.ones((5, 3)), "visible": 2}, r"\(samples, visible\) with visible = 2, got \(5, 3\)"),
        ({"data": np.ones((5, 3)), "kappa": [1.0]}, "only one of"),
        ({"k": 0}, "k must be a positive integer"),
        ({"sigma_h": 0.0}, "sigma_h must be positive"),
        ({"sampler": "exact"}, "sampler must be one of gibbs, collapsed"),
        ({"mass": -1.0}, "mass must be positive"),
    ],
)
def test_bad_input_is_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        dj.models.rbm(**options)


# ---- dense algebra


@pytest.mark.parametrize(
    "n", [1, 2, pytest.param(10, marks=pytest.mark.slow), 33, pytest.param(40, marks=pytest.mark.slow)]
)
def test_factor_inverse_and_determinant_agree_with_lapack(n):
    a = np.random.default_rng(n).normal(size=(n, 2 * n))
    a = (a @ a.T / n).astype(np.float32)
    lower = jax.jit(dense.cholesky)(jnp.asarray(a))
    np.testing.assert_allclose(lower, np.linalg.cholesky(a), atol=2e-4)
    np.testing.assert_allclose(jax.jit(dense.inverse_lower)(lower) @ lower, np.eye(n), atol=2e-4)
    np.testing.assert_allclose(dense.log_det(lower), np.linalg.slogdet(a)[1], rtol=1e-3, atol=1e-3)
    assert bool(dense.is_factor(lower))


@pytest.mark.parametrize("n", [2, 40])
def test_an_indefinite_matrix_has_no_factor(n):
    matrix = jnp.eye(n).at[n - 1, n - 1].set(-1e-3)
    assert not bool(dense.is_factor(dense.cholesky(matrix)))


# ---- the chains


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
@pytest.mark.parametrize(("visible", "hidden"), [(4, 4), (4, 2), (3, 5)])
def test_collapsed_law_is_that_of_k_sweeps(k, visible, hidden):
    shape = Shape(visible, hidden, 2.0, 0.8, k)
    weight = 0.4 * np.random.default_rng(k).normal(size=(visible, hidden))
    a = 0.8**2 * weight @ weight.T / 4.0
    q = (np.eye(visible) + a) / 4.0  # noise of one sweep: 1/mu² + sigma_h² W Wᵀ/mu⁴
    powers = [np.linalg.matrix_power(a, j) for j in range(k + 1)]
    power, noise = collapsed_law(jnp.asarray(weight, jnp.float32), shape)
    np.testing.assert_allclose(power, powers[k], atol=1e-6)
    np.testing.assert_allclose(noise, sum(p @ q @ p for p in powers[:k]), atol=1e-6)


@pytest.mark.parametrize("name", ["gibbs", pytest.param("collapsed", marks=pytest.mark.slow)])
def test_chains_have_the_derived_mean_and_covariance_after_k_sweeps(name):
    """40 000 chains; within 4.5 standard errors, a 3 % error of the covariance would be seen."""
    shape = Shape(3, 4, 2.0, 0.8, 2)
    weight = 0.5 * jax.random.normal(jax.random.key(1), (3, 4))
    start = jnp.broadcast_to(jnp.array([1.0, -2.0, 0.5]), (40_000, 3))
    moments = MOMENTS[name](shape)
    normals = moments.draw(jax.random.key(2), len(start))
    measured, chains = moments.advance(start, normals, weight, len(start))
    power, noise = (np.asarray(a, np.float64) for a in collapsed_law(weight, shape))
    chains = np.asarray(chains, np.float64)
    np.testing.assert_allclose(measured, chains.T @ chains / len(chains), atol=1e-4)
    z = (chains.mean(axis=0) - np.asarray(start[0]) @ power) / np.sqrt(np.diag(noise) / len(chains))
    assert np.abs(z).max() < 4.5
    error = np.sqrt((noise**2 + np.outer(np.diag(noise), np.diag(noise))) / len(chains))
    assert (np.abs(np.cov(chains.T) - noise) / error).max() < 4.5
    # The noise of one sweep less would be noticed.
    _, fewer = collapsed_law(weight, shape._replace(k=1))
    assert (np.abs(np.cov(chains.T) - np.asarray(fewer)) / error).max() > 6


@pytest.mark.parametrize("name", ["gibbs", "collapsed", "langevin", "langevin-chains"])
def test_moments_at_rest_have_the_covariance_of_the_chains_at_lag_zero_and_one(name):
    """2000 chains of moments at fixed W after 12 steps, within 5 standard errors."""
    shape, batch_size, count = Shape(3, 3, 1.5, 1.0, 1), 8, 2000
    vectors = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    x = np.array([0.3, 0.9, 1.5])
    weight = jnp.asarray((vectors * np.sqrt(x)) @ vectors.T, jnp.float32)
    lam = 1.5**2 - x
    moments = MOMENTS[name](shape)

    def one(key):
        def step(memory, index):
            normals = moments.draw(jax.random.fold_in(key, index), batch_size)
            measured, memory = moments.advance(memory, normals, weight, batch_size)
            return memory, measured

        return jax.lax.scan(step, moments.start(jnp.ones((batch_size, 3))), jnp.arange(12))[1][-2:]

    s = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(4), count)), np.float64)
    s = vectors.T @ s @ vectors
    expected = np.outer(1 / lam, 1 / lam) / batch_size * (1 + np.eye(3))
    rho = 0 if name == "langevin" else np.outer(x, x) / 1.5**4
    before, after = s[:, 0] - np.diag(1 / lam), s[:, 1] - np.diag(1 / lam)
    for product, value in ((after * after, expected), (before * after, expected * rho)):
        z = (product.mean(axis=0) - value) / (product.std(axis=0) / math.sqrt(count))
        assert np.abs(z).max() < 5, name
    assert np.abs(after.mean(axis=0) / np.sqrt(expected / count)).max() < 5


# ---- training


def test_direction_is_the_gradient_of_the_divergence():
    """With chains at rest on average: −σ_h² (C − K⁻¹) W, checked against automatic differentiation."""
    kappa = np.array([2.0, 2.5, 3.0])
    model = dj.models.rbm(kappa=kappa, mu=2.0, sigma_h=0.7, hidden=2)
    weight = 0.5 * jax.random.normal(jax.random.key(0), (3, 2))

    def divergence(w):
        precision = 4 * jnp.eye(3) - 0.49 * w @ w.T
        _, log_det = jnp.linalg.slogdet(precision)
        return 0.5 * (jnp.sum(jnp.diag(precision) / kappa) - 3 - log_det + math.log(np.prod(kappa)))

    observe = jax.jit(lambda params: model.observe(params, params, None, jax.random.key(0), {}))
    seen = observe({"w": weight})
    np.testing.assert_allclose(seen["train_loss"], divergence(weight), rtol=1e-5)
    np.testing.assert_allclose(seen["grad_norm"], jnp.linalg.norm(jax.grad(divergence)(weight)), rtol=1e-5)
    langevin = dj.models.rbm(kappa=kappa, mu=2.0, sigma_h=0.7, hidden=2, dynamics="langevin")
    world = langevin.world(jax.random.key(0), 1)
    noise = langevin.batch(jax.random.key(1), world, 0, 1)
    quiet = noise._replace(normals=tuple(jnp.zeros_like(n) for n in noise.normals))
    update = jax.jit(lambda params: langevin.update(params, (), quiet, world, {}))({"w": weight})
    np.testing.assert_allclose(update.direction["w"], jax.grad(divergence)(weight), atol=1e-6)


@pytest.mark.slow
def test_literal_and_collapsed_chains_train_alike(collapsed_levels):
    """Levels and spacings of independent seeds within 3.5 standard errors (19 comparisons)."""
    literal = final_levels(dj.models.rbm(), seeds=160, key=1)
    assert np.abs(z_scores(literal, collapsed_levels)).max() < 3.5
    assert np.abs(z_scores(np.diff(literal), np.diff(collapsed_levels))).max() < 3.5


def test_plain_numpy_implementation_agrees(collapsed_levels):
    """Within 3 standard errors on average levels and spacings; a twin with half the chains is told apart."""
    plain = pcd_levels(50, 1500)
    z = z_scores(plain[:, 1:], collapsed_levels[:, 1:])
    gap = z_scores(np.diff(plain), np.diff(collapsed_levels))
    assert np.abs(z).max() < 3.3 and np.abs(gap).max() < 3.3
    pairs = [1, 3, 5, 7]
    pooled = z_scores(np.diff(plain)[:, pairs].mean(axis=1), np.diff(collapsed_levels)[:, pairs].mean(axis=1))
    assert abs(pooled) < 3
    wrong = pcd_levels(40, 1500, batch_size=8)
    wrong = z_scores(np.diff(wrong)[:, pairs].mean(axis=1), np.diff(collapsed_levels)[:, pairs].mean(axis=1))
    assert abs(wrong) > 4


def test_mean_spacing_of_pairs_matches_theory():
    """Second order within 3 standard errors of 2.6 %; a factor √2 in the noise is 10 of them away.

    Twice as many hidden components leave no initial level near zero, from where it would take long to rise.
    """
    model = dj.models.rbm(kappa=[3.0, 3.0, 6.0, 6.0], hidden=8, sampler="collapsed")
    grid = dj.Grid(lr=0.05, batch_size=64, sigma_w=0.6, seeds=400)
    levels = dj.train(model, grid, 1200, [1200]).dataset["eigenvalues"].values[0, 0, 0, :, -1]
    for pair, target in ((0, 6.0), (2, 3.0)):
        s = np.diff(levels)[:, pair]
        theory = rbm_pair(target, 0.05, 64, order=2).mean_spacing
        error = s.std(ddof=1) / math.sqrt(len(s))
        assert abs(s.mean() - theory) < 3 * error
        assert abs(s.mean() - math.sqrt(2) * theory) > 10 * error


def test_orders_of_the_prediction_meet_at_small_learning_rates():
    fine = rbm_pair(7.9, 1e-5, 16, k=60, order=2).mean_spacing / rbm_pair(7.9, 1e-5, 16).mean_spacing
    np.testing.assert_allclose(fine, 1, rtol=1e-4)
    slow = rbm_pair(4.0, 1e-6, 16, k=1, order=2).mean_spacing / rbm_pair(4.0, 1e-6, 16).mean_spacing
    rho = (5 / 9) ** 2
    np.testing.assert_allclose(slow, math.sqrt((1 + rho) / (1 - rho)), rtol=1e-4)


def test_sigma_h_only_rescales_time():
    """X = σ_h² WᵀW with α σ_h² fixed obeys the same law."""
    kappa = [3.0, 3.0, 6.0, 6.0]
    one = rbm_pair(np.array(kappa), 0.08, 16, order=2)
    two = rbm_pair(np.array(kappa), 0.02, 16, sigma_h=2.0, order=2)
    np.testing.assert_allclose(one.sigma, two.sigma)


@pytest.mark.parametrize(("visible", "hidden"), [(4, 2), pytest.param(3, 5, marks=pytest.mark.slow)])
def test_rectangular_weights_learn_the_softest_directions(visible, hidden):
    kappa = np.linspace(3, 6, visible)
    model = dj.models.rbm(kappa=kappa, hidden=hidden, sampler="collapsed")
    grid = dj.Grid(lr=0.05, batch_size=256, sigma_w=0.5, seeds=16)
    dataset = dj.train(model, grid, 3000, [3000]).dataset
    rank = min(visible, hidden)
    expected = np.sort((9 - kappa)[:rank])
    np.testing.assert_allclose(dataset["target_eigenvalues"][0, 0, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(dataset["eigenvalues"][0, 0, 0, :, -1].mean("seed"), expected, rtol=0.05)


def test_data_are_drawn_in_mini_batches_around_their_moments():
    samples = np.random.default_rng(0).normal(size=(500, 2)) * [0.5, 0.4]
    model = dj.models.rbm(data=samples)
    world = model.world(jax.random.key(0), 64)
    draw = jax.vmap(lambda i: model.batch(jax.random.key(i), world, i, 64).data)
    drawn = np.asarray(jax.jit(draw)(jnp.arange(400)))
    expected = samples.T @ samples / 500
    assert np.abs((drawn.mean(axis=0) - expected) / (drawn.std(axis=0) / 20)).max() < 4
    assert drawn.std(axis=0)[0, 0] == pytest.approx((samples[:, 0] ** 2).std() / 8, rel=0.15)


def test_a_member_with_a_negative_precision_is_frozen_and_marked():
    model = dj.models.rbm()
    grid = dj.Grid(lr=0.1, batch_size=4, sigma_w=[PUBLISHED_WIDTH, 12.0], seeds=3)
    dataset = dj.train(model, grid, 5, [0, 5]).dataset
    assert (dataset["diverged_at"].sel(sigma_w=12.0) == 0).all()
    assert (dataset["diverged_at"].isel(sigma_w=0) == -1).all()
    frozen = dataset["eigenvalues"].sel(sigma_w=12.0)
    np.testing.assert_array_equal(frozen.isel(record=0), frozen.isel(record=-1))
    assert not np.isfinite(dataset["train_loss"].sel(sigma_w=12.0)).any()


@pytest.mark.slow
def test_samplers_differ_in_name_only_in_the_configuration():
    for sampler, dynamics in itertools.product(["gibbs", "collapsed"], ["pcd", "langevin"]):
        config = dj.models.rbm(sampler=sampler, dynamics=dynamics).config
        assert config["sampler"] == sampler and config["dynamics"] == dynamics


# ---- validation at the published setting


@pytest.mark.slow
def test_published_setting_agrees_between_samplers_and_numpy():
    """α = 0.1, |B| = 16, 8000 steps: all ten levels and nine spacings within 3.3 standard errors."""
    literal = final_levels(dj.models.rbm(), seeds=512, steps=8000)
    collapsed = final_levels(dj.models.rbm(sampler="collapsed"), seeds=512, steps=8000, key=1)
    plain = pcd_levels(100, 8000)
    for x, y in itertools.combinations((literal, collapsed, plain), 2):
        assert np.abs(z_scores(x, y)).max() < 3.3
        assert np.abs(z_scores(np.diff(x), np.diff(y))).max() < 3.3

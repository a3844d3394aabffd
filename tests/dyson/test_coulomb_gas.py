import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ensemble_statistics import agree, distances

from dysonjax import dyson
from dysonjax.checks import InputError
from dysonjax.dyson.exact_table import sample_table
from dysonjax.dyson.mcmc import Chains, warn_if_poor

KEY = jax.random.key(0)


def test_ratios_of_the_density_are_those_of_the_printed_law():
    """P ∝ (x₂ − x₁)^β exp(−Ω₁(x₁ − c)²/2g₁² − Ω₂(x₂ − c)²/2g₂²), in numbers that were put in by hand."""
    gas = dyson.CoulombGas(dyson.quadratic([1.0, 2.0], 0.5), [0.5, 0.25], beta=2.0)
    near, far = gas.log_prob([[0.4, 0.5], [0.0, 2.0]])
    # (0.1)² e^{−0.01} and 2² e^{−0.25 − 9}; without the 1/2 in V, with g for g² or β = 1 they would differ.
    assert far - near == pytest.approx(np.log(4.0 / 0.01) - 9.25 + 0.01, abs=1e-12)
    for wrong in (
        dyson.CoulombGas(dyson.quadratic([2.0, 4.0], 0.5), [0.5, 0.25], beta=2.0),
        dyson.CoulombGas(dyson.quadratic([1.0, 2.0], 0.5), [0.25, 0.0625], beta=2.0),
        dyson.CoulombGas(dyson.quadratic([1.0, 2.0], 0.5), [0.5, 0.25], beta=1.0),
    ):
        assert abs(np.diff(wrong.log_prob([[0.4, 0.5], [0.0, 2.0]]))[0] - (far - near)) > 1


def test_density_vanishes_off_the_ordered_domain():
    gas = dyson.CoulombGas(dyson.rbm(9.0, [6.0, 4.0]), 0.1)
    assert np.all(np.isneginf(gas.log_prob([[2.0, 1.0], [-0.1, 3.0], [3.0, 9.1], [2.0, 2.0]])))


def test_gradient_is_the_derivative_of_the_density():
    gas = dyson.CoulombGas(dyson.rbm(9.0, [6.0, 5.0, 4.0]), [0.1, 0.2, 0.3])
    x, step = np.array([2.0, 4.1, 5.3]), 1e-6 * np.eye(3)
    numeric = (gas.log_prob(x + step) - gas.log_prob(x - step)) / 2e-6
    np.testing.assert_allclose(gas.grad_log_prob(x), numeric, rtol=1e-5)


def test_ito_energy_of_state_dependent_noise_matches_its_closed_form():
    closed = dyson.CoulombGas(dyson.wishart(1.0, 1.5), dyson.SquareRoot(0.7), 1.0, 3)
    general = dyson.CoulombGas(dyson.wishart(1.0, 1.5), lambda x: 0.7 * x, 1.0, 3)
    x = np.array([[0.2, 1.0, 4.0], [0.01, 2.0, 8.0]])
    np.testing.assert_allclose(np.diff(general.log_prob(x)), np.diff(closed.log_prob(x)), rtol=1e-6)


def test_density_of_the_laguerre_gas_is_the_closed_one():
    """∝ Π|x_i − x_j| Π x⁴ e^{−2x} for β = 1, K = 2/x − 1 and g² = ½."""
    gas = dyson.CoulombGas(dyson.laguerre(1.0, 2.0), 0.5, 1.0, 3)
    x = np.array([[0.2, 1.0, 4.0], [0.01, 2.0, 8.0]])
    vandermonde = np.log(x[:, 1] - x[:, 0]) + np.log(x[:, 2] - x[:, 0]) + np.log(x[:, 2] - x[:, 1])
    expected = vandermonde + (4 * np.log(x) - 2 * x).sum(axis=1)
    np.testing.assert_allclose(np.diff(gas.log_prob(x)), np.diff(expected), rtol=1e-9)


def test_most_likely_levels_are_the_zeros_of_the_hermite_polynomial():
    zeros = np.polynomial.hermite.hermroots([0] * 8 + [1])
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 2.0, n=8)
    np.testing.assert_allclose(gas.most_likely(), np.sqrt(2.0) * np.sort(zeros), atol=1e-6)


def test_equilibrium_density_tends_to_the_semicircle():
    density = dyson.equilibrium_density(dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, n=60))
    radius = np.sqrt(2 * 60)
    exact = 2 / (np.pi * radius**2) * np.sqrt(np.maximum(radius**2 - density.position**2, 0))
    assert np.abs(density.density - exact)[5:-5].max() < 0.02 * exact.max()


@pytest.mark.parametrize(
    "gas",
    [
        dyson.CoulombGas(dyson.quadratic(2.0, 1.0), 0.5, 2.0, 8),
        pytest.param(dyson.CoulombGas(dyson.laguerre(1.0, 2.0), 0.5, 1.0, 4), marks=pytest.mark.slow),
        pytest.param(
            dyson.CoulombGas(dyson.wishart(1.0, 1.5), dyson.SquareRoot(1.0), 4.0, 4), marks=pytest.mark.slow
        ),
    ],
    ids=["hermite", "laguerre", "wishart"],
)
def test_hamiltonian_monte_carlo_agrees_with_exact_samples(gas):
    """Thinned so that draws are independent and standard errors hold; errors of 2 % would show."""
    chains = gas.run_mcmc(KEY, 8_000)
    assert chains.r_hat < 1.01 and chains.ess > 2000
    draws = chains.independent()
    exact = gas.sample(jax.random.key(1), 50_000, method="exact")
    assert agree(draws, exact, sigmas=3.5), distances(draws, exact)
    wrong = dyson.CoulombGas(gas.potential, gas.g2, gas.beta / 2, gas.n).sample(KEY, 5000)
    assert not agree(draws, wrong)


@pytest.mark.parametrize("levels", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_draws_from_the_table_have_the_hermite_law(levels):
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, levels)
    exact = gas.sample(jax.random.key(1), 40_000)
    x = sample_table(gas._table, gas.log_prob, KEY, 20_000)
    assert agree(x, exact), distances(x, exact)
    stiffer = dyson.CoulombGas(dyson.quadratic(1.1), 1.0, 1.0, levels)  # the twin: a tenth more drift
    assert not agree(sample_table(stiffer._table, stiffer.log_prob, KEY, 20_000), exact)


def test_unequal_noise_keeps_the_common_vandermonde_law():
    """The current of every level vanishes by itself: the end of the dynamics is the gas, g² 1 : 8 or not."""
    g2 = np.array([0.25, 2.0])
    gas = dyson.CoulombGas(dyson.quadratic(1.0, [-0.5, 0.5]), g2)
    x = dyson.integrate(gas.potential, g2, np.tile([-0.5, 0.5], (8000, 1)), 8.0, 400, key=KEY).levels[:, -1]
    exact = gas.sample(jax.random.key(1), 100_000)
    assert agree(x, exact), distances(x, exact)
    mean = np.full(2, g2.mean())  # the twin: one noise for both levels
    assert not agree(x, dyson.CoulombGas(gas.potential, mean).sample(KEY, 30_000))


def test_poor_chains_are_announced():
    with pytest.warns(RuntimeWarning, match="have not mixed"):
        warn_if_poor(Chains(np.zeros((4, 8, 1)), r_hat=1.2, ess=5000.0, acceptance=0.8))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: dyson.CoulombGas(dyson.free(), 1.0, 1.0, 3), "free potential is not confining"),
        (
            lambda: dyson.CoulombGas(dyson.custom(drift=lambda x: -x / (1 + x * x)), 1.0, 1.0, 3),
            "not confining",
        ),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0), "n must be given"),
        (lambda: dyson.CoulombGas(dyson.quadratic([1.0, 2.0]), [1.0] * 3), "disagree"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), -1.0, 1.0, 2), "g2 must be positive"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 0.0, 2), "beta must be positive"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, np.nan, 2), "beta must be positive"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 10**9), "GB of memory"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 10**12), "n must be at most"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 2).sample(None, 9), "key must be"),
        (
            lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 2).sample(KEY, 10**12),
            "n_samples must be at most",
        ),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 2).sample(KEY, 2 * 10**9), "GB of memory"),
        (lambda: dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 2).run_mcmc(KEY, 9, chains=3), "chains"),
        (lambda: dyson.CoulombGas(dyson.quartic(), 1.0, 1.0, 4).sample(KEY, 9, "exact"), "no exact sampler"),
        (lambda: dyson.CoulombGas(dyson.quartic(), 1.0, 1.0, 3).sample(KEY, 9, "guess"), "method must be"),
    ],
)
def test_bad_gases_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_the_density_is_traced_by_jit_grad_and_vmap_in_both_precisions():
    gas = dyson.CoulombGas(dyson.rbm(9.0, [6.0, 5.0, 4.0]), lambda x: 0.1 * (1 + x), n=3)
    x = np.array([[1.0, 3.0, 5.2], [0.5, 2.0, 6.0], [2.0, 1.0, 3.0]])  # the last is not ordered
    expected, slope = gas.log_prob(x), gas.grad_log_prob(x[:2])
    assert expected.dtype == np.float64 and expected[2] == -np.inf
    for x64, error in ((False, 1e-5), (True, 1e-13)):
        with jax.enable_x64(x64):
            y = jnp.asarray(x)
            np.testing.assert_allclose(jax.jit(gas.log_prob)(y), expected, rtol=error)
            np.testing.assert_allclose(jax.vmap(gas.log_prob)(y), expected, rtol=error)
            np.testing.assert_allclose(jax.vmap(jax.grad(gas.log_prob))(y[:2]), slope, rtol=10 * error)


def test_many_places_and_none_keep_their_shape():
    gas = dyson.CoulombGas(dyson.quadratic(), 0.5, n=2)
    x = np.sort(np.random.default_rng(0).normal(size=(3, 1500, 2)))  # more rows than one call takes
    found = gas.log_prob(x)
    assert found.shape == (3, 1500) and gas.log_prob(x[0, 0]).shape == ()
    assert gas.log_prob(x[0, :0]).shape == (0,) and gas.grad_log_prob(x).shape == x.shape
    np.testing.assert_allclose(found, np.log(x[..., 1] - x[..., 0]) - (x**2).sum(-1), rtol=1e-12)


def test_an_integer_is_the_key_that_jax_makes_of_it():
    gas = dyson.CoulombGas(dyson.quadratic(), 0.5, n=2)
    np.testing.assert_array_equal(gas.sample(3, 20), gas.sample(jax.random.key(3), 20))
    start = np.tile([0.0, 1.0], (4, 1))
    ends = [dyson.integrate(dyson.quadratic(), 0.5, start, 0.1, 4, 1.0, key=k).levels for k in (3, KEY)]
    other = dyson.integrate(dyson.quadratic(), 0.5, start, 0.1, 4, 1.0, key=jax.random.key(3)).levels
    assert (ends[0] == other).all() and not (ends[0] == ends[1]).all()
    for wrong in (-1, True, 2**32, 0.5):
        with pytest.raises(InputError, match="key must be"):
            gas.sample(wrong, 20)

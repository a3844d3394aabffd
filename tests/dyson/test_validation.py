"""Full-precision checks against exact laws: 3 standard errors at 0.5 % or better."""

import jax
import numpy as np
import pytest
from ensemble_statistics import agree, distances

from dysonjax import dyson

pytestmark = pytest.mark.slow
KEY, OTHER = jax.random.key(0), jax.random.key(1)
# levels: members, step, length. The step must be small against the squared mean gap: at 0.03 S²/g² the
# spacing variance is 2 % high. Starts are exact draws of another key: only a wrong law moves them.
SIZES = {2: (100_000, 0.02, 4.0), 5: (60_000, 0.01, 2.0), 10: (30_000, 0.004, 1.0), 50: (8_000, 0.001, 0.2)}


@pytest.mark.parametrize("beta", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("levels", SIZES)
def test_quadratic_drift_keeps_the_beta_hermite_law(levels, beta):
    members, dt, length = SIZES[levels]
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, beta, levels)
    path = dyson.integrate(
        gas.potential,
        1.0,
        gas.sample(jax.random.key(5), members),
        length,
        round(length / dt),
        beta,
        KEY,
        records=2,
    )
    table = distances(path.levels[:, -1], gas.sample(OTHER, 200_000 if levels < 50 else 50_000))
    print(levels, beta, {name: f"z {z:.1f}, {100 * error:.2f} %" for name, (z, error) in table.items()})
    assert agree(path.levels[:, -1], gas.sample(OTHER, 200_000 if levels < 50 else 50_000))
    # The twin: the trajectories with half of the repulsion leave the law that they start in.
    less = max(1.0, beta / 2) if beta > 1 else 1.5
    wrong = dyson.integrate(
        gas.potential, 1.0, path.levels[:5000, 0], length, round(length / dt), less, KEY, records=2
    )
    assert not agree(wrong.levels[:, -1], gas.sample(OTHER, 50_000))


@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize("levels", [2, 5, 10])
def test_wishart_process_keeps_the_beta_laguerre_law(levels, beta):
    members, dt, length = SIZES[levels]
    gas = dyson.CoulombGas(dyson.wishart(1.0, 1.5), dyson.SquareRoot(1.0), beta, levels)
    x0 = gas.sample(jax.random.key(5), members)
    path = dyson.integrate(gas.potential, gas.g2, x0, length, round(length / dt), beta, KEY, records=2)
    table = distances(path.levels[:, -1], gas.sample(OTHER, 200_000))
    print(levels, beta, {name: f"z {z:.1f}, {100 * error:.2f} %" for name, (z, error) in table.items()})
    assert agree(path.levels[:, -1], gas.sample(OTHER, 200_000))
    twice = dyson.wishart(2.0, 3.0)  # the twin
    wrong = dyson.integrate(twice, gas.g2, x0[:5000], length, round(length / dt), beta, KEY, records=2)
    assert not agree(wrong.levels[:, -1], gas.sample(OTHER, 50_000))


def test_weak_order_of_the_implicit_method_is_one():
    """Bias of the spacing variance of three levels at Δt = 0.4 and 0.1: a ratio of 4 is first order."""
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 3)
    exact = np.diff(gas.sample(OTHER, 1_000_000)).var(0).mean()
    bias = []
    for dt in (0.4, 0.1):
        path = dyson.integrate(
            gas.potential, 1.0, gas.sample(KEY, 400_000), 2.0, round(2 / dt), 1.0, KEY, records=2
        )
        bias.append(np.diff(path.levels[:, -1]).var(0).mean() - exact)
    order = np.log(bias[0] / bias[1]) / np.log(4)
    print("weak order", order, bias)
    assert order > 0.9


def test_implicit_method_needs_a_twentieth_of_the_steps_of_euler_maruyama():
    """Mean spacing of ten levels to 1 %: 8 implicit steps; 160 plain Euler–Maruyama steps do not do."""
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 10)
    exact = np.diff(gas.sample(OTHER, 200_000)).mean()
    x0 = gas.sample(KEY, 10_000)

    def error(**options):
        path = dyson.integrate(gas.potential, 1.0, x0, 2.0, beta=1.0, key=KEY, records=2, **options)
        return abs(np.diff(path.levels[:, -1]).mean() / exact - 1)

    assert error(steps=8) < 0.01
    assert error(steps=160, method="euler", safeguard=0) > 0.1


def test_rbm_dynamics_end_in_the_coulomb_gas():
    """Ten levels of the lattice target, α = 0.1, |B| = 16, every level with its own g²."""
    kappa = np.sort(6 - 2 * np.cos(2 * np.pi * np.arange(10) / 10))[::-1]
    g2 = 2 * (0.1 / 16) * ((9 - kappa) / kappa) ** 2
    gas = dyson.CoulombGas(dyson.rbm(9.0, kappa), g2)
    chains = gas.run_mcmc(OTHER, 40_000)
    assert chains.r_hat < 1.01
    x0 = np.tile(gas.most_likely(), (4000, 1))
    x = dyson.integrate(gas.potential, g2, x0, 300.0, 6000, key=KEY, records=2).levels[:, -1]
    draws = chains.samples[:, ::4].reshape(-1, 10)
    print({name: f"z {z:.1f}, {100 * error:.2f} %" for name, (z, error) in distances(x, draws).items()})
    assert agree(x, draws)

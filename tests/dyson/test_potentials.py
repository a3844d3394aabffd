import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dysonjax import dyson
from dysonjax.checks import InputError
from dysonjax.dyson.potentials import slope

KAPPA = [8.0, 6.0, 4.0]
CASES = {
    "quadratic": (dyson.quadratic([1.0, 2.0, 3.0], 0.5), (-3, 3)),
    "quartic": (dyson.quartic(2.0, -1.0), (-3, 3)),
    "laguerre": (dyson.laguerre(1.0, 2.0), (0.1, 5)),
    "wishart": (dyson.wishart(1.0, 2.0), (0.1, 5)),
    "rbm": (dyson.rbm(9.0, KAPPA), (0.1, 8.5)),
    "linear_network": (dyson.linear_network([1.0, 2.0, 2.0], 0.5, hard_edge=0.3), (0.1, 5)),
    "measured": (dyson.piecewise_linear([[0.0, 1.0, 2.0]] * 3, [[1.0, 0.0, -3.0]] * 3), (-1, 4)),
    "integrated": (dyson.custom(drift=lambda x: -jnp.sinh(x)), (-2, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_drift_is_minus_the_derivative_of_the_potential(name):
    potential, (low, high) = CASES[name]
    with jax.enable_x64(True):
        x = jnp.linspace(low, high, 30).reshape(10, 3)
        derivative = jax.grad(lambda x: jnp.sum(potential.potential(x)))(x)
        np.testing.assert_allclose(potential.drift(x), -derivative, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_expansion_bounds_the_slope_of_the_drift(name):
    potential, (low, high) = CASES[name]
    with jax.enable_x64(True):
        x = jnp.linspace(low, high, 300).reshape(100, 3)
        assert float(jnp.max(slope(potential, x))) <= potential.expansion + 1e-9


def test_rbm_rests_where_the_precision_meets_its_target():
    potential = dyson.rbm(9.0, KAPPA)
    rest = 9.0 - np.array(KAPPA)
    np.testing.assert_allclose(potential.drift(rest), 0, atol=1e-6)
    with jax.enable_x64(True):
        omega = (9.0 - np.array(KAPPA)) / np.array(KAPPA) ** 2
        np.testing.assert_allclose(slope(potential, jnp.asarray(rest)), -omega, rtol=1e-9)


def test_custom_drift_from_potential():
    potential = dyson.custom(potential=lambda x, a: a * x**4, params=(0.25,))
    np.testing.assert_allclose(potential.drift(np.array([2.0])), [-8.0], rtol=1e-6)


def test_a_diverging_drift_is_its_own_wall_and_a_finite_one_reflects():
    assert dyson.custom(drift=lambda x: 1 / x - 1, lower=0.0).reflecting == (False, False)
    assert dyson.custom(drift=lambda x: 1 - x, lower=0.0).reflecting == (True, False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: dyson.quadratic(omega=0.0), "omega must be positive"),
        (lambda: dyson.quadratic(center=np.nan), "center must be finite"),
        (lambda: dyson.rbm(9.0), "kappa must give"),
        (lambda: dyson.rbm(9.0, [10.0]), "kappa must lie below mu2"),
        (lambda: dyson.rbm(9.0, [4.0, 5.0]), "descending order"),
        (lambda: dyson.linear_network(variable="x"), "variable must be"),
        (lambda: dyson.custom(), "needs a drift"),
        (lambda: dyson.custom(drift=lambda x: -x, lower=1.0, upper=0.0), "lower must lie below"),
        (lambda: dyson.custom(drift=lambda x: -x, potential=lambda x: x**2), "disagree"),
        (lambda: dyson.custom(drift=lambda x: jnp.log(x)), "not finite inside"),
        (lambda: dyson.piecewise_linear([[0.0]], [[1.0]]), "one shape"),
    ],
)
def test_bad_potentials_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()

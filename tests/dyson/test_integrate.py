import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ensemble_statistics import agree, distances

from dysonjax import dyson
from dysonjax.checks import InputError

KEY = jax.random.key(0)
SLOW = pytest.mark.slow
MEMBERS = 10_000  # of five levels: one compiled program for several tests


def start(members, levels, scale=1.0):
    return np.tile(scale * np.linspace(-1, 1, levels), (members, 1))


def end(*args, **kwargs):
    return dyson.integrate(*args, **kwargs).levels[..., -1, :]


@pytest.mark.parametrize("beta", [2.0, pytest.param(1.0, marks=SLOW), pytest.param(4.0, marks=SLOW)])
def test_quadratic_drift_ends_in_the_beta_hermite_law(beta):
    """10 000 members: an error of 1 % in a spacing or 2 % in a variance would show."""
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, beta, n=5)
    x = end(gas.potential, 1.0, start(MEMBERS, 5, 3.0), time=6.0, steps=400, beta=beta, key=KEY)
    exact = gas.sample(jax.random.key(1), 100_000)
    assert agree(x, exact), distances(x, exact)


@pytest.mark.slow
def test_halved_repulsion_is_noticed():
    """The twin: β = 1 where β = 2 belongs, the mistake of a public script."""
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 2.0, n=5)
    x = end(gas.potential, 1.0, start(MEMBERS, 5, 3.0), time=6.0, steps=200, beta=1.0, key=KEY)
    table = distances(x, gas.sample(jax.random.key(1), 20_000))
    assert table["mean spacing"][0] < -20 and table["sum of squares"][0] < -20


@pytest.mark.parametrize(("method", "steps"), [("implicit", 400), ("matrix", 8)])
def test_sum_of_squares_relaxes_along_its_exponential(method, steps):
    """d⟨Σx²⟩/dt = −2ω⟨Σx²⟩ + 2Σg² + βg²N(N−1): within 3 standard errors, 0.4 % each, at every record."""
    omega, g2, beta, n = 1.5, 0.7, 2.0, 5
    x0 = start(MEMBERS, n, 4.0)
    path = dyson.integrate(
        dyson.quadratic(omega), g2, x0, time=2.0, steps=steps, beta=beta, key=KEY, method=method, records=9
    )
    rest = g2 * (2 * n + beta * n * (n - 1)) / (2 * omega)
    exact = rest + ((x0[0] ** 2).sum() - rest) * np.exp(-2 * omega * path.times)
    squares = (path.levels**2).sum(-1)
    error = squares.std(0) / np.sqrt(len(squares))
    assert np.all(np.abs(squares.mean(0) - exact)[1:] < 3 * error[1:])
    wrong = rest - g2 * beta * n * (n - 1) / (4 * omega)  # repulsion halved
    assert np.abs(squares.mean(0)[-1] - wrong) > 15 * error[-1]


@pytest.mark.slow
def test_wishart_process_relaxes_and_ends_in_the_beta_laguerre_law():
    """State-dependent noise: d⟨Σx⟩/dt = N shape − ω⟨Σx⟩ + βcN(N−1)/2, then the exact law."""
    n, beta, c = 5, 1.0, 2.0
    gas = dyson.CoulombGas(dyson.wishart(1.0, 3.0), dyson.SquareRoot(c), beta, n)
    x0 = np.tile(np.linspace(0.1, 1.0, n), (3_000, 1))
    path = dyson.integrate(gas.potential, gas.g2, x0, 8.0, 400, beta, KEY, records=9)
    total = path.levels.sum(-1)
    rest = n * 3.0 + beta * c * n * (n - 1) / 2
    exact = rest + (x0[0].sum() - rest) * np.exp(-path.times)
    error = total.std(0) / np.sqrt(len(total))
    assert np.all(np.abs(total.mean(0) - exact)[1:] < 3 * error[1:])
    assert agree(path.levels[:, -1], gas.sample(jax.random.key(1), 40_000))
    # The twins: read as Stratonovich the noise would add c/2 to the drift; and a drift of twice the strength.
    stratonovich = n * (3.0 + c / 2) + beta * c * n * (n - 1) / 2
    assert abs(total.mean(0)[-1] - stratonovich) > 10 * error[-1]
    twice = dyson.CoulombGas(dyson.wishart(2.0, 6.0), dyson.SquareRoot(c), beta, n)
    assert not agree(path.levels[:, -1], twice.sample(jax.random.key(1), 20_000))


@pytest.mark.slow
def test_constant_noise_laguerre_keeps_positive_and_ends_in_its_law():
    gas = dyson.CoulombGas(dyson.laguerre(1.0, 1.5), 1.0, 2.0, 4)
    x = end(gas.potential, 1.0, gas.sample(KEY, 10_000), time=2.0, steps=400, beta=2.0, key=KEY)
    assert x.min() > 0 and agree(x, gas.sample(jax.random.key(1), 100_000))
    twice = dyson.CoulombGas(dyson.laguerre(2.0, 3.0), 1.0, 2.0, 4)  # the twin: twice the drift
    assert not agree(x, twice.sample(jax.random.key(1), 20_000))


@pytest.mark.slow
def test_implicit_and_matrix_agree_out_of_equilibrium():
    x0 = start(MEMBERS, 5, 0.5)
    args = (dyson.quadratic(1.0, 2.0), 0.5, x0, 0.7, 140, 2.0)
    matrix = end(*args[:4], 4, 2.0, jax.random.key(5), method="matrix")  # exact at every step size
    assert agree(end(*args, KEY), matrix)
    twice = (dyson.quadratic(2.0, 2.0), *args[1:])  # the twin: twice the drift
    assert not agree(end(*twice, KEY), matrix)


@pytest.mark.parametrize("beta", [pytest.param(2.0, marks=SLOW), 4.0])
def test_matrix_method_knows_all_three_symmetry_classes(beta):
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, beta, n=3)
    x = end(gas.potential, 1.0, start(10_000, 3), 8.0, 4, beta, KEY, method="matrix")
    assert agree(x, gas.sample(jax.random.key(1), 100_000))
    wrong = dyson.CoulombGas(dyson.quadratic(), 1.0, 0.9 * beta, n=3)  # the twin: a tenth less repulsion
    assert not agree(x, wrong.sample(jax.random.key(1), 20_000))


@pytest.mark.parametrize("steps", [1, 3, 100])
@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_degenerate_starts_separate_at_every_step_size(steps, spread):
    x = end(dyson.quadratic(), 1.0, start(200, 10, spread), 1.0, steps, 1.0, KEY)
    assert np.all(np.diff(x, axis=1) > 0) and np.isfinite(x).all()
    assert np.abs(x).max() < 30


@pytest.mark.slow
def test_degenerate_start_spreads_like_free_brownian_motion():
    """⟨Σx²⟩ = g²t(2N + βN(N−1)) from the origin: within 3 standard errors and the first order in Δt."""
    x = end(dyson.free(), 1.0, np.zeros((4000, 6)), 1.0, 200, 1.0, KEY)
    squares = (x**2).sum(1)
    error = squares.std() / np.sqrt(4000)
    assert abs(squares.mean() - 42.0) < 3 * error + 0.1
    assert abs(squares.mean() - 27.0) > 20 * error  # the twin: half of the repulsion


@pytest.mark.slow
def test_two_hundred_levels():
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, n=200)
    x0 = np.tile(200**0.5 * np.linspace(-1.4, 1.4, 200), (16, 1))
    x = end(gas.potential, 1.0, x0, 0.05, 10, 1.0, KEY)
    assert np.all(np.diff(x, axis=1) > 0)
    exact = 200 + 199 * 100 + ((x0[0] ** 2).sum() - 200 - 199 * 100) * np.exp(-0.1)
    assert abs((x**2).sum(1).mean() / exact - 1) < 0.01


@pytest.mark.parametrize("steps", [2, 200])
def test_rbm_levels_stay_in_the_domain_at_every_step_size(steps):
    potential = dyson.rbm(9.0, [8.0, 6.0, 6.0, 4.0])
    path = dyson.integrate(potential, 2.0, np.tile([0.0, 0.01, 0.02, 0.03], (500, 1)), 20.0, steps, key=KEY)
    assert (
        path.levels.min() >= 0 and path.levels.max() < 9 and np.all(np.diff(path.levels[:, 1:], axis=-1) > 0)
    )


def test_reflecting_wall_gives_the_truncated_law():
    """One level, K = −x on x ≥ 0: half a Gaussian, mean √(2/π). An absorbing or open wall gives 0."""
    potential = dyson.custom(drift=lambda x: -x, lower=0.0)
    x = end(potential, 1.0, np.ones((20_000, 1)), 5.0, 250, key=KEY)
    assert x.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)
    assert (x**2).mean() == pytest.approx(1.0, abs=0.04)
    soft = end(dyson.custom(drift=lambda x: -0.5 * x, lower=0.0), 1.0, np.ones((4000, 1)), 8.0, 200, key=KEY)
    assert soft.mean() > 1.05  # the twin: half the drift, mean √(4/π) = 1.13


def test_results_do_not_depend_on_batch_records_or_grid():
    x0 = np.sort(np.random.default_rng(0).normal(size=(70, 6)), axis=1)
    args = {"time": 0.5, "steps": 40, "beta": 1.0, "key": KEY}
    whole = dyson.integrate(dyson.quadratic(), 1.0, x0, records=11, **args).levels[:, -1]
    few = end(dyson.quadratic(), 1.0, x0[:9], records=2, **args)
    np.testing.assert_allclose(whole[:9], few, atol=1e-12)
    g2 = np.array([0.5, 1.0])[:, None, None]
    omega = np.array([2.0, 1.0])[:, None, None]
    grid = end(dyson.quadratic(omega), g2, np.stack([x0, x0]), records=2, **args)
    assert grid.shape == (2, 70, 6)
    np.testing.assert_allclose(grid[1], whole, atol=1e-12)
    assert np.abs(grid[0] - whole).max() > 0.1


def test_state_dependent_noise_is_ito():
    """One level, g² = (1 + x²)/2, K = −2x: at rest ⟨x²⟩ = 1/3; read as Stratonovich it would be 1/2."""
    g2, x0 = (lambda x: 0.5 * (1 + x * x)), np.zeros((20_000, 1))
    x = end(dyson.quadratic(2.0), g2, x0, 4.0, 400, key=KEY)
    error = (x**2).std() / np.sqrt(20_000)
    assert abs((x**2).mean() - 1 / 3) < 3.5 * error + 0.003 and error < 0.01
    # The twin: the term ½(g²)′ = x/2 that turns Stratonovich into Itô, put in where it does not belong.
    wrong = end(dyson.quadratic(1.5), g2, x0, 4.0, 400, key=KEY)
    assert (wrong**2).mean() > 0.42


def test_euler_with_its_safeguard_approaches_the_exact_law():
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, n=3)
    x = end(gas.potential, 1.0, gas.sample(KEY, 1000), 1.0, 20, 1.0, KEY, method="euler")
    exact = np.diff(gas.sample(KEY, 50_000)).mean()
    assert np.diff(x).mean() == pytest.approx(exact, rel=0.05)
    twice = end(dyson.quadratic(2.0), 1.0, gas.sample(KEY, 1000), 1.0, 20, 1.0, KEY, method="euler")
    assert np.diff(twice).mean() < 0.85 * exact  # the twin: twice the drift


def test_learning_map_tends_to_dyson_brownian_motion():
    """At fixed α/|B| a small α only refines the step: α = 0.01, 600 updates against time 6."""
    gas = dyson.CoulombGas(dyson.quadratic(1.0, [-4.0, 0.0, 4.0]), 0.25 / 4, 1.0)
    x0 = np.tile([-1.0, 0.0, 1.0], (4000, 1))
    run = dyson.learning_map(gas.potential, 25.0 / 4, x0, 0.01, 1, 600, key=KEY)
    assert run.alive.all() and run.levels.shape == (4000, 11, 3)
    exact = gas.sample(jax.random.key(1), 20_000)
    np.testing.assert_allclose(run.levels[:, -1].mean(0), exact.mean(0), atol=0.03)
    np.testing.assert_allclose(run.levels[:, -1].std(0), exact.std(0), rtol=0.05)
    # The twin: |B| = 2 halves the noise, so that every level is narrower by √2.
    narrow = dyson.learning_map(gas.potential, 25.0 / 4, x0, 0.01, 2, 600, key=KEY).levels[:, -1]
    assert np.all(narrow.std(0) < 0.8 * exact.std(0))


def test_learning_map_marks_members_that_leave_the_domain():
    run = dyson.learning_map(dyson.rbm(9.0, [6.0, 4.0]), 1.0, [[1.0, 8.0]] * 20, 5.0, 4, 50, key=KEY)
    assert not run.alive.any() and np.isfinite(run.levels).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x0": [[1.0, 0.0]]}, "crossed"),
        ({"x0": [[np.nan, 0.0]]}, "finite"),
        ({"x0": [0.0, 1.0]}, "at least 2 axes"),
        ({"potential": dyson.rbm(9.0, [6.0, 4.0]), "x0": [[1.0, 9.0]]}, r"\[0, 9\)"),
        ({"potential": dyson.laguerre(), "x0": [[0.0, 9.0]]}, r"\(0, inf\)"),
        ({"g2": 0.0}, "g2 must be positive"),
        ({"g2": [1.0, -1.0]}, "g2 must be positive"),
        ({"g2": [1.0, 1.0, 1.0]}, "does not fit"),
        ({"beta": 0.5}, "beta must be at least 1"),
        ({"time": 0.0}, "time must be positive"),
        ({"steps": 0}, "steps must be a positive integer"),
        ({"records": 1}, "records"),
        ({"records": 2**31 - 1, "steps": 2**31 - 2}, "GB of memory"),
        ({"steps": 2**31}, "steps must be at most"),
        ({"key": None}, "key must be"),
        ({"method": "heun"}, "method must be one of"),
        ({"method": "matrix", "g2": [1.0, 2.0]}, "use method='implicit'"),
        ({"method": "matrix", "beta": 3.0}, "beta 1, 2 or 4"),
        ({"g2": dyson.SquareRoot(1.0)}, "SquareRoot noise needs x >= 0"),
        (
            {"g2": dyson.SquareRoot(4.0), "potential": dyson.wishart(1.0, 1.0), "x0": [[1.0, 2.0]]},
            "at least c/2",
        ),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    good = {
        "potential": dyson.quadratic(),
        "g2": 1.0,
        "x0": [[0.0, 1.0]],
        "time": 1.0,
        "steps": 2,
        "key": KEY,
    }
    with pytest.raises(InputError, match=message):
        dyson.integrate(**{**good, **change})


def test_importing_and_integrating_leave_the_global_precision_alone():
    dyson.integrate(dyson.quadratic(), 1.0, [[0.0, 1.0]], 1.0, 2, key=KEY)
    assert jnp.zeros(1).dtype == jnp.float32

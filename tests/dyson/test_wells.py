"""Laws with several wells, walls and tails against quadrature and determinants, independent of the code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from dysonjax import dyson
from dysonjax.checks import InputError

KEY = jax.random.key(0)


def double(x):
    return x**4 / 4 - 2 * x**2


def tilted(x):
    return x**4 / 4 - 2 * x**2 + 0.15 * x


def triple(x):
    return 0.1 * x**2 * (x**2 - 4) ** 2 + 0.05 * x


def uneven(x):
    """A narrow well beside a wide one of the same depth."""
    return (
        -0.3 * jnp.log(jnp.exp(-((x + 2) ** 2) / 0.02) + 0.3 * jnp.exp(-((x - 2) ** 2) / 2.0)) + 1e-3 * x**2
    )


def logarithmic(x):
    """Wells at both walls of (0, 1): the density diverges there like x^−0.4."""
    return 0.04 * (jnp.log(x) + jnp.log(1 - x))


def tailed(x):
    return 0.6 * jnp.log1p((x**2 - 4) ** 2)


# name: V, g², β, levels, domain, and panels of a Gauss–Legendre rule that resolves the law
LAWS = {
    "one level, double well": (double, 0.1, 1.0, 1, (-np.inf, np.inf), np.linspace(-4, 4, 9)),
    "double well": (double, 0.1, 1.0, 2, (-np.inf, np.inf), np.linspace(-4, 4, 9)),
    "double well, hot": (double, 20.0, 2.0, 2, (-np.inf, np.inf), np.linspace(-12, 12, 9)),
    "double well, cold": (
        double, 1e-4, 4.0, 2, (-np.inf, np.inf), [-2.1, -2.03, -1.97, -1.9, 1.9, 1.97, 2.03, 2.1],
    ),
    "tilted well": (tilted, 0.2, 0.5, 2, (-np.inf, np.inf), np.linspace(-4, 4, 9)),
    "uneven wells": (uneven, 0.3, 1.0, 2, (-np.inf, np.inf), [-9, -5, -2.8, -2, -1.2, 0, 2, 4, 6, 11]),
    "triple well": (triple, 0.1, 1.0, 3, (-np.inf, np.inf), np.linspace(-3.2, 3.2, 9)),
    "double well, three levels": (double, 0.1, 2.0, 3, (-np.inf, np.inf), np.linspace(-3.4, 3.4, 9)),
    "double well behind a wall": (double, 0.3, 1.0, 2, (-1.9, np.inf), [-1.9, -1.5, -1, 0, 1, 2, 3, 4]),
    "box": (lambda x: 0.0 * x, 1.0, 4.0, 2, (0.0, 1.0), [0, 0.5, 1]),
    "wells at the walls": (logarithmic, 0.1, 1.0, 2, (0.0, 1.0), None),
    "power tails": (tailed, 0.3, 1.0, 2, (-np.inf, np.inf), None),
}  # fmt: skip


def quadrature(name, nodes):
    """Mean and variance of every x_i and of every V(x_i)/g², and P(k levels below the middle), by nodes."""
    potential, g2, beta, levels, _, panels = LAWS[name]
    t, w = np.polynomial.legendre.leggauss(nodes)
    if name == "wells at the walls":  # x = sin²: the divergence at both ends is taken out
        angle = np.pi / 4 * (1 + t)
        x, w = np.sin(angle) ** 2, w * np.pi / 4 * np.sin(2 * angle)
    elif name == "power tails":
        u = 12 * t
        x, w = np.sinh(u), 12 * w * np.cosh(u)
    else:
        pieces = [
            (0.5 * (a + b) + 0.5 * (b - a) * t, 0.5 * (b - a) * w) for a, b in itertools.pairwise(panels)
        ]
        x, w = (np.concatenate(part) for part in zip(*pieces, strict=True))
    with jax.enable_x64(True):
        energy = np.asarray(jax.jit(potential)(jnp.asarray(x))) / g2
    single = w * np.exp(-(energy - energy.min()))
    grid = np.meshgrid(*[x] * levels, indexing="ij", sparse=True)
    weight = np.ones([1] * levels)
    for k in range(levels):
        weight = weight * single.reshape([-1 if j == k else 1 for j in range(levels)])
    for i, j in itertools.combinations(range(levels), 2):
        weight = weight * np.where(grid[j] > grid[i], np.abs(grid[j] - grid[i]), 0.0) ** beta
    weight /= weight.sum()
    mean = np.array([(weight * grid[k]).sum() for k in range(levels)])
    variance = np.array([(weight * (grid[k] - mean[k]) ** 2).sum() for k in range(levels)])
    shaped = [energy.reshape(g.shape) for g in grid]
    heat = np.array([(weight * e).sum() for e in shaped])
    spread = np.array([(weight * (e - h) ** 2).sum() for e, h in zip(shaped, heat, strict=True)])
    below = sum(1.0 * (g < middle(name)) for g in grid)
    return mean, variance, heat, spread, np.array([(weight * (below == k)).sum() for k in range(levels + 1)])


def middle(name):
    return 0.5 if LAWS[name][4] == (0.0, 1.0) else 0.0


def gas_of(name, factor=1.0):
    potential, g2, beta, levels, (lower, upper), _ = LAWS[name]
    law = dyson.custom(potential=lambda x: factor * potential(x), lower=lower, upper=upper)
    return dyson.CoulombGas(law, g2, beta, levels)


def agrees(x, expected, name):
    """Means, energies and shares of the wells, all within 4 standard errors of quadrature."""
    potential, g2 = LAWS[name][:2]
    mean, variance, heat, spread, shares = expected
    n = len(x)
    found = np.bincount((x < middle(name)).sum(axis=1), minlength=len(shares)) / n
    with jax.enable_x64(True):
        energy = np.asarray(jax.jit(potential)(jnp.asarray(x))) / g2
    tests = [
        (found, shares, shares * (1 - shares) / n + 1 / n**2),
        (energy.mean(axis=0), heat, spread / n),
    ]
    if name != "power tails":  # whose variance is next to infinite
        tests.append((x.mean(axis=0), mean, variance / n))
    return all(np.all(np.abs(a - b) <= 4 * np.sqrt(v) + 1e-9) for a, b, v in tests)


SLOW = pytest.mark.slow
QUICK = ("double well", "triple well", "box")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=SLOW) for n in LAWS])
def test_exact_draws_agree_with_quadrature(name):
    levels = LAWS[name][3]
    expected = quadrature(name, {1: 200, 2: 100 if LAWS[name][5] is not None else 700, 3: 24}[levels])
    n = 20_000
    gas = gas_of(name)
    x = gas.sample(KEY, n, method="exact")
    assert np.all(np.diff(x, axis=1) > 0) and agrees(x, expected, name), (x.mean(0), x.var(0), expected)
    if name != "box":
        # The twin: twice the drift, or half of it where twice would hold no more.
        factor = 0.5 if name == "wells at the walls" else 2.0
        assert not agrees(gas_of(name, factor).sample(KEY, n, method="exact"), expected, name)


def test_two_levels_in_a_double_well_keep_apart():
    """96.9 % of pairs are split, as quadrature says; a search from one start had both on the left always."""
    x = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.1, 1.0, n=2).sample(KEY, 20_000, method="exact")
    assert (x[:, 0] * x[:, 1] < 0).mean() == pytest.approx(quadrature("double well", 100)[4][1], abs=0.005)
    assert quadrature("double well", 100)[4][1] == pytest.approx(0.969, abs=5e-4)


def occupations(potential, g2, levels, split, lim=6.0):
    """P(k of the levels below `split`) for β = 2: a determinant of moments, exact for any N."""

    t, w = np.polynomial.legendre.leggauss(2000)
    pieces = [
        (0.5 * (a + b) + 0.5 * (b - a) * t, 0.5 * (b - a) * w) for a, b in ((-lim, split), (split, lim))
    ]
    x, w = (np.concatenate(part) for part in zip(*pieces, strict=True))
    energy = potential(x) / g2
    amplitude = np.sqrt(w * np.exp(energy.min() - energy))
    columns = [amplitude / np.linalg.norm(amplitude)]
    for _ in range(levels - 1):  # Arnoldi's process: powers of x themselves would be next to dependent
        new = x * columns[-1]
        for _ in range(2):
            new = new - sum((new @ old) * old for old in columns)
        columns.append(new / np.linalg.norm(new))
    orthonormal = np.stack(columns, axis=1)
    below = orthonormal[x < split]
    shares = np.array([1.0])
    for value in np.clip(np.linalg.eigvalsh(below.T @ below), 0, 1):
        shares = np.convolve(shares, [1 - value, value])
    return shares


def shares_agree(x, expected, split, sigmas=3.5):
    found = np.bincount((x < split).sum(axis=1), minlength=len(expected)) / len(x)
    return np.all(
        np.abs(found - expected) < sigmas * np.sqrt(expected * (1 - expected) / len(x)) + 1 / len(x)
    )


@pytest.mark.parametrize("draws", [400, pytest.param(1500, marks=SLOW)])
def test_chains_share_five_levels_among_two_wells_as_determinants_say(draws):
    """Cold wells: 2 + 3 and 3 + 2 levels, half each, which trajectories alone never exchange."""
    gas = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 1e-3, 2.0, n=5)
    expected = occupations(double, 1e-3, 5, 0.0)
    assert expected[2] == pytest.approx(0.5, abs=1e-3)
    x = gas.sample(KEY, draws)
    assert shares_agree(x, expected, 0.0)
    assert not shares_agree(x[x[:, 2] < 0], expected, 0.0)  # the twin: the chains of one well alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("potential", "g2", "levels", "splits"),
    [
        (double, 0.1, 8, [0.0]),
        (double, 1.0, 5, [0.0]),
        (tilted, 0.1, 9, [0.0]),
        (triple, 0.05, 6, [-1.1, 1.1]),
        (triple, 0.02, 7, [-1.1, 1.1]),
        (double, 0.02, 20, [0.0]),
    ],
)
def test_occupations_of_wells_are_those_of_determinants(potential, g2, levels, splits):
    gas = dyson.CoulombGas(dyson.custom(potential=potential), g2, 2.0, levels)
    x = gas.sample(KEY, 8000)
    for split in splits:
        assert shares_agree(x, occupations(potential, g2, levels, split), split), split


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["double well", "tilted well", "uneven wells", "triple well", "double well, cold"]
)
def test_chains_agree_with_quadrature(name):
    x = gas_of(name).sample(KEY, 8000, method="mcmc")
    assert agrees(x, quadrature(name, 24 if LAWS[name][3] == 3 else 100), name)


@pytest.mark.slow
def test_chains_that_cannot_leave_their_wells_are_refused(monkeypatch):
    """The twin of the jumps: without them chains stay where they began, and no draws come back."""
    gas = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.05, 1.0, n=4)
    assert len(gas.maxima.found) > 1
    monkeypatch.setattr(dyson.CoulombGas, "_wells", lambda self: None)
    monkeypatch.setattr("dysonjax.dyson.mcmc.LONGEST", 4)
    with pytest.raises(InputError, match="do not mix between its wells"):
        gas.sample(KEY, 100)


def best_by_occupation(potential, g2, beta, levels, wells):
    """The largest log P over all occupations, each climbed by a quasi-Newton method of its own."""
    best = -np.inf
    for cut in itertools.combinations_with_replacement(range(levels + 1), len(wells) - 1):
        counts = np.diff([0, *cut, levels])
        start = np.concatenate([w + 0.05 * np.arange(c) for w, c in zip(wells, counts, strict=True)])

        def cost(z):
            x = np.concatenate([z[:1], z[0] + np.cumsum(np.exp(z[1:]))])
            i, j = np.triu_indices(levels, 1)
            return potential(x).sum() / g2 - beta * np.log(x[j] - x[i]).sum()

        z = np.concatenate([start[:1], np.log(np.diff(start))])
        best = max(best, -optimize.minimize(cost, z, method="BFGS", options={"gtol": 1e-7}).fun)
    return best


@pytest.mark.parametrize(
    ("potential", "g2", "beta", "levels", "wells"),
    [
        pytest.param(double, 0.1, 1.0, 8, [-2.0, 2.0], marks=SLOW),
        pytest.param(tilted, 0.03, 4.0, 5, [-2.0, 2.0], marks=SLOW),
        (triple, 0.1, 1.0, 5, [-2.0, 0.0, 2.0]),
    ],
)
def test_most_likely_levels_are_the_best_of_all_occupations(potential, g2, beta, levels, wells):
    """Eight levels in the double well: log P = 315.94, where one start in one well gave 264.98."""
    gas = dyson.CoulombGas(dyson.custom(potential=potential), g2, beta, levels)
    found = gas.log_prob(gas.most_likely()) - gas.log_prob(np.arange(levels) * 1.0)
    reference = beta * sum(np.log(j - i) for i, j in itertools.combinations(range(levels), 2))
    reference -= potential(np.arange(levels) * 1.0).sum() / g2
    assert found == pytest.approx(
        best_by_occupation(potential, g2, beta, levels, wells) - reference, abs=1e-4
    )


def test_eight_levels_find_the_maximum_on_both_sides():
    gas = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.1, 1.0, n=8)
    x = gas.most_likely()
    assert gas.log_prob(x) > 315.93
    np.testing.assert_allclose(x, -x[::-1], atol=1e-6)
    assert np.abs(gas.grad_log_prob(x)).max() < 1e-4


def test_no_configuration_is_most_likely_where_the_density_is_infinite():
    gas = dyson.CoulombGas(dyson.wishart(1.0, 0.7), dyson.SquareRoot(1.0), 1.0, 3)
    with pytest.raises(InputError, match="diverges at x = 0"):
        gas.most_likely()


@pytest.mark.parametrize("levels", [20, pytest.param(60, marks=SLOW)])
def test_equilibrium_density_of_two_wells_has_two_pieces(levels):
    """ρ = |x| √((x² − a²)(b² − x²))/πβNg² with a², b² = 4 ∓ √(2βNg²) and nothing between −a and a."""
    gas = dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.1, 1.0, levels)
    found = dyson.equilibrium_density(gas)
    strength = 0.1 * levels
    a, b = np.sqrt(4 - np.sqrt(2 * strength)), np.sqrt(4 + np.sqrt(2 * strength))
    x = np.linspace(-3, 3, 20_001)
    square = (x**2 - a**2) * (b**2 - x**2)
    exact = np.abs(x) * np.sqrt(np.maximum(square, 0)) / (np.pi * strength)
    density = np.interp(x, *found, left=0, right=0)
    assert np.abs(np.cumsum(density - exact) * 3e-4).max() < 1.2 / levels
    inner = (np.abs(x) > a + 0.25 * (b - a)) & (np.abs(x) < b - 0.25 * (b - a))
    assert np.abs(density[inner] / exact[inner] - 1).max() < 1.5 / levels
    assert np.trapezoid(found.density, found.position) == pytest.approx(1, abs=1.5 / levels)
    hole = np.abs(found.position) < 0.9 * a
    assert np.all(found.density[hole] == 0)
    assert np.interp(0.0, found.position, found.density) == 0.0


@pytest.mark.parametrize(
    "build",
    [
        lambda: dyson.custom(potential=lambda x: x**3),
        lambda: dyson.custom(potential=lambda x: 2 * x**2 - x**4 / 4),
        lambda: dyson.custom(potential=lambda x: jnp.cos(x)),
        lambda: dyson.custom(potential=lambda x: 0.5 * jnp.log1p(x * x)),
        lambda: dyson.custom(potential=lambda x: jnp.exp(-x)),
        lambda: dyson.custom(potential=lambda x: 2.0 * jnp.log(x) + x, lower=0.0),
        lambda: dyson.free(),
    ],
)
def test_potentials_without_a_stationary_law_are_refused(build):
    with pytest.raises(InputError, match="not confining"):
        dyson.CoulombGas(build(), 1.0, 1.0, 2)


@pytest.mark.slow
def test_the_dynamics_end_in_the_law_of_both_wells():
    """A low barrier: the implicit step with a drift that is not monotone, against exact draws."""
    gas = dyson.CoulombGas(dyson.quartic(1.0, -2.0), 0.5, 1.0, n=2)
    x0 = np.tile([-1.5, -1.2], (8000, 1)) * np.where(np.arange(8000) % 2, 1, -1)[:, None]
    x0 = np.sort(x0, axis=1)
    x = dyson.integrate(gas.potential, 0.5, x0, 15.0, 600, 1.0, KEY, records=2).levels[:, -1]
    exact = gas.sample(jax.random.key(1), 40_000)
    split = (exact[:, 0] * exact[:, 1] < 0).mean()
    found = (x[:, 0] * x[:, 1] < 0).mean()
    assert abs(found - split) < 4 * np.sqrt(split * (1 - split) / 8000) + 0.01
    np.testing.assert_allclose(x.mean(0), exact.mean(0), atol=0.04)
    np.testing.assert_allclose(x.std(0), exact.std(0), rtol=0.04)
    soft = dyson.integrate(dyson.quartic(0.5, -1.0), 0.5, x0, 15.0, 600, 1.0, KEY, records=2).levels[:, -1]
    assert abs((soft[:, 0] * soft[:, 1] < 0).mean() - split) > 0.04  # the twin: half the drift

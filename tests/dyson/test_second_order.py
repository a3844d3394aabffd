"""Second order in √T: smooth forces between levels, held against matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dysonjax import InputError, dyson

SLOW = pytest.mark.slow


def _symmetric_levels(rng, targets, variance, members):
    """Levels of diag(targets) plus a symmetric Gaussian matrix."""
    half = rng.normal(size=(members, len(targets), len(targets))) * np.sqrt(variance / 2)
    return np.linalg.eigvalsh(np.diag(targets) + half + half.swapaxes(1, 2))


@pytest.mark.parametrize("distance", [pytest.param(0.3, marks=SLOW), 1.0, pytest.param(2.0, marks=SLOW)])
def test_two_mixing_levels_have_the_law_of_a_matrix(distance):
    """At any distance of the targets; without mixing the distance is off by up to 15 % (last line)."""
    targets, variance, members = np.array([0.0, distance]), 0.1, 2000
    expected = np.diff(_symmetric_levels(np.random.default_rng(0), targets, variance, 20_000))[:, 0]
    second = dyson.linear_second_order(targets, 2 * variance)
    start = np.tile(targets, (members, 1))
    path = dyson.integrate(
        second.potential, second.g2, start, 6.0, 600, key=jax.random.key(1), pairs=second.pairs
    )
    assert stats.ks_2samp(np.diff(path.levels[:, -1])[:, 0], expected).pvalue > 0.01
    first = dyson.integrate(second.potential, second.g2, start, 6.0, 600, key=jax.random.key(1))
    assert stats.ks_2samp(np.diff(first.levels[:, -1])[:, 0], expected).pvalue < 1e-4


def test_mixing_share_is_the_overlap_of_eigenvectors():
    """(u₁·e₂)² of two-level matrices, averaged where the levels are a given distance apart."""
    targets, variance = np.array([0.0, 0.8]), 0.05
    half = np.random.default_rng(2).normal(size=(400_000, 2, 2)) * np.sqrt(variance / 2)
    levels, vectors = np.linalg.eigh(np.diag(targets) + half + half.swapaxes(1, 2))
    gap, overlap = levels[:, 1] - levels[:, 0], vectors[:, 1, 0] ** 2
    for low in (0.2, 0.6, 1.2):
        here = (gap > low) & (gap < low + 0.05)
        found, error = overlap[here].mean(), overlap[here].std() / np.sqrt(here.sum())
        assert abs(found - float(dyson.mixing_share(low + 0.025, 0.8, variance))) < 3.5 * error + 2e-3
    assert float(dyson.mixing_share(0.0, 0.8, variance)) == 0.5
    assert float(dyson.mixing_share(3.0, 3.0, 0.01)) == pytest.approx(0.01 / 9, rel=0.01)


def test_the_pairwise_force_makes_the_repulsion_g_i_g_j():
    """β g_i² C_i of the integrator plus the smooth force is Σ g_i g_j/(x_i − x_j), also where levels meet."""
    kappa = np.array([4.0, 4.0, 4.0])  # one target: no mixing
    second = dyson.rbm_second_order(kappa, 9.0, 0.1, 8)
    x = np.array([4.2, 4.2 + 1e-12, 5.5])
    with jax.enable_x64(True):
        force = np.asarray(second.pairs(x))
        g = np.sqrt(np.asarray(second.g2(x)))
        slope = np.asarray(jax.grad(lambda y: jnp.sqrt(second.g2(y)))(x[0]))
    ito = 0.5 * (0.1 / 8) * x[:, None] / np.outer(9 - x, 9 - x)
    expected = -g[:, None] * (g[:, None] - g) / np.where(np.eye(3) > 0, np.inf, x[:, None] - x)
    expected[0, 1] = expected[1, 0] = -g[0] * slope
    expected = (expected + ito - np.diag(np.diag(ito))).sum(axis=1)
    np.testing.assert_allclose(force, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_methods_agree_about_a_pairwise_force():
    """Two levels that a linear force drives apart, 100 e^{2t}, with next to no noise."""
    pairs = dyson.Pairwise(jnp.subtract)  # x_i − x_j: the distance grows like e^{2t}
    start = np.tile([0.0, 100.0], (50, 1))
    for method in ("implicit", "euler"):
        path = dyson.integrate(
            dyson.free(), 1e-8, start, 0.01, 10, key=jax.random.key(0), pairs=pairs, method=method
        )
        np.testing.assert_allclose(path.levels[:, -1] - start, [[-1.01, 1.01]] * 50, rtol=0.01)


def test_bad_pairwise_forces_are_refused():
    second = dyson.linear_second_order([0.0, 1.0], 0.2)
    start, key = np.array([[0.0, 1.0, 2.0]]), jax.random.key(0)
    with pytest.raises(InputError, match=r"must have shape \(3, 3\), got \(2, 2\)"):
        dyson.integrate(dyson.quadratic(), 0.1, start, 1.0, 10, key=key, pairs=second.pairs)
    with pytest.raises(InputError, match="needs method='implicit' or 'euler'"):
        dyson.integrate(
            dyson.quadratic(), 0.1, start[:, :2], 1.0, 10, key=key, pairs=second.pairs, method="matrix"
        )

"""Dyson Brownian motion: errors of measured drift and noise, of chains, and p-values of the comparison.

Members are correlated inside: their levels repel, and their records follow each other.
"""

import functools

import jax
import numpy as np

from dysonjax import dyson
from dysonjax.cli.dyson import difference
from dysonjax.dyson.diagnostics import diagnose
from dysonjax.dyson.mixing import occupation_p
from dysonjax.spectra import permutation_test
from tests.calibration.frame import Coverage, PValue, inside

WELL = dyson.quadratic(1.0)
LEVELS, MEMBERS = 3, 120


@functools.cache
def _rest(levels):
    return dyson.CoulombGas(WELL, 1.0, 1.0, levels)


@functools.cache
def _two_wells():
    return dyson.CoulombGas(dyson.quartic(1.0, -4.0), 0.5, 1.0, 4)


def _key(rng):
    return jax.random.key(int(rng.integers(2**31)))


def _trajectories(rng):
    """Members at rest, 7 records 0.05 apart, by the propagator of matrices, which is exact in law."""
    x0 = _rest(LEVELS).sample(_key(rng), MEMBERS)
    return dyson.integrate(WELL, 1.0, x0, 0.3, 6, 1.0, _key(rng), records=7, method="matrix")


def _measured(rng, quantity):
    """The drift at the middle knot of the middle level, whose truth moves with the knot, or its noise."""
    path = _trajectories(rng)
    found = dyson.measure(path.levels, path.times, n_knots=3)
    if quantity == "noise":
        return inside(1.0, found.g2[1], found.g2_err[1])
    return inside(-found.knots[1, 1], found.drift[1, 1], found.drift_err[1, 1])


def _chain_mean(rng):
    """Mean of 4 autoregressions with a memory of 5 draws, beside a smooth function of them."""
    memory, length = 0.8, 600
    noise = rng.normal(size=(4, length)) * np.sqrt(1 - memory**2)
    x = np.empty((4, length))
    x[:, 0] = rng.normal(size=4)
    for t in range(1, length):
        x[:, t] = memory * x[:, t - 1] + noise[:, t]
    return inside(0.0, x.mean(), diagnose(x[..., None]).mcse[0])


def _level_difference(rng):
    """|z| of two ensembles of one law as the command prints it: inside 1 and 1.96."""
    x, y = (_rest(LEVELS).sample(_key(rng), n) for n in (60, 150))
    z = abs(difference(x[:, 1], y[:, 1]))
    return bool(z <= 1), bool(z <= 1.96)


def _end_against_law(rng):
    """p of the dynamics' end against exact draws, after a time in which members forget their start."""
    x0 = np.tile(np.linspace(-1.0, 1.0, LEVELS), (MEMBERS, 1))
    path = dyson.integrate(WELL, 1.0, x0, 5.0, 250, 1.0, _key(rng), records=2)
    law = _rest(LEVELS).sample(_key(rng), 200)
    return permutation_test(path.levels[:, -1], law, n_resamples=199, key=int(rng.integers(2**31))).p_value


@functools.cache
def _pool():
    """Two long sets of draws that chains with jumps made, thinned as `sample` thins them."""
    return tuple(_two_wells().sample(jax.random.key(k), 120 * 200) for k in range(2))


def _chains_against_chains(rng):
    """p of neighbouring draws of one set of chains against far ones of another."""
    first, second = _pool()
    start = int(rng.integers(len(first) - 120))
    elsewhere = second[rng.choice(len(second), 200, replace=False)]
    return permutation_test(
        first[start : start + 120], elsewhere, n_resamples=199, key=int(rng.integers(2**31))
    ).p_value


def _occupations(rng):
    """p of the filling of two wells, levels of a member going along with each other."""
    x, y = (_wells_by_table().sample(_key(rng), n) for n in (200, 300))
    return occupation_p((x < 0).sum(axis=1)[:, None], (y < 0).sum(axis=1)[:, None])


@functools.cache
def _wells_by_table():
    return dyson.CoulombGas(dyson.quartic(1.0, -2.0), 0.5, 1.0, 2)


CASES = [
    Coverage("error of a measured drift", lambda rng: _measured(rng, "drift")),
    Coverage("error of a measured noise strength", lambda rng: _measured(rng, "noise")),
    Coverage("error of the mean of Markov chains", _chain_mean),
    Coverage("z of level means in `dysonjax dyson`", _level_difference),
    PValue("p of `dysonjax dyson`, end against the stationary law", _end_against_law),
    PValue("p against draws of chains that jump between wells", _chains_against_chains),
    PValue("p of the filling of wells", _occupations),
]

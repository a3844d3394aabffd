import sys

import jax
import numpy as np
import pytest

from dysonjax import dyson
from dysonjax.checks import InputError

KEY = jax.random.key(3)


def trajectories(g2, omega, members=4000, interval=0.05):
    """Five levels at rest, records every `interval`, integrated 20 times finer."""
    gas = dyson.CoulombGas(dyson.quadratic(omega), g2, n=4)
    x0 = gas.sample(KEY, members)
    return dyson.integrate(gas.potential, g2, x0, 6 * interval, 120, 1.0, KEY, records=7)


@pytest.fixture(scope="module")
def measured():
    path = trajectories(0.5, 1.5)
    return dyson.measure(path.levels, path.times, n_knots=3)


def test_measured_noise_covers_the_truth(measured):
    assert np.all(np.abs(measured.g2 - 0.5) < 3.5 * measured.g2_err)
    assert np.all(measured.g2_err < 0.02)
    assert np.all(np.abs(measured.g2 - 0.25) > 10 * measured.g2_err)  # the twin: half of the noise


def test_measured_drift_covers_the_truth(measured):
    deviation = (measured.drift + 1.5 * measured.knots) / measured.drift_err
    assert np.abs(deviation).max() < 3.5 and 0.3 < np.sqrt((deviation**2).mean()) < 1.7
    wrong = (measured.drift + 3.0 * measured.knots) / measured.drift_err  # drift twice as strong
    assert np.abs(wrong).max() > 10


@pytest.mark.slow
def test_measured_drift_and_noise_feed_back_into_the_integrator(measured):
    x0 = np.tile([-1.0, -0.3, 0.3, 1.0], (2000, 1))
    again = dyson.integrate(measured.potential(), measured.g2, x0, 3.0, 150, key=KEY).levels[:, -1]
    exact = dyson.CoulombGas(dyson.quadratic(1.5), 0.5, n=4).sample(KEY, 20_000)
    np.testing.assert_allclose(again.mean(0), exact.mean(0), atol=0.08)
    np.testing.assert_allclose(again.std(0), exact.std(0), rtol=0.1)
    twice = dyson.CoulombGas(dyson.quadratic(3.0), 0.5, n=4).sample(KEY, 20_000)
    assert np.abs(again.mean(0) - twice.mean(0)).max() > 0.16  # the twin: twice the drift


@pytest.mark.slow
def test_meeting_levels_do_not_bias_the_noise(monkeypatch):
    """β = 1, records 0.05 apart, exact paths: by the trapezoidal rule the middle level is 1.4 % low."""
    gas = dyson.CoulombGas(dyson.quadratic(), 1.0, 1.0, 3)
    x0 = gas.sample(KEY, 60_000)
    path = dyson.integrate(gas.potential, 1.0, x0, 0.2, 4, 1.0, KEY, records=5, method="matrix")
    found = dyson.measure(path.levels, path.times, n_knots=2)
    assert np.all(np.abs(found.g2 - 1) < 3.5 * found.g2_err) and np.all(found.g2_err < 0.006)

    def trapezoid(interval, beta):
        return np.full(len(interval) - 1, 0.5), np.zeros(len(interval) - 1)

    monkeypatch.setattr(sys.modules["dysonjax.dyson.measure"], "_weights", trapezoid)
    plain = dyson.measure(path.levels, path.times, n_knots=2)  # the twin
    assert plain.g2[1] < 1 - 2.5 * plain.g2_err[1]


def test_finite_interval_is_corrected_for():
    """At ωΔ = 0.3 the naive variance of an increment is 14 % low; the corrected g² covers the truth."""
    path = dyson.integrate(
        dyson.quadratic(1.0),
        1.0,
        np.random.default_rng(0).normal(size=(20_000, 1)),
        1.8,
        360,
        key=KEY,
        records=7,
    )
    measured = dyson.measure(path.levels, path.times, n_knots=2)
    naive = np.diff(path.levels, axis=1).var() / (2 * 0.3)
    assert naive < 0.88
    assert abs(measured.g2[0] - 1) < 3 * measured.g2_err[0] + 0.01


@pytest.mark.parametrize(
    ("levels", "times", "message"),
    [
        (np.zeros((50, 3)), [0.0, 1.0, 2.0], "at least 3 axes"),
        (np.zeros((50, 3, 1)), [0.0, 1.0], "one time per record"),
        (np.zeros((50, 2, 1)), [1.0, 0.0], "ascend"),
        (np.zeros((5, 2, 1)), [0.0, 1.0], "at least 40 members"),
        (np.zeros((50, 2, 2)), [0.0, 1.0], "distinct"),
        (np.zeros((50, 2, 1)), [0.0, 1.0], "do not move"),
    ],
)
def test_bad_trajectories_are_refused(levels, times, message):
    with pytest.raises(InputError, match=message):
        dyson.measure(levels, times)

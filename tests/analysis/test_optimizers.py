"""The temperature of an optimiser: its formulas beside a loop that knows neither engine nor formulas."""

import numpy as np
import pytest
from numpy.polynomial.polynomial import polyval

import dysonjax as dj
from dysonjax.analysis import optimizers

ALPHA, STEPS, MEMBERS = 1e-3, 250, 1500


def noise(rng):
    """Symmetric gradient noise of strength 1, (members, 2, 2)."""
    half = rng.normal(size=(MEMBERS, 2, 2))
    return (half + half.swapaxes(1, 2)) / np.sqrt(2)


def walk(direction, pull=0.0, memory=100):
    """Sum of the steps of an optimiser on pure noise with a constant mean gradient, as (t, a, b)."""
    rng, total = np.random.default_rng(0), np.zeros((MEMBERS, 2, 2))
    for step in range(memory + STEPS):
        found = direction(noise(rng) + pull)
        total += found * (step >= memory)
    return np.stack([total[:, 0, 0] + total[:, 1, 1], total[:, 0, 0] - total[:, 1, 1],
                     total[:, 0, 1] + total[:, 1, 0]]) / 2  # fmt: skip


class Muon:
    """Averages with Nesterov's correction, made orthogonal by Newton and Schulz from a decomposition."""

    def __init__(self, mu=0.95):
        self.mu, self.mean = mu, np.zeros((MEMBERS, 2, 2))

    def __call__(self, gradient):
        self.mean = self.mu * self.mean + (1 - self.mu) * gradient
        u, s, vt = np.linalg.svd(self.mu * self.mean + (1 - self.mu) * gradient)
        s = s / np.sqrt((s**2).sum(axis=1, keepdims=True))
        for _ in range(5):
            s = s * polyval(s**2, [3.4445, -4.7750, 2.0315])
        return np.einsum("mij,mj,mjk->mik", u, s, vt)


def adam():
    """Adam when its second moment has settled at that of the noise."""
    scale, mean = np.sqrt([[2.0, 1.0], [1.0, 2.0]]), [0.0]

    def direction(gradient):
        mean[0] = 0.9 * mean[0] + 0.1 * gradient
        return mean[0] / scale

    return direction


@pytest.mark.parametrize(
    ("name", "make"), [("adam", adam), pytest.param("muon", Muon, marks=pytest.mark.slow)]
)
def test_noise_and_drift_of_a_step_are_those_of_a_loop(name, make):
    theory = optimizers.motion(name, 1.0, ALPHA, 1)
    g2 = ALPHA**2 * walk(make()).var(axis=1) / (2 * STEPS)  # the ends of the walk cost 2 % at most
    np.testing.assert_allclose(g2 * STEPS / (STEPS - theory.memory), theory.g2, rtol=5 / np.sqrt(MEMBERS / 2))
    assert np.all(abs(2 * g2 / theory.g2 - 1) > 0.5)  # the twin: noise twice as strong
    delta = 0.02
    pull = delta * np.array([[[2.0, 1.0], [1.0, 0.0]]])  # t = a = b = delta
    with_pull, without = walk(make(), pull), walk(make())
    rate = ALPHA * (with_pull - without).mean(axis=1) / (STEPS * delta)
    error = ALPHA * (with_pull - without).std(axis=1) / (STEPS * delta * np.sqrt(MEMBERS))
    assert np.all(abs(rate - theory.rate) < 4 * error + 0.01 * theory.rate)
    assert np.all(error < 0.03 * theory.rate)


def test_momentum_multiplies_the_temperature_and_adam_has_another_power_of_the_batch():
    size = np.array([1, 4, 16])
    plain = optimizers.temperature("sgd", 0.3, 0.01, size)
    np.testing.assert_allclose(plain, 0.01 / size)
    slow = dj.Optimizer("momentum", momentum=0.75)
    np.testing.assert_allclose(optimizers.temperature(slow, 0.3, 0.01, size), 4 * plain)
    for name in ("adam", "muon"):
        found = optimizers.temperature(name, 0.3, 0.01, size)
        np.testing.assert_allclose(found[0] / found, np.sqrt(size))
    np.testing.assert_allclose(
        optimizers.temperature("adam", 0.6, 0.01, 1), optimizers.temperature("adam", 0.3, 0.01, 1) / 2
    )


def test_measured_drift_and_noise_of_correlated_noise_are_those_far_apart():
    """An Ornstein-Uhlenbeck pair whose noise remembers ten steps, sampled every 40."""
    rng, rate, mu = np.random.default_rng(1), 2e-3, 0.9
    x, speed, records = np.zeros((1500, 3)), np.zeros((1500, 3)), []
    for step in range(6000):
        speed = mu * speed + rng.normal(size=x.shape)
        x = (1 - rate) * x + 0.01 * (1 - mu) * speed
        if step >= 3000 and step % 40 == 0:
            records.append(x)
    t, a, b = np.moveaxis(np.array(records), -1, 0)
    radius = np.hypot(a, b)
    levels = 2 + np.stack([t - radius, t + radius], axis=-1).swapaxes(0, 1)
    found = optimizers.measure(levels, 40.0 * np.arange(len(records)))
    for value, truth in ((found.rate, rate), (found.g2, 1e-4), (found.centre_g2, 0.5e-4)):
        assert abs(value[0] / truth - 1) < 4 * value[1] / truth + 0.02 and value[1] < 0.1 * truth
    near = dj.dyson.measure(levels.mean(2, keepdims=True), 40.0 * np.arange(len(records)), n_knots=2,
                            repulsion=False)  # fmt: skip
    assert near.g2[0] < 0.85 * 0.5e-4  # the twin: without what both intervals say together

"""The C kernels compute what the engine computes: the same weights from the same start, data and bits."""

import jax
import numpy as np
import pytest
from thin import loss_only

import dysonjax as dj
from dysonjax import spectra
from dysonjax.bench import dyson, limits, statistics
from dysonjax.compile import compiler_path
from dysonjax.ensemble.grid import point_identity
from dysonjax.ensemble.keys import BATCH, WORLD, stream_key
from dysonjax.models.rbm_target import rbm_target
from dysonjax.spectra.distances import PooledLevels

pytestmark = pytest.mark.skipif(compiler_path() is None, reason="there is no C compiler")
STEPS, BATCHES = 60, 20
FOUR = [0.25, 0.5, 1.0, 2.0]


def _weights(data, name="weights"):
    """Start and end of all members, (members, n_in, n_out)."""
    values = data[name].isel(batch_size=0).transpose("lr", "sigma_w", "seed", "record", ...).values
    values = values.reshape(-1, 2, *values.shape[-2:])
    return values[:, 0], values[:, 1]


def _world(model, seed, identity, batch_size):
    """Fixed data in one program: operation by operation, each would be compiled for itself."""
    return jax.jit(lambda key: model.world(key, batch_size))(stream_key(0, seed, identity, WORLD))


def _lanes(matrices, transposed=True):
    """(16 members, a, b) as the kernels store it: (b, a, members), or (a, b, members)."""
    return limits.aligned(matrices.transpose(2, 1, 0) if transposed else matrices.transpose(1, 2, 0))


def _samples(values):
    """(..., samples, n) with the samples last."""
    return np.swapaxes(values, -1, -2)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["middle", "all"])
@pytest.mark.parametrize("randomness", ["common", "independent"])
def test_teacher_student_kernels_equal_the_engine(train, randomness):
    model = loss_only(dj.models.teacher_student(train=train, batches=BATCHES))
    grid = dj.Grid(lr=FOUR, sigma_w=FOUR, batch_size=4)
    data = dj.train(
        model, grid, STEPS, [0, STEPS], keep_weights="all", randomness=randomness, devices=1
    ).dataset
    common = randomness == "common"
    identities = [None] if common else [point_identity(point, 4) for point in grid.points()]
    worlds = [_world(model, 0, identity, 4) for identity in identities]

    def stack(leaves):
        """Shared data as they are, own data with the members last."""
        return limits.aligned(leaves[0] if common else np.stack(leaves, -1))

    x = stack([_samples(world.inputs) for world in worlds])
    y = stack([np.asarray(world.targets)[..., 0] for world in worlds])
    lr = limits.aligned(np.repeat(FOUR, 4))
    kernels = limits.load("teacher_student", "float" if common else "lane")
    if train == "middle":
        start, expected = _weights(data)
        w, z = _lanes(start), stack([np.asarray(world.teacher[-1])[:, 0] for world in worlds])
        limits.call(kernels.train_middle, 1, STEPS, BATCHES, lr, x, y, z, w)
    else:
        starts, ends = zip(*(_weights(data, f"weights_w{k}") for k in (1, 2, 3)), strict=True)
        w1, w, w3 = map(_lanes, starts)
        expected = ends[1]
        limits.call(kernels.train_all, 1, STEPS, BATCHES, lr, x, y, w1, w, w3)
    # Members that learn calmly: chaos multiplies the rounding of the others.
    calm = np.repeat(np.array(FOUR) <= (0.5 if train == "middle" else 0.25), 4)
    np.testing.assert_allclose(w.transpose(2, 1, 0)[calm], expected[calm], rtol=2e-4, atol=2e-5)


def _keys(seeds):
    """The keys of the batch stream, (seeds, 2)."""
    key = jax.jit(lambda seed: jax.random.key_data(stream_key(0, seed, None, BATCH)))
    return np.stack([key(seed) for seed in range(seeds)])


@pytest.mark.parametrize("sampler", ["gibbs", pytest.param("collapsed", marks=pytest.mark.slow)])
def test_rbm_kernel_equals_the_engine(sampler):
    rates = [0.02, 0.1]
    model = dj.models.rbm(sampler=sampler)
    grid = dj.Grid(lr=rates, batch_size=16, sigma_w=0.1 * 10**0.5, seeds=16)
    data = dj.train(model, grid, STEPS, [0, STEPS], keep_weights="all", devices=1).dataset
    start, expected = _weights(data)
    w = limits.aligned(start.reshape(2, 16, 10, 10).transpose(0, 2, 3, 1))
    chains = limits.aligned(np.ones((2, 16, 10, 16)))
    lattice = rbm_target(10, 3.0, mass=2.0, kappa=None, covariance=None, data=None)
    covariance = limits.aligned(lattice.covariance)
    kernel = limits.load("rbm").train
    collapsed = int(sampler == "collapsed")
    limits.call(kernel, 2, STEPS, 0, collapsed, 3.0, limits.aligned(rates), _keys(16), covariance, w, chains)
    found = w.transpose(0, 3, 1, 2).reshape(32, 10, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)


@pytest.mark.slow  # of the engine in lanes: tests/ensemble/test_lanes.py
def test_linear_kernel_equals_the_engine():
    rates = [0.02, 0.1]
    model = dj.models.linear()
    grid = dj.Grid(lr=rates, batch_size=8, sigma_w=0.1, seeds=16)
    data = dj.train(model, grid, STEPS, [0, STEPS], keep_weights="all", devices=1).dataset
    start, expected = _weights(data)
    w = limits.aligned(start.reshape(2, 16, 2, 2).transpose(0, 2, 3, 1))
    teacher_of = jax.jit(lambda seed: model.world(stream_key(0, seed, None, WORLD), 8).teacher)
    teacher = limits.aligned(np.stack([teacher_of(seed) for seed in range(16)], -1))
    max_loss = 100.0 * max(1.0, 2 * 8.0)
    kernel = limits.load("linear").train
    limits.call(kernel, 2, STEPS, 0, 8, 0.1, max_loss, limits.aligned(rates), _keys(16), teacher, w)
    found = w.transpose(0, 3, 1, 2).reshape(32, 2, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_dyson_kernel_equals_the_engine():
    """70 members, not a multiple of the lanes; wide steps, where a wrong half of one shows at once."""
    steps = 6
    path = dj.dyson.integrate(
        dj.dyson.quadratic(), 1.0, dyson.start(70), dyson.TIME, steps, 1.0, jax.random.key(1), records=2
    )
    np.testing.assert_allclose(dyson.evolve(70, steps), path.levels[:, -1], rtol=1e-5, atol=1e-5)


def test_permutation_kernel_measures_the_same_distances_of_members_drawn_evenly():
    x, y = statistics.ensemble(60), 1.2 * statistics.ensemble(40, 1)
    (pool,) = PooledLevels.of(x, y, "pooled")
    first = np.arange(100) < 60
    labels = np.stack([first, *(np.random.default_rng(k).permutation(first) for k in range(15))])
    expected = pool.width * pool.distances(labels, "wasserstein")
    np.testing.assert_allclose(statistics.labelled_limit(x, y, labels), expected, rtol=1e-12)
    # Its own labellings have the mean distance of NumPy's, to three standard errors of 3 %.
    drawn = statistics.permutation_limit(x, y, 1000)
    theirs = np.stack([np.random.default_rng(k).permutation(first) for k in range(1000)])
    mean = pool.width * pool.distances(theirs, "wasserstein").mean()
    assert drawn.mean() == pytest.approx(mean, rel=0.06) and len(np.unique(drawn)) > 900


def test_power_law_kernel_finds_the_same_tails():
    x = statistics.tail()
    fit = spectra.fit_power_law(x, n_resamples=200)
    (start, rate, distance), samples = statistics.power_law_limit(x, 200)
    assert (x[int(start)], 1 + rate, distance) == pytest.approx((fit.xmin, fit.alpha, fit.distance), rel=1e-9)
    # The spread of α over samples is known to 5 % from either side.
    assert samples[:, 1].std() == pytest.approx(fit.alpha_err, rel=0.3)
    assert 1 + samples[:, 1].mean() == pytest.approx(fit.alpha, abs=4 * fit.alpha_err / 200**0.5 + 0.05)


def test_bootstrap_kernel_fits_the_same_law():
    """Without the blur of finite N the law is 1 % off and its error larger by a fifth.

    Rigid members: levels drawn one by one would have an error twice as large.
    """
    x = statistics.ensemble(400)
    fit = spectra.fit_marchenko_pastur(x, statistics.LEVELS / statistics.ROWS, n_resamples=300)
    area, sigma2 = statistics.marchenko_pastur_limit(x, 300)
    assert (area[0], sigma2[0]) == pytest.approx((fit.area, fit.sigma2), rel=0.03)
    assert sigma2[1:].std() == pytest.approx(fit.sigma2_err, rel=0.35)

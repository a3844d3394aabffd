"""The loops that the statistics, samplers and integrators are timed against do the same work."""

import jax
import numpy as np
import pytest

from dysonjax import dyson, spectra
from dysonjax.bench import dyson as bench_dyson
from dysonjax.bench import frame, nanogpt, samplers, statistics


def test_permutation_loop_measures_the_same_distance():
    x, y = statistics.ensemble(100), 1.1 * statistics.ensemble(60, 1)
    distance, relabelled = statistics.permutation_loop(x, y, 20)
    width = np.sqrt((x.size * x.var() + y.size * y.var()) / (x.size + y.size))
    assert spectra.permutation_test(x, y, n_resamples=2, comparison="pooled").distance == pytest.approx(
        distance / width
    )
    # Whole members change sides, and these ensembles differ by more than members do.
    assert (relabelled < distance).all() and (relabelled > 0).all()


@pytest.mark.filterwarnings("ignore:Standard error:DeprecationWarning")
def test_power_law_loop_finds_the_same_exponent():
    pytest.importorskip("powerlaw")
    exponent, distances = statistics.power_law_loop(statistics.tail(), 1)
    assert spectra.fit_power_law(statistics.tail(), n_resamples=0).alpha == pytest.approx(exponent, rel=0.01)
    assert 0 < distances[0] < 0.1


def test_ratio_loop_gives_the_same_ratios():
    x = statistics.ensemble(20)
    np.testing.assert_array_equal(statistics.ratio_loop(x), spectra.spacing_ratio(x))


def test_marchenko_pastur_loop_fits_the_same_law():
    """The loop compares densities at the centres of bins: A comes out 2 % low, a wrong ratio by 10 %."""
    found = statistics.marchenko_pastur_loop(statistics.ensemble(400), 5).mean(axis=0)
    np.testing.assert_allclose(found, [1.0, 1.0], atol=0.04)


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_dense_matrices_have_the_law_of_the_samplers(beta):
    """⟨Σx²⟩ to two standard errors at β = 1; a variance wrong by a factor 2 is 100 % off."""
    n, draws = samplers.LEVELS, {1: 60, 2: 30, 4: 8}[beta]
    x = samplers.MATRICES[str(beta)](draws)
    assert x.shape == (draws, n)
    assert np.square(x).sum(axis=1).mean() == pytest.approx(n * (n - 1 + 2 / beta), rel=0.005)
    ours = spectra.sample_beta_hermite(jax.random.key(0), n, float(beta), 1.0, (draws,))
    np.testing.assert_allclose(np.diff(x).mean(), np.diff(ours).mean(), rtol=0.01)


def test_numpy_steps_follow_the_equation():
    """400 tamed steps to t = 3; 1000 members show 2 % in ⟨S_i⟩. Half the repulsion: 20 % off."""
    end = bench_dyson.TIME
    assert bench_dyson.spacing_error(bench_dyson.tamed_steps(1000, 400, end / 400)) < 0.04
    start, key = bench_dyson.start(1000), jax.random.key(0)
    weak = dyson.integrate(dyson.quadratic(), 0.5, start, end, 8, 1.0, key, records=2)
    assert bench_dyson.spacing_error(weak.levels[:, -1]) > 0.1


def test_fewest_steps_are_the_first_that_are_accurate():
    exact = bench_dyson.stationary_spacings()

    def integrate(members, steps):
        return np.broadcast_to((1 + 0.1 / steps) * np.cumsum([0.0, *exact]), (members, 10))

    assert bench_dyson.fewest_steps(integrate, 2, 64) == {"steps": 12, "error": 0.00833}
    short = bench_dyson.fewest_steps(integrate, 2, 4)
    assert short["steps"] == 4 and "not reached" in short["note"]


def test_every_benchmark_runs_its_engine():
    """Sizes near the smallest; the baselines are in the tests above."""
    cases = (samplers, {"seeds": 4, "beta": "2"}), (statistics, {"seeds": 20, "task": "ratios"})
    for module, setting in cases:
        prepared = module.VARIANTS["engine"](setting)
        assert isinstance(prepared, frame.Prepared) and prepared.amount >= setting["seeds"]
        assert prepared.work() is None


@pytest.mark.slow
def test_products_of_the_nano_gpt_add_up():
    """Forward and backward of every weight matrix and of attention: its FLOPs, less the embedding's."""
    found = nanogpt.products()
    flops = sum(2 * number * np.prod(shape) for shape, number in found.items())
    # The embedding is a product with one-hot rows, forward and for its gradient; the input has none.
    embedding = 2 * 2 * nanogpt.BATCH * nanogpt.CONTEXT * nanogpt.CHARACTERS * nanogpt.WIDTH
    assert flops - embedding == nanogpt.flops({})
    assert found[1, 512, 64, 192] == nanogpt.LAYERS

"""R̂ and effective sample sizes against ArviZ, and where they must say that nothing is known."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from dysonjax.dyson.diagnostics import diagnose, verdict


def autoregression(rng, chains, length, memory):
    """Chains of variance 1 whose neighbouring draws have correlation `memory`, (chains, length)."""
    noise = rng.normal(size=(chains, length)) * np.sqrt(1 - memory**2)
    x = noise.copy()
    x[:, 0] = rng.normal(size=chains)
    for t in range(1, length):
        x[:, t] = memory * x[:, t - 1] + noise[:, t]
    return x


def arviz(x):
    axes = {"chain_axis": 0, "draw_axis": 1}
    return (
        array_stats.rhat(x, **axes),
        array_stats.ess(x, method="bulk", **axes),
        array_stats.ess(x, method="tail", prob=(0.05, 0.95), **axes),
        array_stats.mcse(x, method="mean", **axes),
    )


@pytest.mark.parametrize("length", [4, 5, 11, 100, 501])
@pytest.mark.parametrize("chains", [2, 8])
def test_numbers_are_those_of_arviz(chains, length):
    """Independent, slow, alternating, heavy-tailed, drifting, disagreeing and discrete chains."""
    rng = np.random.default_rng(length)
    normal = rng.normal(size=(chains, length))
    columns = [
        normal,
        autoregression(rng, chains, length, 0.95),
        autoregression(rng, chains, length, -0.6),
        rng.standard_cauchy((chains, length)),
        normal + np.linspace(0, 2, length),
        normal + np.arange(chains)[:, None],
        normal * (1 + np.arange(chains)[:, None]),
    ]
    if length >= 100:  # ties; of fewer draws no rounded one may lie beyond a quantile
        columns.append(np.round(normal))
    found = diagnose(np.stack(columns, axis=-1))
    for k, column in enumerate(columns):
        expected = arviz(column)
        mine = found.r_hat[k], found.ess_bulk[k], found.ess_tail[k], found.mcse[k]
        np.testing.assert_allclose(mine, expected, rtol=1e-9, err_msg=f"column {k}")


def test_a_constant_or_infinite_quantity_is_no_evidence():
    good = np.random.default_rng(0).normal(size=(4, 100))
    hole, infinite = good.copy(), good.copy()
    hole[1, 3], infinite[0, 0] = np.nan, np.inf
    bad = [np.ones((4, 100)), np.full((4, 100), np.nan), hole, infinite]
    found = diagnose(np.stack([good, *bad], axis=-1))
    assert found.r_hat[0] < 1.05 and found.ess[0] > 200 and found.mcse[0] > 0
    assert np.isnan(found.r_hat[1:]).all() and np.isnan(found.mcse[1:]).all()
    assert np.all(found.ess_bulk[1:] == 0) and np.all(found.ess_tail[1:] == 0)
    assert "never moves" in found.verdict


def test_chains_that_each_stand_still_elsewhere_have_not_mixed():
    found = diagnose(np.arange(4.0)[:, None, None] * np.ones((4, 100, 1)))
    assert found.r_hat[0] > 1e6 and found.ess[0] < 10


def test_too_few_draws_are_no_evidence():
    found = diagnose(np.random.default_rng(0).normal(size=(8, 3, 1)))
    assert np.isnan(found.r_hat[0]) and found.ess[0] == 0 and found.verdict


def test_diagnostics_see_chains_that_disagree():
    good = np.random.default_rng(0).normal(size=(8, 500, 1))
    found = diagnose(good)
    assert found.r_hat[0] < 1.01 and 3000 < found.ess[0] < 5500 and not found.verdict
    assert diagnose(good + np.arange(8)[:, None, None]).r_hat[0] > 1.5
    # The same mean, other widths: only the folded statistic sees it.
    assert diagnose(good * np.arange(1, 9)[:, None, None]).r_hat[0] > 1.1


def test_effective_size_counts_the_correlation_of_draws():
    """(1 + ρ)/(1 − ρ) = 9 draws make one of an autoregression with ρ = 0.8, within 10 %."""
    x = autoregression(np.random.default_rng(1), 8, 4000, 0.8)[..., None]
    assert diagnose(x).ess_bulk[0] == pytest.approx(32_000 / 9, rel=0.1)


def test_verdict_is_empty_only_for_good_chains():
    assert verdict(1.001, 1000.0) == ""
    assert "R-hat 1.200" in verdict(1.2, 5000.0)
    assert "size 40" in verdict(1.001, 40.0)
    assert "nothing can be said" in verdict(float("nan"), 0.0)

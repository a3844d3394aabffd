"""Means, exponents and densities of degenerate pairs; points of a seed share its noise."""

import numpy as np
import pytest

from dysonjax.analysis import pairs
from dysonjax.spectra.averages import mean_and_sem

POINTS = [{"lr": a, "batch_size": 4, "sigma_w": 1.0} for a in (0.01, 0.02, 0.04, 0.08)]
TEMPERATURE = np.array([p["lr"] / p["batch_size"] for p in POINTS])
PAIR = np.array([0])


def spacing_levels(rng, shared, members=40):
    """Pairs whose spacings grow as T^½, with a share of a seed's noise that is the same at all points."""
    own, common = rng.rayleigh(size=(4, members)), rng.rayleigh(size=members)
    s = np.where(rng.random((4, members)) < shared, common, own) * np.sqrt(TEMPERATURE)[:, None]
    return np.stack([np.ones_like(s), 1 + s], axis=-1)


def test_noise_that_all_points_share_leaves_the_exponent_alone():
    found = pairs.scaling_exponent(spacing_levels(np.random.default_rng(0), 1.0), POINTS, PAIR)
    assert found.value == pytest.approx(0.5, abs=1e-12) and found.error < 1e-12


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_error_of_the_exponent_is_its_scatter(shared):
    rng = np.random.default_rng(1)
    found = [
        pairs.scaling_exponent(spacing_levels(rng, shared), POINTS, PAIR, n_resamples=200) for _ in range(120)
    ]
    values, errors = np.array(found).T
    # 120 repetitions know a standard deviation to 6.5 %; independent points would state 0.054 for both.
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.2)
    assert abs(values.mean() - 0.5) < 4 * values.std() / np.sqrt(120)
    assert errors.mean() < 0.04 or shared == 0


def test_exponent_of_seeds_that_are_missing_at_some_points():
    rng = np.random.default_rng(2)
    x = spacing_levels(rng, 0.0, 400)
    whole = pairs.scaling_exponent(x, POINTS, PAIR)
    x[3, :300] = np.nan
    part = pairs.scaling_exponent(x, POINTS, PAIR)
    assert part.error > 1.1 * whole.error and abs(part.value - 0.5) < 4 * part.error
    x[3] = np.nan
    assert np.isfinite(pairs.scaling_exponent(x, POINTS, PAIR)).all()
    assert np.isnan(pairs.scaling_exponent(x[:1], POINTS[:1], PAIR)).all()
    assert np.isnan(pairs.scaling_exponent(x[:, :1], POINTS, PAIR)).all()
    assert np.isnan(pairs.scaling_exponent(x, POINTS, np.array([], dtype=int))).all()


def test_each_set_of_scalars_has_its_prefactor():
    rng = np.random.default_rng(3)
    points = [p | {"epsilon": e} for e in (0.1, 1.0) for p in POINTS]
    x = np.concatenate([spacing_levels(rng, 0.0, 300), 1 + 50 * (spacing_levels(rng, 0.0, 300) - 1)])
    found = pairs.scaling_exponent(x, points, PAIR)
    assert abs(found.value - 0.5) < 4 * found.error < 0.2


def test_means_leave_out_dead_members_and_state_student_errors():
    rng = np.random.default_rng(4)
    x = np.sort(rng.normal(size=(2, 9, 3)), axis=-1)
    x[1, :4] = np.nan
    found = pairs.means(x)
    for p, alive in ((0, slice(None)), (1, slice(4, None))):
        members = x[p, alive]
        np.testing.assert_allclose(found.levels[p], members.mean(axis=0))
        np.testing.assert_allclose(found.levels_err[p], members.std(axis=0, ddof=1) / np.sqrt(len(members)))
        gaps = np.diff(members)
        np.testing.assert_allclose(found.spacings[p], gaps.mean(axis=0))
        np.testing.assert_allclose(found.spacings_err[p], gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps)))


def test_mean_of_one_member_has_no_error_and_of_none_no_value():
    mean, error = mean_and_sem([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    assert mean[0] == 2 and error[0] == 1 and np.isnan([mean[1], error[1]]).all()
    assert mean_and_sem([5.0])[0] == 5 and np.isnan(mean_and_sem([5.0])[1])
    assert mean_and_sem(np.ones((2, 3)), axis=-1)[0].shape == (2,)


def test_normalised_spacings_have_unit_mean_at_every_point():
    s = pairs.normalised_spacings(spacing_levels(np.random.default_rng(5), 0.0), PAIR)
    assert s.shape == (40, 4)
    np.testing.assert_allclose(s.mean(axis=0), 1)

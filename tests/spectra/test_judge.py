"""Verdicts on planted truths: spikes and their strength, tails, noise, and spectra with nothing to fit."""

import numpy as np
import pytest

from dysonjax.spectra import analyse_matrix
from dysonjax.spectra.checkpoint import analyse_levels
from dysonjax.spectra.degenerate import degeneracy
from dysonjax.spectra.matrix_nulls import (
    FOR_A_P_VALUE,
    _shuffled,
    _signs,
    default_draws,
    levels_above,
    matrix_nulls,
)
from dysonjax.spectra.ranks import ranks
from dysonjax.spectra.singular_values import squared_singular_values
from dysonjax.spectra.spikes import find_spikes, noise_edge, strength_of
from dysonjax.spectra.tail_exponential import exponential_p
from dysonjax.spectra.wishart_pool import gaussian_spectra


def directions(rng, size, count):
    return np.linalg.qr(rng.normal(size=(size, count)))[0]


def spiked(rng, rows, modes, strengths):
    """Noise of σ² = 1 with spikes θ = strength·θ_c, and their singular vectors."""
    u, v = directions(rng, rows, len(strengths)), directions(rng, modes, len(strengths))
    theta = np.asarray(strengths) * (modes / rows) ** 0.25
    return rng.normal(size=(rows, modes)) / rows**0.5 + (u * theta) @ v.T, u, v


@pytest.mark.parametrize("shape", [(3, 50, 20), (2, 20, 50), (1, 33, 33)])
def test_gram_route_agrees_with_singular_value_decomposition(shape):
    w = np.random.default_rng(0).normal(size=shape)
    expected = np.linalg.svd(w, compute_uv=False)[:, ::-1] ** 2
    np.testing.assert_allclose(squared_singular_values(w), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e-18, 1e18])
def test_single_precision_is_used_where_it_is_enough(scale):
    """Of clear levels the digits of single precision are right; small ones are found in double precision."""
    rng = np.random.default_rng(0)
    w = (rng.normal(size=(5000, 40)) * scale).astype(np.float32)
    expected = np.linalg.svd(w.astype(np.float64), compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(squared_singular_values(w[None])[0], expected, rtol=1e-6)
    w[:, 0] = w[:, 1] + (1e-3 * scale * rng.normal(size=5000)).astype(np.float32)
    expected = np.linalg.svd(w.astype(np.float64), compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(squared_singular_values(w[None])[0], expected, rtol=1e-8)
    assert expected[0] < 1e-5 * expected[-1]


def test_strength_inverts_the_position_of_an_outlier():
    """x = (σ² + θ²)(rσ² + θ²)/θ², and at the transition the outlier touches the edge with no overlap."""
    ratio, sigma2 = 0.3, 1.7
    t2 = np.sqrt(ratio) * np.array([1.0, 1.2, 4.0, 50.0]) ** 2
    x = sigma2 * (1 + t2) * (ratio + t2) / t2
    strength, right, left = strength_of(x, sigma2, ratio)
    np.testing.assert_allclose(strength, [1.0, 1.2, 4.0, 50.0], rtol=1e-6)
    assert right[0] == pytest.approx(0, abs=1e-6) and left[0] == pytest.approx(0, abs=1e-6)
    assert right[-1] > 0.99 and left[-1] > 0.99


def test_spikes_are_counted_with_the_strength_and_overlaps_that_were_planted():
    rng = np.random.default_rng(1)
    planted = np.array([4.0, 3.0, 2.0])
    found, overlaps, words = [], [], []
    for _ in range(8):
        w, u, v = spiked(rng, 256, 64, planted)
        left, _, right = np.linalg.svd(w, full_matrices=False)
        overlaps.append([(right[0] @ v[:, 0]) ** 2, (left[:, 0] @ u[:, 0]) ** 2])
        fit = analyse_matrix(w, n_resamples=20)
        words.append(fit.verdict)
        found.append([*fit.spikes.strength[:3], fit.spikes.overlap_right[0], fit.spikes.overlap_left[0]])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / 8**0.5
    assert words.count("noise with 3 spikes") >= 7, words
    # To order 1/N the positions shift; that of the weakest by a few percent.
    np.testing.assert_allclose(mean[:3], planted, rtol=0.06)
    np.testing.assert_allclose(mean[3:], np.mean(overlaps, axis=0), atol=0.03)
    assert abs(mean[0] - 1.1 * planted[0]) > 5 * error[0]  # a strength off by a tenth would be seen


def test_spikes_below_the_transition_leave_the_bulk_alone():
    rng = np.random.default_rng(2)
    words = [analyse_matrix(spiked(rng, 256, 64, [0.5])[0], n_resamples=20).verdict for _ in range(8)]
    assert words.count("noise") >= 7


def test_both_orientations_are_judged_alike():
    rng = np.random.default_rng(3)
    w, _, _ = spiked(rng, 256, 64, [3.0])
    u = directions(rng, 256, 64)
    heavy = u * np.sqrt((1 - rng.random(64)) ** (-1 / 1.2)) @ directions(rng, 64, 64)
    for matrix, words in ((w, {"noise with 1 spike"}), (heavy, {"heavy tail", "not described"})):
        one = analyse_matrix(matrix, n_resamples=50)
        other = analyse_matrix(matrix.T, n_resamples=50)
        assert one.verdict == other.verdict and one.verdict in words
        assert other.marchenko_pastur.sigma2 == pytest.approx(one.marchenko_pastur.sigma2, rel=1e-6)


def test_a_mixture_of_scales_is_not_described():
    """Half of the columns a hundred times as wide: neither noise of one width nor a power law."""
    rng = np.random.default_rng(4)
    w = rng.normal(size=(256, 64)) * np.repeat([1.0, 10.0], 32)
    assert analyse_matrix(w, n_resamples=50).verdict in ("not described", "noise with 32 spikes")
    smooth = rng.normal(size=(256, 64)) * np.linspace(0.3, 2, 64)
    assert analyse_matrix(smooth, n_resamples=50).verdict == "not described"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape", [(40, 40), (128, 40)])
def test_equal_levels_are_not_fitted(dtype, shape):
    rng = np.random.default_rng(5)
    w = directions(rng, shape[0], shape[1]) * 1.4
    fit = analyse_matrix(w.astype(dtype), nulls=None)
    assert fit.marchenko_pastur is fit.spacings is fit.tail is fit.nulls is fit.spikes is None
    assert fit.verdict is None and len(fit.notes) == 1 and "orthogonal" in fit.notes[0]
    assert fit.ranks.stable_rank == pytest.approx(40, rel=0.01)
    assert fit.row()["tail_alpha"] is None and fit.row()["mp_sigma2"] is None


@pytest.mark.parametrize("size", [1e-4, 0.01])
def test_nearly_equal_levels_are_not_fitted_and_noise_is(size):
    rng = np.random.default_rng(6)
    near = directions(rng, 80, 40) + size * rng.normal(size=(80, 40)) / 80**0.5
    fit = analyse_matrix(near)
    assert fit.tail is None and "near to an orthogonal matrix" in fit.notes[0]
    far = squared_singular_values((near + 3 * rng.normal(size=(80, 40)) / 80**0.5)[None])
    assert not degeneracy(far, 0.5)
    assert not degeneracy(
        gaussian_spectra(rng, 1e5, 20, 1), 20 / 1e5
    )  # long matrices of noise are narrow too


def test_rank_deficient_matrices_are_not_fitted_and_empty_units_are_set_aside():
    rng = np.random.default_rng(7)
    low = analyse_matrix((rng.normal(size=(60, 5)) @ rng.normal(size=(5, 40))).astype(np.float32))
    assert low.marchenko_pastur is None and low.notes == (
        "rank deficient, 5 of 40: laws, spacings and tail left out",
    )
    assert low.ranks.rank == 5
    dead = rng.normal(size=(90, 60))
    dead[:, :20], dead[:10] = 0, 0
    fit = analyse_matrix(dead, n_resamples=50)
    assert (fit.rows, fit.modes) == (80, 40) and fit.verdict == "noise"
    assert fit.notes[0] == "10 rows and 20 columns of zeros set aside"
    assert fit.marchenko_pastur.sigma2 == pytest.approx(80, rel=0.1)
    zero = analyse_matrix(np.zeros((30, 20)))
    assert zero.verdict is None and zero.notes == ("all levels are zero: nothing is fitted",)


def test_ranks_of_known_spectra():
    equal = ranks(np.full((1, 30), 4.0))
    assert equal.stable_rank == pytest.approx(30) and equal.effective_rank == pytest.approx(30)
    assert equal.spectral_norm == 2 and equal.frobenius_norm == pytest.approx(120**0.5)
    one = ranks(np.array([[0.0] * 29 + [9.0]]))
    assert one.stable_rank == one.rank == 1 and one.effective_rank == pytest.approx(1)
    assert one.logdet_levels is None  # no determinant of a matrix without full rank
    x = np.sort(np.random.default_rng(8).pareto(2, 200) + 1)[None]
    found = ranks(x)
    top = x[0, ::-1] / x.mean()
    assert np.prod(top[: found.logdet_levels]) >= 1 > np.prod(top[: found.logdet_levels + 1])
    assert found.logdet_start == x[0, ::-1][found.logdet_levels - 1]


def test_log_determinant_says_in_which_range_it_has_a_meaning():
    rng = np.random.default_rng(8)
    noise = analyse_matrix(rng.normal(size=(300, 150)), n_resamples=50).row()
    assert noise["logdet_levels"] == pytest.approx(noise["logdet_noise_levels"], abs=8)
    assert noise["logdet_meaning"].startswith("no accepted tail")
    x = np.sort((1 - rng.random(256)) ** (-1 / 1.5))[None]
    heavy = analyse_levels(x, 1024, n_resamples=50).row()
    assert heavy["tail_accepted"] and "xmin of the accepted tail" in heavy["logdet_meaning"]
    assert heavy["logdet_levels"] < 0.7 * heavy["logdet_noise_levels"]


def test_outliers_by_single_entries_survive_shuffling_and_directions_do_not():
    rng = np.random.default_rng(9)
    trap = rng.normal(size=(256, 64))
    trap[rng.integers(256, size=4), rng.integers(64, size=4)] = 60.0
    planted = 16 * spiked(rng, 256, 64, [4.0])[0]
    survived, gone = (
        analyse_matrix(trap, nulls=19, n_resamples=20),
        analyse_matrix(planted, nulls=19, n_resamples=20),
    )
    assert survived.outliers >= 3 and survived.nulls.shuffled_outliers >= 3
    assert "single large entries" in survived.notes[-1]
    assert gone.outliers == 1 and gone.nulls.shuffled_outliers < 0.3 and gone.nulls.shuffled_p == 0.05
    # A profile of variances survives random signs and not shuffling.
    rows = rng.normal(size=(256, 64)) * np.repeat([1.0, 5.0], [246, 10])[:, None]
    profile = analyse_matrix(rows, nulls=19, n_resamples=20)
    assert profile.nulls.signed_outliers > 2 > profile.nulls.shuffled_outliers
    assert profile.nulls.signed_p > 0.05 and profile.nulls.shuffled_p == 0.05


def test_large_entries_are_no_spikes_where_shuffling_can_tell():
    """Student's t with five degrees of freedom: one matrix in five has levels beyond the edge, and most of
    these are there after shuffling; one in twenty of all passes for a spike. A planted direction keeps its
    word, and without shuffled matrices a note says what the largest entry does."""
    rng, found = np.random.default_rng(17), []
    for _ in range(24):
        w = rng.standard_t(5, size=(256, 64))
        quick = analyse_matrix(w, n_resamples=20, quick=True)
        if quick.outliers and quick.marchenko_pastur.p_value > 0.01:
            assert quick.verdict.startswith("noise with") and "alone is a spike" in quick.notes[-1]
            full = analyse_matrix(w, n_resamples=20, nulls=19)
            large = full.nulls.shuffled_p > 0.05
            assert full.verdict == ("noise with large entries" if large else quick.verdict)
            found.append(large)
    assert len(found) >= 3 and np.mean(found) > 0.5
    planted = [
        analyse_matrix(16 * spiked(rng, 256, 64, [2.5])[0], n_resamples=20, nulls=19) for _ in range(4)
    ]
    assert [one.verdict for one in planted] == ["noise with 1 spike"] * 4
    assert not any("alone" in note for one in planted for note in one.notes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_above_a_value_are_counted_without_the_levels(dtype):
    rng = np.random.default_rng(10)
    w = rng.normal(size=(300, 250))
    w[3, 4], w[:5, :7] = 400.0, 30.0
    gram = (w.T @ w).astype(dtype)
    levels = np.linalg.eigvalsh(w.T @ w)
    for x in (
        2 * levels[-1],
        0.9 * levels[-1],
        levels[-2] * 0.99,
        1.001 * levels[-3],
        levels[100] + 0.01,
        0.0,
    ):
        assert levels_above(gram, x) == (levels > x).sum()
    nulls = matrix_nulls(w.T, 400.0**2, 2)
    assert nulls.draws == 2 and nulls.shuffled_p is None and nulls.shuffled_outliers >= 1


@pytest.mark.parametrize("top", [0.7, 0.95, 1.02, 1.1, 2.0])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (50, 50)])
def test_nulls_count_as_the_levels_themselves_do(top, shape):
    """Whatever lies higher, the edge or the largest level of the data."""
    w = np.random.default_rng(1).standard_t(4, size=shape).astype(np.float32)
    modes, rows = sorted(shape)
    edge = noise_edge(rows * float(np.mean(np.square(w, dtype=np.float64))), rows, modes)
    found = matrix_nulls(w, top * edge, FOR_A_P_VALUE, seed=3)
    rng = np.random.default_rng(3)
    flat = (w if shape[0] >= shape[1] else w.T).ravel()
    largest, beyond = np.zeros((2, FOR_A_P_VALUE)), np.zeros((2, FOR_A_P_VALUE))
    shuffled = _shuffled(flat, 3, FOR_A_P_VALUE, rng)
    for draw in range(FOR_A_P_VALUE):
        for null, entries in enumerate((next(shuffled), flat * _signs(rng, flat.size))):
            assert null or np.array_equal(np.sort(entries), np.sort(flat))
            x = np.linalg.svd(entries.reshape(rows, modes), compute_uv=False) ** 2
            largest[null, draw], beyond[null, draw] = x[0], (x > edge).sum()
    p = (1 + (largest > top * edge).sum(axis=1)) / (1 + FOR_A_P_VALUE)
    assert (found.shuffled_p, found.signed_p) == pytest.approx(tuple(p))
    assert (found.shuffled_outliers, found.signed_outliers) == pytest.approx(tuple(beyond.mean(axis=1)))


def test_large_matrices_get_one_draw_and_small_ones_a_p_value():
    assert default_draws(512, 512) == default_draws(64, 16) == FOR_A_P_VALUE
    assert default_draws(768, 768) == default_draws(4096, 4096) == 1


def test_exponential_tails_are_told_from_power_laws():
    rng = np.random.default_rng(11)
    exponential = [exponential_p(1 + rng.exponential(size=400), 1.0) for _ in range(40)]
    power = [exponential_p((1 - rng.random(400)) ** (-1 / 1.5), 1.0) for _ in range(40)]
    assert np.median(exponential) < 0.01 and min(power) > 0.9


@pytest.mark.slow
def test_false_spikes_of_noise_are_one_in_a_hundred_though_the_width_is_fitted():
    """Sixteen levels: with the edge for a known σ² one matrix in twenty would show a spike."""
    from dysonjax.spectra import fit_marchenko_pastur
    from dysonjax.spectra.spikes import noise_edge

    levels = gaussian_spectra(np.random.default_rng(12), 64, 16, 600)[:, None] / 64
    fits = fit_marchenko_pastur(levels, 16 / 64, n_null=0, n_resamples=2)
    sigma2 = [float(s) for s in np.ravel(fits.sigma2)]
    ours = np.mean([find_spikes(x, s, 64).count > 0 for x, s in zip(levels, sigma2, strict=True)])
    naive = np.mean([x.max() > noise_edge(s, 64, 16) for x, s in zip(levels, sigma2, strict=True)])
    assert ours <= 0.01 + 3 * (0.01 * 0.99 / 600) ** 0.5
    assert naive > 0.03


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 16), (64, 64), (256, 64)])
def test_noise_is_called_noise_in_49_of_50(shape):
    """Bulk and edge err in one matrix of a hundred each: 2 %, and three errors of 1200 matrices more."""
    rows, modes = shape
    levels = gaussian_spectra(np.random.default_rng(13), rows, modes, 1200) / rows
    words = [
        analyse_levels(x[None], rows, n_resamples=20, seed=i, quick=True).verdict
        for i, x in enumerate(levels)
    ]
    assert words.count("noise") >= 1200 * (0.98 - 3 * (0.02 * 0.98 / 1200) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(12, 64, 16), (12, 64, 64), (1, 200, 200)])
def test_ensembles_of_noise_are_called_something_else_in_2_of_100(shape):
    """Twelve heads and single matrices; a level of 5 % instead of 2 would be seen at once."""
    members, rows, modes = shape
    levels = gaussian_spectra(np.random.default_rng(16), rows, modes, 600 * members) / rows
    words = [
        analyse_levels(x, rows, n_resamples=20, seed=i, quick=True).verdict
        for i, x in enumerate(levels.reshape(600, members, modes))
    ]
    rate = 1 - words.count("noise") / 600
    assert rate <= 0.02 + 3 * (0.02 * 0.98 / 600) ** 0.5 < 0.05


@pytest.mark.slow
def test_power_on_planted_tails_and_spikes():
    """Power laws of exponent 2.5 among 256 levels, and spikes twice as strong as the transition."""
    rng = np.random.default_rng(14)
    tails, spikes = [], []
    for i in range(60):
        x = np.sort((1 - rng.random(256)) ** (-1 / 1.5))[None]
        tails.append(analyse_levels(x, 1024, n_resamples=50, seed=i).verdict)
        spikes.append(analyse_matrix(spiked(rng, 512, 128, [2.0])[0], n_resamples=20, key=i).verdict)
    assert tails.count("heavy tail") >= 42
    assert spikes.count("noise with 1 spike") >= 50


@pytest.mark.slow
@pytest.mark.parametrize("entries", ["uniform", "signs", "bfloat16", "with a mean"])
def test_noise_of_other_entries_is_noise_and_a_mean_is_a_spike(entries):
    import ml_dtypes

    rng = np.random.default_rng(15)
    draw = {
        "uniform": lambda: rng.uniform(-1, 1, size=(256, 64)),
        "signs": lambda: rng.choice([-1.0, 1.0], size=(256, 64)),
        "bfloat16": lambda: rng.normal(size=(256, 64)).astype(ml_dtypes.bfloat16),
        "with a mean": lambda: 0.3 + rng.normal(size=(256, 64)),  # θ = 0.3·√64, four times the transition
    }[entries]
    words = [analyse_matrix(draw(), n_resamples=20).verdict for _ in range(40)]
    assert words.count("noise with 1 spike" if entries == "with a mean" else "noise") >= 37

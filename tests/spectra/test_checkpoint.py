"""A weight tensor becomes a matrix, and a matrix one row of numbers."""

import json

import numpy as np
import pytest

from dysonjax.spectra import analyse_matrix, as_matrix
from dysonjax.spectra.spikes import noise_edge


def test_convolutions_keep_their_output_channels():
    torch_like = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    matrix, how = as_matrix(torch_like, "conv.weight")
    assert matrix.shape == (2, 60) and how == "out × (3·4·5)"
    np.testing.assert_array_equal(matrix[1], torch_like[1].ravel())
    matrix, how = as_matrix(torch_like, "Conv_0/kernel")
    assert matrix.shape == (24, 5) and how == "(2·3·4) × out"
    np.testing.assert_array_equal(matrix[:, 1], torch_like[..., 1].ravel())


@pytest.mark.parametrize(
    "bad", [np.ones(3), np.ones((0, 3)), np.ones((2, 2), int), np.ones((2, 2), complex), np.array([["a"]])]
)
def test_what_is_no_real_matrix_is_refused(bad):
    with pytest.raises(ValueError, match=r"not a matrix|not real"):
        as_matrix(bad)


def test_noise_has_area_one_no_outliers_and_no_power_law():
    fit = analyse_matrix(np.random.default_rng(0).normal(size=(256, 128)) / 16)
    assert fit.marchenko_pastur.sigma2 == pytest.approx(1, rel=0.03)
    assert fit.outliers == 0 and not fit.tail.accepted()
    assert fit.spacings.ratio_p > 0.05 and fit.spacings.distance_p > 0.05


def test_a_spike_is_an_outlier():
    rng = np.random.default_rng(1)
    spike = 3 * np.outer(rng.normal(size=256), rng.normal(size=128)) / np.sqrt(256 * 128)
    assert analyse_matrix(rng.normal(size=(256, 128)) / 16 + spike).outliers == 1


def test_one_noise_matrix_in_a_hundred_passes_the_edge():
    w = np.random.default_rng(2).normal(size=(2000, 40, 20))
    largest = np.linalg.svd(w, compute_uv=False)[:, 0] ** 2
    beyond = (largest > noise_edge(40.0, 40, 20)).mean()
    assert 0.003 < beyond < 0.02
    assert (largest > 40 * (1 + 0.5**0.5) ** 2).mean() > 0.05  # the limiting edge alone is no criterion


def test_transposed_matrix_has_the_same_row():
    w = np.random.default_rng(3).normal(size=(64, 20))
    a, b = analyse_matrix(w).row(), analyse_matrix(w.T).row()
    for key, value in a.items():
        assert b[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key


def test_ensemble_gives_member_errors_and_unfolds_by_index():
    fit = analyse_matrix(np.random.default_rng(4).normal(size=(20, 64, 16)))
    assert fit.members == 20 and fit.marchenko_pastur.sigma2_err > 0
    assert fit.spacings.unfolding == "index"


def test_rank_deficient_and_tiny_matrices_say_what_is_missing():
    rng = np.random.default_rng(5)
    low_rank = analyse_matrix((rng.normal(size=(40, 3)) @ rng.normal(size=(3, 30))).astype(np.float32))
    assert low_rank.spacings is None and low_rank.tail is None and "rank deficient" in low_rank.notes[-1]
    tiny = analyse_matrix(rng.normal(size=(4, 2)))
    assert tiny.marchenko_pastur is None and len(tiny.notes) == 3
    zero = analyse_matrix(np.zeros((30, 20))).row()
    assert zero["mp_sigma2"] is None and zero["ratio"] is None


def test_row_is_plain_json():
    row = analyse_matrix(np.random.default_rng(6).normal(size=(30, 12)), "w").row()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["shape"] == "30x12" and row["mp_sigma2_error"] is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((4, 4), np.nan), "NaN or infinite"),
        (np.ones((1, 9)), "single level"),
        (np.full((9, 9), 1e200), "range of float64"),
    ],
)
def test_unusable_matrices_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        analyse_matrix(bad)

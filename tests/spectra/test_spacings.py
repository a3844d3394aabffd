"""Spacings, unfolding and spacing ratios against exact values."""

import jax
import numpy as np
import pytest
from scipy.stats import kstest

from dysonjax.checks import InputError
from dysonjax.spectra import (
    GOEDensity,
    Semicircle,
    WignerSurmise,
    mean_spacing_ratio,
    sample_beta_hermite,
    sample_beta_laguerre,
    spacing_ratio,
    spacings,
    unfold,
)

KEY = jax.random.key(31)
GOE = sample_beta_hermite(KEY, 60, 1.0, 1.0, (1000,))


def test_spacings_are_differences_of_neighbours():
    np.testing.assert_array_equal(spacings([[1.0, 4.0, 9.0], [0.0, 0.0, 2.0]]), [[3, 5], [0, 2]])


# Atas et al., PRL 110 (2013) 084101, Table I: exact for three levels.
@pytest.mark.parametrize(
    ("beta", "mean"),
    [
        (1.0, 4 - 2 * np.sqrt(3)),
        (2.0, 2 * np.sqrt(3) / np.pi - 0.5),
        (4.0, 32 * np.sqrt(3) / (15 * np.pi) - 0.5),
    ],
)
def test_mean_ratio_of_three_levels_is_exact(beta, mean):
    r = spacing_ratio(sample_beta_hermite(KEY, 3, beta, 1.0, (60_000,)))
    assert abs(r.mean() - mean) < 3 * r.std() / np.sqrt(r.size)


def test_mean_ratio_of_many_levels_is_the_bulk_value():
    # 0.5307(1) for GOE, 2 ln 2 − 1 for independent levels: Atas et al., Table I.
    x = sample_beta_hermite(KEY, 200, 1.0, 1.0, (500,))
    result = mean_spacing_ratio(x[:, 50:150], null=x[:, 50:150])
    assert abs(result.value - 0.5307) < 4 * result.value_err
    poisson = np.sort(np.random.default_rng(0).uniform(size=(2000, 100)), axis=-1)
    result = mean_spacing_ratio(poisson)
    assert abs(result.value - (2 * np.log(2) - 1)) < 3 * result.value_err
    assert result.z < -50


def test_the_null_of_the_same_size_and_edge_is_matched_and_another_is_not():
    x = sample_beta_laguerre(jax.random.fold_in(KEY, 1), 4, 4, 1.0, 1.0, (20_000,))
    assert abs(mean_spacing_ratio(x, rows=4, n_samples=20_000).z) < 3
    assert abs(mean_spacing_ratio(x, n_samples=20_000).z) > 10


def test_a_single_member_gets_its_error_from_the_null():
    one, many = mean_spacing_ratio(GOE[:1]), mean_spacing_ratio(GOE)
    assert one.value_err == pytest.approx(many.value_err * np.sqrt(1000), rel=0.1)
    assert abs(many.z) < 3


@pytest.mark.parametrize("method", ["index", "density", "polynomial", GOEDensity(60, 1.0)], ids=str)
def test_unfolded_levels_have_unit_density_and_follow_the_surmise(method):
    # A polynomial cannot follow the sparse edges: it gets the levels without them.
    x = GOE[:, 6:-6] if method == "polynomial" else GOE
    s = spacings(unfold(x, method, degree=7))
    s = s[:, s.shape[1] // 4 : -(s.shape[1] // 4)]
    assert s.mean() == pytest.approx(1.0, abs=0.005)
    # The surmise is an approximation: the greatest difference of the distributions is about 0.005.
    assert kstest(s.ravel(), WignerSurmise(1).cdf).statistic < 0.012
    assert kstest(s.ravel(), WignerSurmise(2).cdf).statistic > 0.05


def test_index_unfolding_gives_every_level_unit_mean_spacing():
    s = spacings(unfold(GOE.reshape(2, 500, 60), "index"))
    np.testing.assert_allclose(s.mean(axis=-2), 1.0, rtol=1e-12)


def test_density_unfolding_gives_equal_levels_equal_places():
    x = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
    np.testing.assert_allclose(unfold(x, "density"), [[0.5, 1.75, 1.75], [0.5, 1.75, 2.75]])


def test_unfolding_does_not_depend_on_units():
    for method in ("index", "density", "polynomial"):
        np.testing.assert_allclose(unfold(1e-3 * GOE, method), unfold(GOE, method), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("statistic", [spacings, spacing_ratio, unfold, mean_spacing_ratio])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.0, np.nan, 1.0]] * 2, "must be finite"),
        ([[0.0, np.inf, 1.0]] * 2, "must be finite"),
        ([[0.0, 2.0, 1.0]] * 2, "must be ascending"),
        ([[0.0]] * 2, "must have at least"),
        (np.zeros((0, 3)), "at least one member"),
        ([["a", "b", "c"]], "array of real numbers"),
    ],
)
def test_unusable_levels_are_refused_in_one_sentence(statistic, x, message):
    with pytest.raises(InputError, match=message):
        statistic(x)


def test_other_bad_input_names_the_remedy():
    with pytest.raises(InputError, match="method must be one of"):
        unfold(GOE, "spline")
    with pytest.raises(InputError, match="needs at least 2"):
        unfold(GOE[:1], "index")
    with pytest.raises(InputError, match="remove repeated levels"):
        unfold([[0.0, 0.0, 1.0]] * 2, "index")
    with pytest.raises(InputError, match="three equal levels"):
        spacing_ratio([[0.0, 0.0, 0.0]])
    with pytest.raises(InputError, match="not increasing"):
        unfold(GOE, "polynomial", degree=9)
    with pytest.raises(InputError, match="null must have as many levels"):
        mean_spacing_ratio(GOE, null=GOE[:, :10])
    assert np.isfinite(unfold(GOE, Semicircle(2 * np.sqrt(60)))).all()

"""The exact samplers against moments known in closed form and against dense matrices."""

import jax
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import gamma as gamma_law
from scipy.stats import ks_2samp, kstest

from dysonjax.checks import InputError
from dysonjax.spectra import sample_beta_hermite, sample_beta_laguerre, sample_goe, sample_wishart
from dysonjax.spectra.variates import log_gammas, normals

KEY = jax.random.key(20)
SIZES, BETAS = (2, 5, 50), (0.5, 1.0, 2.0, 4.0)
# Of few levels more spectra are needed, of many each takes longer; the slow tests have all of both.
QUICK = [(2, 1.0), *((5, beta) for beta in BETAS), (50, 1.0), (50, 4.0)]


def _hermite_trace_moments(n, beta, scale):
    """⟨tr X²⟩ and ⟨tr X⁴⟩ from the tridiagonal model's independent entries."""
    v = scale**2 * 2 / beta  # variance of a diagonal entry
    k = np.arange(1, n)
    b2 = scale**2 * k  # ⟨b²⟩, b² = scale²/β χ²_{βk}
    b4 = scale**4 * k * (k + 2 / beta)
    second = n * v + 2 * b2.sum()
    # tr T⁴ = Σ a⁴ + 2 Σ b⁴ + 4 Σ b_i²(a_i² + a_i a_{i+1} + a_{i+1}²) + 4 Σ b_i² b_{i+1}²
    fourth = 3 * n * v**2 + 2 * b4.sum() + 4 * (b2 * 2 * v).sum() + 4 * (b2[1:] * b2[:-1]).sum()
    return second, fourth


def _z(values, expected):
    return (values.mean() - expected) / (values.std(ddof=1) / np.sqrt(values.size))


def _draws_for(n, relative_scatter, precision):
    return int(np.clip((relative_scatter / precision) ** 2, 2000, 4_000_000))


def _check_hermite(n, beta, precision, key=KEY):
    scale = 0.7
    second, fourth = _hermite_trace_moments(n, beta, scale)
    pilot = sample_beta_hermite(jax.random.fold_in(key, 1), n, beta, scale, (100_000 // n,))
    scatter = (pilot**4).sum(-1).std() / fourth
    x = sample_beta_hermite(key, n, beta, scale, (_draws_for(n, scatter, precision),))
    assert abs(_z(x.sum(-1), 0)) < 3
    assert abs(_z((x**2).sum(-1), second)) < 3
    assert abs(_z((x**3).sum(-1), 0)) < 3
    traces = (x**4).sum(-1)
    assert abs(_z(traces, fourth)) < 3
    assert traces.std() / np.sqrt(traces.size) / fourth < 1.3 * precision


@pytest.mark.parametrize(("n", "beta"), QUICK)
def test_hermite_traces_match_to_one_percent(n, beta):
    _check_hermite(n, beta, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("beta", BETAS)
def test_hermite_traces_match_to_three_per_mille(n, beta):
    _check_hermite(n, beta, 0.003, jax.random.fold_in(KEY, 9))


def test_the_trace_check_sees_a_chi_with_one_degree_of_freedom_too_few():
    # The classical slip, χ_{β(k−1)} for χ_{βk}, is a smaller matrix: compare n − 1 with the moments of n.
    x = sample_beta_hermite(KEY, 49, 1.0, 1.0, (4000,))
    assert abs(_z((x**2).sum(-1), _hermite_trace_moments(50, 1.0, 1.0)[0])) > 10


def _laguerre_moments(n, m, beta, scale):
    """⟨tr X⟩, ⟨tr X²⟩ from the entries of the bidiagonal B with X = BᵀB scaled by scale²/β."""
    s = scale**2
    a2 = s * (m - np.arange(n))
    b2 = s * np.arange(n - 1, 0, -1)
    a4, b4 = a2 * (a2 + 2 * s / beta), b2 * (b2 + 2 * s / beta)
    first = a2.sum() + b2.sum()
    # tr (BBᵀ)² = Σ a⁴ + Σ b⁴ + 2 Σ b_i²(a_i² + a_{i+1}²)
    second = a4.sum() + b4.sum() + 2 * (b2 * (a2[:-1] + a2[1:])).sum()
    return first, second


def _check_laguerre(n, beta, precision, key=KEY):
    m, scale = n + 2.5, 1.3
    first, second = _laguerre_moments(n, m, beta, scale)
    pilot = sample_beta_laguerre(jax.random.fold_in(key, 1), n, m, beta, scale, (100_000 // n,))
    scatter = (pilot**2).sum(-1).std() / second
    x = sample_beta_laguerre(key, n, m, beta, scale, (_draws_for(n, scatter, precision),))
    assert (x >= 0).all()
    assert abs(_z(x.sum(-1), first)) < 3
    assert abs(_z((x**2).sum(-1), second)) < 3


@pytest.mark.parametrize(("n", "beta"), QUICK)
def test_laguerre_traces_match_to_one_percent(n, beta):
    _check_laguerre(n, beta, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("beta", BETAS)
def test_laguerre_traces_match_to_three_per_mille(n, beta):
    _check_laguerre(n, beta, 0.003, jax.random.fold_in(KEY, 9))


def _same_law(x, y):
    """Smallest KS p-value over every ordered level."""
    return min(ks_2samp(x[:, i], y[:, i]).pvalue for i in range(x.shape[1]))


@pytest.mark.parametrize("n", [2, 5, pytest.param(20, marks=pytest.mark.slow)])
def test_dense_goe_and_tridiagonal_have_the_same_law_level_by_level(n):
    draws = 20_000 if n < 10 else 6_000  # many levels together are stiffer
    dense = sample_goe(KEY, n, 0.8, (draws,))
    tridiagonal = sample_beta_hermite(jax.random.fold_in(KEY, 1), n, 1.0, 0.8, (draws,))
    assert _same_law(dense, tridiagonal) > 0.01 / n
    assert _same_law(dense, 1.05 * tridiagonal) < 1e-4


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 8), pytest.param(16, 64, marks=pytest.mark.slow)])
def test_dense_wishart_and_bidiagonal_have_the_same_law_level_by_level(n, m):
    draws = 20_000 if n < 10 else 6_000
    dense = sample_wishart(KEY, n, m, 0.8, (draws,))
    bidiagonal = sample_beta_laguerre(jax.random.fold_in(KEY, 1), n, m, 1.0, 0.8, (draws,))
    assert _same_law(dense, bidiagonal) > 0.01 / n
    assert _same_law(dense, 1.05 * bidiagonal) < 1e-4


@pytest.mark.parametrize("beta", BETAS)
def test_two_levels_have_the_surmise_as_the_law_of_their_spacing(beta):
    # |x₁−x₂|^β exp(−β S²/8 scale²): β S²/8 scale² is gamma distributed with shape (β+1)/2.
    spacing = np.diff(sample_beta_hermite(KEY, 2, beta, 1.5, (50_000,)))[:, 0]
    assert kstest(beta * spacing**2 / (8 * 1.5**2), gamma_law((beta + 1) / 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_a_single_laguerre_level_is_a_gamma_variable(beta):
    x = sample_beta_laguerre(KEY, 1, 0.3, beta, 2.0, (50_000,))[:, 0]
    assert kstest(beta * x / (2 * 2.0**2), gamma_law(0.3 * beta / 2).cdf).pvalue > 0.01


def test_gamma_draws_follow_their_law_from_tiny_to_large_shapes():
    shapes = np.array([0.01, 0.3, 0.99, 1.0, 2.5, 400.0])
    with jax.enable_x64(True):
        log_value = log_gammas(KEY, np.arange(40_000), shapes)
    for column, shape in zip(log_value.T, shapes, strict=True):
        # At shape 0.01 a third of the values are below the smallest double: test in the logarithm there.
        if shape > 0.1:
            assert kstest(np.exp(column), gamma_law(shape).cdf).pvalue > 0.01
        else:
            # Far below 1 the cdf is v^a/Γ(a+1): given v < e^{−20}, (v e^{20})^a is uniform.
            assert kstest(np.exp(shape * (column[column < -20] + 20)), "uniform").pvalue > 0.01
            assert np.mean(column < -20) == pytest.approx(np.exp(-20 * shape - gammaln(shape + 1)), abs=0.008)


def test_normal_draws_follow_their_law():
    with jax.enable_x64(True):
        z = normals(KEY, np.arange(1000), 100)
    assert kstest(z.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1]) < 3 / np.sqrt(z.size)


def test_draws_depend_on_the_key_and_their_number_alone():
    whole = sample_beta_hermite(KEY, 12, 1.0, 1.0, (40, 100))
    assert whole.shape == (40, 100, 12)
    np.testing.assert_array_equal(whole.reshape(-1, 12)[:7], sample_beta_hermite(KEY, 12, 1.0, 1.0, 7))
    np.testing.assert_array_equal(whole[0, 0], sample_beta_hermite(KEY, 12, 1.0, 1.0))
    assert (whole != sample_beta_hermite(jax.random.key(1), 12, 1.0, 1.0, (40, 100))).all()


def test_neighbouring_draws_are_uncorrelated():
    x = sample_beta_hermite(KEY, 3, 1.0, 1.0, (40_000,)).sum(-1)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 3 / np.sqrt(x.size)


def test_results_are_double_precision_and_no_setting_changes():
    before = jax.config.jax_enable_x64
    x = sample_beta_laguerre(KEY, 4, 10, 1.0, 1.0, (3, 2))
    assert x.dtype == np.float64
    assert jax.config.jax_enable_x64 == before
    assert (np.diff(x) >= 0).all()
    assert sample_beta_hermite(KEY, 1, 1.0, 1.0, (0,)).shape == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be a positive integer"),
        ({"beta": 0}, "beta must be positive"),
        ({"beta": np.nan}, "beta must be positive"),
        ({"scale": -1}, "scale must be positive"),
        ({"shape": (-1,)}, "shape must not be negative"),
        ({"shape": (1.5,)}, "shape must be a tuple of integers"),
        ({"key": 0.5}, "key must be"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        sample_beta_hermite(**{"key": KEY, "n": 3, "beta": 1.0, "scale": 1.0} | arguments)


def test_too_few_rows_are_refused_with_the_remedy():
    with pytest.raises(InputError, match="m must be above n - 1 = 4"):
        sample_beta_laguerre(KEY, 5, 4, 1.0, 1.0)

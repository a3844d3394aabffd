"""What a tail is made of, on matrices of which it is known."""

import jax
import numpy as np
import pytest

import dysonjax as dj
from dysonjax.spectra import tail_parts
from dysonjax.spectra.tail_parts import FALSE_POSITIVES, noise_scale, scales
from dysonjax.spectra.wishart_pool import gaussian_spectra

ROWS, MODES, MEMBERS, HEADS = 64, 16, 16, 4


def levels_of(w):
    return np.linalg.svd(w, compute_uv=False)[..., ::-1] ** 2


def noise(rng, spread=0.0, scale=0.0):
    """Weights (members, heads, rows, modes) of unit variance. spread: s of the variances of M directions,
    turned out of the axes so that no row shows them; scale: of the logarithm of a head's size."""
    w = rng.normal(size=(MEMBERS, HEADS, ROWS, MODES))
    w *= np.exp(spread / 2 * rng.normal(size=(MEMBERS, HEADS, ROWS, 1)))
    turn = np.linalg.qr(rng.normal(size=(MEMBERS, HEADS, ROWS, ROWS)))[0]
    return turn @ w * np.exp(scale * rng.normal(size=(MEMBERS, HEADS, 1, 1)))


def with_spikes(rng, w, strength, share=1.0):
    u = rng.normal(size=(MEMBERS, HEADS, ROWS, 1)) / ROWS**0.5
    v = rng.normal(size=(MEMBERS, HEADS, 1, MODES)) / MODES**0.5
    there = rng.random((MEMBERS, HEADS, 1, 1)) < share
    return w + strength * ROWS**0.5 * u * v * there


def with_power_law(rng, x, share=0.15, exponent=2.0):
    """Levels of which a share was redrawn from a power law between 0.6 and 1 of the edge of noise."""
    edge = scales(ROWS, MODES).edge[0] * ROWS
    low, power = 0.6 * edge, 1 - exponent
    y = (low**power + rng.random(x.shape) * (edge**power - low**power)) ** (1 / power)
    return np.sort(np.where(rng.random(x.shape) < share, y, x), axis=-1)


def test_noise_shows_a_spike_as_rarely_as_stated_and_its_own_width():
    """At 5000 matrices within four standard errors; heads of any size."""
    rng = np.random.default_rng(1)
    x = gaussian_spectra(rng, ROWS, MODES, 5000) * np.exp(rng.normal(size=(5000, 1)))
    k, sigma2 = noise_scale(x, ROWS)
    error = (FALSE_POSITIVES / 5000) ** 0.5
    assert abs((k > 0).mean() - FALSE_POSITIVES) < 4 * error
    flat, sigma2_flat = noise_scale(gaussian_spectra(rng, ROWS, MODES, 5000), ROWS)
    assert abs(sigma2_flat.mean() / ROWS - 1) < 0.01 and flat.max() <= 1
    # A spike does not widen the noise that it is measured by: with the plain median it would, by 10 %.
    spiked = gaussian_spectra(rng, ROWS - 3, MODES - 3, 5000)
    spiked = np.concatenate([spiked, np.full((5000, 3), 5.0 * ROWS)], axis=1)
    k, sigma2 = noise_scale(spiked, ROWS)
    assert abs((k == 3).mean() - 1) < 0.02 and abs(sigma2.mean() / ROWS - 1) < 0.02
    plain = np.median(spiked, axis=1) / np.median(gaussian_spectra(rng, ROWS, MODES, 5000), axis=1)
    assert plain.mean() > 1.1


def test_heads_of_different_size_are_no_tail():
    rng = np.random.default_rng(2)
    found = tail_parts(levels_of(noise(rng, scale=0.6)), ROWS, n_resamples=40)
    assert found.best == "noise" and found.spikes < 0.002 and found.p_value > 0.05


def test_spikes_are_counted_and_leave_the_bulk_noise():
    rng = np.random.default_rng(3)
    found = tail_parts(levels_of(with_spikes(rng, noise(rng), 4.0, share=0.5)), ROWS, n_resamples=40)
    assert abs(found.spikes - 0.5 / MODES) < 4 * found.spikes_err + 0.002
    assert 0 < found.spikes_err < 0.2 * found.spikes
    assert found.best == "noise"


def test_unequal_variances_and_a_power_law_are_told_apart():
    """By two standard errors of the difference of their gains in likelihood, each way; so much a thousand
    levels can tell."""
    rng = np.random.default_rng(4)
    unequal = tail_parts(levels_of(with_spikes(rng, noise(rng, spread=0.8), 5.0)), ROWS, n_resamples=40)
    law = tail_parts(with_power_law(rng, levels_of(noise(rng))), ROWS, n_resamples=40)
    assert unequal.best == "unequal" and abs(unequal.spread - 0.8) < 4 * unequal.spread_err + 0.05
    assert unequal.gain_unequal - unequal.gain_power_law > 2 * unequal.gain_difference_err
    assert law.best == "power law" and abs(law.power_law - 0.15) < 4 * law.power_law_err
    assert law.gain_power_law - law.gain_unequal > 2 * law.gain_difference_err
    assert min(unequal.p_value, law.p_value) <= 1 / 20


def test_the_compiled_count_of_spikes_is_that_of_the_library():
    from dysonjax.published.nanogpt_spikes import cut, spikes_of

    rng = np.random.default_rng(5)
    w = with_spikes(rng, noise(rng, spread=0.5), 3.0)[:, 0].astype(np.float32)
    k = noise_scale(levels_of(w), ROWS)[0]
    count, part = jax.jit(spikes_of, static_argnums=1), jax.jit(cut, static_argnums=1)
    assert [int(count(levels_of(one), ROWS)) for one in w] == k.tolist() and k.max() > 1
    parts = [np.asarray(part(w[0], keep)) for keep in ("noise", "spikes")]
    np.testing.assert_allclose(sum(parts), w[0], atol=1e-4)
    assert np.linalg.matrix_rank(parts[1], tol=1e-2) == k[0]


@pytest.mark.parametrize(
    "x, rows, words",
    [
        (np.ones((4, 2, 16)), 8, "8×16"),
        (np.ones((4, 2, 4)), 64, "64×4"),
        (np.ones((1, 2, 16)), 64, "members"),
        (np.zeros((4, 2, 16)), 64, "positive"),
        (np.full((4, 2, 16), np.nan), 64, "finite"),
        (np.ones(16), 64, "2 axes"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(x, rows, words):
    with pytest.raises(dj.InputError, match=words):
        tail_parts(x, rows)


def test_one_matrix_a_member_needs_no_axis_of_its_own():
    x = np.linalg.svd(np.random.default_rng(3).normal(size=(6, 64, 16)) / 8, compute_uv=False) ** 2
    assert tail_parts(x, 64, n_resamples=10) == tail_parts(x[:, None], 64, n_resamples=10)

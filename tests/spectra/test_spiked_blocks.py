"""A spike in noise whose columns have two variances: the law of large matrices beside simulated ones."""

import numpy as np
import pytest

from dysonjax import InputError
from dysonjax.spectra import TracyWidom, spiked, spiked_blocks
from dysonjax.spectra.spiked_blocks import strength_at

NAMES = ("position", "overlap_right", "overlap_left")


def simulated(rows, columns, theta, variance, members, seed=0):
    """Largest level, right and left overlap with v and u of every member, (3, members)."""
    rng, found = np.random.default_rng(seed), []
    each = columns // len(theta)
    for _ in range(members):
        u, v = (a / np.linalg.norm(a) for a in (rng.normal(size=rows), rng.normal(size=columns)))
        noise = rng.normal(size=(rows, columns)) * np.repeat(variance, each) ** 0.5 / rows**0.5
        w = np.outer(u, v * np.repeat(theta, each)) + noise
        left, s, right = np.linalg.svd(w, full_matrices=False)
        found.append([s[0] ** 2, (right[0] @ v) ** 2, (left[:, 0] @ u) ** 2])
    return np.array(found).T


def near(found, law):
    """Within four standard errors and 2 %, of order 1/N."""
    members = found.shape[1]
    return [
        abs(value.mean() - truth) < 4 * value.std(ddof=1) / members**0.5 + 0.02 * truth
        for value, truth in zip(found, (float(getattr(law, name)) for name in NAMES), strict=True)
    ]


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_one_block_is_the_white_law(ratio):
    theta = np.array([0.4, 0.9, 1.5, 3.0]) * 1.3 * ratio**0.25
    law = spiked(theta, 1.3, ratio)
    for blocks in (1, 3):
        found = spiked_blocks(np.stack([theta] * blocks, -1), np.full(blocks, 1.69), ratio)
        for name in NAMES:
            np.testing.assert_allclose(getattr(found, name), getattr(law, name), atol=1e-7)
        np.testing.assert_allclose(found.strength, theta / law.threshold)
        np.testing.assert_allclose(found.edge, 1.69 * (1 + ratio**0.5) ** 2)


@pytest.mark.parametrize("shape", [(160, 40), (80, 80), (40, 160)])
def test_outlier_and_overlaps_are_those_of_simulated_matrices(shape):
    """Sixty matrices; one block with the mean squares, and the blocks' variances exchanged, are refused."""
    ratio, variance = shape[1] / shape[0], np.array([1.0, 0.1])
    theta = np.array([2.5, 0.6]) * ratio**0.25
    found = simulated(*shape, theta, variance, 60)
    law = spiked_blocks(theta, variance, ratio)
    assert law.strength > 1.5 and all(near(found, law))
    assert not all(near(found, spiked(*(np.mean(v) ** 0.5 for v in (theta**2, variance)), ratio)))
    assert not all(near(found, spiked_blocks(theta, variance[::-1], ratio)))


def test_the_edge_of_noise_alone_follows_tracy_and_widom():
    """Mean and width of the largest level of 400 matrices of noise, five errors and N^(−2/3) of the width;
    the edge for the mean variance is off by ten widths."""
    rows, columns, variance = 160, 40, np.array([1.0, 0.1])
    rng = np.random.default_rng(1)
    w = rng.normal(size=(400, rows, columns)) * np.repeat(variance, columns // 2) ** 0.5 / rows**0.5
    top = np.linalg.svd(w, compute_uv=False)[:, 0] ** 2
    law = spiked_blocks([0.0, 0.0], variance, columns / rows)
    scale, limit = float(law.edge_scale) * rows ** (-2 / 3), TracyWidom(1)
    z = (top - float(law.edge)) / scale
    assert abs(z.mean() - limit.mean()) < 5 * z.std() / 20 + 0.25
    assert abs(z.std() / limit.std() - 1) < 0.15
    white = variance.mean() * (1 + (columns / rows) ** 0.5) ** 2
    assert abs(white - float(law.edge)) > 4 * scale


def test_the_transition_is_where_the_outlier_meets_the_edge():
    theta = np.array([1.0, 0.3]) * np.linspace(0.2, 3, 40)[:, None]
    law = spiked_blocks(theta, [1.0, 0.2], 0.25)
    below = law.strength <= 1
    assert below.any() and not below.all()
    np.testing.assert_allclose(law.position[below], law.edge[below])
    assert (law.position[~below] > law.edge[~below]).all() and not law.overlap_left[below].any()
    back = strength_at(law.position, theta, np.broadcast_to([1.0, 0.2], theta.shape), 0.25)
    np.testing.assert_allclose(back, np.maximum(law.strength, 1), rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([-1.0, 1.0], [1.0, 1.0], 0.5), "theta must not be negative"),
        (([1.0, 1.0], [1.0, -1.0], 0.5), "variance must not be negative"),
        (([1.0, 1.0], [0.0, 0.0], 0.5), "one block at least"),
        (([1.0, np.nan], [1.0, 1.0], 0.5), "theta"),
        (([1.0, 1.0], [1.0, 1.0], 0.0), "ratio"),
        (([1.0, 1.0], [1.0, 1.0], 0.5, [0.5, 0.6]), "sum 1"),
        (([1.0, 1.0], [1.0, 1.0], 0.5, [1.0]), "2 positive fractions"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(arguments, words):
    with pytest.raises(InputError, match=words):
        spiked_blocks(*arguments)

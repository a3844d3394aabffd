"""Counts and single levels of tridiagonal matrices, without their spectra."""

import numpy as np
import pytest

from dysonjax.spectra.sturm import counts_below, levels_of_rank
from dysonjax.spectra.wishart_pool import (
    pool_counts,
    pool_largest,
    pool_medians,
    pool_size,
    simulated,
    wishart_pool,
)


@pytest.mark.parametrize(("modes", "rows"), [(2, 2.0), (17, 40.0), (24, 24.0)])
def test_counts_and_single_levels_are_those_of_the_spectra(modes, rows):
    levels, size = wishart_pool(modes, rows, most=500), 500
    matrices = [part[:size] for part in simulated(modes, rows)]
    x = np.linspace(0, 2.03 * levels.max(), 23)
    expected = (levels[:, :, None] < x).sum(axis=1)
    np.testing.assert_array_equal(counts_below(*matrices, x), expected)
    own = levels[:, [0, modes // 2]] * (1 + 1e-6) + 1e-12  # points of their own for each matrix
    np.testing.assert_array_equal(counts_below(*matrices, own), np.tile([1, modes // 2 + 1], (size, 1)))
    for rank in (0, modes // 2, modes - 1):
        found = levels_of_rank(*matrices, rank)
        np.testing.assert_allclose(found, levels[:, rank], atol=2e-7 * levels.max())


def test_what_is_kept_of_a_pool_is_that_of_its_levels():
    modes, rows = 20, 60.0
    levels = wishart_pool(modes, rows)
    assert len(levels) == pool_size(modes)
    np.testing.assert_allclose(pool_largest(modes, rows), levels[:, -1], atol=2e-5)
    np.testing.assert_allclose(pool_medians(modes, rows), np.median(levels, axis=1), atol=1e-6)
    edges = np.linspace(0, 1.4, 31)
    expected = [np.histogram(np.sqrt(x), edges)[0] for x in levels[:50]]
    np.testing.assert_array_equal(pool_counts(modes, rows, 1.4, 30)[:50], expected)
    np.testing.assert_array_equal(wishart_pool(modes, rows, most=7), levels[:7])

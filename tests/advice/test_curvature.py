import numpy as np
import pytest

import dysonjax as dj
from dysonjax.advice.curvature import curvature


def _of(model, batch_size, seeds=8, **options):
    grid = dj.Grid(lr=0.1, batch_size=batch_size, sigma_w=[0.5, 1.0], **options)
    return curvature(model, grid, seeds=seeds).mean("seed")


def test_edges_of_the_linear_network_are_the_exact_ones():
    """x xᵀ has mean 1, so ⟨h⟩ = z² = 1 and 2/⟨h⟩ = 2; ⟨h²⟩ is 1 + 2/|B| for v of rank one and 1 + 1/|B| for
    v ∝ 1, and the mean lies between. 8 seeds of 64 batches: 3 % at |B| = 4."""
    found = _of(dj.models.linear(epsilon=0.0), 4)
    np.testing.assert_allclose(found["curvature"], 1, atol=0.1)
    np.testing.assert_allclose(found["lr_stable"], 2, atol=0.2)
    assert (found["lr_mean_square"] > 2 / (1 + 2 / 4) - 0.15).all()
    assert (found["lr_mean_square"] < 2 / (1 + 1 / 4) + 0.15).all()
    # Large batches leave the stability of the mean alone: the end of the linear scaling rule.
    large = _of(dj.models.linear(epsilon=0.0), 256)
    assert (large["lr_mean_square"] > 1.9).all()
    # The edge grows with |B| but less than in proportion, which is what a rule in α/|B| alone would say.
    assert (large["lr_mean_square"] < 2 * found["lr_mean_square"]).all()


@pytest.mark.slow
def test_the_steepest_direction_of_unequal_modes_is_found():
    """ZᵀZ with eigenvalues 1 and 1/4: the larger one counts."""
    found = _of(dj.models.linear("unequal", epsilon=0.0), 64)
    np.testing.assert_allclose(found["curvature"], 1, atol=0.05)

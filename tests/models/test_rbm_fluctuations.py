"""First-order theory of all RBM levels; against simulation it is held by every RBM figure's checks."""

import numpy as np
import pytest

from dysonjax.checks import InputError
from dysonjax.models.predictions import rbm_pair
from dysonjax.models.rbm_fluctuations import rbm_levels


def test_a_lone_pair_obeys_the_closed_form():
    temperature = np.array([0.001, 0.01])
    gap = np.diff(rbm_levels([5.0, 5.0], temperature), axis=-1)[..., 0]
    exact = rbm_pair(5.0, temperature, 1).mean_spacing
    error = gap.std(axis=1) / np.sqrt(gap.shape[1])
    assert (np.abs(gap.mean(axis=1) - exact) < 4 * error).all()
    assert (error < 0.02 * exact).all()  # a factor 2 in the variance would be √2 in the gap


def test_a_single_level_is_displaced_as_its_own_stationarity_demands():
    """⟨1/λ⟩ = 1/κ − T/κ² for N = 1, from ⟨ln x⟩ at rest: λ = κ + T + 2T(μ² − κ)/κ to first order."""
    kappa, temperature = 5.0, 1e-3
    x = rbm_levels([kappa], temperature, n_samples=200_000)[0, :, 0]
    displacement = -(temperature + 2 * temperature * (9 - kappa) / kappa)
    error = x.std() / np.sqrt(x.size)
    assert abs(x.mean() - (9 - kappa) - displacement) < 4 * error
    assert error < 0.1 * abs(displacement)
    unshifted = rbm_levels([kappa], temperature, n_samples=200_000, shift=False)[0, :, 0]
    assert abs(unshifted.mean() - (9 - kappa) - displacement) > 4 * error


def test_a_target_without_fixed_point_is_refused():
    with pytest.raises(InputError, match="kappa must lie between 0 and mu² = 9"):
        rbm_levels([4.0, 9.0], 0.01)

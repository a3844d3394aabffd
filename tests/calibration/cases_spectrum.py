"""The largest level of noise, whose scale is fitted to the same levels, and spikes beyond it."""

import numpy as np

from dysonjax.spectra.fit_marchenko_pastur import fit_marchenko_pastur
from dysonjax.spectra.outliers import estimate_spikes
from dysonjax.spectra.spikes import find_spikes
from dysonjax.spectra.wishart_pool import gaussian_spectra
from tests.calibration.frame import Coverage, PValue, inside


def _largest(rows: int, modes: int, members: int):
    def experiment(rng: np.random.Generator) -> float:
        levels = gaussian_spectra(rng, rows, modes, members) / rows
        fit = fit_marchenko_pastur(levels, modes / rows, n_resamples=2, n_null=0)
        return find_spikes(levels, float(fit.sigma2), rows).p_value

    return experiment


def _strength(members: int, theta: float):
    """θ of one spike in 256×64 matrices, from their levels."""

    def experiment(rng: np.random.Generator) -> tuple[bool, bool]:
        w = rng.normal(size=(members, 256, 64)) / 16
        w[:, 0, 0] += theta
        found = estimate_spikes(np.linalg.eigvalsh(w.swapaxes(1, 2) @ w), 0.25, count=1)
        return inside(theta, float(found.theta[0]), float(found.theta_err[0]))

    return experiment


CASES = [
    Coverage("spikes: θ = 1.5 from the levels of one 256×64 matrix", _strength(1, 1.5), 300),
    Coverage("spikes: θ = 1.5 from the levels of 8 matrices of 256×64", _strength(8, 1.5), 300),
    PValue("spikes: largest of 16 levels of a 64×16 matrix, σ² fitted", _largest(64, 16, 1)),
    PValue("spikes: largest of 64 levels of a square matrix, σ² fitted", _largest(64, 64, 1)),
    PValue("spikes: largest level of 12 matrices of 64×16, σ² fitted", _largest(64, 16, 12)),
]

"""The largest level of noise, whose scale is fitted to the same levels."""

import numpy as np

from dysonjax.spectra.fit_marchenko_pastur import fit_marchenko_pastur
from dysonjax.spectra.spikes import find_spikes
from dysonjax.spectra.wishart_pool import gaussian_spectra
from tests.calibration.frame import PValue


def _largest(rows: int, modes: int, members: int):
    def experiment(rng: np.random.Generator) -> float:
        levels = gaussian_spectra(rng, rows, modes, members) / rows
        fit = fit_marchenko_pastur(levels, modes / rows, n=2, null=0)
        return find_spikes(levels, float(fit.sigma2), rows).p_value

    return experiment


CASES = [
    PValue("spikes: largest of 16 levels of a 64×16 matrix, σ² fitted", _largest(64, 16, 1)),
    PValue("spikes: largest of 64 levels of a square matrix, σ² fitted", _largest(64, 64, 1)),
    PValue("spikes: largest level of 12 matrices of 64×16, σ² fitted", _largest(64, 16, 12)),
]

"""Parts of a tail, of ensembles whose members share a scale and their spikes."""

import numpy as np

from dysonjax.spectra.tail_parts import FALSE_POSITIVES, tail_parts
from tests.calibration.frame import Coverage, PValue, inside

ROWS, MODES, MEMBERS, HEADS = 64, 16, 16, 4


def _levels(rng: np.random.Generator, share: float = 0.0, spread: float = 0.0) -> np.ndarray:
    """Levels of four matrices a member, which have a scale and the number of spikes in common; `share` of the
    members have one spike in each matrix. spread: s of the variances of the rows."""
    w = rng.normal(size=(MEMBERS, HEADS, ROWS, MODES))
    w *= np.exp(spread / 2 * rng.normal(size=(MEMBERS, HEADS, ROWS, 1)))
    w[:, :, 0, 0] += 5 * ROWS**0.5 * (rng.random((MEMBERS, 1)) < share)
    w *= np.exp(0.3 * rng.normal(size=(MEMBERS, 1, 1, 1)))
    return np.linalg.svd(w, compute_uv=False) ** 2


def _p(rng: np.random.Generator) -> float:
    return tail_parts(_levels(rng), ROWS, n_resamples=19, key=int(rng.integers(2**31))).p_value


def _spikes(rng: np.random.Generator) -> tuple[bool, bool]:
    found = tail_parts(_levels(rng, share=0.5), ROWS, n_resamples=2)
    return inside((0.5 + FALSE_POSITIVES) / MODES, found.spikes, found.spikes_err)


def _spread(rng: np.random.Generator) -> tuple[bool, bool]:
    found = tail_parts(_levels(rng, spread=0.4), ROWS, n_resamples=40, key=int(rng.integers(2**31)))
    return inside(0.4, found.spread, found.spread_err)


CASES = [
    PValue("tail parts: noise of 16 members with 4 matrices of 64×16, p of plain noise", _p),
    Coverage("tail parts: spikes in every other of 16 members", _spikes, 300),
    Coverage("tail parts: s of unequal variances, 16 members", _spread, 200, conservative=True),
]

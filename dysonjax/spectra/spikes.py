"""Levels beyond the edge of noise, and how strong a signal each of them means.

The edge is exact for Gaussian noise of every shape; the strength is that of Baik, Ben Arous & Péché,
Ann. Probab. 33, 1643 (2005), for W = Σ θ_k u_k v_kᵀ + noise: a spike leaves the bulk if θ > θ_c = σ r^{1/4}.
"""

from dataclasses import dataclass

import numpy as np

from dysonjax.spectra.spike_null import spike_null
from dysonjax.spectra.spiked import overlaps_of, squared_strength
from dysonjax.spectra.wishart_largest import centre_and_scale, largest_level

FALSE_POSITIVES = 0.01  # of noise
LEAST_P = 1e-6  # below that the null is not resolved


@dataclass(frozen=True)
class Spikes:
    """Levels of X = WᵀW beyond the edge of noise of this shape. Lists run from the largest level down."""

    edge: float
    """what the largest of all members' levels stays below with probability 99 % under noise, units of x"""
    count: int
    """levels beyond the edge, over all members"""
    p_value: float
    """probability that the largest level of noise of this shape lies as high; at least 1e-6"""
    levels: np.ndarray
    """the levels beyond, at most 20"""
    strength: np.ndarray
    """θ/θ_c of each; 1 is the transition, below which nothing of a spike can be seen"""
    overlap_right: np.ndarray
    """|⟨v, v̂⟩|² of the singular vector of the shorter side with the planted one"""
    overlap_left: np.ndarray
    """|⟨u, û⟩|² of that of the longer side"""


def find_spikes(levels: np.ndarray, sigma2: float, rows: int) -> Spikes:
    """Spikes among levels of X = WᵀW, shape (members, modes), ascending.

    sigma2: σ² = M × variance of the noise, fitted to these levels; rows: M ≥ N. One ensemble of noise in a
    hundred has any, whatever its shape: the edge allows for the error of σ².
    """
    members, modes = levels.shape
    null = spike_null(members, modes, rows)
    centre, scale = centre_and_scale(rows, modes)
    edge = sigma2 / rows * (centre + null.edge(FALSE_POSITIVES) * scale)
    beyond = np.sort(levels[levels > edge])[::-1]
    top = beyond[:20]
    z = (levels.max() * rows / sigma2 - centre) / scale
    strength, right, left = strength_of(top, sigma2, modes / rows)
    return Spikes(float(edge), beyond.size, max(null.p_value(z), LEAST_P), top, strength, right, left)


def strength_of(x, sigma2: float, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """θ/θ_c and the overlaps of right and left singular vectors of outliers at x, units of sigma2.

    Solves x = (σ² + θ²)(rσ² + θ²)/θ² for the larger θ²; |⟨v, v̂⟩|² = 1 − r(1 + t²)/(t²(t² + r)) and
    |⟨u, û⟩|² = 1 − (r + t²)/(t²(t² + 1)) with t = θ/σ. Inside the bulk all three are at the transition.
    """
    t2 = squared_strength(np.asarray(x, np.float64) / sigma2, ratio)
    right, left = overlaps_of(t2, ratio)
    return np.sqrt(t2) / ratio**0.25, right, left


def noise_edge(sigma2: float, rows: int, modes: int, probability: float = 0.99) -> float:
    """What the largest level of a noise matrix of known σ² stays below with this probability, units of
    sigma2, by its exact law. sigma2: σ² = M × variance; rows: M ≥ N."""
    centre, scale = centre_and_scale(rows, modes)
    return float(sigma2 / rows * (centre + scale * largest_level(modes, rows).isf(1 - probability)))

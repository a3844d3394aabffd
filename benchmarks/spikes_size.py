"""How far outliers and overlaps of finite matrices lie from the law of large ones, near the transition.

    python benchmarks/spikes_size.py [members]

Gaussian matrices 4N×N with one planted spike, N from 16 to 512: what a linear network with gradient noise is
exactly. Means over members with standard errors, the power of N with which a deviation falls, and the
weakest spike that a count of outliers sees in half of the members, with what the law of Tracy and Widom says.
"""

import sys

import numpy as np
from scipy.linalg import eigh

from dysonjax.spectra import spiked
from dysonjax.spectra.spikes import noise_edge

SIZES = (16, 32, 64, 128, 256)
STRENGTHS = (1.06, 1.2, 1.35, 1.5, 2.0)  # θ/θ_c
RATIO = 0.25
NAMES = ("position", "overlap_right", "overlap_left")


def deviations(columns: int, members: int, seed: int = 0) -> np.ndarray:
    """Relative deviations from the law, (strength, number, members)."""
    rows, rng = round(columns / RATIO), np.random.default_rng([seed, columns])
    found = np.empty((len(STRENGTHS), len(NAMES), members))
    for member in range(members):
        noise = rng.normal(size=(rows, columns)) / rows**0.5
        gram, first = noise.T @ noise, noise[0].copy()
        for k, strength in enumerate(STRENGTHS):
            theta = strength * RATIO**0.25
            law = spiked(theta, 1.0, RATIO)
            # The spike is θ e₁ e₁ᵀ: directions of noise are all alike.
            x = gram.copy()
            x[0] += theta * first
            x[:, 0] += theta * first
            x[0, 0] += theta**2
            level, vector = (v[..., 0] for v in eigh(x, subset_by_index=[columns - 1, columns - 1]))
            left = (first @ vector + theta * vector[0]) / level**0.5
            measured = (level, vector[0] ** 2, left**2)
            found[k, :, member] = [
                m / float(getattr(law, n)) - 1 for m, n in zip(measured, NAMES, strict=True)
            ]
    return found


def least_seen(columns: int, members: int = 8, false_positives: float = 0.01) -> float:
    """θ/θ_c at which the outlier of the law meets the edge of noise of `members` matrices."""
    rows = round(columns / RATIO)
    edge = noise_edge(1.0, rows, columns, (1 - false_positives) ** (1 / members))
    strength = np.linspace(1, 4, 30_001)
    return float(strength[np.searchsorted(spiked(strength * RATIO**0.25, 1.0, RATIO).position, edge)])


def main(members: int) -> None:
    found = {}
    for columns in SIZES:
        found[columns] = deviations(columns, max(members // columns * 64, 100))
        print(f"N = {columns}: seen from {least_seen(columns):.3f} θ_c on", flush=True)
    for k, strength in enumerate(STRENGTHS):
        for n, name in enumerate(NAMES):
            mean = [found[c][k, n].mean() for c in SIZES]
            error = [found[c][k, n].std(ddof=1) / found[c].shape[-1] ** 0.5 for c in SIZES]
            power = np.polyfit(np.log(SIZES), np.log(np.abs(mean)), 1)[0]
            text = ", ".join(f"{100 * m:+.2f} ± {100 * e:.2f}" for m, e in zip(mean, error, strict=True))
            print(f"{strength:g} θ_c, {name}, % off: {text}; power of N {power:.2f}")
    for columns in (1024, 2048, 4096):
        print(f"N = {columns}: seen from {least_seen(columns):.3f} θ_c on")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

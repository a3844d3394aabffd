"""All levels of the RBM at rest, to first order in the temperature T = σ_h² α/|B|. Derived here.

About its fixed point, in the eigenbasis of the target, X = σ_h² W Wᵀ is diag(x_i) + δX with x_i = μ² − κ_i.
To first order the entries are independent: a step takes δX_ij to

    δX_ij − α(x_i + x_j) [δX_ij/(κ_i κ_j) + ζ_ij],   ⟨ζ_ij²⟩ = (1 + δ_ij)/(κ_i κ_j |B|),

ζ being the fluctuation of the chains' second moments, so that at rest ⟨δX_ij²⟩ = T (1 + δ_ij)(x_i + x_j)/2: κ
drops out. The mean of δX_ii is of the order T as well. It follows from ⟨δX′ − δX⟩ = 0 to second order, with
C − ⟨Ŝ⟩ = −δX_ij/(κ_i κ_j) − Σ_k δX_ik δX_kj/(κ_i κ_j κ_k) and the Itô term α² ⟨ζ X ζ⟩:

    ⟨δX_ii⟩ = −(T/2) [μ² (Σ_j 1/κ_j + 1/κ_i) + Σ_j x_j/κ_j + x_i/κ_i].

The levels are the eigenvalues of diag(x + ⟨δX⟩) + Gaussian matrix: repulsion of all levels by all others and
the mixing of eigenvectors are in it. What is left out: terms of order T² and the chains' memory.
"""

import numpy as np

from dysonjax import checks


def rbm_levels(
    kappa, temperature, mu: float = 3.0, *, draws: int = 4000, seed: int = 0, shift: bool = True
) -> np.ndarray:
    """Draws of all levels, (temperatures, draws, levels), ascending, for at least as many hidden as visible.

    kappa: eigenvalues of the target's precision, below μ². temperature: σ_h² α/|B|, a number or (n,). All
    temperatures use the same Gaussian numbers, so that averages are smooth in T. shift=False leaves out
    ⟨δX⟩. Raises InputError for a κ outside 0...μ².

    >>> rbm_levels([4.0, 6.0, 6.0, 8.0], [0.001, 0.01]).shape
    (2, 4000, 4)
    """
    kappa = np.sort(checks.finite_array("kappa", kappa))[::-1]
    if kappa[-1] <= 0 or kappa[0] >= mu**2:
        raise checks.InputError(f"kappa must lie between 0 and mu² = {mu**2:g}, got {kappa.tolist()}")
    temperature = np.atleast_1d(checks.finite_array("temperature", temperature, min_ndim=0))
    x = mu**2 - kappa
    half = np.random.default_rng(seed).normal(size=(draws, len(x), len(x)))
    unit = (half + np.swapaxes(half, -1, -2)) / np.sqrt(2)  # variance 1, on the diagonal 2
    width = np.sqrt((x[:, None] + x[None, :]) / 2)
    mean = -0.5 * (mu**2 * ((1 / kappa).sum() + 1 / kappa) + (x / kappa).sum() + x / kappa)
    return np.stack(
        [np.linalg.eigvalsh(np.diag(x + shift * t * mean) + np.sqrt(t) * width * unit) for t in temperature]
    )

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
from numpy.typing import ArrayLike

from dysonjax import checks, renamed
from dysonjax.keys import Key, keyed


@renamed.arguments(n_samples="draws")
@keyed
def rbm_levels(
    kappa: ArrayLike,
    temperature: ArrayLike,
    mu: float = 3.0,
    *,
    n_samples: int = 4000,
    key: Key = 0,
    shift: bool = True,
) -> np.ndarray:
    """Draw all levels of the RBM at rest, for at least as many hidden as visible components.

    Parameters
    ----------
    kappa : array, shape (levels,)
        Eigenvalues of the target's precision, above 0 and below μ².
    temperature : float or array, shape (temperatures,)
        T = σ_h² α/|B|.
    mu : float, default 3.0
        Parameter μ of the energy.
    n_samples : int, default 4000
        Number of draws at each temperature.
    key : int or jax.Array, default 0
        Randomness. All temperatures use the same Gaussian numbers, so that averages are smooth in T.
    shift : bool, default True
        Whether the mean ⟨δX⟩ counts. False leaves it out.

    Returns
    -------
    array, shape (temperatures, samples, levels)
        Levels x, eigenvalues of X = σ_h² WᵀW, ascending along the last axis. One temperature gives a first
        axis of length 1.

    Raises
    ------
    InputError
        If a κ lies outside 0…μ², or a number is not finite.

    Notes
    -----
    The levels are the eigenvalues of diag(x + ⟨δX⟩) + Gaussian matrix, to first order in T; the text of the
    module derives them. Terms of order T² and the chains' memory are left out.

    Examples
    --------
    The pair at μ² − κ = 3 is split by its fluctuations, the more the warmer:

    >>> x = dj.models.rbm_fluctuations.rbm_levels([4.0, 6.0, 6.0, 8.0], temperature=[0.001, 0.004])
    >>> x.shape
    (2, 4000, 4)
    >>> np.diff(x)[..., 1].mean(axis=1).round(2)
    array([0.14, 0.27])
    """
    kappa = np.sort(checks.finite_array("kappa", kappa))[::-1]
    if kappa[-1] <= 0 or kappa[0] >= mu**2:
        raise checks.InputError(f"kappa must lie between 0 and mu² = {mu**2:g}, got {kappa.tolist()}")
    temperature = np.atleast_1d(checks.finite_array("temperature", temperature, min_ndim=0))
    x = mu**2 - kappa
    half = np.random.default_rng(key).normal(size=(n_samples, len(x), len(x)))
    unit = (half + np.swapaxes(half, -1, -2)) / np.sqrt(2)  # variance 1, on the diagonal 2
    width = np.sqrt((x[:, None] + x[None, :]) / 2)
    mean = -0.5 * (mu**2 * ((1 / kappa).sum() + 1 / kappa) + (x / kappa).sum() + x / kappa)
    return np.stack(
        [np.linalg.eigvalsh(np.diag(x + shift * t * mean) + np.sqrt(t) * width * unit) for t in temperature]
    )

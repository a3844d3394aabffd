"""Potentials of learning: what the mean dynamics of training does to the levels of a model."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError
from dysonjax.dyson.potential import Potential, parameter
from dysonjax.dyson.wells import quadratic


def rbm(mu2: ArrayLike = 9.0, kappa: ArrayLike | None = None) -> Potential:
    """Gaussian restricted Boltzmann machine: eigenvalues x of X = σ_h² WᵀW with 0 ≤ x < μ².

    Parameters
    ----------
    mu2 : float or array, default 9.0
        μ², above 0.
    kappa : array, shape (levels,)
        Eigenvalues of the target precision, 0 < κ_i < μ², in the order of the levels. That is descending: the
        largest κ belongs to the smallest x.

    Returns
    -------
    Potential
        In the time τ = 2σ_h²αt, on 0 ≤ x < μ².

    Raises
    ------
    InputError
        If `kappa` is missing, not below `mu2`, not positive or not in descending order.

    Notes
    -----
    K_i = (1/κ_i − 1/(μ² − x)) x and V_i = −x²/(2κ_i) − x − μ² log(μ² − x), [A] Eq. 3.2. The minimum lies at
    μ² − κ_i with the curvature Ω_i = (μ² − κ_i)/κ_i². X is positive, so levels are reflected at 0. The drift
    alone does not do that: below 0 it would send them off without bound.

    Examples
    --------
    The levels come to rest at μ² − κ:

    >>> machine = dj.dyson.rbm(mu2=9.0, kappa=[8.0, 6.0, 4.0])
    >>> bool(np.allclose(machine.drift(np.array([1.0, 3.0, 5.0])), 0))
    True
    """
    if kappa is None:
        raise InputError("kappa must give the target precision of every level, e.g. kappa=[8.0, 6.0, 4.0]")
    mu2 = parameter("mu2", mu2, positive=True)
    kappa = parameter("kappa", kappa, positive=True)
    if np.any(kappa >= mu2):
        raise InputError(
            f"kappa must lie below mu2 = {np.max(mu2):g}, got {np.max(kappa):g}, which no machine can learn"
        )
    if kappa.ndim and np.any(np.diff(kappa, axis=-1) > 0):
        raise InputError("kappa must be in descending order, so that the level positions mu2 - kappa ascend")
    expansion = float(np.max(1 / kappa - 1 / mu2))
    return Potential(
        "rbm", _rbm_drift, _rbm_potential, (kappa, mu2), lower=0.0, upper=mu2, reflecting=(True, False),
        expansion=expansion,
    )  # fmt: skip


@renamed.arguments(variable="levels", hard_edge="shape")
def linear_network(
    teacher: ArrayLike = 2.0, z2: ArrayLike = 1.0, variable: str = "eigenvalues", hard_edge: ArrayLike = 0.0
) -> Potential:
    """One hidden linear layer with the mean dynamics dW/dt = ZᵀZ (W_t − W), mode by mode.

    Parameters
    ----------
    teacher : float or array, default 2.0
        Singular values of W_t, ascending, above 0.
    z2 : float or array, default 1.0
        Eigenvalue of ZᵀZ of every mode, 1/time, above 0.
    variable : {"eigenvalues", "singular values"}, default "eigenvalues"
        What the levels are: eigenvalues x of X = WᵀW, or singular values ξ of W.
    hard_edge : float or array, default 0.0
        For eigenvalues, the Itô term c(m − n + 1)/2 that noise `SquareRoot(c)` brings at β = 1; units of x
        over time.

    Returns
    -------
    Potential
        On x ≥ 0 for eigenvalues, on the whole line for singular values.

    Raises
    ------
    InputError
        If `teacher` or `z2` is not positive, or for another `variable`.

    Notes
    -----
    K = z2 (teacher − ξ) for singular values, which is `quadratic`; K = 2 z2 (teacher √x − x) + hard_edge for
    eigenvalues. [B] Fig. 4.

    Examples
    --------
    Learning rests at the singular values of the teacher, or at their squares:

    >>> by_value = dj.dyson.linear_network([1.0, 3.0], variable="singular values")
    >>> bool(np.allclose(by_value.drift(np.array([1.0, 3.0])), 0))
    True
    >>> by_square = dj.dyson.linear_network([1.0, 3.0])
    >>> bool(np.allclose(by_square.drift(np.array([1.0, 9.0])), 0))
    True
    """
    teacher, z2 = parameter("teacher", teacher, positive=True), parameter("z2", z2, positive=True)
    if variable == "singular values":
        return dataclasses.replace(quadratic(z2, teacher), name="linear_network")
    if variable != "eigenvalues":
        raise InputError(f"variable must be 'eigenvalues' or 'singular values', got {variable!r}")
    hard_edge = parameter("hard_edge", hard_edge)
    # K′ diverges at 0 like 1/√x; the bound holds above (teacher/6)², where the levels spend their time.
    expansion = float(np.max(4 * z2))
    return Potential(
        "linear_network", _linear_drift, _linear_potential, (teacher, z2, hard_edge), lower=0.0,
        reflecting=(True, False), expansion=expansion,
    )  # fmt: skip


def _rbm_drift(x, kappa, mu2):
    return (1 / kappa - 1 / (mu2 - x)) * x


def _rbm_potential(x, kappa, mu2):
    return -0.5 * x**2 / kappa - x - mu2 * jnp.log(mu2 - x)


def _linear_drift(x, teacher, z2, shape):
    return 2 * z2 * (teacher * jnp.sqrt(x) - x) + shape


def _linear_potential(x, teacher, z2, shape):
    return z2 * (x**2 - (4 / 3) * teacher * x * jnp.sqrt(x)) - shape * x

"""Potentials of textbooks: wells whose laws at rest are the β-ensembles, a double well, and none at all."""

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.dyson.potential import Potential, parameter


def quadratic(omega: ArrayLike = 1.0, center: ArrayLike = 0.0) -> Potential:
    """K = −omega (x − center), the Ornstein–Uhlenbeck drift. Its stationary law is the β-Hermite ensemble.

    Parameters
    ----------
    omega : float or array, default 1.0
        Rate of return, 1/time, above 0. It may differ from level to level.
    center : float or array, default 0.0
        Position of the minimum, units of x. It may differ from level to level.

    Returns
    -------
    Potential
        On the whole line.

    Raises
    ------
    InputError
        If `omega` is not positive or a number is not finite.

    Examples
    --------
    >>> dj.dyson.quadratic(omega=2.0).drift(np.array([-1.0, 1.0]))
    array([ 2., -2.])
    """
    omega, center = parameter("omega", omega, positive=True), parameter("center", center)
    return Potential("quadratic", _quadratic_drift, _quadratic_potential, (omega, center))


def free() -> Potential:
    """K = 0: levels that only repel each other.

    They spread for ever, so there is no stationary law.

    Returns
    -------
    Potential
        On the whole line.

    Examples
    --------
    >>> dj.dyson.free().drift(np.array([-1.0, 2.0])) == 0
    array([ True,  True])
    >>> dj.dyson.CoulombGas(dj.dyson.free(), g2=0.5, n=2)
    Traceback (most recent call last):
    ...
    dysonjax.checks.InputError: the free potential is not confining: ...
    """
    return Potential("free", _free, _free, ())


def quartic(stiffness: ArrayLike = 1.0, omega: ArrayLike = 0.0) -> Potential:
    """V = stiffness x⁴/4 + omega x²/2: a double well if omega is negative.

    Parameters
    ----------
    stiffness : float or array, default 1.0
        Coefficient of the quartic term, units of 1/(time x²), above 0.
    omega : float or array, default 0.0
        Coefficient of the quadratic term, 1/time, of any sign.

    Returns
    -------
    Potential
        On the whole line. The minima of a double well lie at ±√(−omega/stiffness).

    Raises
    ------
    InputError
        If `stiffness` is not positive or a number is not finite.

    Examples
    --------
    The drift vanishes at the minima ±2 and at the top of the barrier between them:

    >>> dj.dyson.quartic(stiffness=1.0, omega=-4.0).drift(np.array([-2.0, 0.0, 2.0]))
    array([0., 0., 0.])
    """
    stiffness, omega = parameter("stiffness", stiffness, positive=True), parameter("omega", omega)
    expansion = float(np.max(-omega, initial=0.0))
    return Potential("quartic", _quartic_drift, _quartic_potential, (stiffness, omega), expansion=expansion)


@renamed.arguments(hard_edge="shape")
def laguerre(omega: ArrayLike = 1.0, hard_edge: ArrayLike = 1.0) -> Potential:
    """V = omega x − hard_edge log x on x > 0, hence K = hard_edge/x − omega, for constant noise.

    Parameters
    ----------
    omega : float or array, default 1.0
        Pull towards 0, units of x over time, above 0.
    hard_edge : float or array, default 1.0
        Strength of the logarithm that keeps the levels positive, units of x² over time, above 0.

    Returns
    -------
    Potential
        On x > 0.

    Raises
    ------
    InputError
        If a parameter is not positive or not finite.

    See Also
    --------
    wishart : the square-root process, whose moments relax along exact exponentials.

    Notes
    -----
    If all levels have the same noise g², the stationary law is the β-Laguerre ensemble with
    hard_edge/g² = β(m − n + 1)/2 − 1.

    Examples
    --------
    A single level is Gamma distributed, with mean (hard_edge + g²)/omega:

    >>> gas = dj.dyson.CoulombGas(dj.dyson.laguerre(omega=1.0, hard_edge=2.0), g2=1.0, n=1)
    >>> round(float(gas.sample(0, 20_000).mean()), 1)
    3.0
    """
    omega, hard_edge = (
        parameter("omega", omega, positive=True),
        parameter("hard_edge", hard_edge, positive=True),
    )
    return Potential("laguerre", _laguerre_drift, _laguerre_potential, (omega, hard_edge), lower=0.0)


@renamed.arguments(hard_edge="shape")
def wishart(omega: ArrayLike = 1.0, hard_edge: ArrayLike = 1.0) -> Potential:
    """K = hard_edge − omega x on x ≥ 0: with noise `SquareRoot(c)`, the eigenvalues of a Wishart process.

    Parameters
    ----------
    omega : float or array, default 1.0
        Rate of return, 1/time, above 0.
    hard_edge : float or array, default 1.0
        Constant part of the drift, units of x over time, above 0.

    Returns
    -------
    Potential
        On x ≥ 0, with reflection at 0.

    Raises
    ------
    InputError
        If a parameter is not positive or not finite.

    Notes
    -----
    With `SquareRoot(c)` the stationary law is the β-Laguerre ensemble with hard_edge/c = β(m − n + 1)/2. With
    constant noise it is a Gaussian on x ≥ 0.

    Examples
    --------
    >>> well = dj.dyson.wishart(omega=2.0, hard_edge=3.0)
    >>> well.drift(np.array([0.0, 1.5]))
    array([3., 0.])
    """
    omega, hard_edge = (
        parameter("omega", omega, positive=True),
        parameter("hard_edge", hard_edge, positive=True),
    )
    return Potential(
        "wishart", _wishart_drift, _wishart_potential, (omega, hard_edge), lower=0.0, reflecting=(True, False)
    )


def _quadratic_drift(x, omega, center):
    return -omega * (x - center)


def _quadratic_potential(x, omega, center):
    return 0.5 * omega * (x - center) ** 2


def _free(x):
    return 0.0 * x


def _quartic_drift(x, stiffness, omega):
    return -stiffness * x * x * x - omega * x


def _quartic_potential(x, stiffness, omega):
    return 0.25 * stiffness * x**4 + 0.5 * omega * x**2


def _laguerre_drift(x, omega, shape):
    return shape / x - omega


def _laguerre_potential(x, omega, shape):
    return omega * x - shape * jnp.log(x)


def _wishart_drift(x, omega, shape):
    return shape - omega * x


def _wishart_potential(x, omega, shape):
    return 0.5 * omega * x**2 - shape * x

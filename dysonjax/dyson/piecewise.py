"""A drift that is known at some places only, such as one that was measured."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array
from dysonjax.dyson.potential import Potential


def piecewise_linear(knots: ArrayLike, values: ArrayLike, name: str = "measured", **limits: Any) -> Potential:
    """A drift that interpolates values between knots and goes on linearly beyond the last ones.

    This is how a measured drift is fed back into the integrator.

    Parameters
    ----------
    knots : array, shape (levels, knots)
        Places, ascending, units of x. Two or more for every level.
    values : array, shape (levels, knots)
        K_i at the knots, units of x over time.
    name : str, default "measured"
        What messages and figures call it.
    **limits
        `lower`, `upper` and `reflecting` of the domain, see `Potential`.

    Returns
    -------
    Potential
        With one drift for every level.

    Raises
    ------
    InputError
        If the two arrays differ in shape or have fewer than two knots.

    Examples
    --------
    >>> hinge = dj.dyson.piecewise_linear(knots=[[0.0, 1.0, 2.0]], values=[[1.0, 0.0, -3.0]])
    >>> [round(float(hinge.drift(np.array([x]))[0]), 6) for x in (0.5, 1.5, 3.0)]
    [0.5, -1.5, -6.0]
    """
    knots, values = finite_array("knots", knots, 2), finite_array("values", values, 2)
    if knots.shape != values.shape or knots.shape[1] < 2:
        raise InputError(
            f"knots and values need one shape (levels, >= 2), got {knots.shape} and {values.shape}"
        )
    slopes = np.diff(values, axis=1) / np.diff(knots, axis=1)
    # K = K(t_0) + s_0 (x − t_0) + Σ_k (s_k − s_{k−1}) max(x − t_k, 0): elementwise, so it runs anywhere.
    bends = tuple(np.diff(slopes, axis=1).T) if slopes.shape[1] > 1 else ()
    params = (values[:, 0], knots[:, 0], slopes[:, 0], *bends, *(knots[:, 1:-1].T if bends else ()))
    return Potential(
        name, _hinge_drift, _hinge_potential, tuple(params), expansion=float(max(slopes.max(), 0.0)), **limits
    )


def _hinge_drift(x, value, knot, first, *rest):
    drift = value + first * (x - knot)
    half = len(rest) // 2
    for bend, at in zip(rest[:half], rest[half:], strict=True):
        drift = drift + bend * jnp.maximum(x - at, 0.0)
    return drift


def _hinge_potential(x, value, knot, first, *rest):
    total = value * (x - knot) + 0.5 * first * (x - knot) ** 2
    half = len(rest) // 2
    for bend, at in zip(rest[:half], rest[half:], strict=True):
        total = total + 0.5 * bend * jnp.maximum(x - at, 0.0) ** 2
    return -total

"""What a potential is: a drift K_i(x) = −V_i′(x) with the interval on which the levels live.

A potential acts on every level separately. Its parameters may be numbers (the same for all levels), arrays
of shape (levels,) or of shape (..., members, levels), in which case every member has its own and a grid of
parameters is integrated in one go.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array

UNBOUNDED = 1e12  # an expansion rate above this is treated as infinite


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Potential:
    """A separable potential: a drift K = −V′ for every level, and the interval on which the levels live.

    Build one with `quadratic`, `rbm` and the like, or with `custom`. Its parameters may be numbers, the same
    for all levels; arrays of shape (levels,); or arrays of shape (..., members, levels), so that one call
    integrates a whole grid of parameters.

    Attributes
    ----------
    name : str
        What messages and figures call it.
    drift_fn : callable
        K(x, *params), elementwise in x, written with jax.numpy. Units of x over time.
    potential_fn : callable
        V(x, *params), elementwise in x, written with jax.numpy. Units of x² over time.
    params : tuple of float64 arrays
        Each broadcasts against x of shape (..., levels).
    lower, upper : float or array
        Limits of the domain, units of x. Infinite where there is none.
    reflecting : (bool, bool)
        Whether levels are reflected at the lower and at the upper limit. False where the drift itself
        diverges at the limit and keeps the levels inside.
    expansion : float or array
        Upper bound of K′ on the domain, 1/time. The implicit method takes steps below 1/expansion, where its
        equation has one solution only.

    Examples
    --------
    >>> well = dj.dyson.quadratic(omega=2.0, center=1.0)
    >>> well.name, well.params
    ('quadratic', (array(2.), array(1.)))
    >>> well.drift(np.array([0.0, 2.0]))
    array([ 2., -2.])
    """

    name: str = dataclasses.field(metadata={"static": True})
    drift_fn: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    potential_fn: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    params: tuple[Any, ...]
    lower: Any = -math.inf
    upper: Any = math.inf
    reflecting: tuple[bool, bool] = dataclasses.field(default=(False, False), metadata={"static": True})
    expansion: Any = 0.0

    def drift(self, x: ArrayLike) -> Any:
        """The drift K of every level.

        Parameters
        ----------
        x : array, shape (..., levels)
            Levels.

        Returns
        -------
        array, shape (..., levels)
            K(x), units of x over time.
        """
        return self.drift_fn(x, *self.params)

    def potential(self, x: ArrayLike) -> Any:
        """The potential V of every level.

        Parameters
        ----------
        x : array, shape (..., levels)
            Levels.

        Returns
        -------
        array, shape (..., levels)
            V(x), units of x² over time, up to a constant for each level.
        """
        return self.potential_fn(x, *self.params)


def slope(potential: Potential, x):
    """K′(x) by automatic differentiation, shape of x."""
    return derivative(potential.drift_fn, x, *potential.params)


def derivative(function, x, *params):
    """The derivative of function(x, *params) with respect to x, elementwise."""
    return jax.jvp(lambda y: function(y, *params), (x,), (jnp.ones_like(x),))[1]


def parameter(name: str, value, positive: bool = False) -> np.ndarray:
    """A parameter of a potential as an array; raises InputError if it is not finite, or not positive."""
    array = finite_array(name, value, min_ndim=0)
    if positive and not np.all(array > 0):
        raise InputError(f"{name} must be positive, got {float(np.min(array)):g}")
    return array

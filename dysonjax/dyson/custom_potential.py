"""Potentials of one's own, from a drift or a potential as a function."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.checks import InputError
from dysonjax.dyson.line import Line, integral
from dysonjax.dyson.potential import Potential, derivative, parameter

_compiled_slope = jax.jit(derivative, static_argnums=0)


def custom(
    drift: Callable | None = None,
    potential: Callable | None = None,
    *,
    params: tuple = (),
    lower: float = -math.inf,
    upper: float = math.inf,
    reflecting: tuple[bool, bool] | None = None,
    expansion: float | None = None,
    reference: float | None = None,
    name: str = "custom",
) -> Potential:
    """A potential from a drift K(x, *params), a potential V(x, *params) or both.

    Parameters
    ----------
    drift : callable, optional
        K, elementwise in x, written with jax.numpy. If missing, K = −V′ by automatic differentiation.
    potential : callable, optional
        V, likewise. If missing, −K integrated by quadrature from `reference`.
    params : tuple of arrays, optional
        Numbers of the two functions. Each may differ from level to level, see `Potential`.
    lower, upper : float, optional
        Limits of the domain, units of x. Infinite by default.
    reflecting : (bool, bool), optional
        Whether levels are reflected at the limits. By default they are at every finite limit at which the
        drift stays finite.
    expansion : float, optional
        Upper bound of K′, 1/time. By default it is estimated on a grid that spans all zeros of K.
    reference : float, optional
        Where a V that is integrated vanishes. By default a place where K is zero.
    name : str, default "custom"
        What messages and figures call it.

    Returns
    -------
    Potential
        With K = −V′, which is checked where both are given.

    Raises
    ------
    InputError
        If neither function is given, the limits are reversed, K ≠ −V′, or the drift is not finite inside the
        domain.

    Examples
    --------
    >>> print(dj.dyson.custom(potential=lambda x: x**4).drift(np.array(1.0)))
    -4.0
    """
    if drift is None and potential is None:
        raise InputError("custom needs a drift function, a potential function or both")
    if not lower < upper:
        raise InputError(f"lower must lie below upper, got {lower!r} and {upper!r}")
    params = tuple(parameter(f"params[{k}]", value) for k, value in enumerate(params))
    if drift is None:
        assert potential is not None  # one of the two is given
        drift = _Derivative(potential)
    line = Line(float(lower), float(upper))
    near = _grid(lower, upper)
    with jax.enable_x64(True):
        wells = _between_zeros(line, drift, params)
        grid = np.concatenate([near, wells])
        points = _as_points(grid, params)
        force = np.asarray(jax.jit(drift)(points, *params))
        points = jnp.broadcast_to(points, force.shape)
        slope = np.asarray(_compiled_slope(drift, points, *params))
        if potential is None:
            start = wells[len(wells) // 2] if wells.size else near[len(near) // 2]
            potential = _Integral(drift, float(start if reference is None else reference), line)
        else:
            derived = -np.asarray(_compiled_slope(potential, points, *params), dtype=np.float64)
            both = np.isfinite(derived) & np.isfinite(force)
            gap = np.abs(derived[both] - force[both])
            if np.any(gap > 1e-6 * (1 + np.abs(force[both]))):
                worst = float(np.asarray(points)[both][np.argmax(gap)])
                raise InputError(
                    f"drift and potential disagree at x = {worst:g}: K must equal -V'; leave one of them out"
                )
    if not np.isfinite(force[len(near) // 4 : len(near) - len(near) // 4]).all():
        raise InputError(f"the drift of {name!r} is not finite inside its domain ({lower:g}, {upper:g})")
    if expansion is None:
        expansion = float(np.max(slope[np.isfinite(slope)], initial=0.0))
    if reflecting is None:
        reflecting = (
            math.isfinite(lower) and not _diverges(drift, params, lower, 1.0),
            math.isfinite(upper) and not _diverges(drift, params, upper, -1.0),
        )
    return Potential(name, drift, potential, params, lower, upper, reflecting, expansion)


def _diverges(drift, params, wall: float, inwards: float) -> bool:
    """Whether the drift pushes away from a wall without limit, as 1/x does but not log x."""
    drift = jax.jit(drift)
    with jax.enable_x64(True):
        far, near = (
            np.min(inwards * np.asarray(drift(jnp.asarray(wall + inwards * step * (1 + abs(wall))), *params)))
            for step in (1e-6, 1e-10)
        )
    return bool(near > 30 * max(far, 1.0))


def _grid(lower: float, upper: float) -> np.ndarray:
    """Points inside the domain, close to its limits and far out where there is none."""
    far = np.concatenate([-np.geomspace(10, 1e-3, 60), np.geomspace(1e-3, 10, 60)])
    if math.isinf(lower) and math.isinf(upper):
        return far
    if math.isinf(upper):
        return lower + np.geomspace(1e-6, 20, 120)
    if math.isinf(lower):
        return upper - np.geomspace(20, 1e-6, 120)
    share = 1 / (1 + np.exp(-np.linspace(-14, 14, 120)))
    return lower + (upper - lower) * share


def _as_points(grid: np.ndarray, params: tuple):
    """Points along an axis of their own before those of the parameters."""
    return jnp.asarray(grid.reshape((-1,) + (1,) * max((np.ndim(p) for p in params), default=0)))


def _between_zeros(line: Line, drift, params) -> np.ndarray:
    """Even points over all places where a force changes its sign, however far out; none if it never does."""
    far = min(line.reach, 20.0)
    x = np.unique(line.x(np.linspace(-far, far, 4001)))
    x = x[(x > line.lower) & (x < line.upper)]
    force = np.asarray(jax.jit(drift)(_as_points(x, params), *params)).reshape(len(x), -1)
    turns = np.flatnonzero(np.any((force[:-1] > 0) != (force[1:] > 0), axis=1))
    if not turns.size:
        return np.empty(0)
    return np.linspace(x[max(turns[0] - 1, 0)], x[min(turns[-1] + 2, len(x) - 1)], 2001)


@dataclasses.dataclass(frozen=True)
class _Derivative:
    """−V′, hashable so that compilations are shared."""

    potential: Callable

    def __call__(self, x, *params):
        return -derivative(self.potential, jnp.asarray(x, dtype=float), *params)


@dataclasses.dataclass(frozen=True)
class _Integral:
    """−∫ K from the reference point, by Gauss–Legendre nodes in the coordinate of the domain."""

    drift: Callable
    reference: float
    line: Line

    def __call__(self, x, *params):
        return -integral(lambda y: self.drift(y, *params), self.line, self.reference, x)

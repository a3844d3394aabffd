"""Drifts K_i(x) = −V_i′(x) with the interval on which the levels live.

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

from dysonjax import renamed
from dysonjax.checks import InputError, finite_array
from dysonjax.dyson.line import Line, integral

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
    omega, center = _parameter("omega", omega, positive=True), _parameter("center", center)
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
    stiffness, omega = _parameter("stiffness", stiffness, positive=True), _parameter("omega", omega)
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
        _parameter("omega", omega, positive=True),
        _parameter("hard_edge", hard_edge, positive=True),
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
        _parameter("omega", omega, positive=True),
        _parameter("hard_edge", hard_edge, positive=True),
    )
    return Potential(
        "wishart", _wishart_drift, _wishart_potential, (omega, hard_edge), lower=0.0, reflecting=(True, False)
    )


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
    mu2 = _parameter("mu2", mu2, positive=True)
    kappa = _parameter("kappa", kappa, positive=True)
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
    teacher, z2 = _parameter("teacher", teacher, positive=True), _parameter("z2", z2, positive=True)
    if variable == "singular values":
        return dataclasses.replace(quadratic(z2, teacher), name="linear_network")
    if variable != "eigenvalues":
        raise InputError(f"variable must be 'eigenvalues' or 'singular values', got {variable!r}")
    hard_edge = _parameter("hard_edge", hard_edge)
    # K′ diverges at 0 like 1/√x; the bound holds above (teacher/6)², where the levels spend their time.
    expansion = float(np.max(4 * z2))
    return Potential(
        "linear_network", _linear_drift, _linear_potential, (teacher, z2, hard_edge), lower=0.0,
        reflecting=(True, False), expansion=expansion,
    )  # fmt: skip


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
    params = tuple(_parameter(f"params[{k}]", value) for k, value in enumerate(params))
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


def slope(potential: Potential, x):
    """K′(x) by automatic differentiation, shape of x."""
    return _slope(potential.drift_fn, x, *potential.params)


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


def _parameter(name: str, value, positive: bool = False) -> np.ndarray:
    array = finite_array(name, value, min_ndim=0)
    if positive and not np.all(array > 0):
        raise InputError(f"{name} must be positive, got {float(np.min(array)):g}")
    return array


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


def _slope(function, x, *params):
    return jax.jvp(lambda y: function(y, *params), (x,), (jnp.ones_like(x),))[1]


_compiled_slope = jax.jit(_slope, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class _Derivative:
    """−V′, hashable so that compilations are shared."""

    potential: Callable

    def __call__(self, x, *params):
        return -_slope(self.potential, jnp.asarray(x, dtype=float), *params)


@dataclasses.dataclass(frozen=True)
class _Integral:
    """−∫ K from the reference point, by Gauss–Legendre nodes in the coordinate of the domain."""

    drift: Callable
    reference: float
    line: Line

    def __call__(self, x, *params):
        return -integral(lambda y: self.drift(y, *params), self.line, self.reference, x)


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


def _rbm_drift(x, kappa, mu2):
    return (1 / kappa - 1 / (mu2 - x)) * x


def _rbm_potential(x, kappa, mu2):
    return -0.5 * x**2 / kappa - x - mu2 * jnp.log(mu2 - x)


def _linear_drift(x, teacher, z2, shape):
    return 2 * z2 * (teacher * jnp.sqrt(x) - x) + shape


def _linear_potential(x, teacher, z2, shape):
    return z2 * (x**2 - (4 / 3) * teacher * x * jnp.sqrt(x)) - shape * x


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

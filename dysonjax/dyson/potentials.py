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

from dysonjax.checks import InputError, finite_array
from dysonjax.dyson.line import Line, integral

UNBOUNDED = 1e12  # an expansion rate above this is treated as infinite


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Potential:
    """A separable potential; build one with `quadratic`, `rbm`, …, or `custom`.

    name: what messages and figures call it.
    drift_fn, potential_fn: K(x, *params) and V(x, *params), elementwise in x, written with jax.numpy.
    params: tuple of float64 arrays that broadcast against x of shape (..., levels).
    lower, upper: limits of the domain, units of x; infinite where there is none.
    reflecting: (at lower, at upper), whether levels are reflected there. False where the drift itself
        diverges at the limit and keeps the levels inside.
    expansion: upper bound of K′ on the domain, 1/time. The implicit method takes steps below 1/expansion,
        where its equation has one solution only.
    """

    name: str = dataclasses.field(metadata={"static": True})
    drift_fn: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    potential_fn: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    params: tuple[Any, ...]
    lower: Any = -math.inf
    upper: Any = math.inf
    reflecting: tuple[bool, bool] = dataclasses.field(default=(False, False), metadata={"static": True})
    expansion: Any = 0.0

    def drift(self, x):
        """K(x) for x of shape (..., levels), units of x over time."""
        return self.drift_fn(x, *self.params)

    def potential(self, x):
        """V(x) for x of shape (..., levels), units of x² over time, up to a constant per level."""
        return self.potential_fn(x, *self.params)


def quadratic(omega=1.0, center=0.0) -> Potential:
    """K = −omega (x − center): the Ornstein–Uhlenbeck drift, whose stationary law is the β-Hermite ensemble.

    omega: rate of return, 1/time, > 0. center: position of the minimum. Both may differ from level to level.

    >>> quadratic(omega=2.0).drift(np.array([-1.0, 1.0]))
    array([ 2., -2.])
    """
    omega, center = _parameter("omega", omega, positive=True), _parameter("center", center)
    return Potential("quadratic", _quadratic_drift, _quadratic_potential, (omega, center))


def free() -> Potential:
    """K = 0: levels that only repel each other. They spread for ever, so there is no stationary law."""
    return Potential("free", _free, _free, ())


def quartic(stiffness=1.0, omega=0.0) -> Potential:
    """V = stiffness x⁴/4 + omega x²/2; a double well if omega < 0.

    stiffness: > 0, units of 1/(time x²). omega: 1/time, any sign.
    """
    stiffness, omega = _parameter("stiffness", stiffness, positive=True), _parameter("omega", omega)
    expansion = float(np.max(-omega, initial=0.0))
    return Potential("quartic", _quartic_drift, _quartic_potential, (stiffness, omega), expansion=expansion)


def laguerre(omega=1.0, shape=1.0) -> Potential:
    """V = omega x − shape log x on x > 0, K = shape/x − omega, for constant noise.

    With equal g its stationary law is the β-Laguerre ensemble: shape/g² = β(m − n + 1)/2 − 1. For the
    square-root process, whose moments relax along exact exponentials, see `wishart`.

    omega: units of x over time, > 0. shape: units of x² over time, > 0.
    """
    omega, shape = _parameter("omega", omega, positive=True), _parameter("shape", shape, positive=True)
    return Potential("laguerre", _laguerre_drift, _laguerre_potential, (omega, shape), lower=0.0)


def wishart(omega=1.0, shape=1.0) -> Potential:
    """K = shape − omega x on x ≥ 0: with noise `SquareRoot(c)` the eigenvalue process of a Wishart matrix.

    Stationary law: β-Laguerre with shape/c = β(m − n + 1)/2; for constant noise a Gaussian on x ≥ 0.

    omega: 1/time, > 0. shape: units of x over time, > 0.
    """
    omega, shape = _parameter("omega", omega, positive=True), _parameter("shape", shape, positive=True)
    return Potential(
        "wishart", _wishart_drift, _wishart_potential, (omega, shape), lower=0.0, reflecting=(True, False)
    )


def rbm(mu2=9.0, kappa=None) -> Potential:
    """Gaussian restricted Boltzmann machine: eigenvalues of X = σ_h² WᵀW, 0 ≤ x < μ². [A] Eq. 3.2.

    K_i = (1/κ_i − 1/(μ² − x)) x, V_i = −x²/(2κ_i) − x − μ² log(μ² − x), in time τ = 2σ_h²αt. The minimum
    lies at μ² − κ_i with curvature Ω_i = (μ² − κ_i)/κ_i². X is positive, so levels are reflected at 0, which
    the drift alone does not do: below 0 it would send them off without bound.

    mu2: μ², > 0. kappa: eigenvalues of the target precision, one per level, 0 < κ_i < μ², in the order of
    the levels, that is descending: the largest κ belongs to the smallest x. Raises InputError otherwise.
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


def linear_network(teacher=2.0, z2=1.0, levels: str = "eigenvalues", shape=0.0) -> Potential:
    """One hidden linear layer, mean dynamics dW/dt = ZᵀZ (W_t − W), mode by mode ([B] Fig. 4).

    teacher: singular values of W_t, ascending. z2: eigenvalue of ZᵀZ of every mode, 1/time.
    levels: "singular values": K = z2 (teacher − ξ), which is `quadratic`; "eigenvalues": of X = WᵀW,
    K = 2 z2 (teacher √x − x) + shape on x ≥ 0, where `shape` holds the Itô term c(m − n + 1)/2 that noise
    `SquareRoot(c)` brings (β = 1).
    """
    teacher, z2 = _parameter("teacher", teacher, positive=True), _parameter("z2", z2, positive=True)
    if levels == "singular values":
        return dataclasses.replace(quadratic(z2, teacher), name="linear_network")
    if levels != "eigenvalues":
        raise InputError(f"levels must be 'eigenvalues' or 'singular values', got {levels!r}")
    shape = _parameter("shape", shape)
    # K′ diverges at 0 like 1/√x; the bound holds above (teacher/6)², where the levels spend their time.
    expansion = float(np.max(4 * z2))
    return Potential(
        "linear_network", _linear_drift, _linear_potential, (teacher, z2, shape), lower=0.0,
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
    """A potential from a drift K(x, *params), a potential V(x, *params) or both, elementwise jax functions.

    A missing V is K integrated by quadrature from `reference`, by default a place where K is zero; a missing
    K is −V′ by automatic differentiation. Where both are given, K = −V′ is checked. `reflecting` defaults to
    every finite limit at which the drift stays finite. `expansion` (upper bound of K′) is estimated on a grid
    that spans all zeros of K if not given. Raises InputError if nothing is given, the limits are reversed,
    K ≠ −V′ or values are not finite.

    >>> print(custom(potential=lambda x: x**4).drift(np.array(1.0)))
    -4.0
    """
    if drift is None and potential is None:
        raise InputError("custom needs a drift function, a potential function or both")
    if not lower < upper:
        raise InputError(f"lower must lie below upper, got {lower!r} and {upper!r}")
    params = tuple(_parameter(f"params[{k}]", value) for k, value in enumerate(params))
    if drift is None:
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


def piecewise_linear(knots, values, name: str = "measured", **limits) -> Potential:
    """K_i(x) that interpolates `values` between `knots`, both of shape (levels, knots), and goes on linearly.

    This is how a measured drift is fed back into the integrator.
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

"""Drift and noise measured from an ensemble of trajectories: K_i(x) and g_i² as conditional moments.

The increments δx(t) = x(t) − x(0) of level i obey, with F_i = K_i + β g_i² Σ_j 1/(x_i − x_j),

    E[δx_i(Δ) | x] = ∫₀^Δ E[F_i(x(t)) | x] dt           ≈ (Δ/2) E[F_i(x) + F_i(x(Δ)) | x],
    E[δx_i(Δ)²]    = 2 g_i² Δ + 2 ∫₀^Δ E[δx_i F_i] dt   ≈ 2 g_i² Δ + 2Δ (w₁ h(Δ) + w₂ h(Δ′)),

h(t) = E[δx_i(t) F_i(x(t))] being known at the next record and the one after, Δ′. Where levels repel, h is not
smooth at 0: two levels closer than √t, a share t^{(β+1)/2} of all, have met. Its expansion begins with t and
t^{(β+1)/2}, t log t for β = 1, and t² without repulsion; the weights w integrate both terms exactly. The
trapezoidal rule (w₁ = ½) would leave g² low by 1.4 % for three levels at β = 1 and Δ = 0.05 relaxation times.

K_i is a sum of hat functions, linear between knots. The end point x + δx shares the noise of δx, so a plain
regression on it would be biased; instruments that know x alone make it consistent. Both equations are
linear in (K_i, g_i²) and are solved together.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dysonjax import renamed
from dysonjax.checks import InputError, finite_array, positive, positive_int
from dysonjax.dyson.piecewise import piecewise_linear
from dysonjax.dyson.potential import Potential

GROUPS = 40  # jackknife groups of members


@dataclasses.dataclass(frozen=True)
class Measured:
    """Measured drift and noise, as `measure` returns them. Errors are a jackknife over groups of members.

    Attributes
    ----------
    knots : array, shape (levels, knots)
        Where the drift is given, units of x.
    drift, drift_err : array, shape (levels, knots)
        K_i at the knots and its standard errors, units of x over time.
    g2, g2_err : array, shape (levels,)
        Noise strengths g_i² and their standard errors, units of x² over time.
    slope, slope_err : array, shape (levels,)
        Slope of the straight line through K_i at the knots and its standard error, 1/time. −slope is the rate
        at which a level returns to a zero of the drift.

    Examples
    --------
    A measured drift goes back into the integrator, interpolated between the knots:

    >>> one, knots, drift = np.ones(1), np.array([[-1.0, 1.0]]), np.array([[2.0, -2.0]])
    >>> measured = dj.dyson.Measured(knots, drift, 0.1 * drift, one, 0.1 * one, -2 * one, 0.1 * one)
    >>> [round(float(measured.potential().drift(np.array([x]))[0]), 3) for x in (-1.0, 0.0, 0.5)]
    [2.0, 0.0, -1.0]
    """

    knots: np.ndarray
    drift: np.ndarray
    drift_err: np.ndarray
    g2: np.ndarray
    g2_err: np.ndarray
    slope: np.ndarray
    slope_err: np.ndarray

    def potential(self, **limits: Any) -> Potential:
        """The measured K_i between the knots, for `integrate(measured.potential(), measured.g2, …)`.

        Parameters
        ----------
        **limits
            `lower`, `upper` and `reflecting` of the domain, see `Potential`.

        Returns
        -------
        Potential
            As made by `piecewise_linear`.
        """
        return piecewise_linear(self.knots, self.drift, **limits)


@renamed.arguments(n_knots="knots")
def measure(
    levels: ArrayLike, times: ArrayLike, beta: float = 1.0, n_knots: int = 4, repulsion: bool = True
) -> Measured:
    """Drift K_i(x) and noise g_i² from trajectories, as conditional moments of their increments.

    Parameters
    ----------
    levels : array, shape (members, records, levels)
        Ascending. 40 members or more.
    times : array, shape (records,)
        Ascending, two or more. The interval between records should be short against the relaxation time. With
        three records or more, what is left of it is of second order.
    beta : float, default 1.0
        Dyson index of the repulsion.
    n_knots : int, default 4
        Number of knots for each level, at quantiles of its positions; 2 or more.
    repulsion : bool, default True
        Whether the Coulomb term is taken off. If False it counts as drift, for data that are not known to
        repel.

    Returns
    -------
    Measured
        K_i at the knots, g_i² and the slope of K_i, each with its standard error.

    Raises
    ------
    InputError
        If shapes do not fit, times do not ascend, members are fewer than 40, levels coincide (with
        `repulsion`) or do not move.

    Notes
    -----
    With F_i = K_i + β g_i² Σ_j 1/(x_i − x_j), the means of δx_i and of its square are integrals of F_i. Both
    equations are linear in (K_i, g_i²) and are solved together. The end point of an increment shares its
    noise, so instruments that know the start alone keep the regression unbiased. Derived here.

    Examples
    --------
    Ornstein–Uhlenbeck paths of a single level with K = −2x and g² = 1/2:

    >>> rng, x, path, dt = np.random.default_rng(0), np.zeros(1000), [], 0.05
    >>> keep, spread = np.exp(-2 * dt), np.sqrt((1 - np.exp(-4 * dt)) / 4)
    >>> for _ in range(101):
    ...     x = keep * x + spread * rng.normal(size=1000)
    ...     path.append(x)
    >>> found = dj.dyson.measure(np.stack(path[20:], 1)[..., None], dt * np.arange(81))
    >>> bool(abs(found.slope[0] + 2) < 4 * found.slope_err[0]), bool(abs(found.g2[0] - 0.5) < 0.01)
    (True, True)
    """
    x = finite_array("levels", levels, min_ndim=3)
    times = finite_array("times", times)
    beta, n_knots = positive("beta", beta), positive_int("n_knots", n_knots, minimum=2)
    if x.ndim != 3 or times.shape != (x.shape[1],) or len(times) < 2:
        raise InputError(
            f"levels must have shape (members, records, levels) with one time per record and two records or "
            f"more, got {x.shape} and {times.shape}"
        )
    if np.any(np.diff(times) <= 0):
        raise InputError("times must ascend")
    if x.shape[0] < GROUPS:
        raise InputError(f"measuring needs at least {GROUPS} members for its errors, got {x.shape[0]}")
    if repulsion and np.any(np.diff(x, axis=-1) <= 0):
        raise InputError("levels must be distinct and ascending; pass repulsion=False for levels that cross")
    field = _coulomb(x) if repulsion else np.zeros_like(x)
    group = np.arange(x.shape[0]) * GROUPS // x.shape[0]
    results = [
        _level(x[..., i], beta * field[..., i], np.diff(times), group, n_knots, beta if repulsion else None)
        for i in range(x.shape[2])
    ]
    at, value, error = (np.stack([r[k] for r in results]) for k in range(3))
    return Measured(at, value[:, :-2], error[:, :-2], value[:, -2], error[:, -2], value[:, -1], error[:, -1])


def _coulomb(x: np.ndarray) -> np.ndarray:
    field = np.zeros_like(x)
    for shift in range(1, x.shape[-1]):
        inverse = 1 / (x[..., shift:] - x[..., :-shift])
        field[..., shift:] += inverse
        field[..., :-shift] -= inverse
    return field


def _weights(interval: np.ndarray, beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """w₁ and w₂ of every interval but the last; see above. For two records the trapezoidal rule."""
    if len(interval) == 1:
        return np.array([0.5]), np.array([0.0])
    ratio = 1 + interval[1:] / interval[:-1]
    power = 2.0 if beta is None else min((beta + 1) / 2, 2.0)
    if abs(power - 1) < 1e-3:
        second = -0.25 / (ratio * np.log(ratio))
    else:
        second = (1 / (power + 1) - 0.5) / (ratio**power - ratio)
    return 0.5 - ratio * second, second


def _level(x, field, interval, group, n_knots, beta):
    """Knots and jackknifed (K at the knots, g², slope of K) of one level; x, field: (members, records)."""
    at = np.quantile(x, np.linspace(0.02, 0.98, n_knots))
    if np.any(np.diff(at) <= 0):
        raise InputError("levels do not move: knots coincide; record a longer stretch")
    basis = _hats(x, at)
    change = np.diff(x, axis=1)
    half = 0.5 * interval[:, None]
    # Unknowns θ = (K at the knots, g²). Rows 0…: instruments φ(x) and the equation of the mean.
    predictors = np.concatenate(
        [half * (basis[:, :-1] + basis[:, 1:]), half * (field[:, :-1] + field[:, 1:])[..., None]], axis=-1
    )
    instruments = basis[:, :-1]
    mean_left = np.einsum("mti,mtj->mij", instruments, predictors)
    mean_right = np.einsum("mti,mt->mi", instruments, change)
    # Last row: the equation of the square.
    first, second = _weights(interval, beta)
    used = len(first)
    force = np.concatenate([basis, field[..., None]], axis=-1)
    square = first[:, None] * change[:, :used, None] * force[:, 1 : used + 1]
    if len(interval) > 1:
        square += second[:, None] * (x[:, 2:] - x[:, :-2])[..., None] * force[:, 2:]
    square *= 2 * interval[:used, None]
    square[..., -1] += 2 * interval[:used]
    left = np.concatenate([mean_left, square.sum(1)[:, None]], axis=1)
    right = np.concatenate([mean_right, (change[:, :used] ** 2).sum(1)[:, None]], axis=1)
    left = np.stack([left[group == g].sum(0) for g in range(GROUPS)])
    right = np.stack([right[group == g].sum(0) for g in range(GROUPS)])
    if beta is None:
        left[:, :-1, -1] = 0.0
    best = np.linalg.solve(left.sum(0), right.sum(0))
    without = np.linalg.solve(left.sum(0) - left, (right.sum(0) - right)[..., None])[..., 0]
    lever = (at - at.mean()) / np.sum((at - at.mean()) ** 2)
    best, without = (np.concatenate([v, v[..., :-1] @ lever[:, None]], axis=-1) for v in (best, without))
    error = np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean(0)) ** 2).sum(0))
    return at, best, error


def _hats(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Hat functions at the knots, linear beyond the last ones; shape (*x.shape, knots)."""
    cell = np.clip(np.searchsorted(at, x) - 1, 0, len(at) - 2)
    share = (x - at[cell]) / (at[cell + 1] - at[cell])
    basis = np.zeros((*x.shape, len(at)))
    np.put_along_axis(basis, cell[..., None], (1 - share)[..., None], axis=-1)
    np.put_along_axis(basis, cell[..., None] + 1, share[..., None], axis=-1)
    return basis

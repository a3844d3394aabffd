"""The implicit step: repulsion solved for, never extrapolated, so that levels cannot cross.

A step of length Δt is the trapezoidal rule x′ = x + h (F(x) + F(x′)) + √(2Δt) g η with h = Δt/2 and F the
drift plus the repulsion. Its implicit half, x′ − h F(x′) = y, is the minimum of a strictly convex function
that is infinite wherever two levels meet: for any y there is one solution, and it is ordered. The explicit
half costs nothing, h F(x) being x minus y of the step before. Against the backward Euler step (h = Δt, no
explicit half) the trapezoidal rule keeps the virial identity E Σ x_i F_i = −Σ g_i² at every Δt, hence E Σ x²
exact in the stationary state for linear drift. The first step is backward Euler, because F is unbounded at a
degenerate start.

Arrays are (levels, members): members fill the vector lanes, and sums over levels are loops.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

SWEEPS = 12
SWEEP_TOLERANCE = 1e-6  # relative change of a gap; the next change would be smaller again
NEWTON_STEPS = 80
NEWTON_TOLERANCE = 1e-4  # the next change would be a thousandth of it
WALL = 1e-3  # strength of a reflecting wall as a share of g²: stationary density times (x − wall)^WALL


class Equation(NamedTuple):
    """x − h (K(x) + β g² C(x)) = y for levels in lanes; every array broadcasts to (levels, members)."""

    drift: Callable  # K, including reflecting walls, elementwise
    g2: jax.Array  # shape (levels, 1) or (levels, members)
    beta: jax.Array  # scalar, or (1, members)
    images: bool  # repulsion from −x_j as well: levels are singular values
    lower: jax.Array | None  # domain limits, None if infinite, (1, 1) or (1, members)
    upper: jax.Array | None


def coulomb(x: jax.Array, images: bool) -> tuple[jax.Array, jax.Array]:
    """C_i = Σ_j 1/(x_i − x_j) [+ 1/(x_i + x_j)] and −∂C_i/∂x_i, shapes (levels, members).

    A loop over partners: one vectorised pass over all levels each, where a sum over an axis of
    (levels, levels, members) would not vectorise.
    """

    def add(j, sums):
        field, stiffness = sums
        other = lax.dynamic_slice_in_dim(x, j, 1, axis=0)
        distance = x - other
        self = lax.broadcasted_iota(jnp.int32, x.shape, 0) == j
        inverse = jnp.where(self, 0.0, 1.0 / jnp.where(self, 1.0, distance))
        field, stiffness = field + inverse, stiffness + inverse * inverse
        if images:
            mirror = jnp.where(self, 0.0, 1.0 / (x + other))
            field, stiffness = field + mirror, stiffness + mirror * mirror
        return field, stiffness

    return lax.fori_loop(0, x.shape[0], add, (jnp.zeros_like(x), jnp.zeros_like(x)))


def coulomb_field(x: jax.Array, images: bool) -> jax.Array:
    """C_i alone."""

    def add(j, field):
        other = lax.dynamic_slice_in_dim(x, j, 1, axis=0)
        self = lax.broadcasted_iota(jnp.int32, x.shape, 0) == j
        field = field + jnp.where(self, 0.0, 1.0 / jnp.where(self, 1.0, x - other))
        return field + jnp.where(self, 0.0, 1.0 / (x + other)) if images else field

    return lax.fori_loop(0, x.shape[0], add, jnp.zeros_like(x))


def solve(equation: Equation, y: jax.Array, start: jax.Array, h) -> tuple[jax.Array, jax.Array]:
    """The ordered solution x of x − h F(x) = y, and how many Newton steps the slowest member took.

    start: a point inside the domain with positive gaps. Sweeps come first: with everything but the
    repulsion inside a pair held fixed, a gap solves a quadratic equation. Each sweep gains a digit where
    √(g²h) is below the mean gap. Members that have not converged go on with damped Newton steps on the
    convex function itself. A member's result depends on nothing but itself: those that are done rest.
    """

    def sweeping(state):
        _, change, count = state
        return jnp.any(change > SWEEP_TOLERANCE) & (count < SWEEPS)

    def sweep(state):
        x, change, count = state
        moved, new_change = _sweep(equation, y, x, h)
        active = change > SWEEP_TOLERANCE
        return jnp.where(active, moved, x), jnp.where(active, new_change, change), count + 1

    unknown = jnp.full(start.shape[1:], jnp.inf) + 0 * start[0]
    x, change, _ = lax.while_loop(sweeping, sweep, (start, unknown, 0))
    # Far from the solution sweeps may wander; Newton then starts afresh.
    usable = jnp.isfinite(change) & (change < 1.0)
    x = jnp.where(usable, x, start)
    change = jnp.where(change > SWEEP_TOLERANCE, jnp.inf, 0.0)

    def unconverged(state):
        _, change, count = state
        return jnp.any(change > NEWTON_TOLERANCE) & (count < NEWTON_STEPS)

    def newton(state):
        x, change, count = state
        moved, new_change = _newton(equation, y, x, h)
        active = change > NEWTON_TOLERANCE
        return jnp.where(active, moved, x), jnp.where(active, new_change, change), count + 1

    x, _, count = lax.while_loop(unconverged, newton, (x, change, jnp.int32(0)))
    return x, count


def first_guess(equation: Equation, y: jax.Array, inside: jax.Array, h) -> jax.Array:
    """An ordered point in the domain near y, where nothing ordered is at hand: y need not be sorted.

    inside: any position within the domain, (1, 1) or (1, members).
    """
    strength = h * equation.beta * jnp.broadcast_to(equation.g2, y.shape)
    gaps = _pair_gap(y[1:] - y[:-1], strength[1:] + strength[:-1])
    guess = jnp.concatenate([y[:1], y[:1] + jnp.cumsum(gaps, 0)])
    guess = guess + jnp.mean(y - guess, axis=0)
    if equation.lower is None and equation.upper is None:
        return guess
    room = jnp.sqrt(jnp.max(strength, axis=0, keepdims=True)) + 1e-12
    bottom, top = guess[:1], guess[-1:]
    low, high = bottom, top
    if equation.lower is not None:
        low = jnp.maximum(low, equation.lower + jnp.minimum(0.3 * room, 0.3 * (inside - equation.lower)))
        high = jnp.maximum(high, low + 0.3 * (top - bottom))
    if equation.upper is not None:
        high = jnp.minimum(high, equation.upper - jnp.minimum(0.3 * room, 0.3 * (equation.upper - inside)))
        low = jnp.minimum(low, 0.5 * (high + (equation.lower if equation.lower is not None else low)))
    span = jnp.where(top > bottom, top - bottom, 1.0)
    return low + (guess - bottom) * ((high - low) / span)


def _pair_gap(separation, strength):
    """The positive root of S − strength/S = separation, without cancellation."""
    root = jnp.sqrt(separation * separation + 4 * strength)
    return jnp.where(separation > 0, 0.5 * (separation + root), 2 * strength / (root - separation))


def _linearise(equation: Equation, x, h):
    """K and 1 − h K′, the latter bounded below so that an expanding drift cannot spoil convexity."""
    drift, slope = jax.jvp(equation.drift, (x,), (jnp.ones_like(x),))
    return drift, jnp.maximum(1.0 - h * slope, 0.3)


def _sweep(equation: Equation, y, x, h):
    drift, stiffness = _linearise(equation, x, h)
    strength = jnp.broadcast_to(h * equation.beta * equation.g2 / stiffness, x.shape)
    target = (y + h * drift - (1.0 - stiffness) * x) / stiffness
    target = target + strength * coulomb_field(x, equation.images)
    weight = 1.0 / strength
    if x.shape[0] == 1:
        moved = target
    else:
        gap, pair = x[1:] - x[:-1], strength[1:] + strength[:-1]
        moved = _stack(_pair_gap(target[1:] - target[:-1] - pair / gap, pair))
        # Weighted by 1/strength the repulsion sums to zero, so this mean does not depend on its error.
        ones = jnp.ones((1, x.shape[0]))
        moved = moved + (ones @ (weight * (target - moved))) / (ones @ weight)
    share = _stay_inside(equation, x, moved, 0.9)
    if share is not None:
        moved = x + share * (moved - x)
    return moved, _change(x, moved, equation, h)


def _stack(gaps):
    """Positions with the given gaps, the lowest at zero; a loop, as cumsum over a major axis is slow."""
    positions = jnp.concatenate([jnp.zeros_like(gaps[:1]), gaps])

    def add(k, positions):
        below = lax.dynamic_slice_in_dim(positions, k - 1, 1, axis=0)
        here = lax.dynamic_slice_in_dim(positions, k, 1, axis=0)
        return lax.dynamic_update_slice_in_dim(positions, below + here, k, axis=0)

    return lax.fori_loop(1, positions.shape[0], add, positions)


def _newton(equation: Equation, y, x, h):
    drift, stiffness = _linearise(equation, x, h)
    weight = jnp.broadcast_to(1.0 / equation.g2, x.shape)
    field, pull = coulomb(x, equation.images)
    force = weight * (y - x + h * drift) + h * equation.beta * field
    step = _newton_direction(equation, x, weight * stiffness + h * equation.beta * pull, h, force)
    share = jnp.ones_like(x[:1])
    if x.shape[0] > 1:
        closing = jnp.max((step[:-1] - step[1:]) / (x[1:] - x[:-1]), axis=0, keepdims=True)
        share = jnp.where(closing > 0.95, 0.95 / closing, share)
    walls = _stay_inside(equation, x, x + step, 0.95)
    if walls is not None:
        share = jnp.minimum(share, walls)
    moved = x + share * step
    # A shortened step has a change of order one, so it never counts as converged.
    return moved, _change(x, moved, equation, h)


def _newton_direction(equation: Equation, x, diagonal, h, force):
    """Solve H s = force, H the Hessian at x, by conjugate gradients to 1e-3; the outer loop does the rest.

    No LAPACK: its calls from loops on two CPU devices of one process block each other for ever.
    """
    levels = x.shape[0]
    strength = h * equation.beta

    def apply(v):
        def add(j, total):
            other, there = (lax.dynamic_slice_in_dim(a, j, 1, axis=0) for a in (x, v))
            self = lax.broadcasted_iota(jnp.int32, x.shape, 0) == j
            inverse = jnp.where(self, 0.0, 1.0 / jnp.where(self, 1.0, x - other))
            coupling = inverse * inverse
            if equation.images:
                mirror = jnp.where(self, 0.0, 1.0 / (x + other))
                coupling = coupling - mirror * mirror
            return total - strength * coupling * there

        return lax.fori_loop(0, levels, add, diagonal * v)

    def dot(a, b):
        return jnp.ones((1, levels)) @ (a * b)

    def going(state):
        return jnp.any(state[-2]) & (state[-1] < 2 * levels + 10)

    def iterate(state):
        solution, rest, direction, size, active, count = state
        image = apply(direction)
        length = jnp.where(active, size / dot(direction, image), 0.0)
        solution, rest = solution + length * direction, rest - length * image
        scaled = rest / diagonal
        new_size = dot(rest, scaled)
        direction = jnp.where(active, scaled + (new_size / size) * direction, direction)
        return (
            solution,
            rest,
            direction,
            jnp.where(active, new_size, size),
            active & (new_size > goal),
            count + 1,
        )

    scaled = force / diagonal
    size = dot(force, scaled)
    goal = 1e-6 * size
    state = (jnp.zeros_like(force), force, scaled, size, size > 0, 0)
    return lax.while_loop(going, iterate, state)[0]


def _stay_inside(equation: Equation, x, moved, share: float):
    """The part of the way from x to `moved` that leaves some of the distance to each wall, (1, members)."""
    part = None
    for wall, row in ((equation.lower, slice(0, 1)), (equation.upper, slice(-1, None))):
        if wall is None:
            continue
        towards = (x[row] - moved[row]) / (x[row] - wall)
        allowed = jnp.where(towards > share, share / towards, 1.0)
        part = allowed if part is None else jnp.minimum(part, allowed)
    return part


def _change(x, moved, equation: Equation, h):
    """Largest relative change of a gap or wall distance, or a tenth of the shift over √(h g²); (members,)."""
    scale = 0.1 / jnp.sqrt(h * equation.g2)
    change = jnp.max(jnp.abs(moved - x) * scale, axis=0)
    if x.shape[0] > 1:
        gap = x[1:] - x[:-1]
        change = jnp.maximum(change, jnp.max(jnp.abs((moved[1:] - moved[:-1]) - gap) / gap, axis=0))
    for wall, row in ((equation.lower, 0), (equation.upper, -1)):
        if wall is not None:
            change = jnp.maximum(change, jnp.abs((moved[row] - x[row]) / (x[row] - wall[0])))
    return change

"""One step of each method for a tile of members; arrays are (levels, members).

A stepper is `start(x) -> state` and `step(state, index, dt) -> state`; state.x holds the levels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dysonjax.dyson import implicit
from dysonjax.dyson.noise import fold, normals


class System(NamedTuple):
    """What a stepper needs to know, in lanes: every array broadcasts to (levels, members)."""

    drift: Callable
    g2: Callable  # x -> g²(x)
    beta: jax.Array
    lower: jax.Array | None
    upper: jax.Array | None
    reflecting: tuple[bool, bool]
    images: bool
    wall: float  # strength of reflecting walls for the implicit method, as a share of g²
    words: jax.Array  # key words, shape (2,)
    members: jax.Array  # identity of every member, shape (members,), uint32
    pairs: Callable | None  # x -> smooth forces between levels, taken at the start of a step


Array = jax.Array | np.ndarray


class State(NamedTuple):
    x: Array  # shape (levels, members)
    kick: Array  # shape (levels, members): h F(x) of the step before (implicit only)
    started: Array  # shape (): whether the first step is done
    work: Array  # shape (members,): steps taken, refinements included
    failed: Array  # shape (): steps that did not converge


def start(x: np.ndarray) -> State:
    """Of many tiles, from x of shape (tiles, levels, members)."""
    tiles, _, members = x.shape
    return State(
        x,
        np.zeros_like(x),
        np.zeros(tiles, bool),
        np.zeros((tiles, members), x.dtype),
        np.zeros(tiles, np.int32),
    )


def implicit_step(system: System, state: State, index, dt) -> State:
    """Trapezoidal in drift and repulsion (backward Euler first); state-dependent g is read at x (Itô)."""
    x = jnp.asarray(state.x)
    g2 = system.g2(x)
    h = jnp.where(state.started, dt / 2, dt)
    noise = jnp.sqrt(2 * dt * g2) * normals(system.words, system.members, index, x.shape[0])
    y = x + jnp.where(state.started, state.kick, 0.0) + noise
    if system.pairs is not None:
        y = y + dt * system.pairs(x)

    def drift(z):
        force = system.drift(z)
        if system.lower is not None and system.reflecting[0]:
            force = force + system.wall * g2 / (z - system.lower)
        if system.upper is not None and system.reflecting[1]:
            force = force - system.wall * g2 / (system.upper - z)
        return force

    equation = implicit.Equation(drift, g2, system.beta, system.images, system.lower, system.upper)
    begin = lax.cond(
        state.started,
        lambda: x,
        lambda: implicit.first_guess(equation, y, _interior(system, x), h),
    )
    moved, count = implicit.solve(equation, y, begin, h)
    kick = (moved - y) * (0.5 * dt / h)
    failed = state.failed + (count >= implicit.NEWTON_STEPS)
    return State(moved, kick, jnp.ones((), bool), state.work + 1, failed)


def matrix_step(system: System, state: State, index, dt, beta: int, exact: bool) -> State:
    """Dyson's own construction: the eigenvalues of diag(x) plus a Gaussian matrix, one g for all levels.

    beta: 1 (symmetric), 2 (Hermitian) or 4 (self-dual). exact: the drift is the same Ornstein–Uhlenbeck
    drift for all levels, whose matrix propagator is known: exact in law for any Δt. Otherwise the noise
    stands between two half steps of the drift, explicit before and implicit after (trapezoidal).
    """
    x = state.x
    g2 = system.g2(x)[:1]
    if exact:
        slope = -jax.jvp(system.drift, (x,), (jnp.ones_like(x),))[1][:1]  # omega, (1, members)
        center = x[:1] + system.drift(x)[:1] / slope
        decay = jnp.exp(-slope * dt)
        shifted = center + decay * (x - center)
        variance = jnp.broadcast_to(g2 * -jnp.expm1(-2 * slope * dt) / (2 * slope), x[:1].shape)
    else:
        shifted = x + 0.5 * dt * system.drift(x)
        variance = jnp.broadcast_to(g2 * dt, x[:1].shape)
    levels, components = x.shape[0], beta
    count = levels + components * levels * (levels - 1) // 2
    draws = normals(system.words, system.members, index, count).T  # (members, count)
    moved = _perturbed_levels(shifted.T, jnp.sqrt(variance[0]), draws, beta).T
    if not exact:
        moved = jnp.sort(_implicit_drift(system, moved, x, 0.5 * dt), axis=0)
    return State(moved, state.kick, jnp.ones((), bool), state.work + 1, state.failed)


def _perturbed_levels(x, scale, draws, beta: int):
    """Eigenvalues of diag(x) + noise: variance 2 scale² on the diagonal, beta scale² in |off-diagonal|²."""
    members, levels = x.shape
    diagonal = x + jnp.sqrt(2.0) * scale[:, None] * draws[:, :levels]
    pairs = levels * (levels - 1) // 2
    rows, columns = jnp.triu_indices(levels, 1)
    parts = (scale[:, None, None] * draws[:, levels:].reshape(members, beta, pairs)).astype(jnp.float64)
    here = jnp.arange(levels)

    def fill(values, sign):
        empty = jnp.zeros((members, levels, levels), values.dtype)
        return empty.at[:, rows, columns].set(values).at[:, columns, rows].set(sign * values)

    if beta == 1:
        return jnp.linalg.eigvalsh(fill(parts[:, 0], 1).at[:, here, here].set(diagonal))
    first = fill(parts[:, 0], 1) + 1j * fill(parts[:, 1], -1)
    first = first.at[:, here, here].set(diagonal.astype(first.dtype))
    if beta == 2:
        return jnp.linalg.eigvalsh(first)
    second = fill(parts[:, 2], -1) + 1j * fill(parts[:, 3], -1)
    block = jnp.block([[first, second], [-second.conj(), first.conj()]])
    return jnp.linalg.eigvalsh(block)[:, ::2]  # every level of a self-dual matrix is double


def _implicit_drift(system: System, y, inside, h):
    """Level by level the solution of x − h K(x) = y inside the domain, started at a point within it."""
    begin = _reflect(system, y, inside)

    def improve(_, x):
        drift, slope = jax.jvp(system.drift, (x,), (jnp.ones_like(x),))
        step = (y - x + h * drift) / jnp.maximum(1.0 - h * slope, 0.3)
        if system.lower is not None:
            step = jnp.maximum(step, -0.9 * (x - system.lower))
        if system.upper is not None:
            step = jnp.minimum(step, 0.9 * (system.upper - x))
        return x + step

    return _reflect(system, lax.fori_loop(0, 30, improve, begin), inside)


def euler_step(system: System, state: State, index, dt, safeguard: int) -> State:
    """Euler–Maruyama for comparison; with a safeguard a member halves its step where gaps are small.

    Sub-steps follow the gaps before the noise is drawn, Δt ≤ 0.02 S²/g², down to Δt/2^safeguard; the
    repulsion is bounded by 2√(βg²/Δt), and what still crosses is sorted. safeguard = 0 is the plain scheme,
    whose second moments diverge for β = 1: E 1/S² is infinite.
    """
    smallest = dt * 2.0**-safeguard

    def unfinished(carry):
        return jnp.any(carry[1] > 0)

    def sub(carry):
        x, left, work, count = carry
        g2 = jnp.broadcast_to(system.g2(x), x.shape)
        local = left
        if safeguard and x.shape[0] > 1:
            gap = x[1:] - x[:-1]
            local = 0.02 * jnp.min(gap * gap / (system.beta * jnp.maximum(g2[1:], g2[:-1])), axis=0)
            local = jnp.minimum(jnp.maximum(local, smallest), left)
            local = jnp.where(left - local < 0.5 * smallest, left, local)
        draws = normals(fold(system.words, count), system.members, index, x.shape[0])
        field = implicit.coulomb_field(_separate(x), system.images)
        repulsion = system.beta * g2 * field
        if safeguard:
            # Where the smallest step is still too long, 1/S would throw levels out by any distance.
            limit = 2 * jnp.sqrt(system.beta * g2 / local)
            repulsion = jnp.clip(repulsion, -limit, limit)
        force = system.drift(x) + repulsion
        if system.pairs is not None:
            force = force + system.pairs(x)
        moved = x + local * force + jnp.sqrt(2 * local * g2) * draws
        moved = jnp.sort(_reflect(system, moved, x), axis=0)
        active = left > 0
        return (
            jnp.where(active, moved, x),
            jnp.where(active, left - local, left),
            work + active,
            count + 1,
        )

    left = jnp.full(state.x.shape[1:], 1.0) * dt
    x, _, work, _ = lax.while_loop(unfinished, sub, (state.x, left, state.work, 0))
    return State(x, state.kick, jnp.ones((), bool), work, state.failed)


def _separate(x):
    """Levels that coincide to rounding are moved apart by 1e-12, or the explicit force would be infinite."""
    scale = 1e-12 * (1.0 + jnp.max(jnp.abs(x), axis=0, keepdims=True))
    ladder = scale * jnp.arange(x.shape[0], dtype=x.dtype)[:, None]
    return jnp.maximum(x - ladder, lax.cummax(x - ladder, axis=0)) + ladder


def _reflect(system: System, x, inside):
    """Fold levels that left the domain back into it; far beyond, they return to where they came from."""
    lower, upper = system.lower, system.upper
    folded = x
    if lower is not None:
        folded = jnp.maximum(lower + jnp.abs(folded - lower), jnp.nextafter(lower, jnp.inf))
    if upper is not None:
        folded = jnp.minimum(upper - jnp.abs(upper - folded), jnp.nextafter(upper, -jnp.inf))
    if lower is not None and upper is not None:
        folded = jnp.where(folded > lower, folded, inside)
    return folded


def _interior(system: System, x):
    """A point of the domain for every member, (1, members)."""
    middle = jnp.mean(x, axis=0, keepdims=True)
    if system.lower is not None and system.upper is not None:
        width = system.upper - system.lower
        return jnp.clip(middle, system.lower + 0.05 * width, system.upper - 0.05 * width)
    if system.lower is not None:
        return jnp.maximum(middle, system.lower + 1.0)
    if system.upper is not None:
        return jnp.minimum(middle, system.upper - 1.0)
    return middle

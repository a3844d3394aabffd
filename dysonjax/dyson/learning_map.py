"""The discrete map of learning itself, with finite learning rate. [A] Eq. 2.4.

x′_i = x_i + α K̃_i + (α²/|B|) β Σ_{j≠i} g̃_i²/(x_i − x_j) + (α/√|B|) √2 g̃_i η_i
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from dysonjax.checks import InputError, finite_array, positive, positive_int, random_key
from dysonjax.dyson.implicit import coulomb_field
from dysonjax.dyson.integrate import check_start
from dysonjax.dyson.noise import check_strength, key_words, normals
from dysonjax.dyson.potentials import Potential


@dataclasses.dataclass(frozen=True)
class MapPath:
    """levels: shape (members, records, levels), ascending. updates: shape (records,), learning steps done.

    alive: shape (members,), False for members that left the domain or became infinite; they stay at their
    last good levels.
    """

    levels: np.ndarray
    updates: np.ndarray
    alive: np.ndarray


def learning_map(
    potential: Potential, g2_tilde, x0, lr: float, batch_size: int, updates: int, beta: float = 1.0, key=None,
    *, records: int = 11,
) -> MapPath:  # fmt: skip
    """Iterate the learning update of the levels, one step per update, without a continuous-time limit.

    potential: K̃ and its domain, independent of the learning rate. g2_tilde: g̃², a number or one per level.
    x0: shape (members, levels), strictly ascending. lr: α. batch_size: |B|. The continuous-time counterpart
    is `integrate(potential, lr/batch_size · g2_tilde, x0, time=lr · updates)`: α multiplies drift and noise
    alike, so a smaller α at fixed α/|B| only refines the step.

    The map is explicit because learning is: levels that cross are labelled anew by sorting, and a member that
    leaves the domain has diverged, which is what happens to a network at too large α. Raises InputError.
    """
    x0 = finite_array("x0", x0, min_ndim=2)
    if x0.ndim != 2 or np.any(np.diff(x0, axis=-1) == 0):
        raise InputError(f"x0 must have shape (members, levels) with distinct levels, got shape {x0.shape}")
    check_start(potential, x0)
    g2_tilde = check_strength(g2_tilde, x0)
    if callable(g2_tilde):
        raise InputError("g2_tilde must be a number or one value per level")
    lr, batch_size = positive("lr", lr), positive_int("batch_size", batch_size)
    updates, records = positive_int("updates", updates), positive_int("records", records, 2)
    beta = positive("beta", beta)
    key = random_key("key", key)
    marks = np.unique(np.rint(np.linspace(0, updates, min(records, updates + 1))).astype(int))
    stored = np.empty((x0.shape[0], len(marks), x0.shape[1]))
    with jax.enable_x64(True):
        x, alive = jnp.asarray(x0.T), jnp.ones(x0.shape[0], bool)
        limits = [jnp.asarray(v, jnp.float64) for v in (potential.lower, potential.upper)]
        params = tuple(_lanes(p, x0.shape) for p in potential.params)
        g2 = _lanes(g2_tilde, x0.shape)
        words = key_words(key)
        for record, mark in enumerate(marks):
            begin = int(marks[record - 1]) if record else 0
            x, alive = _iterate(
                potential.drift_fn, params, g2, limits, words, x, alive, begin, int(mark), lr,
                lr**2 / batch_size, beta,
            )  # fmt: skip
            stored[:, record] = np.asarray(x).T
    return MapPath(stored, marks, np.asarray(alive))


def _lanes(value, shape):
    value = np.asarray(value)
    return jnp.asarray(np.broadcast_to(value, shape).T if value.ndim > 1 else value.reshape(-1, 1))


@functools.partial(jax.jit, static_argnums=0)
def _iterate(drift, params, g2, limits, words, x, alive, begin, end, lr, strength, beta):
    members = jnp.arange(x.shape[1], dtype=jnp.uint32)

    def update(index, state):
        x, alive = state
        noise = jnp.sqrt(2 * strength * g2) * normals(words, members, index, x.shape[0])
        moved = x + lr * drift(x, *params) + strength * beta * g2 * coulomb_field(x, False) + noise
        moved = jnp.sort(moved, axis=0)
        inside = jnp.isfinite(moved).all(0) & (moved[0] > limits[0]) & (moved[-1] < limits[1])
        alive = alive & inside
        return jnp.where(alive, moved, x), alive

    return jax.lax.fori_loop(begin, end, update, (x, alive))

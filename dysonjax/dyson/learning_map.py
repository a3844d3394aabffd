"""The discrete map of learning itself, with finite learning rate. [A] Eq. 2.4.

x′_i = x_i + α K̃_i + (α²/|B|) β Σ_{j≠i} g̃_i²/(x_i − x_j) + (α/√|B|) √2 g̃_i η_i
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dysonjax.checks import InputError, finite_array, positive, positive_int, random_key
from dysonjax.dyson.implicit import coulomb_field
from dysonjax.dyson.noise import check_strength, key_words, normals
from dysonjax.dyson.potential import Potential
from dysonjax.dyson.problem import check_start


@dataclasses.dataclass(frozen=True)
class MapPath:
    """Levels under the discrete map of learning, as `learning_map` returns them.

    Attributes
    ----------
    levels : float64 array, shape (members, records, levels)
        Ascending, units of x.
    updates : int array, shape (records,)
        Learning steps done.
    alive : bool array, shape (members,)
        False for members that left the domain or became infinite. They stay at their last good levels.
    """

    levels: np.ndarray
    updates: np.ndarray
    alive: np.ndarray


def learning_map(
    potential: Potential, g2_tilde: ArrayLike, x0: ArrayLike, lr: float, batch_size: int, updates: int,
    beta: float = 1.0, key: jax.Array | int | None = None, *, records: int = 11,
) -> MapPath:  # fmt: skip
    """Iterate the learning update of the levels, step by step, without a limit of continuous time.

    Parameters
    ----------
    potential : Potential
        K̃ and its domain, independent of the learning rate.
    g2_tilde : float or array, shape (levels,)
        g̃², units of x² over time.
    x0 : array, shape (members, levels)
        Start, strictly ascending within a member.
    lr : float
        Learning rate α.
    batch_size : int
        Size of a mini-batch, |B|.
    updates : int
        Number of learning steps.
    beta : float, default 1.0
        Dyson index, above 0.
    key : JAX key or int
        Randomness.
    records : int, default 11
        Number of stored updates, from the start to the end, 2 or more.

    Returns
    -------
    MapPath
        Levels at the stored updates.

    Raises
    ------
    InputError
        If levels are equal or out of the domain, `g2_tilde` is a function, or a number is out of range.

    Notes
    -----
    x′_i = x_i + α K̃_i + (α²/|B|) β Σ_{j≠i} g̃_i²/(x_i − x_j) + (α/√|B|) √2 g̃_i η_i, [A] Eq. 2.4. The
    counterpart in continuous time is `integrate(potential, lr/batch_size · g2_tilde, x0, time=lr · updates)`.
    There α multiplies drift and noise alike, so a smaller α at fixed α/|B| only refines the step.

    The map is explicit because learning is. Levels that cross are labelled anew by sorting. A member that
    leaves the domain has diverged, which is what happens to a network at too large α.

    Examples
    --------
    A machine at a small learning rate learns its levels 1, 3 and 5; at a large one it diverges:

    >>> machine, x0 = dj.dyson.rbm(mu2=9.0, kappa=[8.0, 6.0, 4.0]), np.tile([0.5, 1.0, 1.5], (8, 1))
    >>> def learn(lr):
    ...     return dj.dyson.learning_map(machine, 0.1, x0, lr, batch_size=64, updates=400, key=0)
    >>> learn(lr=0.2).levels[:, -1].mean(axis=0).round()
    array([1., 3., 5.])
    >>> learn(lr=20.0).alive.any()
    np.False_
    """
    x0 = finite_array("x0", x0, min_ndim=2)
    if x0.ndim != 2 or np.any(np.diff(x0, axis=-1) == 0):
        raise InputError(f"x0 must have shape (members, levels) with distinct levels, got shape {x0.shape}")
    check_start(potential, x0)
    strength = check_strength(np.asarray(g2_tilde), x0)
    if callable(strength):
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
        g2 = _lanes(strength, x0.shape)
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

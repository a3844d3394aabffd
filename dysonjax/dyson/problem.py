"""What `integrate` is asked to do, checked: start, noise, time and the options of a method."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dysonjax.checks import (
    InputError,
    finite_array,
    in_range,
    memory,
    one_of,
    positive,
    positive_int,
    random_key,
)
from dysonjax.dyson.lamperti import lamperti
from dysonjax.dyson.noise import SquareRoot, Strength, check_strength
from dysonjax.dyson.pairwise import Pairwise, check_pairwise
from dysonjax.dyson.potential import Potential

METHODS = ("implicit", "matrix", "euler")


class Checked(NamedTuple):
    """The arguments of `integrate` in their canonical types, and the fixed options of the method."""

    x0: np.ndarray
    g2: np.ndarray | Callable
    time: float
    steps: int
    beta: np.ndarray
    records: int
    fixed: tuple


def check(
    potential: Potential, g2: Strength, x0, time: float, steps: int, beta=1.0, key=None, *,
    pairs: Pairwise | None = None, method: str = "implicit", records: int = 11, safeguard: int = 6,
) -> Checked:  # fmt: skip
    """The arguments as `integrate` takes them; raises InputError for whatever it would refuse."""
    x0 = finite_array("x0", x0, min_ndim=2)
    if x0.size == 0:
        raise InputError(f"x0 must hold at least one member with one level, got shape {x0.shape}")
    time, steps = in_range("time", positive("time", time)), positive_int("steps", steps)
    records = positive_int("records", records, minimum=2)
    stored = min(records, steps + 1) * x0.size
    memory(f"{records} records of {x0.size} levels", 8 * stored, "take fewer records or members")
    one_of("method", method, METHODS)
    if isinstance(safeguard, bool) or int(safeguard) != safeguard or not 0 <= safeguard <= 30:
        raise InputError(f"safeguard must be a whole number from 0 to 30, got {safeguard!r}")
    random_key("key", key)
    beta = _check_beta(beta, x0.shape)
    check_start(potential, x0)
    g2 = check_strength(g2, x0)
    fixed = _method_options(method, potential, g2, beta, x0.shape, int(safeguard))
    if pairs is not None:
        check_pairwise(pairs, x0.shape[-1])
        if method == "matrix" or isinstance(g2, SquareRoot):
            raise InputError("a pairwise force needs method='implicit' or 'euler' and no SquareRoot noise")
    if isinstance(g2, SquareRoot):
        lamperti(potential, g2, x0)
    return Checked(x0, g2, time, steps, beta, records, fixed)


def check_start(potential: Potential, x: np.ndarray) -> None:
    """Raise InputError unless levels ascend and lie in the domain of the potential."""
    if np.any(np.diff(x, axis=-1) < 0):
        count = int(np.any(np.diff(x, axis=-1) < 0, axis=-1).sum())
        raise InputError(f"x0 must ascend within every member, but {count} are crossed; sort the last axis")
    lower, upper = np.asarray(potential.lower), np.asarray(potential.upper)
    closed = potential.reflecting
    low_bad = x < lower if closed[0] else x <= lower
    high_bad = x > upper if closed[1] else x >= upper
    if np.any(low_bad) or np.any(high_bad):
        left, right = "[("[not closed[0]], "])"[not closed[1]]
        raise InputError(
            f"x0 must lie in {left}{float(np.min(lower)):g}, {float(np.max(upper)):g}{right}, the domain of "
            f"the {potential.name} potential, got values from {x.min():g} to {x.max():g}"
        )


def _check_beta(beta, shape) -> np.ndarray:
    array = finite_array("beta", beta, min_ndim=0)
    if not np.all(array >= 1):
        raise InputError(
            f"beta must be at least 1, got {float(np.min(array)):g}: below, levels collide and the equation "
            "needs a boundary condition; CoulombGas samples any beta > 0"
        )
    if array.ndim:
        try:
            np.broadcast_to(array, (*shape[:-1], 1))
        except ValueError:
            raise InputError(f"beta of shape {array.shape} must broadcast to {(*shape[:-1], 1)}") from None
    return array


def _method_options(method, potential, g2, beta, shape, safeguard) -> tuple:
    if method == "euler":
        return (safeguard,)
    if method == "implicit":
        return ()
    if callable(g2) or (np.ndim(g2) and np.any(g2 != g2[..., :1])):
        raise InputError("method='matrix' needs one constant g2 for all levels; use method='implicit'")
    if beta.ndim or float(beta) not in (1.0, 2.0, 4.0):
        raise InputError("method='matrix' needs beta 1, 2 or 4; use method='implicit' for other values")
    one_drift = all(np.ndim(p) == 0 or np.all(p == p[..., :1]) for p in potential.params)
    return int(beta), potential.name == "quadratic" and one_drift

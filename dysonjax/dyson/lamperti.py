"""The coordinate in which square-root noise is constant: ξ = 2√(x/c), after Lamperti."""

import dataclasses
from collections.abc import Callable

import numpy as np

from dysonjax.checks import InputError
from dysonjax.dyson.implicit import WALL
from dysonjax.dyson.noise import SquareRoot
from dysonjax.dyson.pairwise import Pairwise
from dysonjax.dyson.potential import Potential


@dataclasses.dataclass(frozen=True)
class Chart:
    """The equation in the coordinate that is integrated."""

    potential: Potential
    g2: object
    x0: np.ndarray
    images: bool
    wall: float
    pairs: Pairwise | None = None


def lamperti(potential: Potential, noise: SquareRoot, x0: np.ndarray) -> Chart:
    """The equation for ξ = 2√(x/c): unit noise, repulsion from mirror images, drift K/g − g′."""
    if not np.all(np.asarray(potential.lower) >= 0):
        raise InputError(f"SquareRoot noise needs x >= 0; the {potential.name} potential has no such limit")
    c = noise.c
    with np.errstate(all="ignore"):
        at_zero = np.asarray(potential.drift(np.zeros(x0.shape[-1:])), dtype=np.float64)
    push = 2 * np.min(np.where(np.isfinite(at_zero), at_zero, np.inf)) / c - 1
    if push < -1e-9:
        raise InputError(
            f"SquareRoot(c={c:g}) needs a drift of at least c/2 at x = 0, got {float(np.min(at_zero)):g}: "
            "otherwise levels stick at 0; raise the shape of the potential"
        )
    upper = np.asarray(potential.upper, dtype=np.float64)
    moved = Potential(
        potential.name, _LampertiDrift(potential.drift_fn, c), potential.potential_fn, potential.params,
        lower=0.0, upper=2 * np.sqrt(upper / c), reflecting=(True, potential.reflecting[1]),
        expansion=potential.expansion,
    )  # fmt: skip
    return Chart(moved, np.float64(1.0), 2 * np.sqrt(x0 / c), True, max(WALL - push, 0.0))


@dataclasses.dataclass(frozen=True)
class _LampertiDrift:
    drift: Callable
    c: float

    def __call__(self, xi, *params):
        return (2 * self.drift(0.25 * self.c * xi * xi, *params) / self.c - 1) / xi

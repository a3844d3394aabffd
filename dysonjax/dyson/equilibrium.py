"""The density of many levels, and marginals of few."""

from typing import NamedTuple

import numpy as np

from dysonjax.checks import InputError, positive_int
from dysonjax.dyson.coulomb_gas import CoulombGas


class Density(NamedTuple):
    """A density on points: position, shape (points,), units of x; density, shape (points,), units of 1/x."""

    position: np.ndarray
    density: np.ndarray


def equilibrium_density(gas: CoulombGas) -> Density:
    """The density of levels for large N, from the most likely configuration, normalised to 1.

    Between two neighbouring levels of that configuration lies 1/N of the mass; the error falls like 1/N. For
    a quadratic potential and many levels: the semicircle of radius √(2βN g²/omega). Needs 4 levels or more.
    """
    if gas.levels < 4:
        raise InputError(f"levels must be at least 4 for an equilibrium density, got {gas.levels}")
    x = gas.most_likely()
    position = 0.5 * (x[1:] + x[:-1])
    return Density(position, 1 / (gas.levels * np.diff(x)))


def level_density(samples: np.ndarray, level: int | None = None, bins: int = 60) -> Density:
    """Marginal density of one level, or of all levels together, from samples of shape (n, levels)."""
    bins = positive_int("bins", bins)
    column = samples if level is None else samples[:, _level(samples, level)]
    height, edges = np.histogram(column, bins=bins, density=True)
    return Density(0.5 * (edges[1:] + edges[:-1]), height)


def pair_density(samples: np.ndarray, first: int, second: int, bins: int = 40):
    """Joint marginal of two levels: (x, y, density), shapes (bins,), (bins,), (bins, bins), units of 1/x²."""
    bins = positive_int("bins", bins)
    columns = (samples[:, _level(samples, k)] for k in (first, second))
    height, x, y = np.histogram2d(*columns, bins=bins, density=True)
    return 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]), height


def _level(samples: np.ndarray, level: int) -> int:
    if not 0 <= level < samples.shape[-1]:
        raise InputError(f"level must lie between 0 and {samples.shape[-1] - 1}, got {level}")
    return level

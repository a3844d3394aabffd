"""The density of many levels, and marginals of few."""

from typing import NamedTuple

import numpy as np

from dysonjax import renamed
from dysonjax.checks import InputError, positive_int
from dysonjax.dyson.coulomb_gas import CoulombGas

CUT = 1.5  # a gap so much wider than two soft edges side by side holds no levels
# At a soft edge the density vanishes like the square root of the distance: half a level lies beyond the last
# one, at this share of the last gap.
EDGE = 1 / (3 ** (2 / 3) - 1)


class Density(NamedTuple):
    """A density on points.

    Attributes
    ----------
    position : array, shape (points,)
        Units of x, ascending.
    density : array, shape (points,)
        Units of 1/x.
    """

    position: np.ndarray
    density: np.ndarray


def equilibrium_density(gas: CoulombGas) -> Density:
    """The density of levels for large N, from the most likely configuration.

    Parameters
    ----------
    gas : CoulombGas
        With 4 levels or more.

    Returns
    -------
    Density
        Linear between its points, among which are the ends. The whole integrates to 1 within about 1/N.

    Raises
    ------
    InputError
        For fewer than 4 levels, or if the density diverges at a wall.

    Notes
    -----
    Between two neighbouring levels of that configuration lies 1/N of the mass; the error falls like 1/N.
    Where levels keep apart in several wells, each well has a piece of its own with its share of the mass,
    which ends where half a level lies beyond its last one. Between pieces the density is zero. For a
    quadratic potential and many levels this is the semicircle of radius √(2βN g²/omega).

    Examples
    --------
    >>> gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), g2=0.5, n=40)
    >>> x, density = dj.dyson.equilibrium_density(gas)
    >>> radius = np.sqrt(2 * 40 * 0.5)
    >>> bool(abs(x[-1] / radius - 1) < 0.03), bool(abs(np.trapezoid(density, x) - 1) < 0.03)
    (True, True)
    """
    if gas.n < 4:
        raise InputError(f"n must be at least 4 for an equilibrium density, got {gas.n}")
    best = gas.maxima.found[0]
    x = gas.most_likely()
    pieces = []
    for piece in np.split(np.arange(gas.n), _cuts(x)):
        pieces.append(_piece(gas, x[piece], float(best.curvature[piece[0], piece[0]])))
    position, density = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Density(position, density / gas.n)


def marginal_density(samples: np.ndarray, level: int | None = None, bins: int = 60) -> Density:
    """Marginal density of one level, or of all levels together, as a histogram.

    Parameters
    ----------
    samples : array, shape (n, levels)
        Draws of the levels, such as those of `CoulombGas.sample`.
    level : int, optional
        Number of the level, from 0. By default all levels are counted together.
    bins : int, default 60
        Number of bins.

    Returns
    -------
    Density
        At the centers of the bins, normalised to 1.

    Raises
    ------
    InputError
        If there is no such level or `bins` is not positive.

    See Also
    --------
    dysonjax.spectra.level_density : all levels of an ensemble of spectra, with errors over members.

    Examples
    --------
    >>> samples = np.array([[0.0, 2.0], [1.0, 3.0]])
    >>> dj.dyson.marginal_density(samples, level=1, bins=2)
    Density(position=array([2.25, 2.75]), density=array([1., 1.]))
    """
    bins = positive_int("bins", bins)
    column = samples if level is None else samples[:, _level(samples, level)]
    height, edges = np.histogram(column, bins=bins, density=True)
    return Density(0.5 * (edges[1:] + edges[:-1]), height)


def level_density(samples: np.ndarray, level: int | None = None, bins: int = 60) -> Density:
    """Former name of `marginal_density`; `dysonjax.spectra.level_density` is another function."""
    renamed.warned("dyson.level_density", "dyson.marginal_density")
    return marginal_density(samples, level, bins)


def pair_density(
    samples: np.ndarray, first: int, second: int, bins: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joint marginal density of two levels, as a histogram.

    Parameters
    ----------
    samples : array, shape (n, levels)
        Draws of the levels, such as those of `CoulombGas.sample`.
    first, second : int
        Numbers of the two levels, from 0.
    bins : int, default 40
        Number of bins for each of the two.

    Returns
    -------
    x : array, shape (bins,)
        Centers of the bins of the first level, units of x.
    y : array, shape (bins,)
        Centers of the bins of the second level.
    density : array, shape (bins, bins)
        Units of 1/x², normalised to 1.

    Raises
    ------
    InputError
        If there is no such level or `bins` is not positive.

    Examples
    --------
    The first level lies below the second, so half of the plane is empty:

    >>> gas = dj.dyson.CoulombGas(dj.dyson.quadratic(), g2=0.5, n=2)
    >>> x, y, density = dj.dyson.pair_density(gas.sample(0, 10_000), 0, 1, bins=20)
    >>> float(density[x[:, None] > y + 0.5].max())
    0.0
    """
    bins = positive_int("bins", bins)
    of_first, of_second = (samples[:, _level(samples, k)] for k in (first, second))
    height, x, y = np.histogram2d(of_first, of_second, bins=bins, density=True)
    return 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]), height


def _cuts(x: np.ndarray) -> np.ndarray:
    """Numbers of the levels at which a new piece begins."""
    gap = np.diff(x)
    # How far the pieces to the left and to the right of a gap would reach into it.
    before = np.concatenate([[np.inf], gap[:-1]])
    after = np.concatenate([gap[1:], [np.inf]])
    left, right = EDGE * before, EDGE * after
    # A level alone in its well has another gap on its far side; it is as narrow as the other piece at most.
    left, right = np.minimum(left, np.maximum(right, gap / 10)), np.minimum(right, np.maximum(left, gap / 10))
    wide = gap > CUT * (left + right)
    return np.flatnonzero(wide) + 1


def _piece(gas: CoulombGas, x: np.ndarray, stiffness: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and N times the density of the levels of one well."""
    if x.size == 1:  # a semicircle of one level, N = 1 in √(2β/U″)
        radius = np.sqrt(2 * gas.beta / stiffness)
        low, high = max(x[0] - radius, gas.line.lower), min(x[0] + radius, gas.line.upper)
        return np.array([low, x[0], high]), np.array([0.0, 4 / (np.pi * radius), 0.0])
    gap = np.diff(x)
    position, density = 0.5 * (x[1:] + x[:-1]), 1 / gap
    low, high = x[0] - EDGE * gap[0], x[-1] + EDGE * gap[-1]
    # At a hard wall the density does not vanish.
    first, last = (
        (0.0 if low > gas.line.lower else density[0]),
        (0.0 if high < gas.line.upper else density[-1]),
    )
    low, high = max(low, gas.line.lower), min(high, gas.line.upper)
    return np.concatenate([[low], position, [high]]), np.concatenate([[first], density, [last]])


def _level(samples: np.ndarray, level: int) -> int:
    if not 0 <= level < samples.shape[-1]:
        raise InputError(f"level must lie between 0 and {samples.shape[-1] - 1}, got {level}")
    return level

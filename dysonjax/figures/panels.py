"""Pieces that several figures draw: a density with its errors, and a law over it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dysonjax.figures.style import BLACK, BLUE
from dysonjax.spectra import LevelDensity, level_density


def density(
    axis: Axes, levels: np.ndarray, bins: int, limits: tuple[float, float], colour: str = BLUE, label=None
) -> LevelDensity:
    """Histogram of levels (members, n) normalised to unit area, with standard errors over members."""
    found = level_density(levels, bins, limits)
    axis.stairs(found.density, found.edges, fill=True, color=colour, alpha=0.3, lw=0, label=label)
    axis.errorbar(
        found.centers, found.density, found.density_err, fmt=".", ms=2, lw=0.8, capsize=0, color=colour
    )
    axis.set_xlim(limits)
    axis.set_ylim(0, None)
    return found


def law(axis: Axes, pdf, limits: tuple[float, float], points: int = 300, **options: Any) -> np.ndarray:
    """Draw a density over the limits; returns x and pdf(x), (2, points)."""
    x = np.linspace(*limits, points)
    curve = np.stack([x, pdf(x)])
    look: dict[str, Any] = {"color": BLACK, "lw": 1.1}
    axis.plot(*curve, **(look | options))
    return curve


def points(axis: Axes, x, y, error, **options: Any):
    """Markers with error bars, open, so that overlapping ones can be told apart."""
    style: dict[str, Any] = {"fmt": "o", "ms": 3.5, "mfc": "white", "lw": 0.8}
    return axis.errorbar(x, y, error, **style | options)

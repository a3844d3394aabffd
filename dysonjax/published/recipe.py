"""What a published figure is here: a recipe that makes it, and what the recipe hands back."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

SCALES = ("quick", "default", "paper")
Progress = Callable[[float, float], None]  # work done and in all, as in `ensemble.train`
Ensemble = TypeVar("Ensemble")


@dataclasses.dataclass(frozen=True)
class Check:
    """One number of a figure beside the theory line that is drawn for it.

    mistaken: what the line would be if the physics were wrong in the way that `mistake` says; a check is
    worth its name only if its error tells the two apart. systematic: how far the line itself may be off by
    terms that it is known to leave out; the caption says which.
    """

    name: str
    measured: float
    error: float  # standard error over members
    expected: float
    mistaken: float = np.nan
    mistake: str = "noise twice as strong"
    systematic: float = 0.0

    @property
    def z(self) -> float:
        """Distance from the line in standard errors, those of the line included."""
        return (self.measured - self.expected) / np.hypot(self.error, self.systematic)

    @property
    def resolution(self) -> float:
        """Distance of the mistaken line from the right one in the same errors; NaN if none is named."""
        return abs(self.mistaken - self.expected) / np.hypot(self.error, self.systematic)


def value(check: Check) -> str:
    """A measured number with its error, two digits of it; "not measured" without one."""
    if not np.isfinite(check.measured):
        return "not measured"
    digits = max(0, 1 - int(np.floor(np.log10(check.error)))) if check.error > 0 else 3
    return f"{check.measured:.{digits}f} ± {check.error:.{digits}f}"


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A figure that has been made."""

    figure: Figure
    data: xr.Dataset  # everything that is drawn
    caption: str  # plain text: parameters, seeds, fit results with errors, where theory and data differ
    checks: tuple[Check, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to make one published figure.

    make(scale, progress) trains, analyses and draws. scale: "quick", "default" or "paper" (the published
    statistics); recipes also know "test", too small to look at. seconds: time of each scale on two CPU cores.
    draw: the same figure from the dataset of an existing run, where that makes sense.
    """

    name: str
    source: str  # where it was published, such as "[A] Fig. 1 left"; several are separated by semicolons
    title: str
    make: Callable[[str, Progress | None], Reproduction]
    seconds: Mapping[str, float]
    draw: Callable[[xr.Dataset], Reproduction] | None = None


def trained_once(
    train: Callable[[str, Progress | None], Ensemble],
) -> Callable[[str, Progress | None], Ensemble]:
    """Keep the last ensemble that train(scale, progress) made: figures of one process that show the same
    ensemble then train it once. Members depend on their identity alone, so that training again would give
    the same numbers. Nobody may change what is handed out.
    """
    kept: dict[str, Ensemble] = {}

    @functools.wraps(train)
    def ensemble(scale: str, progress: Progress | None = None) -> Ensemble:
        if scale not in kept:
            kept.clear()  # first, for the memory
            kept[scale] = train(scale, progress)
        return kept[scale]

    return ensemble


def later(progress: Progress | None, before: float, total: float) -> Progress | None:
    """The progress of a part of the work, for which `before` of `total` is done already."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)

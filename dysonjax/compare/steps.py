"""The cost of one step of the ladder: how much two ensembles of levels differ, and by chance would."""

from typing import NamedTuple

import numpy as np

from dysonjax.spectra import permutation_test, wasserstein
from dysonjax.spectra.averages import mean_and_sem
from dysonjax.spectra.distances import chance_distance


class Step(NamedTuple):
    """What one more approximation changes: `second` against `first`."""

    first: str
    second: str
    z_levels: np.ndarray  # difference of the mean levels over its standard error, (levels,)
    z_spacings: np.ndarray  # the same for spacings, (levels − 1,)
    level_shift: tuple[float, float]  # mean over levels of the relative change of their mean; its error
    spacing_shift: tuple[float, float]  # the same for spacings
    wasserstein_levels: np.ndarray  # distance of each level's laws over that level's width, (levels,)
    wasserstein: float  # its mean over levels: the effect size
    chance: float  # the effect size expected between two ensembles of one law and these sizes
    p_value: float  # that relabelling whole members gives a larger effect size


def compare(first: str, second: str, x: np.ndarray, y: np.ndarray, n: int = 999, seed: int = 0) -> Step:
    """How two named ensembles of levels, shapes (members_x, levels) and (members_y, levels), differ."""
    z, shift = zip(*(_difference(a, b) for a, b in ((x, y), (np.diff(x), np.diff(y)))), strict=True)
    effects = wasserstein(x, y, levels="each")
    test = permutation_test(x, y, n=n, key=seed)
    return Step(first, second, *z, *shift, effects, test.statistic, chance_distance(x, y), test.p_value)


def verdict(steps: tuple[Step, ...]) -> str:
    """One paragraph: the effect sizes, what they do to levels and spacings, and what chance explains."""
    excess = [max(step.wasserstein - step.chance, 0.0) for step in steps]
    seen = [step.p_value < 0.05 for step in steps]
    details = []
    for step, real in zip(steps, seen, strict=True):
        shifts = [
            f"{100 * value:+.1f} ± {100 * e:.1f} %" for value, e in (step.level_shift, step.spacing_shift)
        ]
        details.append(
            f"from {step.first} to {step.second} levels move by {step.wasserstein:.2f} of their width "
            f"(by chance {step.chance:.2f}; p = {step.p_value:.3f}), that is, their means by {shifts[0]} and "
            f"mean spacings by {shifts[1]}" + ("" if real else ", which is no more than chance")
        )
    if any(seen):
        worst = steps[int(np.argmax(np.where(seen, excess, -1.0)))]
        lead = f"The costliest approximation is the step from {worst.first} to {worst.second}"
        free = sum(not real for real in seen)
        cost = "costs" if free == 1 else "cost"
        lead += f"; {free} of the {len(steps)} steps {cost} nothing that is resolved here." if free else "."
    else:
        lead = "No approximation costs anything that is resolved here."
    return f"{lead} In detail: {'; '.join(details)}."


def _difference(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """z-scores of the means of y against x, and the mean relative change with its standard error."""
    (a, a_sem), (b, b_sem) = mean_and_sem(x), mean_and_sem(y)
    if a.size == 0:  # spacings of a single level
        return a, (0.0, 0.0)
    # A member's levels are correlated: the average over levels comes first, the error over members second.
    (before, error), (after, other) = (mean_and_sem((v / a).mean(axis=1)) for v in (x, y))
    return (b - a) / np.hypot(a_sem, b_sem), (float(after - before), float(np.hypot(error, other)))

"""The cost of one step of the ladder: how much two ensembles of levels differ, and by chance would."""

from typing import NamedTuple

import numpy as np

from dysonjax import renamed
from dysonjax.keys import Key, keyed
from dysonjax.spectra import permutation_test, wasserstein
from dysonjax.spectra.averages import mean_and_sem
from dysonjax.spectra.distances import chance_distance


class Step(NamedTuple):
    """What one more approximation changes: `second` against `first`.

    Attributes
    ----------
    first, second : str
        The rungs.
    z_levels : array, shape (levels,)
        Difference of the mean levels over its standard error.
    z_spacings : array, shape (levels − 1,)
        The same for spacings.
    level_shift : (float, float)
        Mean over levels of the relative change of their mean, and its error.
    spacing_shift : (float, float)
        The same for spacings.
    wasserstein_levels : array, shape (levels,)
        Distance of each level's laws over that level's width.
    wasserstein : float
        Its mean over levels: the effect size.
    chance : float
        The effect size expected between two ensembles of one law and these sizes.
    p_value : float
        That relabelling whole members gives a larger effect size.
    """

    first: str
    second: str
    z_levels: np.ndarray
    z_spacings: np.ndarray
    level_shift: tuple[float, float]
    spacing_shift: tuple[float, float]
    wasserstein_levels: np.ndarray
    wasserstein: float
    chance: float
    p_value: float


@renamed.arguments(n_resamples="n")
@keyed
def compare(
    first: str, second: str, x: np.ndarray, y: np.ndarray, n_resamples: int = 999, key: Key = 0
) -> Step:
    """How two named ensembles of levels differ.

    Parameters
    ----------
    first, second : str
        Their names.
    x : array, shape (members_x, levels)
        Levels of the first.
    y : array, shape (members_y, levels)
        Levels of the second.
    n_resamples : int, default 999
        Relabellings of the permutation test.
    key : int or jax.Array, default 0
        Randomness of that test.

    Returns
    -------
    Step
        Effect size, chance and p-value.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = np.sort(rng.normal(size=(2, 200, 2)) + 5.0)
    >>> dj.compare.compare("before", "after", x, y + 1.0, n_resamples=99).p_value
    0.01
    """
    z_levels, level_shift = _difference(x, y)
    z_spacings, spacing_shift = _difference(np.diff(x), np.diff(y))
    effects = np.asarray(wasserstein(x, y, comparison="each"))
    test = permutation_test(x, y, n_resamples=n_resamples, key=key)
    return Step(
        first, second, z_levels, z_spacings, level_shift, spacing_shift, effects, float(test.distance),
        chance_distance(x, y), float(test.p_value),
    )  # fmt: skip


@renamed.arguments(comparisons="steps")
def verdict(comparisons: tuple[Step, ...]) -> str:
    """One paragraph about a ladder: effect sizes, their consequences for levels and spacings, and chance.

    Parameters
    ----------
    comparisons : tuple of Step
        From `compare`.

    Returns
    -------
    str
        One paragraph.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = np.sort(rng.normal(size=(2, 200, 2)) + 5.0)
    >>> dj.compare.verdict((dj.compare.compare("before", "after", x, y + 1.0, n_resamples=99),))
    'The costliest approximation is the step from before to after...'
    """
    excess = [max(step.wasserstein - step.chance, 0.0) for step in comparisons]
    seen = [step.p_value < 0.05 for step in comparisons]
    details = []
    for step, real in zip(comparisons, seen, strict=True):
        shifts = [
            f"{100 * value:+.1f} ± {100 * e:.1f} %" for value, e in (step.level_shift, step.spacing_shift)
        ]
        details.append(
            f"from {step.first} to {step.second} levels move by {step.wasserstein:.2f} of their width "
            f"(by chance {step.chance:.2f}; p = {step.p_value:.3f}), that is, their means by {shifts[0]} and "
            f"mean spacings by {shifts[1]}" + ("" if real else ", which is no more than chance")
        )
    if any(seen):
        worst = comparisons[int(np.argmax(np.where(seen, excess, -1.0)))]
        lead = f"The costliest approximation is the step from {worst.first} to {worst.second}"
        free = sum(not real for real in seen)
        cost = "costs" if free == 1 else "cost"
        lead += (
            f"; {free} of the {len(comparisons)} steps {cost} nothing that is resolved here." if free else "."
        )
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

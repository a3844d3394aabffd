"""Spectra in which there is nothing to fit: equal levels, levels too close for any noise, missing rank."""

import numpy as np

# Weights are kept as float32 or coarser; levels of equal singular values differ by their rounding.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
ZERO = 2e-13  # of the largest level: what is below is rounding
# Relative spread of the levels in units of that of noise, √r, below which no law of noise can be meant.
# Gaussian matrices of any shape lie at 1, orthogonal initialisation at 0, and after some training at a few
# percent.
_NARROW = 0.2


def degeneracy(levels: np.ndarray, ratio: float) -> str:
    """Why neither law nor spacings nor tail should be fitted, in a sentence; empty if they may be.

    levels: shape (members, modes), ascending, zeros already set. ratio: r = N/M ≤ 1.
    """
    top = levels[:, -1:]
    if (top == 0).any():
        return "all levels are zero: nothing is fitted"
    distinct = 1 + (np.diff(levels, axis=1) > _ROUNDING * top).sum(axis=1)
    modes = levels.shape[1]
    if distinct.max() == 1:
        return "all levels are equal up to rounding, as of an orthogonal matrix: nothing is fitted"
    zeros = int((levels == 0).sum(axis=1).max())
    if zeros:
        return f"rank deficient, {modes - zeros} of {modes}: laws, spacings and tail left out"
    if (distinct <= modes / 2).any():
        return f"only {int(distinct.min())} of {modes} levels differ beyond rounding: nothing is fitted"
    spread = (levels.std(axis=1) / levels.mean(axis=1)).max() / np.sqrt(ratio)
    if modes >= 4 and spread < _NARROW:
        return (
            f"the levels spread {100 * spread:.2g} % as far as those of noise: near to an orthogonal matrix, "
            "and nothing is fitted"
        )
    return ""


def without_empty_sides(weights: np.ndarray) -> tuple[np.ndarray, str]:
    """A matrix without rows and columns of zeros, such as those of dead units, and a note on them.

    weights: shape (members, rows, columns); an ensemble is left as it is unless all members agree.
    """
    used = weights != 0
    rows, columns = used.any(axis=(0, 2)), used.any(axis=(0, 1))
    missing = (~rows).sum(), (~columns).sum()
    if not any(missing) or min(rows.sum(), columns.sum()) < 2:
        return weights, ""
    return weights[:, rows][:, :, columns], f"{missing[0]} rows and {missing[1]} columns of zeros set aside"

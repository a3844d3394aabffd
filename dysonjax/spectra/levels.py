"""The array that every statistic takes: finite levels, ascending along the last axis."""

from typing import Any

import numpy as np

from dysonjax.checks import InputError, finite_array


def ascending(x: Any, modes: int = 2, min_ndim: int = 1) -> np.ndarray:
    """`x` as float64 of shape (..., modes), at least `modes` levels, none of them out of order."""
    x = finite_array("x", x, min_ndim)
    if x.shape[-1] < modes:
        raise InputError(f"x must have at least {modes} levels on its last axis, got shape {x.shape}")
    if x.size == 0:
        raise InputError(f"x must hold at least one member, got shape {x.shape}")
    if (np.diff(x, axis=-1) < 0).any():
        raise InputError("x must be ascending along its last axis: sort it with numpy.sort(x, axis=-1)")
    return x

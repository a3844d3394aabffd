"""The mean over members and its standard error."""

from typing import Any

import numpy as np


def mean_and_sem(x: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the members along `axis` and its standard error, both without that axis.

    Members that are NaN are left out, number by number. The error is NaN for a single member, and both are
    for none.
    """
    x = np.asarray(x, dtype=np.float64)
    present = ~np.isnan(x)
    count = present.sum(axis=axis, keepdims=True)
    mean = np.where(present, x, 0).sum(axis=axis, keepdims=True) / np.where(count > 0, count, np.nan)
    square = np.where(present, (x - mean) ** 2, 0).sum(axis=axis, keepdims=True)
    error = np.sqrt(square / np.where(count > 1, count * (count - 1.0), np.nan))
    return mean.squeeze(axis)[()], error.squeeze(axis)[()]

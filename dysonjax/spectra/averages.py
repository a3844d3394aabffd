"""The mean over members and its standard error."""

import numpy as np
from numpy.typing import ArrayLike


def mean_and_sem(x: ArrayLike, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean over members and its standard error.

    Parameters
    ----------
    x : array_like
        Numbers of the members, in any unit. Members that are NaN are left out, number by number.
    axis : int, default 0
        Axis of the members.

    Returns
    -------
    mean : ndarray
        The mean, without that axis; NaN where no member is left.
    error : ndarray
        Its standard error, without that axis; NaN where fewer than two members are left.

    Examples
    --------
    >>> from dysonjax.spectra.averages import mean_and_sem
    >>> mean, error = mean_and_sem([[1.0, 5.0], [2.0, 5.0], [3.0, np.nan]])
    >>> mean.tolist(), error.round(4).tolist()
    ([2.0, 5.0], [0.5774, 0.0])
    """
    x = np.asarray(x, dtype=np.float64)
    present = ~np.isnan(x)
    count = present.sum(axis=axis, keepdims=True)
    mean = np.where(present, x, 0).sum(axis=axis, keepdims=True) / np.where(count > 0, count, np.nan)
    square = np.where(present, (x - mean) ** 2, 0).sum(axis=axis, keepdims=True)
    error = np.sqrt(square / np.where(count > 1, count * (count - 1.0), np.nan))
    return mean.squeeze(axis)[()], error.squeeze(axis)[()]

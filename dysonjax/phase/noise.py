"""The noise line."""

import numpy as np
import xarray as xr

from dysonjax.phase.matrix import main_matrix, matrix_shape

CONTOURS = (0.68, 0.95, 0.997)


def noise_threshold(dataset: xr.Dataset, record: int = 0) -> xr.DataArray:
    """The temperature at which noise overtakes drift, of every member, at one record.

    The drift K pulls the outermost levels apart (or together), the noise V repels
    them; levels stay ordered by learning while K/(sqrt(r) (N-1)) >= T V/(4 sigma_w^2) with r = M/N. At
    initialisation 4 sigma_w^2/sqrt(r) is the Marchenko-Pastur width of X, so that the criterion reads
    K (mean level distance) >= T V, and it is applied there by default. Solved for T: shape of the members;
    negative or zero if the drift does not separate the levels.
    """
    levels = dataset[main_matrix(dataset)]
    rows, columns = matrix_shape(dataset)
    size, ratio = levels.sizes[levels.dims[-1]], max(rows, columns) / min(rows, columns)
    at = dataset.isel(record=record)
    scale = 4 * dataset["sigma_w"] ** 2 / (np.sqrt(ratio) * (size - 1))
    return (at["drift_gap"] * scale / at["noise_gap"]).transpose(*at["drift_gap"].dims)


def noise_line(dataset: xr.Dataset, contours: tuple[float, ...] = CONTOURS) -> xr.DataArray:
    """For each sigma_w, the temperature up to which a fraction of the members passes the noise criterion.

    Returns dims (contour, sigma_w): the (1 - contour) quantile of `noise_threshold` over seeds, batch sizes
    and, as the criterion is applied at initialisation, learning rates.
    """
    threshold = noise_threshold(dataset).transpose("sigma_w", ...).values
    threshold = threshold.reshape(dataset.sizes["sigma_w"], -1)
    # A threshold without a value (NaN) fails the criterion at every temperature.
    quantiles = np.quantile(
        np.nan_to_num(threshold, nan=-np.inf), 1 - np.array(contours), axis=1, method="lower"
    )
    return xr.DataArray(
        quantiles,
        {"contour": list(contours), "sigma_w": dataset["sigma_w"]},
        ("contour", "sigma_w"),
        name="temperature",
    )

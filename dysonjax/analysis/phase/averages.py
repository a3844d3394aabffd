"""Averages over the seeds of a grid point, with errors."""

import numpy as np
import xarray as xr

from dysonjax.analysis.phase.classification import needs
from dysonjax.analysis.phase.matrix import main_matrix

AS_THEY_ARE = (
    "feature_overlap",
    "feature_memory",
    "field_alignment",
    "field_alignment_per_sample",
    "field_alignment_per_feature",
)


def observables(dataset: xr.Dataset) -> xr.Dataset:
    """Averages over the seeds of every grid point at the last record, with standard errors.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.

    Returns
    -------
    xarray.Dataset
        Dims (batch_size, lr, sigma_w); every NAME has its standard error in `NAME_err`. `seeds_used` counts
        the members that are alive. `log10_test_loss` and `log10_train_loss` average logarithms;
        `mean_test_loss` is the plain mean, the published one, which the worst networks decide. `growth_rate`
        is (1/t) ln(u_t/u_0) a step, with u the mean level distance of the learned matrix.

    Raises
    ------
    InputError
        If this is no dataset, or lacks losses and features of a teacher-student run.

    Notes
    -----
    Members that diverged are left out. So is a value that is not finite, of that observable alone. The error
    of an average over m members is s/√m, with s² their variance (divided by m − 1): what a bootstrap over
    these members tends to with many resamples. With one member the error is NaN, with none the average too.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> means = dj.phase.observables(run)
    >>> loss = means["log10_test_loss"].sel(lr=0.5)[0]
    >>> bool(loss.sel(sigma_w=0.5) < loss.sel(sigma_w=8.0))
    True
    """
    needs(dataset, ("test_loss", "train_loss", "feature_memory", "alive"))
    last = dataset.isel(record=-1)
    levels = dataset[main_matrix(dataset)]
    mode = levels.dims[-1]
    distance = (levels.isel({mode: -1}) - levels.isel({mode: 0})) / max(levels.sizes[mode] - 1, 1)
    steps = float(dataset["record"][-1] - dataset["record"][0])
    with np.errstate(divide="ignore", invalid="ignore"):
        members = {
            "log10_test_loss": np.log10(last["test_loss"]),
            "log10_train_loss": np.log10(last["train_loss"]),
            "mean_test_loss": last["test_loss"],
            **{name: last[name] for name in AS_THEY_ARE if name in last},
            "growth_rate": np.log(distance.isel(record=-1) / distance.isel(record=0)) / max(steps, 1.0),
        }
    alive = last["alive"]
    result = {"seeds_used": alive.sum("seed")}
    for name, values in members.items():
        result[name], result[f"{name}_err"] = mean_of_members(values.where(alive))
    return xr.Dataset(result)


def mean_of_members(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over seeds and its standard error. Values that are not finite are missing.

    Parameters
    ----------
    values : xarray.DataArray
        With a dimension `seed`.

    Returns
    -------
    mean : xarray.DataArray
        Over the seeds that are there.
    error : xarray.DataArray
        Standard error of `mean`. NaN if fewer than two seeds are there.

    Notes
    -----
    The mean is over the members that are there, so that its error is theirs alone. A bootstrap that draws
    from all seeds and drops the missing ones afterwards now and then draws none that is there, and such a
    replicate has no mean.

    Examples
    --------
    >>> import xarray as xr
    >>> values = xr.DataArray([1.0, 3.0, np.nan], dims="seed")
    >>> mean, error = dj.phase.mean_of_members(values)
    >>> float(mean), float(error)
    (2.0, 1.0)
    """
    values = values.where(np.isfinite(values))
    present = values.count("seed")
    variance = ((values - values.mean("seed")) ** 2).sum("seed") / (present - 1).where(present > 1)
    return values.mean("seed"), np.sqrt(variance / present)

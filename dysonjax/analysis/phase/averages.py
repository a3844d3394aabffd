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
    """Averages over seeds at the last record, with standard errors `NAME_err`.

    Returns dims (batch_size, lr, sigma_w). Losses are averaged as log10; `mean_test_loss` is
    their plain mean, the published one, which the worst networks decide. Members that diverged are left out,
    and so is a value that is not finite, of that observable alone; `seeds_used` counts the members alive.
    `growth_rate` is (1/t) ln(u_t/u_0) a step, with u the mean level distance of the learned matrix. The error
    of an average over m members is s/√m, with s² their variance (divided by m − 1): what a bootstrap over
    these members tends to with many resamples. With one member the error is NaN, with none the average too.
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
    """Mean over seeds and its standard error; values that are not finite are missing.

    The mean is over the members that are there, so that its error is theirs alone. A bootstrap that draws
    from all seeds and drops the missing ones afterwards now and then draws none that is there, and such a
    replicate has no mean.
    """
    values = values.where(np.isfinite(values))
    present = values.count("seed")
    variance = ((values - values.mean("seed")) ** 2).sum("seed") / (present - 1).where(present > 1)
    return values.mean("seed"), np.sqrt(variance / present)

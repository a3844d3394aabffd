"""Loss and levels against training steps for any run, finished or not."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from dysonjax.figures.style import BLUE, PAGE, RED, new_figure, style

MAX_CURVES = 12  # more grid points than that are thinned out evenly


def training_curves(dataset: xr.Dataset) -> Figure:
    """Left: median training loss over seeds of the grid points, coloured by their temperature. Right: mean
    levels of the middle point.

    Records that are not there yet, and members that diverged, are left out.
    """
    loss = dataset["train_loss"].where(dataset["alive"])
    points = [str(dim) for dim in loss.dims if dim not in ("seed", "record")]
    loss = loss.median("seed").stack(point=points).transpose("point", "record")
    number = loss.sizes["point"]
    shown = np.unique(np.linspace(0, number - 1, min(number, MAX_CURVES)).round().astype(int))
    steps = dataset["record"].values
    temperature = (loss["lr"] / loss["batch_size"]).values
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=2.9)
        hot, cold = temperature.max(), temperature.min()
        scale = mpl.cm.ScalarMappable(LogNorm(cold, hot), "viridis_r") if cold < hot else None
        positive = False
        for index in shown:
            values = loss.values[index]
            positive |= bool((values > 0).any())
            colour = BLUE if scale is None else scale.to_rgba(temperature[index])
            left.plot(steps, values, lw=0.9, color=colour)
        if positive:
            left.set_yscale("log")
        if scale is not None:
            figure.colorbar(scale, ax=left, label=r"$\alpha/|B|$")
        left.set(xlabel="training step", ylabel="median training loss")
        left.set_title("grid points" if len(shown) == number else f"{len(shown)} of {number} grid points")
        _levels(right, dataset, points)
    return figure


def _levels(axis, dataset: xr.Dataset, points: list[str]) -> None:
    names = sorted(str(name) for name in dataset.data_vars if str(name).startswith("eigenvalues"))
    if not names:
        axis.set_axis_off()
        return
    name = names[0]
    middle = {dim: dataset.sizes[dim] // 2 for dim in points}
    at = dataset.isel(middle)
    levels = at[name].where(at["alive"]).transpose("record", "seed", ...).values
    count = np.isfinite(levels).sum(axis=1)
    mean = np.where(count > 0, np.nansum(levels, axis=1) / np.maximum(count, 1), np.nan)
    axis.plot(dataset["record"].values, mean, color=BLUE, lw=0.9)
    if f"target_{name}" in dataset:
        for target in np.unique(at[f"target_{name}"].mean("seed").values.round(9)):
            if np.isfinite(target):
                axis.axhline(target, color=RED, lw=0.7, ls=":")
    axis.set(xlabel="training step", ylabel=r"mean levels $x_i$ of $X=W^TW$")
    label = ", ".join(f"{dim}={float(at[dim]):.3g}" for dim in points)
    axis.set_title(f"{name.replace('eigenvalues', 'levels').replace('_', ' ')} at {label}", fontsize=7)

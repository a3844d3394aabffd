"""Cuts through the phase diagram: test loss and gradient norm along the learning rate at fixed disorder."""

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import CYCLE, PAGE, new_figure, style
from dysonjax.published.phase import POWERS, described, published, statistics, variance_check
from dysonjax.published.phase import SIZES as GRIDS
from dysonjax.published.recipe import Recipe, Reproduction, trained_once, value

WIDTHS = (0.125, 1.0, 16.0, 128.0)  # σ_W of the cuts
EPOCH = 1000
SECONDS = {"quick": 10, "default": 60, "paper": 24_000}


@trained_once
def ensemble(scale: str, progress=None) -> xr.Dataset:
    """Networks along the cuts; weights an epoch apart at the start and at the end."""
    lr, _, seeds, steps = GRIDS[scale]
    lr, steps = (POWERS[::3], 4_000) if scale == "test" else (lr, steps)
    grid = Grid(lr=lr, sigma_w=WIDTHS, batch_size=4, seeds=seeds)
    records = (0, EPOCH, steps - EPOCH, steps)
    return train(
        models.teacher_student(), grid, steps, records, keep_weights="all", progress=progress
    ).dataset  # fmt: skip


def cuts(dataset: xr.Dataset) -> Reproduction:
    """Loss and the norm of the gradient averaged over an epoch, at the start and at the end."""
    dataset = published(dataset)
    averages = phase.observables(dataset).isel(batch_size=0)
    kept = "weights" in dataset and "record" in dataset["weights"].dims
    if kept:
        norms = np.log10(phase.epoch_gradient_norm(dataset)).isel(batch_size=0)
        what, short = "norm of the gradient averaged over an epoch", "norm of an epoch's mean gradient"
    else:
        norms = np.log10(dataset["grad_norm"]).isel(batch_size=0)
        what = short = "norm of the gradient of 256 samples"
    alive = dataset["alive"].isel(batch_size=0, record=-1)
    curves = {
        name: phase.mean_of_members(norms.isel(record=index).where(alive))
        for name, index in (("first", 0), ("last", -1))
    }
    temperature = (dataset["lr"] / dataset["batch_size"].item()).values
    with style():
        figure, axes = new_figure(1, 3, width=1.3 * PAGE, height=3.2, sharex=True)
        for k, width in enumerate(dataset["sigma_w"].values):
            at = {"sigma_w": width}
            options = {"fmt": "o-", "ms": 3, "lw": 0.8, "color": CYCLE[k % len(CYCLE)]}
            label = rf"$1/\sigma_W={1 / width:.3g}$"
            panels = (
                (averages["log10_test_loss"], averages["log10_test_loss_err"]),
                curves["last"],
                curves["first"],
            )  # fmt: skip
            for axis, (mean, error) in zip(axes, panels, strict=True):
                axis.errorbar(temperature, mean.sel(at), error.sel(at), label=label, **options)
        for axis, title in zip(
            axes, (r"$\log_{10}$ test loss", rf"$\log_{{10}}$ {short}, end", "the same, start"), strict=True
        ):
            axis.set(xlabel=r"$T=\alpha/|B|$")
            axis.set_title(title, fontsize=8)
            axis.set_xscale("log", base=2)
        axes[0].legend(fontsize=7)
        figure.align_labels()
    check = variance_check(dataset)
    first = curves["first"][0].isel(lr=0)
    starts = ", ".join(
        f"{10 ** float(first.sel(sigma_w=w)):.3g} at 1/σ_W = {1 / w:.3g}" for w in dataset["sigma_w"].values
    )
    caption = (
        f"{described(dataset)}. Means of log₁₀ over networks with errors, along the learning rate at fixed "
        f"σ_W: test loss; {what}"
        f"{', the change of the weights in 1000 steps over 1000 learning rates,' if kept else ''} at the end "
        f"and at the start. At the lowest temperature it starts from {starts}. "
        f"{check.name[0].upper()}{check.name[1:]}: {value(check)} (theory {check.expected:.4f})."
    )
    data = xr.Dataset(
        {
            "log10_test_loss": averages["log10_test_loss"],
            "log10_test_loss_err": averages["log10_test_loss_err"],
            "mean_test_loss": averages["mean_test_loss"],
            "mean_test_loss_err": averages["mean_test_loss_err"],
            **{f"log10_gradient_norm_{name}": mean for name, (mean, _) in curves.items()},
            **{f"log10_gradient_norm_{name}_err": error for name, (_, error) in curves.items()},
        },
        attrs={"gradient": what},
    ).drop_vars("record", errors="ignore")  # fmt: skip
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


CUTS = Recipe(
    "phase-cuts",
    "arXiv 2509.01349 cuts of loss and gradient norm",
    "Test loss and gradient norm along the learning rate",
    lambda scale, progress: cuts(ensemble(scale, progress)),
    SECONDS,
    cuts,
)

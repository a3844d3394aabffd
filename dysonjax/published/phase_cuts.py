"""Cuts through the phase diagram: test loss and gradient norm along the learning rate at fixed disorder."""

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import CYCLE, PAGE, colours, new_figure, style
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
    """Loss; norm of the gradient, of all samples at the start and averaged over an epoch at the end."""
    dataset = published(dataset)
    averages = phase.observables(dataset).isel(batch_size=0)
    kept = "weights" in dataset and "record" in dataset["weights"].dims
    if kept:
        norms = {
            "first": phase.full_gradient_norm(dataset),
            "last": phase.epoch_gradient_norm(dataset).isel(record=-1),
        }
        what = "norm of the gradient, of all samples before training and averaged over the last epoch"
        titles = {"first": "gradient norm, start", "last": "norm of an epoch's mean gradient, end"}
    else:
        norms = {"first": dataset["grad_norm"].isel(record=0), "last": dataset["grad_norm"].isel(record=-1)}
        what = "norm of the gradient of 256 samples"
        titles = {"first": "gradient norm, start", "last": "gradient norm, end"}
    sample = float(dataset["grad_norm"].isel(record=0, lr=0, batch_size=0, sigma_w=-1).mean())
    alive = dataset["alive"].isel(batch_size=0, record=-1)
    curves = {
        name: phase.mean_of_members(xr.apply_ufunc(np.log10, values.isel(batch_size=0)).where(alive))
        for name, values in norms.items()
    }
    temperature = (dataset["lr"] / dataset["batch_size"].item()).values
    with style():
        figure, axes = new_figure(1, 3, width=1.3 * PAGE, height=3.2, sharex=True)
        widths = dataset["sigma_w"].values
        for width, colour in zip(widths, colours(len(widths)), strict=True):
            at = {"sigma_w": width}
            options = {"fmt": "o-", "ms": 3, "lw": 0.8, "color": colour}
            label = rf"$1/\sigma_W={1 / width:.3g}$"
            panels = (
                (averages["log10_test_loss"], averages["log10_test_loss_err"]),
                curves["last"],
                curves["first"],
            )  # fmt: skip
            for axis, (mean, error) in zip(axes, panels, strict=True):
                axis.errorbar(temperature, mean.sel(at), error.sel(at), label=label, **options)
        for axis, title in zip(
            axes,
            ("test loss", titles["last"], titles["first"]),
            strict=True,
        ):
            axis.set(xlabel=r"$T=\alpha/|B|$", ylabel=r"$\log_{10}$")
            axis.set_title(title, fontsize=8)
            axis.set_xscale("log", base=2)
        axes[0].legend(fontsize=7 if len(widths) <= len(CYCLE) else 6)
        figure.align_labels()
    check = variance_check(dataset)
    first = curves["first"][0].isel(lr=0)
    starts = ", ".join(
        f"{10 ** float(first.sel(sigma_w=w)):.3g} at 1/σ_W = {1 / w:.3g}" for w in dataset["sigma_w"].values
    )
    caption = (
        f"{described(dataset)}. Means of log₁₀ over networks with errors, along the learning rate at fixed "
        f"σ_W: test loss; {what}"
        f"{', the change of the weights in 1000 steps over 1000 learning rates' if kept else ''}. "
        f"At the lowest temperature it starts from {starts}. On 256 samples its mean at the largest σ_W is "
        f"{sample:.3g}. "
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

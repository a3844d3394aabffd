"""Maps beside that of the loss: growth of level distances, fraction of networks below the noise line."""

import numpy as np
import xarray as xr

from dysonjax import threefry
from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.figures.phase_diagram import heat_map, map_contours
from dysonjax.figures.style import BLACK, PAGE, new_figure, style
from dysonjax.published.phase import (
    described,
    diagram,
    draw_lines,
    halfway,
    line_text,
    phase_recipe,
    statistics,
    variance_check,
)
from dysonjax.published.recipe import Check, Reproduction, value
from dysonjax.spectra import sample_beta_laguerre

EPOCH = 1000  # batches of the published data set; rates are given for an epoch of this many steps


def growth_rate(dataset: xr.Dataset) -> Reproduction:
    """Growth rate of the mean level distance, and how much the distance has grown."""
    dataset, averages, _, jamming, noise, variance = diagram(dataset)
    rate, error = (EPOCH * averages[name] for name in ("growth_rate", "growth_rate_err"))
    steps = float(dataset["record"][-1] - dataset["record"][0])
    total = averages["growth_rate"] * steps
    with style():
        figure, axes = new_figure(1, 2, width=PAGE, height=3.5, sharey=True)
        for axis, shown, title in (
            (axes[0], rate.clip(0), "growth rate of level distances / epoch"),
            (axes[1], total.clip(0), r"$\ln(u_t/u_0)$"),
        ):
            figure.colorbar(heat_map(axis, shown, vmin=0, cmap="viridis"), ax=axis)
            axis.set_title(title)
        draw_lines(figure, axes, jamming, noise, variance, dataset.sizes["seed"])
    check = start_distance(dataset)
    top = rate.where(rate == rate.max(), drop=True).squeeze()
    caption = (
        f"{described(dataset)}. Left: mean over networks of ln(u_t/u_0)/t with u the mean distance of the 16 "
        f"levels and t in epochs of {EPOCH} batches; right: the same without 1/t. Both from 0 upwards, as "
        f"published. The largest rate is {float(rate.max()):.3g} an epoch at 1/σ_W = "
        f"{1 / float(top['sigma_w']):.3g}, T = {float(top['lr'] / top['batch_size']):.3g}. Levels "
        "grow ever more slowly, so that the rate depends on the length of the run. Mean distance at the "
        f"start over σ_W²: {value(check)}, exact {check.expected:.4f}."
    )
    data = xr.Dataset(
        {
            "growth_rate_per_epoch": rate,
            "growth_rate_per_epoch_err": error,
            "growth": total,
            "growth_err": averages["growth_rate_err"] * steps,
            **halfway(dataset, ("growth",)),
            "noise_line": noise,
        }
    )
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


def start_distance(dataset: xr.Dataset) -> Check:
    """Mean distance of the levels before training over σ_W², against the exact ensemble."""
    levels = dataset["eigenvalues"].isel(record=0, lr=0, batch_size=0)
    distance = (levels.isel(mode=-1) - levels.isel(mode=0)) / (levels.sizes["mode"] - 1)
    each = (distance / dataset["sigma_w"] ** 2).mean("sigma_w").values

    exact = np.asarray(
        sample_beta_laguerre(threefry.root(0), n=16, m=32, beta=1.0, scale=32**-0.5, shape=(20_000,))
    )
    expected = float((exact[:, -1] - exact[:, 0]).mean() / 15)
    return Check(
        "mean level distance at the start / σ_W²", float(each.mean()),
        float(each.std(ddof=1) / np.sqrt(len(each))), expected, 2 * expected, "twice the variance",
        systematic=0.003 * expected,
    )  # fmt: skip


def noise_fraction(dataset: xr.Dataset) -> Reproduction:
    """Fraction of the networks in which drift exceeds noise, by both criteria, with contours."""
    dataset, _, _, jamming, *_ = diagram(dataset)
    if "published" not in phase.criteria(dataset):
        raise InputError("this run did not record the published noise; train it again")
    fractions = {
        name: phase.noise_fraction(dataset, criterion=name).isel(batch_size=0) for name in phase.CRITERIA
    }
    lines = {name: phase.noise_line(dataset, criterion=name) for name in phase.CRITERIA}
    titles = {"published": "as published", "variance": "variance of the turned matrix"}
    with style():
        figure, axes = new_figure(1, 2, width=PAGE, height=3.6, sharey=True)
        for axis, (name, fraction) in zip(axes, fractions.items(), strict=True):
            mesh = heat_map(axis, fraction, vmin=0, vmax=1, cmap="magma")
            axis.set_title(titles[name])
            map_contours(axis, fraction, phase.CONTOURS)
            at = lines[name].isel(contour=0)
            known = np.isfinite(at.values)
            axis.plot(1 / at["sigma_w"].values[known], at.values[known], "o", ms=3, mfc="w", color=BLACK,
                      label="line at 68 %")  # fmt: skip
            axis.set_xlabel(r"inverse disorder  $1/\sigma_W$")
        figure.colorbar(mesh, ax=axes, label="fraction with drift > noise")
        axes[0].set_ylabel(r"temperature  $T=\alpha/|B|$")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    check = variance_check(dataset)
    hot = float(fractions["published"].isel(lr=-1).sel(sigma_w=slice(0, 1)).mean())
    caption = (
        f"{described(dataset)}. Fraction of the networks in which K/(√r(N−1)) ≥ T V/(4σ_W²) at the last "
        f"record, with the contours of 68, 95 and 99.7 %. Left, V as published, from UᵀVU, whose sign "
        f"follows the arbitrary signs of the eigenvectors U: at the hottest points with σ_W ≤ 1 the fraction "
        f"is {hot:.2f}. Its 68 % line: T = {line_text(lines['published'])}. Right, V the variance of the "
        f"turned matrix: T = {line_text(lines['variance'])}. Circles: where the fraction falls below 68 % "
        f"for good, by isotonic regression along T. {check.name[0].upper()}{check.name[1:]}: {value(check)} "
        f"(theory {check.expected:.4f})."
    )
    data = xr.Dataset(
        {
            **{f"fraction_{name}": fraction for name, fraction in fractions.items()},
            "noise_line": lines["published"],
            "noise_line_variance": lines["variance"],
        },
        attrs={"jamming_published": float(jamming.published)},
    )
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


GROWTH = phase_recipe(
    "phase-growth-rate",
    "arXiv 2509.01349 growth rate of level distances",
    "Growth rate of the level distances over the phase diagram",
    growth_rate,
)
FRACTION = phase_recipe(
    "phase-noise-fraction",
    "arXiv 2509.01349 contours of the noise criterion",
    "Fraction of networks whose drift exceeds their noise",
    noise_fraction,
)

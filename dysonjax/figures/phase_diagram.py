"""The phase diagram of a teacher-student network, and the spectra of one member of each phase. [C]"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dysonjax.figures.style import BLACK, BLUE, PAGE, RED, new_figure, power_label, style

PHASE_COLOURS = {
    "converged": "#56B4E9", "jammed": "#F5D08A", "divergent": "#8C564B", "undecided": "#FFFFFF",
}  # fmt: skip


def phase_diagram(
    observables: xr.Dataset,
    phases: xr.Dataset,
    jamming: tuple[float, float],
    noise: xr.DataArray,
    seeds: int,
    caption: str = "",
    variance: xr.DataArray | None = None,
) -> Figure:
    """Test loss, feature overlap, field alignment and phases over 1/sigma_w and lr/batch_size.

    observables, phases: dims (lr, sigma_w), one batch size selected. jamming: published and measured
    1/sigma_w of the jamming line. noise: temperature (contour, sigma_w) of the noise line as published.
    seeds: networks at each point; contours that they cannot resolve are left out. variance: the noise line
    with the variance of the turned matrix, of which the first contour is drawn.
    """
    with style():
        figure, axes = new_figure(2, 2, width=PAGE, height=6.3, sharex=True, sharey=True)
        panels: list[tuple[str, Any, dict[str, Any]]] = [
            ("test loss", 10.0 ** observables["log10_test_loss"], {"norm": LogNorm(), "cmap": "viridis"}),
            ("overlap $q$ with initial features", observables["feature_overlap"], {"vmin": 0, "vmax": 1}),
            (r"field alignment $h\cdot\phi\;/\;10^{-3}$", 1e3 * observables["field_alignment"], {"vmin": 0}),
        ]
        for axis, (title, values, options) in zip(axes.flat, panels, strict=False):
            mesh = heat_map(axis, values, **options)
            figure.colorbar(mesh, ax=axis)
            axis.set_title(title)
        phase_map(figure, axes[1, 1], phases)
        for axis in axes.flat:
            handles = boundary_lines(axis, jamming, resolved(noise, seeds), variance)
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        for axis in axes[-1]:
            axis.set_xlabel(r"inverse disorder  $1/\sigma_W$")
        for axis in axes[:, 0]:
            axis.set_ylabel(r"temperature  $T=\alpha/|B|$")
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def phase_map(figure: Figure, axis, phases: xr.Dataset) -> None:
    """The phase of every point, with a bar that names them; undecided points are white and crossed.

    phases: from `phase.classify`, dims (lr, sigma_w). The bar names undecided points if there are any.
    """
    point = phases["point"]
    names = [n for i, n in enumerate(phases.attrs["phases"]) if n != "undecided" or (point == i).any()]
    colours = ListedColormap([PHASE_COLOURS[name] for name in names])
    norm = BoundaryNorm(np.arange(-0.5, len(names)), len(names))
    mesh = heat_map(axis, point, cmap=colours, norm=norm)
    bar = figure.colorbar(mesh, ax=axis, ticks=range(len(names)))
    bar.ax.set_yticklabels(names)
    bar.ax.tick_params(length=0)
    if "undecided" in names:
        open_ = point.where(point == names.index("undecided")).stack(cell=point.dims).dropna("cell")
        temperature = open_["lr"] / open_["batch_size"]
        axis.plot(1 / open_["sigma_w"], temperature, "x", color=BLACK, ms=4, mew=0.8)
    axis.set_title("phases (most of the seeds)")


def spectra_of_phases(members: dict[str, xr.Dataset], caption: str = "") -> Figure:
    """Squared singular values against training steps, for one member of each phase.

    members: phase -> dataset of one member with `levels` (record, mode) and `targets` (mode).
    """
    with style():
        figure, axes = new_figure(1, len(members), width=PAGE, height=2.7, squeeze=False)
        for axis, (name, member) in zip(axes[0], members.items(), strict=True):
            steps = member["record"].values
            levels = axis.plot(steps, member["levels"].values, color=BLUE, lw=0.9)
            targets = [axis.axhline(x, color=RED, lw=0.7, ls=":") for x in member["targets"].values]
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(power_label(10))
            axis.set_ylim(*_decades(member["levels"].values, member["targets"].values))
            axis.set_title(
                f"{name}\n" + rf"$1/\sigma_W={1 / float(member['sigma_w']):.3g}$, "
                rf"$\alpha/|B|={float(member['lr'] / member['batch_size']):.3g}$"
            )
            axis.set_xlabel("training step")
            axis.xaxis.set_major_formatter(FuncFormatter(steps_label))
            axis.locator_params(axis="x", nbins=4)
        axes[0, 0].set_ylabel(r"eigenvalues $x_i$ of $X=W^TW$")
        figure.legend([levels[0], targets[0]], ["student", "teacher"], loc="outside upper center", ncols=2)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def heat_map(axis, values: xr.DataArray, **options):
    """A coloured grid with logarithmic cells around the grid's own values."""
    inverse_width = 1 / values["sigma_w"].values
    temperature = (values["lr"] / values["batch_size"]).values
    order_x, order_y = np.argsort(inverse_width), np.argsort(temperature)
    image = values.transpose("lr", "sigma_w").values[np.ix_(order_y, order_x)]
    mesh = axis.pcolormesh(
        _edges(inverse_width[order_x]), _edges(temperature[order_y]), image, rasterized=True, **options
    )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(power_label(2))
    return mesh


def map_contours(axis, fraction: xr.DataArray, levels: tuple[float, ...]) -> None:
    """Contours of a map over the grid's own points, named in a legend."""
    at = 1 / fraction["sigma_w"].values, (fraction["lr"] / fraction["batch_size"]).values
    x, y = (np.argsort(values) for values in at)
    image = fraction.transpose("lr", "sigma_w").values[np.ix_(y, x)]
    for level, dashes in zip(levels, ("-", "--", ":"), strict=False):
        if min(image.shape) > 1 and np.nanmin(image) < level < np.nanmax(image):
            axis.contour(at[0][x], at[1][y], image, [level], colors="w", linewidths=1.0, linestyles=dashes)
        axis.plot([], [], color="#999999", ls=dashes, lw=1.0, label=f"{100 * level:g} %")


def resolved(noise: xr.DataArray, seeds: int) -> xr.DataArray:
    """The contours that a number of seeds can tell apart, at least the lowest: 95 % needs 20 seeds. From the
    published 100 on all are shown; a contour at 99.7 % then is where all networks pass."""
    highest = 1.0 if seeds >= 100 else max(1 - 1 / max(seeds, 1), float(noise["contour"].min()))
    return noise.sel(contour=noise["contour"] <= highest)


def boundary_lines(axis, jamming, noise, variance=None):
    """Jamming line (published, measured) and noise lines; returns legend handles.

    The published jamming line ends where it meets the noise line's first contour.
    """
    limits = axis.get_xlim(), axis.get_ylim()
    end = temperature_at(noise.isel(contour=0), jamming[0])
    end = limits[1][1] if end is None else float(np.clip(end, *limits[1]))
    handles = [
        axis.plot([jamming[0]] * 2, [limits[1][0], end], color=RED, ls="-",
                  label=r"jamming, published ($\sigma_W^2=\frac{1}{2}$)")[0],
        axis.axvline(jamming[1], color=RED, ls=":", label="jamming, measured variance"),
    ]  # fmt: skip
    for contour, dashes in zip(noise["contour"].values, ("-", "--", ":"), strict=False):
        label = f"drift > noise in {100 * contour:g} %"
        handles += _temperature_line(axis, noise.sel(contour=contour), color=BLACK, ls=dashes, label=label)
    if variance is not None:
        label = f"the same with the variance, {100 * float(variance['contour'][0]):g} %"
        handles += _temperature_line(axis, variance.isel(contour=0), color=BLUE, ls="-.", label=label)
    axis.set(xlim=limits[0], ylim=limits[1])
    return handles


def _temperature_line(axis, noise: xr.DataArray, **options):
    width = 1 / noise["sigma_w"].values
    order = np.argsort(width)
    shown = np.where(np.isfinite(noise.values), noise.values, np.nan)
    return axis.plot(width[order], shown[order], marker=".", ms=2, **options)


def temperature_at(line: xr.DataArray, inverse_sigma_w: float) -> float | None:
    """The temperature of a noise line, dims (sigma_w), at one 1/σ_W.

    Between two points the line is straight in logarithms. None where it has no point on one of the sides.
    """
    at, known = 1 / line["sigma_w"].values, np.isfinite(line.values)
    if not known.any() or not at[known].min() <= inverse_sigma_w <= at[known].max():
        return None
    order = np.argsort(at[known])
    logs = np.interp(np.log(inverse_sigma_w), np.log(at[known][order]), np.log(line.values[known][order]))
    return float(np.exp(logs))


def _edges(centres: np.ndarray) -> np.ndarray:
    """Cell borders half-way (in the logarithm) between the values; one value gets a cell of a factor 2."""
    if len(centres) == 1:
        return np.array([centres[0] / 2**0.5, centres[0] * 2**0.5])
    inner = np.sqrt(centres[1:] * centres[:-1])
    return np.concatenate([[centres[0] ** 2 / inner[0]], inner, [centres[-1] ** 2 / inner[-1]]])


def _decades(*values: np.ndarray) -> tuple[float, float]:
    """Limits around all positive values; levels that vanish do not stretch the axis without end."""
    both = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in values])
    top = both.max()
    return max(both.min(), 1e-6 * top) / 1.5, top * 1.5


def steps_label(value: float, _position=None) -> str:
    """A number of steps, in thousands and millions."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"

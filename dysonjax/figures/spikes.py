"""Spikes of a learning ensemble: trajectories, overlaps, times of emergence and where a spike is learned."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dysonjax.figures.style import BLACK, CYCLE, PAGE, RED, new_figure, style

SYMBOLS = {
    "lr": r"$\alpha$",
    "batch_size": "$|B|$",
    "sigma_w": r"$\sigma_W$",
    "s": "$s$",
    "epsilon": r"$\epsilon$",
}
SHOWN = 5  # trajectories


def spikes(found: xr.Dataset, margin: xr.DataArray | None = None, caption: str = "") -> Figure:
    """Four panels: outliers over time, overlaps over strength, the diagram of trainability, emergence.

    found: as `analysis.spikes.compare` makes it. margin: (lr, sigma_w), positive where theory has the
    strongest spike outside. The diagram is that of the last batch size and scalars.
    """
    with style():
        figure, axes = new_figure(2, 2, width=PAGE, height=5.6)
        _trajectories(axes[0, 0], found)
        _overlaps(axes[0, 1], found)
        _diagram(figure, axes[1, 0], found, margin)
        _emergence(axes[1, 1], found)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def _trajectories(axis, found):
    """A few of the points, those that emerge first to last."""
    first = found.isel(spike=0)
    places = [
        dict(zip(first["emergence"].dims, p, strict=True)) for p in np.ndindex(first["emergence"].shape)
    ]
    times = np.array([float(first["emergence"].isel(place)) for place in places])
    ends = [float(first["position"].isel(place).isel(record=-1)) for place in places]
    seen = [k for k in np.argsort(times) if np.isfinite(times[k]) and np.isfinite(ends[k])]
    chosen = seen or [k for k in range(len(places)) if np.isfinite(ends[k])]
    chosen = [chosen[int(k)] for k in np.linspace(0, len(chosen) - 1, min(SHOWN, len(chosen)))]
    varied = [dim for dim in first["emergence"].dims if first.sizes[dim] > 1]
    for colour, k in zip(CYCLE, chosen, strict=False):
        one = found.isel(places[k])
        name = ", ".join(f"{SYMBOLS.get(d, d)}={float(one[d]):.3g}" for d in varied)
        for spike in range(found.sizes["spike"]):
            at = one.isel(spike=spike)
            axis.errorbar(
                at["record"], at["position"], at["position_err"], color=colour, ls="none", marker="o", ms=3,
                label=name if spike == 0 else None,
            )  # fmt: skip
            axis.plot(at["record"], at["position_theory"], color=colour, lw=1)
    axis.set(xlabel="training step", ylabel="eigenvalue of $X=W^TW$", title="outliers (lines: theory)")
    axis.set_yscale("log")
    if varied:
        axis.legend(fontsize=6)


def _overlaps(axis, found):
    for colour, side in zip(CYCLE, ("right", "left"), strict=False):
        if f"overlap_{side}" not in found:
            continue
        strength = found["strength_theory"]
        if strength.isnull().all():  # no theory: the strength that the position means
            strength = found["strength"]
        x, y, line = (
            a.broadcast_like(strength).transpose(*strength.dims).values.ravel()
            for a in (strength, found[f"overlap_{side}"], found[f"overlap_{side}_theory"])
        )
        axis.plot(x, y, color=colour, ls="none", marker=".", ms=3, alpha=0.4, label=side, rasterized=True)
        order = np.argsort(x)
        axis.plot(x[order], line[order], color=BLACK, lw=0.8)
    axis.axvline(1, color=RED, lw=0.8, ls="--")
    axis.set(
        xscale="log", xlim=(0.1, 100), ylim=(-0.02, 1.02), xlabel=r"strength $\theta(t)/\theta_c(t)$",
        ylabel="squared overlap with the teacher", title="alignment (lines: theory)",
    )  # fmt: skip
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left")


def _diagram(figure, axis, found, margin):
    last = found.isel(spike=0, record=-1)
    last = last.isel({dim: -1 for dim in last["outside"].dims if dim not in ("lr", "sigma_w")})
    size = float(last["batch_size"])
    seen = last["outside"].transpose("lr", "sigma_w")
    lr, sigma_w = seen["lr"].values / size, seen["sigma_w"].values
    order = np.argsort(lr), np.argsort(sigma_w)
    mesh = axis.pcolormesh(
        _edges(lr[order[0]]), _edges(sigma_w[order[1]]), seen.values[np.ix_(*order)].T, vmin=0, vmax=1,
        rasterized=True,
    )  # fmt: skip
    if margin is not None and float(margin.min()) < 0 < float(margin.max()):
        values = margin.transpose("sigma_w", "lr").values
        axis.contour(margin["lr"] / size, margin["sigma_w"], values, [0.0], colors=RED)
    axis.set(
        xscale="log", yscale="log", xlabel=r"$\alpha/|B|$", ylabel=r"$\sigma_W$",
        title="seeds with an outlier at the end (line: theory)",
        xlim=_edges(lr[order[0]])[[0, -1]], ylim=_edges(sigma_w[order[1]])[[0, -1]],
    )  # fmt: skip
    figure.colorbar(mesh, ax=axis)


def _edges(values: np.ndarray) -> np.ndarray:
    """Cell edges on a logarithmic axis."""
    logs = np.log(values)
    step = np.diff(logs) if len(logs) > 1 else np.array([1.0])
    return np.exp(
        np.concatenate([[logs[0] - step[0] / 2], logs[1:] - np.diff(logs) / 2, [logs[-1] + step[-1] / 2]])
    )


def _emergence(axis, found):
    theory, measured = (found[name].values.ravel() for name in ("emergence_theory", "emergence"))
    both = np.isfinite(theory) & np.isfinite(measured) & (theory > 0) & (measured > 0)
    steps = found["record"].values
    distance = np.max(np.diff(steps)) if len(steps) > 1 else 0
    axis.plot(theory[both], measured[both], color=CYCLE[0], ls="none", marker="o", ms=3, alpha=0.6)
    if both.any():
        ends = np.geomspace(theory[both].min() / 1.5, theory[both].max() * 1.5, 50)
        axis.plot(ends, ends, color=BLACK, lw=0.8)
        axis.fill_between(
            ends, np.maximum(ends - distance, ends[0] / 2), ends + distance, color=BLACK, alpha=0.12, lw=0,
            label="a record",
        )  # fmt: skip
        axis.legend(loc="upper left")
        axis.set(xscale="log", yscale="log", ylim=(ends[0] / 2, ends[-1]))
    axis.set(xlabel="time of emergence by theory, steps", ylabel="measured, steps", title="emergence")


def law(found: xr.Dataset, far: float) -> Figure:
    """Relative deviations of position and overlaps from theory over θ/θ_c, by size, and their means by size.

    found: as `analysis.spikes.compare` makes it, with a dimension `size`. far: θ/θ_c from which on they are
    averaged.
    """
    names = {"position": "position", "overlap_right": "right overlap", "overlap_left": "left overlap"}
    with style():
        figure, axes = new_figure(1, 4, width=PAGE, height=2.5)
        for axis, (key, title) in zip(axes, names.items(), strict=False):
            for colour, size in zip(CYCLE, found["size"].values, strict=False):
                at = found.sel(size=size)
                strength, off = at["strength_theory"], at[key] / at[f"{key}_theory"] - 1
                kept = (strength > 1.1).values
                axis.plot(
                    strength.values[kept], 100 * off.transpose(*strength.dims).values[kept], color=colour,
                    ls="none", marker=".", ms=2, alpha=0.6, label=f"N = {size}", rasterized=True,
                )  # fmt: skip
            axis.axhspan(-2, 2, color=BLACK, alpha=0.1, lw=0)
            axis.axvline(far, color=RED, lw=0.8, ls="--")
            axis.set(xscale="log", ylim=(-25, 25), xlabel=r"$\theta/\theta_c$", title=f"{title}, % off")
        axes[0].legend(fontsize=6, markerscale=3)
        mean = abs(found["strength_theory"])
        for colour, (key, title) in zip(CYCLE, names.items(), strict=False):
            off = abs(found[key] / found[f"{key}_theory"] - 1).where(mean >= far)
            by_size = 100 * off.mean([dim for dim in off.dims if dim != "size"])
            axes[3].plot(by_size["size"], by_size, color=colour, marker="o", label=title)
        axes[3].set(
            xscale="log",
            ylim=(0, None),
            xlabel="$N$ ($M=4N$)",
            title=rf"mean |off|, $\theta\geq{far:g}\,\theta_c$",
        )
        axes[3].set_xticks(found["size"].values, [str(n) for n in found["size"].values])
        axes[3].minorticks_off()
        axes[3].legend(fontsize=6)
    return figure


def blocks(found: xr.Dataset) -> Figure:
    """The largest level, its overlaps and its strength over time, for one point of inputs in blocks.

    found: as `analysis.spikes.compare` makes it, dims (record), with `position_one_block` and so on, the law
    of one block with the mean squares.
    """
    with style():
        figure, (left, middle, right) = new_figure(1, 3, width=PAGE, height=2.7)
        time = found["record"].values
        for axis, names in ((left, ("position",)), (middle, ("overlap_right", "overlap_left"))):
            for colour, name in zip(CYCLE, names, strict=False):
                label = name.removeprefix("overlap_") if axis is middle else "largest level"
                axis.errorbar(
                    time,
                    found[name],
                    found[f"{name}_err"],
                    color=colour,
                    ls="none",
                    marker="o",
                    ms=3,
                    label=label,
                )
                axis.plot(time, found[f"{name}_theory"], color=colour)
                axis.plot(time, found[f"{name}_one_block"], color=colour, ls=":")
        left.plot(time, found["edge"], color=BLACK, ls="--", lw=0.8, label="edge of noise, 1 %")
        left.set(yscale="log", ylabel="eigenvalue of $X=W^TW$", title="outlier")
        middle.set(ylim=(-0.02, 1.02), ylabel="squared overlap", title="with the teacher")
        right.plot(
            time, found["strength"], color=CYCLE[0], ls="none", marker="o", ms=3, label="by the position"
        )
        right.plot(time, found["strength_theory"], color=CYCLE[0], label="theory")
        right.plot(
            time, found["outside"], color=CYCLE[1], marker="s", ms=3, lw=0.8, label="seeds with an outlier"
        )
        right.axhline(1, color=RED, lw=0.8, ls="--")
        right.set(
            ylabel=r"strength $\theta/\theta_c$",
            title="leaves and returns",
            ylim=(-0.05, 1.45 * float(found["strength_theory"].max())),
        )
        for axis in (left, middle, right):
            axis.set_xscale("symlog", linthresh=1)
            axis.set(xlabel="training step", xlim=(0, None))
            axis.legend(fontsize=6)
    return figure

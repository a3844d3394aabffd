"""Levels over time and their final density against the stationary law."""

import numpy as np
from matplotlib.figure import Figure

from dysonjax.figures.style import BLACK, BLUE, RED, new_figure, style


def dyson_figure(times, levels, stationary=None, title: str = "") -> Figure:
    """Trajectories of a few members with the ensemble mean (left), final density of all levels (right).

    times: shape (records,). levels: shape (members, records, levels). stationary: draws of the stationary
    law, shape (n, levels), or None.
    """
    with style():
        figure, (left, right) = new_figure(1, 2, height=3.0, width_ratios=[1.5, 1], sharey=True)
        for member in levels[: min(5, len(levels))]:
            left.plot(times, member, color=BLUE, alpha=0.25, linewidth=0.6)
        left.plot(times, levels.mean(axis=0), color=BLACK, linewidth=1.0)
        left.plot([], [], color=BLUE, alpha=0.5, linewidth=0.8, label="single members")
        left.plot([], [], color=BLACK, linewidth=1.0, label="ensemble mean")
        left.set(xlabel="time t", ylabel=r"level $x_i$", xlim=(times[0], times[-1]))
        end = levels[:, -1]
        pooled = end if stationary is None else np.concatenate([end.ravel(), np.ravel(stationary)])
        low, high = np.quantile(pooled, [1e-4, 1 - 1e-4])
        margin = 0.08 * (high - low)
        edges = np.linspace(low - margin, high + margin, 81)
        right.hist(
            end.ravel(), bins=edges, density=True, orientation="horizontal", color=BLUE, alpha=0.4,
            label=f"t = {times[-1]:.3g}",
        )  # fmt: skip
        if stationary is not None:
            height, _ = np.histogram(stationary, bins=edges, density=True)
            right.stairs(height, edges, orientation="horizontal", color=RED, label="stationary law")
        right.set(xlabel=r"density $\rho(x)$")
        right.locator_params(axis="x", nbins=4)
        start = levels[:, 0]
        bottom, top = min(edges[0], start.min()), max(edges[-1], start.max())
        left.set_ylim(bottom, top)
        # Above the axes: inside, a legend would hide levels at one potential or another.
        for axes in (left, right):
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        if title:
            figure.suptitle(title, fontsize=9)
    return figure

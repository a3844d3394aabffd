"""The ladder from SGD to closed forms: levels of every rung and the cost of every step."""

import numpy as np
from matplotlib.figure import Figure

from dysonjax.figures.style import BLACK, BLUE, CYCLE, PAGE, new_figure, style

MARKERS = "osD^v"


def ladder_figure(
    levels: dict[str, tuple[np.ndarray, np.ndarray]],
    targets: np.ndarray,
    sigma: np.ndarray,
    steps: dict[str, tuple[float, float, float]],
    level_name: str,
    caption: str = "",
) -> Figure:
    """Left: mean levels of every rung from the target, in widths. Right: the effect size of every step.

    levels: rung -> (mean, standard error), each (levels,). targets, sigma: (levels,), the latter the width of
    a single level in theory, the unit of the left panel. steps: name -> (effect size, its value by chance,
    p-value).
    """
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2, width_ratios=[1.25, 1])
        index = np.arange(len(targets))
        offsets = np.linspace(-0.24, 0.24, len(levels))
        for k, (name, (mean, error)) in enumerate(levels.items()):
            left.errorbar(
                index + 1 + offsets[k], (mean - targets) / sigma, error / sigma, fmt=MARKERS[k % 5],
                ms=3.5, color=CYCLE[k % len(CYCLE)], label=name,
            )  # fmt: skip
        left.axhline(0, color=BLACK, lw=0.6, ls=":")
        left.set(xlabel="level $i$", title=f"mean {level_name}")
        left.set_ylabel(r"(mean $-$ target) / single-level width $\sigma_i$")
        left.set_xticks(index + 1)
        bottom, top = left.get_ylim()
        left.set_ylim(bottom, top + 0.45 * (top - bottom))  # room for the legend above the points
        left.legend(loc="upper left", ncols=2, fontsize=7, columnspacing=1, handletextpad=0.3)
        _effects(right, steps)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def grid_figure(costs: dict[str, list[tuple[float, float, float]]], caption: str = "") -> Figure:
    """The effect size of every step against the temperature α/|B|.

    costs: name of the step -> (temperature, effect size, its value by chance) of every grid point.
    """
    with style():
        figure, axis = new_figure(width=PAGE, height=3.4)
        for k, (name, points) in enumerate(costs.items()):
            temperature, effect, chance = np.array(sorted(points)).T
            color = CYCLE[k % len(CYCLE)]
            axis.plot(temperature, effect, MARKERS[k % 5] + "-", ms=4, lw=0.8, color=color, label=name)
            axis.plot(temperature, chance, "_", ms=9, color=color)
        axis.set(xscale="log", yscale="log", xlabel=r"temperature $\alpha/|B|$")
        axis.set_ylabel("Wasserstein distance / level width\n(bars: by chance)")
        axis.legend(fontsize=7)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def _effects(axis, steps):
    at = np.arange(len(steps))[::-1]
    effect, chance, p = np.array(list(steps.values())).T
    axis.barh(at, effect, height=0.55, color=BLUE, alpha=0.8)
    axis.plot(chance, at, "|", ms=22, mew=1.6, color=BLACK, label="by chance")
    for y, length, value in zip(at, np.maximum(effect, chance), p, strict=True):
        axis.text(length, y, f"  p = {value:.3f}", va="center", fontsize=7)
    axis.set_yticks(at, list(steps))
    axis.tick_params(axis="y", labelsize=7)
    axis.set(xlabel="Wasserstein distance / level width", title="cost of each approximation")
    axis.set_xlim(0, 1.4 * max(effect.max(), chance.max()))
    axis.set_ylim(-0.6, len(steps) - 0.05)
    axis.legend(loc="upper right", fontsize=7, markerscale=0.4, handletextpad=0.1)

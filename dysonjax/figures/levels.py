"""Levels of an ensemble as it learns and at the end, its degenerate pairs against the surmise. [A] 1, 2."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, BLUE, PAGE, RED, colours, new_figure, style
from dysonjax.spectra import WignerSurmise


def ensemble_levels(
    steps: np.ndarray,
    evolution: np.ndarray,
    levels: np.ndarray,
    targets: np.ndarray,
    spacings: np.ndarray,
    scaling: dict[str, Any],
    level_name: str,
    caption: str = "",
) -> Figure:
    """Four panels: mean levels over time, their density at the end, P(s) of the pairs, ⟨S⟩ over temperature.

    steps: (records,). evolution: mean levels (records, modes). levels: final levels (members, modes) of the
    same grid point. targets: (modes,). spacings: normalised ones of the pairs, (members, n). scaling:
    "temperature" (points,), and "mean", "error", "theory" of ⟨S⟩, each (points, pairs), with a list "names".
    """
    with style():
        figure, axes = new_figure(2, 2, width=PAGE, height=5.4)
        _evolution(axes[0, 0], steps, evolution, targets, level_name)
        _density(axes[0, 1], levels, targets, level_name)
        _spacings(axes[1, 0], spacings, few=bool(scaling["names"]))
        _scaling(axes[1, 1], **scaling)
        if caption:
            figure.suptitle(caption, fontsize=8)
    return figure


def _evolution(axis, steps, evolution, targets, level_name):
    lines = axis.plot(steps, evolution, color=BLUE, lw=1)
    marks = [axis.axhline(x, color=RED, lw=0.8, ls="--") for x in np.unique(np.round(targets, 6))]
    # Room above all levels, so that the legend never lies on one.
    axis.set_ylim(0, 1.25 * max(np.nanmax(evolution, initial=0), targets.max()))
    axis.legend([lines[0], marks[0]], ["ensemble mean", "target"], loc="upper right", ncols=2)
    axis.set(xlabel="training step", ylabel=level_name, title="learning")
    axis.xaxis.set_major_locator(MaxNLocator(5))


def _density(axis, levels, targets, level_name):
    levels = levels[np.isfinite(levels).all(axis=-1)]
    axis.set(xlabel=level_name, ylabel=r"density $\rho$", title="end of training")
    for x in np.unique(np.round(targets, 6)):
        axis.axvline(x, color=RED, lw=0.8, ls="--")
    if levels.size < 2:
        what = "one level" if levels.size else "no network came to its end"
        axis.text(0.5, 0.5, f"{what}: no density", ha="center", transform=axis.transAxes)
    else:
        # Fine enough for the narrowest peak, coarse enough for some twenty levels a bin.
        bins = int(np.clip(levels.size / 20, 10, 150))
        margin = 0.02 * (np.ptp(levels) or 1.0)
        panels.density(axis, levels, bins, (levels.min() - margin, levels.max() + margin))


def _spacings(axis, spacings, few):
    axis.set(xlabel=r"normalised spacing $s=S/\langle S\rangle$", ylabel="$P(s)$", title="degenerate pairs")
    if spacings.size < 2:
        what = "too few networks" if few else "no isolated pair in the target"
        axis.text(0.5, 0.5, what, ha="center", transform=axis.transAxes)
        return
    bins = int(np.clip(spacings.size / 40, 8, 40))
    top = max(3.0, float(np.quantile(spacings, 0.999)))
    panels.density(axis, spacings, bins, (0, top), label="ensemble")
    s = np.linspace(0, top, 200)
    axis.plot(s, WignerSurmise(beta=1).pdf(s), color=BLACK, label="Wigner surmise")
    axis.legend()


def _scaling(axis, temperature, mean, error, theory, names):
    axis.set(
        xlabel=r"root of the temperature  $\sqrt{\alpha/|B|}$", ylabel=r"mean spacing $\langle S\rangle$"
    )
    axis.set_title("points: ensemble, lines: theory")
    order = np.argsort(temperature)
    root = np.sqrt(temperature[order])
    for i, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        axis.errorbar(root, mean[order, i], error[order, i], fmt="o", color=colour, label=name)
        if len(root) > 1 and np.isfinite(theory[:, i]).all():
            axis.plot(root, theory[order, i], color=colour, lw=1)
        else:
            axis.plot(root, theory[order, i], "_", ms=14, color=colour)
    axis.set_xlim(0, 1.15 * root.max())
    axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    if names:
        axis.legend(loc="upper left")

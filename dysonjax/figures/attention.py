"""Spectra of attention matrices during training: spacings, densities with their fits, A and σ² by layer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dysonjax.figures.style import BLACK, BLUE, RED, colours, new_figure, style
from dysonjax.spectra import LevelDensity, MarchenkoPastur, WignerSurmise, level_density

_BARS = {"color": BLUE, "alpha": 0.45, "edgecolor": "white", "linewidth": 0.3}
MARKERS = "osD^vP"
REACH = 8.0  # edges of the bulk, up to which a linear axis shows both bulk and tail
SHOWN = 0.99  # of the levels, in the panel of a run; outliers would squeeze all others into one bar


class Spectrum(NamedTuple):
    """The levels of one kind of matrix at one record, and the fit to them."""

    step: int
    levels: np.ndarray  # (members, levels)
    sigma2: float
    area: float
    ratio: float


class Course(NamedTuple):
    """A fitted number over training, one line a layer."""

    value: np.ndarray  # (layers, records)
    error: np.ndarray  # (layers, records)


def density_figure(spectra: Sequence[Spectrum], matrix: str) -> Figure:
    """One column a record: histogram of all levels and the fitted Marchenko-Pastur law, [A] Fig. 3 bottom.

    Below, the same on logarithmic axes, where a tail of few large levels shows.
    """
    with style():
        figure, panels = new_figure(2, len(spectra), height=4.6, squeeze=False)
        for (axes, below), spectrum in zip(panels.T, spectra, strict=True):
            draw_density(axes, spectrum, whole=True)
            _draw_logarithmic(below, spectrum)
            axes.set_title(f"iteration {spectrum.step}")
            below.set_xlabel(f"eigenvalue $x$ of {matrix}")
        ends = [axes.get_xlim() for axes in panels[1]]
        for axes in panels[1]:
            axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
            axes.xaxis.set_minor_formatter(NullFormatter())
        for axes in panels[:, 0]:
            axes.set_ylabel(r"density $\rho(x)$")
    return figure


def _draw_logarithmic(axes, spectrum: Spectrum) -> None:
    """The same with bins of equal ratio, both axes logarithmic."""
    x = spectrum.levels[spectrum.levels > 0]
    low, high = max(np.quantile(x, 1e-4), 1e-6 * x.max()), 1.01 * x.max()
    edges = np.geomspace(low, high, int(np.clip(x.size ** (1 / 3) * 2, 12, 60)))
    count = np.histogram(x, edges)[0]
    density = count / (spectrum.levels.size * np.diff(edges))
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.45)
    law = MarchenkoPastur(spectrum.ratio, spectrum.sigma2)
    grid = np.geomspace(max(law.lower, low) * 1.001, law.upper * 0.999, 400)
    axes.plot(grid, spectrum.area * law.pdf(grid), color=RED)
    floor = density[density > 0].min()
    axes.set(xscale="log", yscale="log", ylim=(floor / 2, 4 * density.max()))


def draw_density(axes, spectrum: Spectrum, whole: bool = False) -> None:
    """Histogram and fit; the horizontal axis ends where 99 % of the levels lie below.

    whole: at the largest level instead, but not beyond eight times the edge of the bulk.
    """
    x = spectrum.levels
    law = MarchenkoPastur(spectrum.ratio, spectrum.sigma2)
    stop = max(
        1.15 * law.upper, min(1.01 * x.max(), REACH * law.upper) if whole else float(np.quantile(x, SHOWN))
    )
    bins = int(np.clip(2 * x.size ** (1 / 3) * stop / law.upper, 12, 400 if whole else 80))
    density = level_density(x, bins, (0.0, stop))
    _histogram(axes, density)
    grid = law.lower + (law.upper - law.lower) * np.sin(np.linspace(0, np.pi / 2, 300)) ** 2
    label = rf"$A$ = {spectrum.area:.2f}, $\sigma^2$ = {spectrum.sigma2:.2f}"
    curve = spectrum.area * law.pdf(grid)
    axes.plot(grid, curve, color=RED, label=label)
    top = curve.max() if law.lower > 0 else 0.0  # one head: it diverges at zero
    axes.set(xlim=(0, stop), ylim=(0, 1.35 * max(density.density.max(), top)))
    axes.legend(loc="upper right", handlelength=1.2)


def _histogram(axes, found: LevelDensity) -> None:
    axes.bar(found.edges[:-1], found.density, np.diff(found.edges), align="edge", **_BARS)
    axes.errorbar(found.centers, found.density, found.density_err, fmt="none", ecolor=BLUE, lw=0.6, capsize=0)


def spacing_figure(spacings: Mapping[int, np.ndarray]) -> Figure:
    """P(s) at several records beside the Wigner surmise, [A] Fig. 3 top.

    spacings: by training step, each (members, spacings).
    """
    with style():
        figure, panels = new_figure(1, len(spacings), height=2.4, squeeze=False, sharey=True)
        for axes, (step, s) in zip(panels[0], spacings.items(), strict=True):
            draw_spacings(axes, s)
            axes.set_title(f"iteration {step}")
        panels[0, 0].set_ylabel("$P(s)$")
        panels[0, 0].legend(loc="upper right", handlelength=1.2)
    return figure


def draw_spacings(axes, s: np.ndarray) -> None:
    """Histogram of unfolded spacings, with standard errors over members, and the surmise."""
    grid = np.linspace(0, 3.5, 200)
    _histogram(axes, level_density(s, int(np.clip(2 * s.size ** (1 / 3), 10, 35)), (0, 3.5)))
    axes.plot(grid, WignerSurmise(1).pdf(grid), color=RED, label="Wigner surmise")
    axes.set(xlabel="unfolded spacing $s$", xlim=(0, 3.5))


def fit_figure(record: np.ndarray, area: Course, sigma2: Course, alpha: Course | None = None) -> Figure:
    """Area A and σ² of the Marchenko-Pastur part over training, one line a layer, [A] Fig. 4; and the
    exponents of the tails, if given."""
    panels = [(area, "area $A$"), (sigma2, r"$\sigma^2$")]
    panels += [] if alpha is None else [(alpha, r"exponent $\alpha$ of the tail")]
    with style():
        figure, row = new_figure(1, len(panels), height=2.7, squeeze=False)
        for axes, (course, name) in zip(row[0], panels, strict=True):
            draw_course(axes, record, course)
            axes.set_ylabel(name)
        row[0, 0].axhline(1, color=BLACK, lw=0.8, ls=":")
        row[0, 1].axhline(1 / 3, color=BLACK, lw=0.8, ls=":")
        row[0, 0].legend(loc="best", handlelength=1.2)
    return figure


def draw_course(axes, record: np.ndarray, course: Course) -> None:
    """Lines of all layers, side by side where they would cover each other."""
    step = np.ptp(record) / 100 if len(record) > 1 else 1.0
    shades = colours(len(course.value))
    for layer, (value, error) in enumerate(zip(course.value, course.error, strict=True)):
        shift = (layer - (len(course.value) - 1) / 2) * step
        axes.errorbar(
            record + shift, value, error, fmt=f"{MARKERS[layer % len(MARKERS)]}-",
            color=shades[layer], lw=0.9, label=f"layer {layer + 1}",
        )  # fmt: skip
    axes.set_xlabel("iteration")


def run_figure(
    record: np.ndarray,
    train_loss: np.ndarray,
    val_loss: np.ndarray,
    last: Spectrum | None,
    area: Course,
    sigma2: Course,
    matrix: str,
) -> Figure:
    """Summary of a run: losses, final density of the first layer, A and σ² of every layer.

    train_loss, val_loss: means over members, (records,). last: None if too few members are alive.
    """
    with style():
        figure, ((losses, density), (left, right)) = new_figure(2, 2, height=4.8)
        losses.plot(record, train_loss, "o-", color=BLUE, label="training")
        losses.plot(record, val_loss, "s-", color=RED, label="validation")
        losses.set(xlabel="iteration", ylabel="cross-entropy, nats a character")
        losses.legend()
        if last is not None:
            draw_density(density, last)
        density.set(xlabel=f"eigenvalue $x$ of {matrix}, layer 1", ylabel=r"density $\rho(x)$")
        draw_course(left, record, area)
        draw_course(right, record, sigma2)
        left.set_ylabel("area $A$")
        right.set_ylabel(r"$\sigma^2$")
        # Above the panel: error bars leave no free place inside it.
        left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, handlelength=1, columnspacing=1)
    return figure

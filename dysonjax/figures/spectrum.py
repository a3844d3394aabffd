"""The spectrum of one weight matrix: density with its fit, tail, and spacings with the surmise."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dysonjax.figures.style import BLACK, BLUE, ORANGE, RED, new_figure, style
from dysonjax.spectra.checkpoint import MatrixSpectrum
from dysonjax.spectra.marchenko_pastur import MarchenkoPastur
from dysonjax.spectra.power_law import PowerLawFit
from dysonjax.spectra.surmise import WignerSurmise

_BARS = {"color": BLUE, "alpha": 0.45, "edgecolor": "white", "linewidth": 0.3}


def spectrum_figure(spectrum: MatrixSpectrum) -> Figure:
    """Three panels for one matrix; what could not be fitted is left out and said in its panel's title."""
    with style():
        figure, (density, tail, spacing) = new_figure(1, 3, height=2.6)
        shape = f"{spectrum.rows}×{spectrum.modes}"
        members = f", {spectrum.members} members" if spectrum.members > 1 else ""
        figure.suptitle(f"{_shortened(spectrum.name)}  ({shape}{members})", fontsize=9)
        _draw_density(density, spectrum)
        _draw_tail(tail, spectrum)
        _draw_spacings(spacing, spectrum)
    return figure


def _draw_density(axes, spectrum: MatrixSpectrum) -> None:
    x, fit = spectrum.levels.ravel(), spectrum.marchenko_pastur
    # Far outliers would squeeze the bulk into one bar; they are counted instead.
    edge = spectrum.edge or 0.0
    stop = float(x.max()) if fit is None else max(1.25 * float(fit.upper), 1.05 * edge)
    stop = stop or 1.0
    shown = x[x <= stop]
    bins = _bin_count(shown, stop)
    heights, edges = np.histogram(shown, bins=bins, range=(0, stop))
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], heights / (x.size * width), width, align="edge", **_BARS)
    if fit is not None:
        law = MarchenkoPastur(fit.ratio, float(fit.sigma2))
        # Even steps in an angle resolve both square-root edges.
        grid = law.lower + (law.upper - law.lower) * np.sin(np.linspace(0, np.pi / 2, 400)) ** 2
        pdf = float(fit.area) * law.pdf(grid)
        axes.plot(grid, pdf, color=RED, label=f"MP, A = {float(fit.area):.2f}, p = {float(fit.p_value):.2g}")
        # Stops below the legend.
        axes.axvline(spectrum.edge, ymax=0.68, color=BLACK, ls=":", lw=1, label="Tracy–Widom 99 %")
        # Near r = 1 the law diverges at zero: the bars, not the curve, set the scale.
        bars = heights.max() / (x.size * width)
        axes.set_ylim(0, 1.55 * max(bars, min(pdf.max(), 1.6 * bars)))
        axes.legend(loc="upper right", handlelength=1.4)
        axes.set_title(f"{spectrum.outliers} of {x.size} levels beyond")
    axes.set(xlabel="eigenvalue $x$ of $W^TW$", ylabel=r"density $\rho(x)$", xlim=(0, stop))
    # A common factor of the x axis would stand on its label.
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_tail(axes, spectrum: MatrixSpectrum) -> None:
    x, fit = np.sort(spectrum.levels.ravel()), spectrum.tail
    survival = 1 - np.arange(x.size) / x.size
    positive = x > 0
    axes.loglog(x[positive], survival[positive], ".", color=BLUE, ms=3, rasterized=x.size > 5000)
    if fit is not None:
        grid = np.geomspace(fit.xmin, x[-1], 100)
        line = fit.n_tail / x.size * (grid / fit.xmin) ** (1 - fit.alpha)
        axes.loglog(grid, line, color=ORANGE, lw=1.8, label=rf"$\alpha$ = {float(fit.alpha):.2f}")
        axes.legend(loc="lower left", handlelength=1.4)
        axes.set_title(_verdict(fit))
    for axis, values in ((axes.xaxis, x[positive]), (axes.yaxis, survival[positive])):
        if (
            values.size and values.max() < 20 * values.min()
        ):  # less than two decades: powers of ten alone label nothing
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="eigenvalue $x$", ylabel="fraction of levels ≥ $x$")


def _verdict(fit: PowerLawFit) -> str:
    p = f"p = {float(fit.p_value):.2g}"
    if fit.accepted():
        return f"power law accepted, {p}"
    if fit.p_value <= 0.1:
        return f"power law rejected, {p}"
    better = "cut-off" if fit.truncated_p <= fit.lognormal_p else "lognormal"
    return f"power law: {p}, {better} better"


def _draw_spacings(axes, spectrum: MatrixSpectrum) -> None:
    test = spectrum.spacings
    axes.set(xlabel="unfolded spacing $s$", ylabel="$P(s)$", xlim=(0, 4))
    if test is None or spectrum.unfolded is None:
        axes.set_title("no spacing test")
        return
    s = spectrum.unfolded.ravel()
    bins = int(np.clip(2 * s.size ** (1 / 3), 8, 40))
    heights, edges = np.histogram(s, bins=bins, range=(0, 4))
    width = edges[1] - edges[0]
    axes.bar(edges[:-1], heights / (s.size * width), width, align="edge", **_BARS)
    grid = np.linspace(0, 4, 200)
    surmise = WignerSurmise(1).pdf(grid)
    axes.plot(grid, surmise, color=RED, label="Wigner surmise")
    axes.set_ylim(0, 1.3 * max(heights.max() / (s.size * width), surmise.max()))
    axes.legend(loc="upper right", handlelength=1.4)
    axes.set_title(rf"$\tilde r$ = {float(test.spacing_ratio):.3f}, p = {float(test.distance_p):.2g}")


def _bin_count(x: np.ndarray, stop: float) -> int:
    if x.size < 2:
        return 10
    low, high = np.quantile(x, [0.25, 0.75])
    return int(np.clip(stop / max(2 * (high - low) / x.size ** (1 / 3), stop / 80), 10, 80))


def _shortened(name: str, most: int = 70) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"

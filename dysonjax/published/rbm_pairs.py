"""Degenerate pairs of the Gaussian RBM: surmise, two-mode semicircle, Binder cumulant. [B] 2; [C].

A pair is told apart by its place in the spectrum, levels i and i + 1. That fails once it overlaps with its
neighbours, which is why the figures of single pairs stay at low temperature. Where neighbours matter, the
line to compare with is the same statistic of `rbm_levels`.
"""

import numpy as np
import xarray as xr

from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, CYCLE, PAGE, RED, new_figure, style
from dysonjax.published.equilibrium import Equilibrium, numbers
from dysonjax.published.rbm import MARKERS, MU, SETTING, SMALL, at_rest, temperatures, theory, value
from dysonjax.published.recipe import Check, Recipe, Reproduction
from dysonjax.spectra import (
    PairSpacing,
    TwoMode,
    WignerSurmise,
    binder_cumulant,
    bootstrap,
    fit_two_mode,
    level_density,
)

# scale: learning rates, batch sizes, seeds, steps, records
COLD = {
    "test": SMALL,
    "quick": ((0.05, 0.1), (32, 64), 48, 16_000, 9),
    "default": ((0.05, 0.1), (16, 32, 64), 200, 16_000, 9),
    "paper": ((0.05, 0.1), (16, 32, 64), 1_000, 16_000, 9),
}
SINGLE = {  # one temperature
    "test": SMALL,
    "quick": (0.1, 64, 200, 8_000, 9),
    "default": (0.1, 64, 1_000, 8_000, 9),
    "paper": (0.1, 64, 5_000, 8_000, 9),
}
RESAMPLES = 100
BINDER = -4 / 27


def cold(scale: str, progress=None) -> Equilibrium:
    """Ensembles at rest at temperatures where pairs keep apart."""
    return at_rest(scale, COLD[scale], progress)


class Widths:
    """σ of every pair at every point, each (points, pairs): from the spacing, from the two-mode density."""

    def __init__(self, rest: Equilibrium):
        mean, error = rest.mean(rest.spacings())
        self.spacing, self.spacing_error = mean / np.sqrt(np.pi), error / np.sqrt(np.pi)
        fits = [
            [fit_two_mode(rest.pair(point, first), n=RESAMPLES) for first in rest.pairs]
            for point in range(len(rest.lr))
        ]
        self.density, self.density_error, self.center = (
            np.array([[getattr(fit, name) for fit in row] for row in fits], float)
            for name in ("sigma", "sigma_err", "center")
        )
        drawn = theory(rest, rest.temperature)
        self.theory_spacing = np.diff(drawn, axis=-1)[..., rest.pairs].mean(axis=1) / np.sqrt(np.pi)
        self.isolated = np.sqrt(2 * rest.temperature[:, None] * rest.targets[rest.pairs])


def coldest(rest: Equilibrium) -> int:
    return int(np.argmin(rest.temperature))


# ---- the two-mode semicircle


def semicircle(scale: str, progress=None) -> Reproduction:
    """Density of all levels with the targets (left), peaks of two pairs with the two-mode density (right)."""
    rest = at_rest(scale, SINGLE[scale], progress)
    point = 0
    levels = rest.levels[point].reshape(rest.members, -1)
    shown = rest.pairs[[0, -1]] if len(rest.pairs) > 1 else rest.pairs
    shown = shown if len(rest.pairs) < 3 else rest.pairs[[1, 2]]  # those without a single level beside them
    fits = [fit_two_mode(rest.pair(point, first), n=RESAMPLES) for first in shown]
    drawn = theory(rest, rest.temperature[point])[0]
    expected = [fit_two_mode(drawn[:, first : first + 2], n=2) for first in shown]
    with style():
        figure, axes = new_figure(1, 3, width=PAGE, height=2.9, width_ratios=[1.3, 1, 1])
        low, high = np.quantile(levels, [0.002, 0.998])
        limits = (low - 0.08 * (high - low), high + 0.08 * (high - low))
        all_levels = panels.density(axes[0], levels, 120, limits)
        for x in np.unique(rest.targets.round(6)):
            axes[0].axvline(x, color=BLACK, lw=0.7, ls="--")
        axes[0].set(xlabel="eigenvalue $x$ of $X$", ylabel=r"density $\rho(x)$", title="targets: dashed")
        curves, peaks = [], []
        for axis, first, fit in zip(axes[1:], shown, fits, strict=False):
            law = TwoMode(float(fit.sigma), float(fit.center))
            limits = (law.center - 3.6 * law.sigma, law.center + 3.6 * law.sigma)
            peaks.append(panels.density(axis, rest.pair(point, first), 30, limits))
            curves.append(panels.law(axis, law.pdf, limits, color=RED, label="two-mode semicircle"))
            gauss = np.sqrt(1.5) * law.sigma
            panels.law(
                axis, lambda x, m=law.center, s=gauss: np.exp(-((x - m) ** 2) / (2 * s**2))
                / np.sqrt(2 * np.pi) / s, limits, ls=":", lw=0.9, label="Gaussian, same variance",
            )  # fmt: skip
            axis.set_ylim(0, 1.5 * peaks[-1].density.max())
            kappa = MU**2 - rest.targets[first]
            axis.set(xlabel="eigenvalue $x$", title=rf"pair at $\kappa={kappa:.3g}$")
            axis.legend(loc="upper center", fontsize=7)
    checks = tuple(
        Check(
            f"σ of the pair at κ = {MU**2 - rest.targets[first]:.3g}", float(fit.sigma), float(fit.sigma_err),
            float(right.sigma), float(np.sqrt(2) * right.sigma), systematic=0.02 * float(right.sigma),
        )
        for first, fit, right in zip(shown, fits, expected, strict=True)
    )  # fmt: skip
    isolated = np.sqrt(2 * rest.temperature[point] * rest.targets[shown])
    chi2 = [
        float(
            np.mean(
                [
                    ((d - y) / e) ** 2
                    for d, y, e, n in zip(p.density, np.interp(p.centers, *c), p.error, p.counts, strict=True)
                    if n > 20
                ]
            )
        )
        for p, c in zip(peaks, curves, strict=True)
    ]
    caption = (
        f"{SETTING}; α = {rest.lr[point]:g}, |B| = {rest.batch_size[point]}; {rest.members} seeds (root seed "
        f"0), {rest.steps} steps, {rest.levels.shape[2]} records of the second half; bars: standard errors "
        "over seeds. Right: fits of σ and center. "
        + "; ".join(
            f"{check.name}: {value(check)}, theory {check.expected:.4f} with neighbours, √(2T(μ²−κ)) = "
            f"{alone:.4f} without, mean squared deviation {c:.2f} errors²"
            for check, alone, c in zip(checks, isolated, chi2, strict=True)
        )
        + "."
    )
    data = xr.Dataset(
        {
            "density": ("x", all_levels.density),
            "density_sem": ("x", all_levels.error),
            "target": ("mode", rest.targets),
            "peak_x": (("pair", "bin"), np.stack([p.centers for p in peaks])),
            "peak_density": (("pair", "bin"), np.stack([p.density for p in peaks])),
            "peak_sem": (("pair", "bin"), np.stack([p.error for p in peaks])),
            "fit_x": (("pair", "fine"), np.stack([c[0] for c in curves])),
            "fit_density": (("pair", "fine"), np.stack([c[1] for c in curves])),
        },
        {"x": all_levels.centers, "kappa": ("pair", MU**2 - rest.targets[shown])},
    )
    return Reproduction(figure, data, caption, checks)


# ---- the surmise and its collapse


def surmise_collapse(scale: str, progress=None) -> Reproduction:
    """P(S) of every pair with its surmise (left), P(s) of all pairs and temperatures on one curve (right)."""
    rest = cold(scale, progress)
    point = coldest(rest)
    spacing = rest.spacings()
    widths = Widths(rest)
    normalised = spacing / spacing.mean(axis=(1, 2), keepdims=True)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2)
        top = 3.3 * spacing[point].mean(axis=(0, 1)).max()
        for p, first in enumerate(rest.pairs):
            found = level_density(spacing[point][..., p], 24, (0, top))
            panels.points(left, found.centers, found.density, found.error, color=CYCLE[p], capsize=0)
            law = PairSpacing(float(widths.spacing[point, p]))
            label = rf"$\kappa={_kappa(rest, first):.3g}$"
            panels.law(left, law.pdf, (0, top), color=CYCLE[p], label=label)
        left.set(xlabel="spacing $S$", ylabel="$P(S)$", xlim=(0, top), ylim=(0, None))
        left.set_title(rf"$\alpha/|B|={rest.temperature[point]:.3g}$")
        left.legend()
        collapsed = []
        for p in range(len(rest.pairs)):
            at_all = np.moveaxis(normalised[..., p], 0, -1).reshape(rest.members, -1)
            found = level_density(at_all, 16, (0, 3.2))
            collapsed.append(found)
            x = found.centers + 0.025 * (p - (len(rest.pairs) - 1) / 2)
            panels.points(right, x, found.density, found.error, fmt=MARKERS[p], color=CYCLE[p], capsize=0)
        panels.law(right, WignerSurmise(beta=1).pdf, (0, 3.2), label="Wigner surmise")
        right.set(xlabel=r"$s=S/\langle S\rangle$", ylabel="$P(s)$", xlim=(0, 3.2), ylim=(0, None))
        right.set_title(f"each pair at {len(np.unique(rest.temperature))} temperatures")
        right.legend()
    # ⟨s²⟩ = 4/π for the surmise, 2 without repulsion: one number for the whole shape.
    squares, error = rest.joint(np.concatenate([spacing, spacing**2], axis=-1), _mean_square, n=200)
    expected = theory(rest, rest.temperature)
    gaps = np.diff(expected, axis=-1)[..., rest.pairs]
    with_neighbours = float(_mean_square(np.concatenate([gaps, gaps**2], axis=-1)))
    width = widths.spacing[point] / widths.theory_spacing[point]
    width_error = np.linalg.norm(widths.spacing_error[point] / widths.theory_spacing[point]) / len(width)
    checks = (
        Check(
            "⟨s²⟩ of all pairs", float(squares), float(error), with_neighbours, 2.0, "no repulsion: Poisson",
            systematic=0.01,
        ),
        Check(
            "σ of the pairs / theory", float(width.mean()), float(width_error),
            1.0, 2**-0.5, systematic=0.02,
        ),
    )  # fmt: skip
    caption = (
        f"{SETTING}; {rest.size()}. Left: P(S) = S/(2σ²) exp(−S²/4σ²) with σ = ⟨S⟩/√π, σ = "
        + ", ".join(
            f"{s:.4f} ± {e:.4f} (theory {t:.4f})"
            for s, e, t in zip(
                widths.spacing[point], widths.spacing_error[point], widths.theory_spacing[point], strict=True
            )
        )
        + " in the order of the legend. Right: s of each pair, over its own mean at every temperature. "
        f"⟨s²⟩ = {value(checks[0])}; the surmise has 4/π = {4 / np.pi:.4f}, levels with neighbours "
        f"{with_neighbours:.4f}, no repulsion 2."
    )
    data = xr.Dataset(
        {
            "spacing": (("point", "seed", "record", "pair"), spacing),
            "sigma": (("point", "pair"), widths.spacing),
            "sigma_sem": (("point", "pair"), widths.spacing_error),
            "sigma_theory": (("point", "pair"), widths.theory_spacing),
            "collapsed_density": (("pair", "s"), np.stack([c.density for c in collapsed])),
            "collapsed_sem": (("pair", "s"), np.stack([c.error for c in collapsed])),
            "surmise": ("s", WignerSurmise(beta=1).pdf(collapsed[0].centers)),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", _kappa(rest, rest.pairs)), "s": collapsed[0].centers},
    )
    return Reproduction(figure, data, caption, checks)


def _mean_square(both: np.ndarray) -> np.ndarray:
    """⟨S²⟩/⟨S⟩², averaged over points and pairs, from (..., points, members, S and S² of all pairs)."""
    mean, square = np.split(both.mean(axis=-2), 2, axis=-1)
    return (square / mean**2).mean(axis=(-2, -1))


def _kappa(rest: Equilibrium, index):
    return MU**2 - rest.targets[index]


# ---- Binder cumulant


def binder(scale: str, progress=None) -> Reproduction:
    """U₄ of every pair over the temperature, beside −4/27 of two levels and 0 of a Gaussian."""
    rest = cold(scale, progress)
    size = (len(rest.lr), len(rest.pairs))
    found, error = np.empty(size), np.empty(size)
    for at in np.ndindex(size):
        estimate = bootstrap(rest.pair(at[0], rest.pairs[at[1]]), binder_cumulant, n=RESAMPLES)
        found[at], error[at] = estimate.estimate, estimate.error
    drawn = theory(rest, rest.temperature)
    expected = np.array(
        [[binder_cumulant(levels[:, first : first + 2]) for first in rest.pairs] for levels in drawn]
    )
    with style():
        figure, axis = new_figure(width=5.0, height=3.6)
        order = np.argsort(rest.temperature)
        for p, first in enumerate(rest.pairs):
            x = rest.temperature * 1.03 ** (p - (size[1] - 1) / 2)
            panels.points(
                axis,
                x,
                found[:, p],
                error[:, p],
                color=CYCLE[p],
                label=rf"$\kappa={_kappa(rest, first):.3g}$",
            )
            axis.plot(x[order], expected[order, p], color=CYCLE[p], lw=0.8, ls="--")
        axis.axhline(BINDER, color=BLACK, lw=1, label="two levels: $-4/27$")
        axis.axhline(0, color=BLACK, lw=0.8, ls=":", label="Gaussian: 0")
        axis.plot([], [], color=BLACK, lw=0.8, ls="--", label="with neighbours")
        axis.set_xscale("log")
        axis.set_xlabel(r"temperature  $\alpha/|B|$")
        axis.set_ylabel(r"Binder cumulant $U_4=\langle x^4\rangle/3\langle x^2\rangle^2-1$")
        figure.legend(loc="outside right center")
    # The error of the mean over points and pairs: the same bootstrap draw of members at all of them.
    stacked = np.stack([[rest.pair(t, first) for first in rest.pairs] for t in range(size[0])])
    mean = bootstrap(stacked, lambda x: binder_cumulant(x).mean(axis=(-2, -1)), n=RESAMPLES)
    check = Check(
        "U₄ of all pairs", float(mean.estimate), float(mean.error), float(expected.mean()), 0.0,
        "one Gaussian level: no repulsion within the pair", systematic=0.005,
    )  # fmt: skip
    caption = (
        f"{SETTING}; {rest.size()}. Points: pairs of levels i, i+1 about their mean, bootstrap errors over "
        "seeds. Dashed: the same statistic of theory with all ten levels, nothing fitted. Mean over points: "
        f"{value(check)}, theory with neighbours {check.expected:.4f}, isolated pair −4/27 = {BINDER:.4f}, "
        "Gaussian 0."
    )
    data = xr.Dataset(
        {
            "binder": (("point", "pair"), found),
            "binder_err": (("point", "pair"), error),
            "with_neighbours": (("point", "pair"), expected),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", _kappa(rest, rest.pairs))},
        {"isolated_pair": BINDER},
    )
    return Reproduction(figure, data, caption, (check,))


# ---- σ from the surmise and from the semicircle


def sigma_consistency(scale: str, progress=None) -> Reproduction:
    """σ from ⟨S⟩ against σ from the two-mode density, and both over the temperature."""
    rest = temperatures(scale, progress)
    widths = Widths(rest)
    ratio = widths.spacing / widths.density
    # Both σ come from the same levels, so that the error of their ratio needs one resampling of both.
    ratio_error = np.hypot(widths.spacing_error / widths.spacing, widths.density_error / widths.density)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2)
        top = 1.1 * max(widths.spacing.max(), widths.density.max())
        x = np.linspace(0, top, 2)
        left.plot(x, x, color=BLACK, lw=1, label="equal")
        for p, first in enumerate(rest.pairs):
            left.errorbar(
                widths.density[:, p], widths.spacing[:, p], widths.spacing_error[:, p],
                widths.density_error[:, p], fmt=MARKERS[p], ms=3.5, mfc="white", lw=0.8, color=CYCLE[p],
                label=rf"$\kappa={_kappa(rest, first):.3g}$",
            )  # fmt: skip
        left.set(xlabel=r"$\sigma$ from the two-mode density", ylabel=r"$\sigma=\langle S\rangle/\sqrt{\pi}$")
        left.set(xlim=(0, top), ylim=(0, top))
        left.legend()
        scaled = 2 * rest.temperature[:, None] * rest.targets[rest.pairs]
        for p in range(len(rest.pairs)):
            panels.points(
                right, scaled[:, p], widths.density[:, p] ** 2,
                2 * widths.density[:, p] * widths.density_error[:, p], fmt=MARKERS[p], color=CYCLE[p],
            )  # fmt: skip
        line = np.geomspace(scaled.min() / 1.3, scaled.max() * 1.3, 2)
        right.plot(line, line, color=BLACK, lw=1, label=r"$\sigma^2=2(\alpha/|B|)(\mu^2-\kappa)$")
        right.set_xscale("log")
        right.set_yscale("log")
        right.set(xlabel=r"$2(\alpha/|B|)(\mu^2-\kappa)$", ylabel=r"$\sigma^2$ from the two-mode density")
        right.legend()
    cold_points = rest.temperature < max(4e-3, 1.01 * rest.temperature.min())
    weight = 1 / ratio_error[cold_points] ** 2
    mean = float((ratio[cold_points] * weight).sum() / weight.sum())
    alone = (widths.density / widths.isolated)[cold_points]
    # Temperatures may share their noise and count as one measurement; the pairs are independent.
    count = np.sqrt(len(rest.pairs))
    error = float(ratio_error[cold_points].mean() / count)
    alone_error = float((widths.density_error / widths.isolated)[cold_points].mean() / count)
    checks = (
        Check(
            "σ(spacing) / σ(density)", mean, error, 1.0, float(np.sqrt(1.5) * 2 / np.pi),
            "two independent Gaussian levels", systematic=0.01,
        ),
        Check(
            "σ(density) / √(2T(μ²−κ))", float(alone.mean()), alone_error, 1.0, 2**-0.5, systematic=0.03,
        ),
    )  # fmt: skip
    caption = (
        f"{SETTING}; {rest.size()}. Left: one width from the mean spacing, one from a fit of the density of "
        f"both levels; right: that width over the temperature. Ratio of the two widths at T = "
        f"{numbers(rest.temperature[cold_points])}: "
        f"{value(checks[0])}; density's σ over that of an isolated pair there: {value(checks[1])}, below 1 "
        "because neighbours squeeze. At higher T the pairs overlap with their neighbours and levels i, i+1 "
        "are no longer one pair: single ratios lie between "
        f"{ratio.min():.2f} and {ratio.max():.2f}."
    )
    data = xr.Dataset(
        {
            "sigma_spacing": (("point", "pair"), widths.spacing),
            "sigma_spacing_sem": (("point", "pair"), widths.spacing_error),
            "sigma_density": (("point", "pair"), widths.density),
            "sigma_density_err": (("point", "pair"), widths.density_error),
            "sigma_isolated": (("point", "pair"), widths.isolated),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", _kappa(rest, rest.pairs))},
    )
    return Reproduction(figure, data, caption, checks)


SEMICIRCLE = Recipe(
    "rbm-semicircle",
    "[B] Fig. 2 left; [B] Fig. 2 right; [C] two-mode semicircle",
    "Learned levels of the RBM and the two-mode semicircle of degenerate pairs",
    semicircle,
    {"quick": 50, "default": 240, "paper": 1_200},
)
SURMISE_COLLAPSE = Recipe(
    "rbm-surmise-collapse",
    "[C] Wigner surmise and its collapse",
    "Wigner surmise of the RBM's degenerate pairs and its data collapse",
    surmise_collapse,
    {"quick": 50, "default": 240, "paper": 1_200},
)
BINDER_CUMULANT = Recipe(
    "rbm-binder",
    "[C] U₄ of the two-mode semicircle",
    "Binder cumulant of the RBM's degenerate pairs",
    binder,
    {"quick": 50, "default": 240, "paper": 1_200},
)
SIGMA_CONSISTENCY = Recipe(
    "rbm-sigma-consistency",
    "[C] surmise against semicircle; [C] semicircle over learning rate and batch size",
    "Width of degenerate pairs from the surmise and from the semicircle",
    sigma_consistency,
    {"quick": 55, "default": 300, "paper": 15_000},
)

"""Density of the degenerate pairs of the Gaussian RBM: two-mode semicircle, Binder cumulant. [B] 2; [C].

A pair is told apart by its place in the spectrum, levels i and i + 1. That fails once it overlaps with its
neighbours, which is why the figures of single pairs stay at low temperature. Where neighbours matter, the
line to compare with is the same statistic of `rbm_levels`.
"""

import numpy as np
import xarray as xr

from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, CYCLE, PAGE, RED, new_figure, style
from dysonjax.published.equilibrium import Equilibrium
from dysonjax.published.rbm import MU, SETTING, SMALL, at_rest, theory
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value
from dysonjax.spectra import TwoMode, binder_cumulant, bootstrap, fit_two_mode

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


@trained_once
def cold(scale: str, progress=None) -> Equilibrium:
    """Ensembles at rest at temperatures where pairs keep apart."""
    return at_rest(scale, COLD[scale], progress)


# ---- the two-mode semicircle


def semicircle(scale: str, progress=None) -> Reproduction:
    """Density of all levels with the targets (left), peaks of two pairs with the two-mode density (right)."""
    rest = at_rest(scale, SINGLE[scale], progress)
    point = 0
    levels = rest.levels[point].reshape(rest.members, -1)
    shown = rest.pairs[[0, -1]] if len(rest.pairs) > 1 else rest.pairs
    shown = shown if len(rest.pairs) < 3 else rest.pairs[[1, 2]]  # those without a single level beside them
    fits = [fit_two_mode(rest.pair(point, first), n_resamples=RESAMPLES) for first in shown]
    drawn = theory(rest, rest.temperature[point])[0]
    expected = [fit_two_mode(drawn[:, first : first + 2], n_resamples=2) for first in shown]
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
                    for d, y, e, n in zip(
                        p.density, np.interp(p.centers, *c), p.density_err, p.counts, strict=True
                    )
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
            "density_err": ("x", all_levels.density_err),
            "target": ("mode", rest.targets),
            "peak_x": (("pair", "bin"), np.stack([p.centers for p in peaks])),
            "peak_density": (("pair", "bin"), np.stack([p.density for p in peaks])),
            "peak_density_err": (("pair", "bin"), np.stack([p.density_err for p in peaks])),
            "fit_x": (("pair", "fine"), np.stack([c[0] for c in curves])),
            "fit_density": (("pair", "fine"), np.stack([c[1] for c in curves])),
        },
        {"x": all_levels.centers, "kappa": ("pair", MU**2 - rest.targets[shown])},
    )
    return Reproduction(figure, data, caption, checks)


def kappa_of(rest: Equilibrium, index):
    """κ of the target of a level."""
    return MU**2 - rest.targets[index]


# ---- Binder cumulant


def binder(scale: str, progress=None) -> Reproduction:
    """U₄ of every pair over the temperature, beside −4/27 of two levels and 0 of a Gaussian."""
    rest = cold(scale, progress)
    size = (len(rest.lr), len(rest.pairs))
    found, error = np.empty(size), np.empty(size)
    for at in np.ndindex(size):
        estimate = bootstrap(rest.pair(at[0], int(rest.pairs[at[1]])), binder_cumulant, n_resamples=RESAMPLES)
        found[at], error[at] = estimate.estimate, estimate.estimate_err
    # Fourth moments converge slowly: at 60 000 draws the line itself is known to 0.004.
    drawn = theory(rest, rest.temperature, 60_000)
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
                label=rf"$\kappa={kappa_of(rest, first):.3g}$",
            )
            axis.plot(x[order], expected[order, p], color=CYCLE[p], lw=0.8, ls="--")
        axis.axhline(BINDER, color=BLACK, lw=1, label="two levels: $-4/27$")
        axis.axhline(0, color=BLACK, lw=0.8, ls=":", label="Gaussian: 0")
        axis.plot([], [], color=BLACK, lw=0.8, ls="--", label="with neighbours")
        axis.set_xscale("log")
        shown = np.unique(rest.temperature)
        axis.set_xticks(shown, [f"{1e3 * t:.2g}" for t in shown])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(r"temperature  $\alpha/|B|$  ($\times 10^{-3}$)")
        axis.set_ylabel(r"Binder cumulant $U_4=\langle x^4\rangle/3\langle x^2\rangle^2-1$")
        figure.legend(loc="outside right center")
    # The error of the mean over points and pairs: the same bootstrap draw of members at all of them.
    stacked = np.stack([[rest.pair(t, first) for first in rest.pairs] for t in range(size[0])])
    mean = bootstrap(stacked, lambda x: np.mean(binder_cumulant(x), axis=(-2, -1)), n_resamples=RESAMPLES)
    check = Check(
        "U₄ of all pairs", float(mean.estimate), float(mean.estimate_err), float(expected.mean()), 0.0,
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
        {"kappa": ("pair", kappa_of(rest, rest.pairs))},
        {"isolated_pair": BINDER},
    )
    return Reproduction(figure, data, caption, (check,))


SEMICIRCLE = Recipe(
    "rbm-semicircle",
    "[B] Fig. 2 left; [B] Fig. 2 right; [C] two-mode semicircle",
    "Learned levels of the RBM and the two-mode semicircle of degenerate pairs",
    semicircle,
    {"quick": 35, "default": 85, "paper": 400},
)
BINDER_CUMULANT = Recipe(
    "rbm-binder",
    "[C] U₄ of the two-mode semicircle",
    "Binder cumulant of the RBM's degenerate pairs",
    binder,
    {"quick": 45, "default": 150, "paper": 750},
)

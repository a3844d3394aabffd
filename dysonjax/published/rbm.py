"""Levels of the Gaussian restricted Boltzmann machine: repulsion, scaling of spacings, learning. [A] 1, 2.

Everything is in the published setting: ten visible and ten hidden components, μ = 3, σ_h = 1, k = 3, a
lattice scalar field of mass 2 as target, weights from N(0, 0.1²); chains in their collapsed form, which has
the law of the literal sweeps. Lines are the theory of `rbm_levels`, in which nothing is fitted.
"""

import numpy as np
import xarray as xr

from dysonjax import models, threefry
from dysonjax.analysis import pairs
from dysonjax.ensemble import Grid, log_spaced, train
from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, BLUE, CYCLE, PAGE, RED, new_figure, style
from dysonjax.models.rbm_fluctuations import rbm_levels
from dysonjax.published.equilibrium import Equilibrium, equilibrium
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value
from dysonjax.spectra import MarchenkoPastur, fit_two_mode, sample_wishart
from dysonjax.spectra.averages import mean_and_sem

MU = 3.0
WIDTH = 0.1  # of a single weight at the start
SETTING = "Gaussian RBM, N_v = N_h = 10, μ = 3, σ_h = 1, PCD-3, lattice field of mass 2, W₀ ~ N(0, 0.1²)"
MARKERS = "osD^vP"

# scale: learning rates, batch sizes, seeds, steps, records
SMALL = ((0.05, 0.1), (32,), 32, 6_000, 33)
TEMPERATURES = {
    "test": ((0.05, 0.1), (8,), 32, 6_000, 33),
    "quick": ((0.025, 0.05, 0.1), (8, 32), 16, 32_000, 9),
    "default": ((0.025, 0.05, 0.1), (4, 8, 16, 32, 64), 48, 32_000, 9),
    "paper": ((0.01, 0.025, 0.05, 0.1), (4, 8, 16, 32, 64), 500, 80_000, 9),
}


def model(scale: str) -> models.Model:
    """The published RBM; for tests a smaller and faster one, with one pair between two single levels."""
    if scale == "test":
        return models.rbm(kappa=[3.0, 5.0, 5.0, 7.0], sampler="collapsed")
    return models.rbm(sampler="collapsed")


@trained_once
def temperatures(scale: str, progress=None) -> Equilibrium:
    """Ensembles at rest over a grid of learning rates and batch sizes."""
    return at_rest(scale, TEMPERATURES[scale], progress)


def at_rest(scale: str, size: tuple, progress=None) -> Equilibrium:
    """size: learning rates, batch sizes, seeds, steps, records."""
    lr, batch_size, seeds, steps, records = size
    rbm = model(scale)
    sigma_w = WIDTH * float(np.sqrt(rbm.config["visible"]))
    return equilibrium(rbm, lr, batch_size, sigma_w, seeds, steps, records=records, progress=progress)


def theory(rest: Equilibrium, temperature, draws: int = 20_000) -> np.ndarray:
    """`rbm_levels` for these targets, (temperatures, draws, modes)."""
    return rbm_levels(MU**2 - rest.targets, temperature, MU, n_samples=draws)


# ---- repulsion


def repulsion(scale: str, progress=None) -> Reproduction:
    """λ_i/κ_i of all levels over the temperature."""
    rest = temperatures(scale, progress)
    kappa = MU**2 - rest.targets
    mean, error = rest.mean((MU**2 - rest.levels) / kappa)
    t = np.geomspace(rest.temperature.min() / 1.5, rest.temperature.max() * 1.5, 30)
    line = (MU**2 - theory(rest, t, 4_000).mean(axis=1)) / kappa
    with style():
        figure, axis = new_figure(width=5.0, height=4.2)
        colours = [CYCLE[i] for i in np.cumsum(np.diff(rest.targets, prepend=rest.targets[0]) > 1e-4)]
        for i, colour in enumerate(colours):
            axis.plot(t, line[:, i], color=colour, lw=0.9)
            for k, b in enumerate(np.unique(rest.batch_size)):
                at = rest.batch_size == b
                panels.points(
                    axis, rest.temperature[at], mean[at, i], error[at, i], fmt=MARKERS[k], color=colour
                )
        symbols = [
            axis.plot([], [], MARKERS[k], ms=3.5, color=BLACK, mfc="white", label=f"$|B|={b}$")[0]
            for k, b in enumerate(np.unique(rest.batch_size))
        ]
        levels = [
            axis.plot([], [], color=colours[i], label=rf"$\kappa={kappa[i]:.3g}$")[0]
            for i in np.flatnonzero(np.diff(rest.targets, prepend=-1.0) > 1e-4)
        ]
        axis.axhline(1, color=BLACK, lw=0.6, ls=":")
        axis.set_xscale("log")
        axis.set_xlabel(r"temperature  $\alpha/|B|$")
        axis.set_ylabel(r"learned / target eigenvalue  $\lambda_i/\kappa_i$")
        figure.legend(handles=levels + symbols, loc="outside right center")
    expected = theory(rest, rest.temperature)
    splitting = spacing_check(rest, expected)
    displacement = displacement_check(rest, expected)
    off = 100 * np.abs(mean * kappa / (MU**2 - expected.mean(axis=1)) - 1).max(axis=1)
    low, high = np.argsort(rest.temperature)[[0, -1]]
    caption = (
        f"{SETTING}; {rest.size()}. Points: means with standard errors over seeds. Lines: eigenvalues of the "
        "fixed point plus its Gaussian fluctuations to first order in T = α/|B|, nothing fitted. Splitting "
        f"of the degenerate pairs over theory: {value(splitting)}; sum of all displacements over theory: "
        f"{value(displacement)}. Largest deviation of a level from its line: {off[low]:.1f} % at "
        f"T = {rest.temperature[low]:.2g}, {off[high]:.1f} % at T = {rest.temperature[high]:.2g}, where "
        "terms of order T² count. Learning is exact only for T → 0."
    )
    data = xr.Dataset(
        {
            "relative_level": (("point", "mode"), mean),
            "relative_level_err": (("point", "mode"), error),
            "line": (("temperature", "mode"), line),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"temperature": t, "kappa": ("mode", kappa)},
    )
    return Reproduction(figure, data, caption, (splitting, displacement))


def centres(scale: str, progress=None) -> Reproduction:
    """λ/κ of the six different levels: fitted centres of the pairs' densities, means of single levels."""
    rest = temperatures(scale, progress)
    singles = np.setdiff1d(np.arange(len(rest.targets)), np.concatenate([rest.pairs, rest.pairs + 1]))
    first = np.sort(np.concatenate([rest.pairs, singles]))
    value_of, error_of = np.zeros((2, len(rest.lr), len(first)))
    for place, mode in enumerate(first):
        for point in range(len(rest.lr)):
            if mode in rest.pairs:
                found = fit_two_mode(rest.pair(point, mode), n_resamples=100)
                value_of[point, place], error_of[point, place] = found.center, found.center_err
        if mode not in rest.pairs:
            value_of[:, place], error_of[:, place] = (a[:, mode] for a in rest.mean(rest.levels))
    kappa = MU**2 - rest.targets[first]
    ratio, error = (MU**2 - value_of) / kappa, error_of / kappa
    t = np.geomspace(rest.temperature.min() / 1.5, rest.temperature.max() * 1.5, 30)
    mean = theory(rest, t, 4_000).mean(axis=1)
    line = np.stack([_middle(mean, rest.pairs, mode) for mode in first], axis=1)
    expected = theory(rest, rest.temperature).mean(axis=1)
    expected = np.stack([_middle(expected, rest.pairs, mode) for mode in first], axis=1)
    with style():
        figure, axis = new_figure(width=5.0, height=3.6)
        for place, colour in zip(range(len(first)), CYCLE, strict=False):
            axis.plot(t, (MU**2 - line[:, place]) / kappa[place], color=colour, lw=0.9)
            panels.points(axis, rest.temperature, ratio[:, place], error[:, place], fmt="o", color=colour)
            axis.plot([], [], color=colour, label=rf"$\kappa={kappa[place]:.3g}$")
        axis.axhline(1, color=BLACK, lw=0.6, ls=":")
        axis.set(
            xscale="log", xlabel=r"temperature  $\alpha/|B|$", ylabel=r"fitted centre  $\lambda_i/\kappa_i$"
        )
        figure.legend(loc="outside right center")
    cold = int(np.argmin(rest.temperature))
    top = len(first) - 1
    check = Check(
        "centre of the softest level, x, at the lowest temperature", float(value_of[cold, top]),
        float(error_of[cold, top]), float(expected[cold, top]), float(rest.targets[first[top]]) * 0.9,
        "a tenth less", systematic=0.005 * float(expected[cold, top]),
    )  # fmt: skip
    caption = (
        f"{SETTING}; {rest.size()}. Points: centres of the two-mode density fitted to both levels of a "
        "degenerate pair, and means of the single levels, with standard errors over seeds: six for ten "
        "levels, as published. Lines: the mean of the pair's levels in the theory of `rbm-repulsion`, "
        "nothing fitted; "
        f"{check.name}: {value(check)}, theory {check.expected:.3f}."
    )
    data = xr.Dataset(
        {
            "relative_centre": (("point", "centre"), ratio),
            "relative_centre_err": (("point", "centre"), error),
            "line": (("temperature", "centre"), (MU**2 - line) / kappa),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"temperature": t, "kappa": ("centre", kappa)},
    )
    return Reproduction(figure, data, caption, (check,))


def _middle(levels: np.ndarray, pairs: np.ndarray, mode: int) -> np.ndarray:
    """A single level, or the mean of the two of a pair; levels (..., modes)."""
    return levels[..., mode : mode + 2].mean(axis=-1) if mode in pairs else levels[..., mode]


def spacing_check(rest: Equilibrium, expected: np.ndarray) -> Check:
    """⟨S⟩ of the pairs over its theory, averaged over pairs and points."""
    spacing = np.diff(expected, axis=-1)[..., rest.pairs].mean(axis=1)
    value, error = rest.joint(
        rest.spacings() / spacing[:, None, None], lambda s: s.mean(axis=(-3, -2, -1)), n=200
    )
    # Terms of order T² reach 10 % at the hottest points for pairs next to the edge of the spectrum.
    return Check("⟨S⟩ of the pairs / theory", float(value), float(error), 1.0, 2**-0.5, systematic=0.02)


def displacement_check(rest: Equilibrium, expected: np.ndarray) -> Check:
    """Σ_i (x_i − target) over its theory, averaged over points; repulsion drops out of this sum."""
    total = (expected.mean(axis=1) - rest.targets).sum(axis=-1)
    moved = (rest.levels - rest.targets).sum(axis=-1, keepdims=True) / total[:, None, None, None]
    # Weighted by T, since the cold points say little about a displacement that vanishes with T.
    weight = rest.temperature / rest.temperature.sum()
    value, error = rest.joint(
        moved * weight[:, None, None, None], lambda s: s.mean(axis=(-2, -1)).sum(axis=-1), n=200
    )
    return Check("displacement of all levels / theory", float(value), float(error), 1.0, 0.5, systematic=0.05)


# ---- scaling of the spacings


def spacing_scaling(scale: str, progress=None) -> Reproduction:
    """⟨S⟩ of the pairs against √(α/|B|)·√(μ² − κ)."""
    rest = temperatures(scale, progress)
    center = rest.targets[rest.pairs]
    mean, error = rest.mean(rest.spacings())
    root = np.sqrt(rest.temperature[:, None] * center)
    spacing = np.diff(theory(rest, rest.temperature), axis=-1)[..., rest.pairs].mean(axis=1)
    prefactor = prefactor_check(rest, center)
    exponent = exponent_check(rest, spacing)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.1)
        x = np.linspace(0, 1.05 * root.max(), 50)
        for axis, y, e, line in (
            (left, mean, error, np.sqrt(2 * np.pi) * x),
            (right, mean / root, error / root, np.full_like(x, np.sqrt(2 * np.pi))),
        ):
            for p, first in enumerate(rest.pairs):
                for k, b in enumerate(np.unique(rest.batch_size)):
                    at = rest.batch_size == b
                    panels.points(axis, root[at, p], y[at, p], e[at, p], fmt=MARKERS[k], color=CYCLE[p])
                axis.plot([], [], color=CYCLE[p], label=rf"$\kappa={MU**2 - rest.targets[first]:.3g}$")
            axis.plot(x, line, color=BLACK, lw=1, label=r"$\sqrt{2\pi}$: isolated pair")
            axis.set_xlim(0, None)
            axis.set_xlabel(r"$\sqrt{\alpha/|B|}\,\sqrt{\mu^2-\kappa_i}$")
        for p in range(len(rest.pairs)):
            order = np.argsort(root[:, p])
            right.plot(root[order, p], (spacing / root)[order, p], color=CYCLE[p], lw=0.8, ls="--")
        right.plot([], [], color=BLACK, lw=0.8, ls="--", label="with neighbours")
        for k, b in enumerate(np.unique(rest.batch_size)):
            right.plot([], [], MARKERS[k], ms=3.5, color=BLACK, mfc="white", label=f"$|B|={b}$")
        left.set_ylim(0, None)
        left.set_ylabel(r"mean spacing  $\langle S\rangle$")
        right.set_ylabel(r"$\langle S\rangle\,/\,\sqrt{(\alpha/|B|)(\mu^2-\kappa_i)}$")
        figure.legend(*right.get_legend_handles_labels(), loc="outside right center")
    caption = (
        f"{SETTING}; {rest.size()}. Solid: ⟨S⟩ = √(2π(α/|B|)(μ²−κ_i)) for an isolated pair; dashed: with its "
        "neighbours, which squeeze a pair at higher temperature; nothing fitted. Prefactor over √(2π), "
        f"extrapolated linearly to T → 0: {value(prefactor)}. ⟨S⟩ ∝ T^p over all points: p = "
        f"{value(exponent)}, where theory with neighbours gives {exponent.expected:.4f} and an isolated "
        "pair 1/2."
    )
    data = xr.Dataset(
        {
            "spacing": (("point", "pair"), mean),
            "spacing_err": (("point", "pair"), error),
            "isolated": (("point", "pair"), np.sqrt(2 * np.pi) * root),
            "with_neighbours": (("point", "pair"), spacing),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", MU**2 - center)},
    )
    return Reproduction(figure, data, caption, (prefactor, exponent))


def prefactor_check(rest: Equilibrium, center: np.ndarray) -> Check:
    """⟨S⟩/√(2πT(μ²−κ)), averaged over pairs, with a straight line in T drawn to T = 0."""
    isolated = np.sqrt(2 * np.pi * rest.temperature[:, None] * center)
    t = rest.temperature / rest.temperature.mean()

    def at_zero(ratio):
        y = ratio.mean(axis=(-2, -1))
        if len(t) == 1:
            return y[..., 0]
        weight = np.linalg.pinv(np.stack([np.ones_like(t), t], axis=1))[0]
        return y @ weight

    value, error = rest.joint(rest.spacings() / isolated[:, None, None], at_zero, n=200)
    # The curvature in T that the straight line leaves out; at a single temperature, the squeezing itself.
    return Check(
        "⟨S⟩ of an isolated pair / theory", float(value), float(error), 1.0, 2**-0.5, systematic=0.02
    )


def exponent_check(rest: Equilibrium, spacing: np.ndarray) -> Check:
    """p in ⟨S⟩ ∝ T^p, against the same fit to the theory with neighbours."""
    points = [{"lr": a, "batch_size": b} for a, b in zip(rest.lr, rest.batch_size, strict=True)]
    levels = rest.levels.mean(axis=2)
    found = pairs.scaling_exponent(levels, points, rest.pairs)
    # The theory is fitted with the weights of the data.
    weight = pairs.slope_weights(pairs.means(levels), points, rest.pairs)
    expected = float(pairs.common_slope(spacing, weight, points))
    return Check("exponent of ⟨S⟩ over α/|B|", found.value, found.error, expected, 1.0, "no square root")


# ---- learning


LEARNING = {"test": (128, 3_000), "quick": (192, 8_000), "default": (1_000, 8_000), "paper": (5_000, 8_000)}


def evolution(scale: str, progress=None) -> Reproduction:
    """Levels from their Marchenko-Pastur start to the targets: first density, way, last density."""
    seeds, steps = LEARNING[scale]
    lr, batch_size, rbm = 0.1, 16, model(scale)
    records = log_spaced(30, steps)
    sigma_w = WIDTH * float(np.sqrt(rbm.config["visible"]))
    grid = Grid(lr=lr, batch_size=batch_size, sigma_w=sigma_w, seeds=seeds)
    run = train(rbm, grid, steps, records, progress=progress).dataset.isel(batch_size=0, lr=0, sigma_w=0)
    levels = run["eigenvalues"].transpose("seed", "record", "mode").values
    levels = levels[run["alive"].isel(record=-1).values]
    targets = run["target_eigenvalues"].values.reshape(-1, levels.shape[-1])[0]
    size = len(targets)
    first, last = levels[:, 0], levels[:, -1]
    at_rest = rbm_levels(MU**2 - targets, lr / batch_size, MU, n_samples=20_000)[0]
    marchenko_pastur = MarchenkoPastur(ratio=1.0, sigma2=size * WIDTH**2)
    with style():
        figure, axes = new_figure(1, 3, width=PAGE, height=2.9, width_ratios=[1, 1.15, 1.2])
        limits = (0.0, 1.1 * marchenko_pastur.upper)
        begin = panels.density(axes[0], first, 30, limits, label="ensemble")
        curve = panels.law(
            axes[0], marchenko_pastur.pdf, (1e-3, limits[1]), color=RED, label="Marchenko–Pastur"
        )
        exact = _histogram(_wishart(size), begin.edges)
        axes[0].stairs(exact, begin.edges, color=BLACK, lw=0.8, label=f"exact, {size} levels")
        axes[0].set_ylim(0, 1.2 * begin.density.max())
        axes[0].set(xlabel="eigenvalue $x$ of $X$", ylabel=r"density $\rho(x)$", title="initialisation")
        axes[0].legend(loc="upper right")
        steps_ = np.maximum(run["record"].values, 1)
        mean, error = mean_and_sem(levels)
        for x, e in zip(mean.T, error.T, strict=True):
            axes[1].errorbar(steps_, x, e, color=BLUE, lw=1, elinewidth=0.8, capsize=0)
        for x in np.unique(targets.round(6)):
            axes[1].axhline(x, color=RED, lw=0.7, ls=":")
        axes[1].set_xscale("log")
        axes[1].set_yscale("log")
        axes[1].set(xlabel="training step", ylabel=r"mean eigenvalue $\langle x_i\rangle$", title="learning")
        limits = (0.0, 1.12 * last.max())
        end = panels.density(axes[2], last, 70, limits, label="ensemble")
        rest = _histogram(at_rest, end.edges)
        axes[2].stairs(rest, end.edges, color=BLACK, lw=0.8, label="theory")
        for x in np.unique(targets.round(6)):
            mark = axes[2].axvline(x, ymax=0.7, color=RED, lw=0.7, ls=":")
        mark.set_label("targets")
        axes[2].set_ylim(0, 1.45 * max(end.density.max(), rest.max()))
        axes[2].set(xlabel="eigenvalue $x$ of $X$", title=f"after {steps} steps")
        axes[2].legend(loc="upper left", ncols=2, columnspacing=1)
    checks = (
        _mean_check("mean level at initialisation", first, size * WIDTH**2),
        _ratio_check("⟨S⟩ of the pairs at the end / theory", last, at_rest, pairs.degenerate_pairs(targets)),
        _mean_check(
            "mean displacement from the targets at the end", last - targets, (at_rest - targets).mean()
        ),
    )
    caption = (
        f"{SETTING}; α = {lr:g}, |B| = {batch_size}; {len(levels)} seeds (root seed 0), {steps} steps. Left: "
        "density of the ten levels at the start with the Marchenko–Pastur law for r = 1, σ² = N·0.1² and the "
        "exact density of ten levels, which at this size the limit law misses near 0. Right: after training, "
        "with the theory of the fixed point and its fluctuations, nothing fitted. Bars: standard errors over "
        "seeds. "
        + " ".join(f"{c.name[0].upper()}{c.name[1:]}: {value(c)}, theory {c.expected:.3g}." for c in checks)
    )
    data = xr.Dataset(
        {
            "levels_first": (("seed", "mode"), first),
            "levels_last": (("seed", "mode"), last),
            "levels_mean": (("record", "mode"), mean),
            "levels_mean_err": (("record", "mode"), error),
            "marchenko_pastur": ("x", curve[1]),
            "theory_last": ("bin", rest),
            "theory_edges": ("edge", end.edges),
            "exact_first": ("bin_first", exact),
            "exact_edges": ("edge_first", begin.edges),
            "target": ("mode", targets),
        },
        {"record": run["record"].values, "x": curve[0]},
    )
    return Reproduction(figure, data, caption, checks)


def _wishart(size: int) -> np.ndarray:
    return sample_wishart(threefry.root(1), size, size, WIDTH, (20_000,))


def _histogram(levels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(levels, edges)
    return counts / levels.size / np.diff(edges)


def _mean_check(name: str, levels: np.ndarray, expected: float) -> Check:
    each = levels.mean(axis=1)
    mean, error = map(float, mean_and_sem(each))
    # Both the start and the displacement are proportional to a variance.
    return Check(name, mean, error, expected, 2 * expected, systematic=0.05 * abs(expected))


def _ratio_check(name: str, levels: np.ndarray, expected: np.ndarray, at: np.ndarray) -> Check:
    ratio = np.diff(levels, axis=1)[:, at] / np.diff(expected, axis=1)[:, at].mean(axis=0)
    mean, error = map(float, mean_and_sem(ratio.mean(axis=1)))
    return Check(name, mean, error, 1.0, 2**-0.5, systematic=0.02)


REPULSION = Recipe(
    "rbm-repulsion",
    "[A] Fig. 1 left; [C] eigenvalue repulsion",
    "Repulsion of the RBM's levels over the temperature",
    repulsion,
    {"quick": 30, "default": 150, "paper": 5_400},
)
CENTRES = Recipe(
    "rbm-repulsion-centres",
    "[A] Fig. 1 left, six centres",
    "Centres of the RBM's levels over the temperature",
    centres,
    {"quick": 35, "default": 160, "paper": 5_500},
)
SPACING_SCALING = Recipe(
    "rbm-spacing-scaling",
    "[A] Fig. 1 right",
    "Linear scaling rule: mean spacing of degenerate pairs over the root of the temperature",
    spacing_scaling,
    {"quick": 30, "default": 150, "paper": 5_400},
)
EVOLUTION = Recipe(
    "rbm-evolution",
    "[A] Fig. 2; [C] dynamics of learning",
    "Levels of the RBM from the Marchenko–Pastur law to their targets",
    evolution,
    {"quick": 20, "default": 50, "paper": 240},
)

"""Spacings of the degenerate pairs of the Gaussian RBM: surmise, collapse, width. [C]."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.models.predictions import rbm_pair
from dysonjax.published.equilibrium import Equilibrium, numbers
from dysonjax.published.rbm import MARKERS, MU, SETTING, temperatures, theory
from dysonjax.published.rbm_pairs import RESAMPLES, cold, kappa_of
from dysonjax.published.recipe import Check, Recipe, Reproduction, value
from dysonjax.spectra import PairSpacing, WignerSurmise, fit_two_mode, level_density


class Width(NamedTuple):
    """σ of every pair at every point with its standard error, each (points, pairs)."""

    sigma: np.ndarray
    error: np.ndarray


def width_of_spacing(rest: Equilibrium) -> Width:
    """σ = ⟨S⟩/√π."""
    mean, error = rest.mean(rest.spacings())
    return Width(mean / np.sqrt(np.pi), error / np.sqrt(np.pi))


def width_of_density(rest: Equilibrium) -> Width:
    """σ of the two-mode density, fitted to both levels."""
    fits = [
        [fit_two_mode(rest.pair(point, first), n_resamples=RESAMPLES) for first in rest.pairs]
        for point in range(len(rest.lr))
    ]
    return Width(
        *(
            np.array([[getattr(f, name) for f in row] for row in fits], float)
            for name in ("sigma", "sigma_err")
        )
    )


# ---- the surmise and its collapse


def surmise_collapse(scale: str, progress=None) -> Reproduction:
    """P(S) of every pair with its surmise (left), P(s) of all pairs and temperatures on one curve (right)."""
    rest = cold(scale, progress)
    point = int(np.argmin(rest.temperature))
    spacing = rest.spacings()
    width = width_of_spacing(rest)
    normalised = spacing / spacing.mean(axis=(1, 2), keepdims=True)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2)
        top = 3.3 * spacing[point].mean(axis=(0, 1)).max()
        for p, first in enumerate(rest.pairs):
            found = level_density(spacing[point][..., p], 24, (0, top))
            panels.points(left, found.centers, found.density, found.density_err, color=CYCLE[p], capsize=0)
            law = PairSpacing(float(width.sigma[point, p]))
            label = rf"$\kappa={kappa_of(rest, first):.3g}$"
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
            panels.points(
                right, x, found.density, found.density_err, fmt=MARKERS[p], color=CYCLE[p], capsize=0
            )
        panels.law(right, WignerSurmise(beta=1).pdf, (0, 3.2), label="Wigner surmise")
        right.set(xlabel=r"$s=S/\langle S\rangle$", ylabel="$P(s)$", xlim=(0, 3.2), ylim=(0, None))
        right.set_title(f"each pair at {len(np.unique(rest.temperature))} temperatures")
        right.legend()
    # ⟨s²⟩ = 4/π for the surmise, 2 without repulsion: one number for the whole shape.
    squares, error = rest.joint(np.concatenate([spacing, spacing**2], axis=-1), _mean_square, n=200)
    expected = theory(rest, rest.temperature)
    gaps = np.diff(expected, axis=-1)[..., rest.pairs]
    with_neighbours = float(_mean_square(np.concatenate([gaps, gaps**2], axis=-1)))
    in_theory = gaps.mean(axis=1) / np.sqrt(np.pi)
    ratio = width.sigma[point] / in_theory[point]
    ratio_error = np.linalg.norm(width.error[point] / in_theory[point]) / len(ratio)
    checks = (
        Check(
            "⟨s²⟩ of all pairs", float(squares), float(error), with_neighbours, 2.0, "no repulsion: Poisson",
            systematic=0.01,
        ),
        Check(
            "σ of the pairs / theory", float(ratio.mean()), float(ratio_error),
            1.0, 2**-0.5, systematic=0.02,
        ),
    )  # fmt: skip
    kappa, at = MU**2 - rest.targets[rest.pairs], (rest.lr[point], rest.batch_size[point])
    first, second = (rbm_pair(kappa, *at, MU, order=order).sigma for order in (1, 2))
    widening = second / first - 1
    memory = ", ".join(f"{100 * w:.1f}" for w in widening)
    caption = (
        f"{SETTING}; {rest.size()}. Left: P(S) = S/(2σ²) exp(−S²/4σ²) with σ = ⟨S⟩/√π, σ = "
        + ", ".join(
            f"{s:.4f} ± {e:.4f} (theory {t:.4f})"
            for s, e, t in zip(width.sigma[point], width.error[point], in_theory[point], strict=True)
        )
        + f" in the order of the legend; the chains' memory, left out of theory, adds {memory} %. Right: s "
        "of each pair, over its own mean at every temperature; "
        "points of different pairs are shifted sideways by up to 0.04. "
        f"⟨s²⟩ = {value(checks[0])}; the surmise has 4/π = {4 / np.pi:.4f}, levels with neighbours "
        f"{with_neighbours:.4f}, no repulsion 2."
    )
    data = xr.Dataset(
        {
            "spacing": (("point", "seed", "record", "pair"), spacing),
            "sigma": (("point", "pair"), width.sigma),
            "sigma_err": (("point", "pair"), width.error),
            "sigma_theory": (("point", "pair"), in_theory),
            "collapsed_density": (("pair", "s"), np.stack([c.density for c in collapsed])),
            "collapsed_density_err": (("pair", "s"), np.stack([c.density_err for c in collapsed])),
            "surmise": ("s", WignerSurmise(beta=1).pdf(collapsed[0].centers)),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", kappa_of(rest, rest.pairs)), "s": collapsed[0].centers},
    )
    return Reproduction(figure, data, caption, checks)


def _mean_square(both: np.ndarray) -> np.ndarray:
    """⟨S²⟩/⟨S⟩², averaged over points and pairs, from (..., points, members, S and S² of all pairs)."""
    mean, square = np.split(both.mean(axis=-2), 2, axis=-1)
    return (square / mean**2).mean(axis=(-2, -1))


# ---- σ from the surmise and from the semicircle


def sigma_consistency(scale: str, progress=None) -> Reproduction:
    """σ from ⟨S⟩ against σ from the two-mode density, and both over the temperature."""
    rest = temperatures(scale, progress)
    spacing, density = width_of_spacing(rest), width_of_density(rest)
    isolated = np.sqrt(2 * rest.temperature[:, None] * rest.targets[rest.pairs])
    ratio = spacing.sigma / density.sigma
    # As if independent: an upper bound, since both come from the same levels and move together.
    ratio_error = np.hypot(spacing.error / spacing.sigma, density.error / density.sigma)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2)
        top = 1.1 * max(spacing.sigma.max(), density.sigma.max())
        x = np.linspace(0, top, 2)
        left.plot(x, x, color=BLACK, lw=1, label="equal")
        for p, first in enumerate(rest.pairs):
            left.errorbar(
                density.sigma[:, p], spacing.sigma[:, p], spacing.error[:, p],
                density.error[:, p], fmt=MARKERS[p], ms=3.5, mfc="white", lw=0.8, color=CYCLE[p],
                label=rf"$\kappa={kappa_of(rest, first):.3g}$",
            )  # fmt: skip
        left.set(xlabel=r"$\sigma$ from the two-mode density", ylabel=r"$\sigma=\langle S\rangle/\sqrt{\pi}$")
        left.set(xlim=(0, top), ylim=(0, top))
        left.legend()
        scaled = 2 * rest.temperature[:, None] * rest.targets[rest.pairs]
        for p in range(len(rest.pairs)):
            panels.points(
                right, scaled[:, p], density.sigma[:, p] ** 2,
                2 * density.sigma[:, p] * density.error[:, p], fmt=MARKERS[p], color=CYCLE[p],
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
    alone = (density.sigma / isolated)[cold_points]
    # Temperatures may share their noise and count as one measurement; the pairs are independent.
    count = np.sqrt(len(rest.pairs))
    error = float(ratio_error[cold_points].mean() / count)
    alone_error = float((density.error / isolated)[cold_points].mean() / count)
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
        f"{value(checks[0])}; density's σ over that of an isolated pair there: {value(checks[1])}. At higher "
        "T neighbours squeeze both widths alike: the density's falls to "
        f"{(density.sigma / isolated).min():.2f} of an isolated pair's, while single ratios of the two lie "
        f"between {ratio.min():.2f} and {ratio.max():.2f}."
    )
    data = xr.Dataset(
        {
            "sigma_spacing": (("point", "pair"), spacing.sigma),
            "sigma_spacing_err": (("point", "pair"), spacing.error),
            "sigma_density": (("point", "pair"), density.sigma),
            "sigma_density_err": (("point", "pair"), density.error),
            "sigma_isolated": (("point", "pair"), isolated),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"kappa": ("pair", kappa_of(rest, rest.pairs))},
    )
    return Reproduction(figure, data, caption, checks)


SURMISE_COLLAPSE = Recipe(
    "rbm-surmise-collapse",
    "[C] Wigner surmise and its collapse",
    "Wigner surmise of the RBM's degenerate pairs and its data collapse",
    surmise_collapse,
    {"quick": 45, "default": 150, "paper": 750},
)
SIGMA_CONSISTENCY = Recipe(
    "rbm-sigma-consistency",
    "[C] surmise against semicircle; [C] semicircle over learning rate and batch size",
    "Width of degenerate pairs from the surmise and from the semicircle",
    sigma_consistency,
    {"quick": 35, "default": 155, "paper": 5_700},
)

"""Levels of the Gaussian restricted Boltzmann machine: repulsion, scaling of spacings, learning. [A] 1, 2.

Everything is in the published setting: ten visible and ten hidden components, μ = 3, σ_h = 1, k = 3, a
lattice scalar field of mass 2 as target, weights from N(0, 0.1²); chains in their collapsed form, which has
the law of the literal sweeps.
"""

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.figures.style import BLACK, CYCLE, new_figure, style
from dysonjax.published.equilibrium import Equilibrium, equilibrium
from dysonjax.published.recipe import Check, Recipe, Reproduction

MU = 3.0
START = 0.1 * np.sqrt(10)  # sigma_w of weights from N(0, 0.1²)
SETTING = "Gaussian RBM, N_v = N_h = 10, μ = 3, σ_h = 1, PCD-3, lattice field of mass 2, W₀ ~ N(0, 0.1²)"
MARKERS = "osD^vP"

# scale: learning rates, batch sizes, seeds, steps
TEMPERATURES = {
    "test": ((0.1,), (32,), 32, 6_000),
    "quick": ((0.025, 0.05, 0.1), (8, 32), 16, 32_000),
    "default": ((0.025, 0.05, 0.1), (4, 8, 16, 32, 64), 48, 32_000),
    "paper": ((0.01, 0.025, 0.05, 0.1), (4, 8, 16, 32, 64), 500, 80_000),
}


def temperatures(scale: str, progress=None) -> Equilibrium:
    """Ensembles at rest over a grid of learning rates and batch sizes."""
    lr, batch_size, seeds, steps = TEMPERATURES[scale]
    return equilibrium(model(scale), lr, batch_size, START, seeds, steps, progress=progress)


def model(scale: str) -> models.Model:
    """The published RBM; for tests one of four components, with a single pair between two single levels."""
    return models.rbm(4 if scale == "test" else 10, sampler="collapsed")


def pair_spacing(targets: np.ndarray, pairs: np.ndarray, temperature) -> np.ndarray:
    """⟨S⟩ of the pairs between fixed neighbours, (temperatures, pairs); first order of [A] 2.5.

    Each of the other levels bends the pair's well: −ln|x − x_j| adds 1/(x − x_j)² to the Ω_i/g_i² = 1/σ_i²
    that confines it, which makes ⟨S⟩ = √π σ_i (1 + σ_i² Σ_j (x_i − x_j)⁻²)^(−1/2), with σ_i² = 2T(μ² − κ_i).
    """
    sigma2, _, bend = _charges(targets, temperature)
    return np.sqrt(np.pi * sigma2 / (1 + sigma2 * bend))[:, pairs]


def first_order_levels(targets: np.ndarray, pairs: np.ndarray, temperature) -> np.ndarray:
    """Mean levels to first order in T: pairs split by ⟨S⟩, and every level yields to the other charges."""
    sigma2, force, _ = _charges(targets, temperature)
    levels = targets + sigma2 * force
    half = pair_spacing(targets, pairs, temperature) / 2
    levels[:, pairs] -= half
    levels[:, pairs + 1] += half
    return levels


def _charges(targets, temperature):
    """σ_i² = 2T(μ² − κ_i), (temperatures, modes), and Σ_j 1/(x_i − x_j) and Σ_j (x_i − x_j)⁻² without
    the level's own partner, (modes,)."""
    distance = targets[:, None] - targets[None, :]
    distance = np.where(np.abs(distance) < 1e-4, np.inf, distance)
    sigma2 = 2 * np.asarray(temperature, np.float64)[:, None] * targets
    return sigma2, (1 / distance).sum(axis=1), (1 / distance**2).sum(axis=1)


def sizes(rest: Equilibrium) -> str:
    """The part of a caption that says how much was computed."""
    text = (
        f"{SETTING}; α = {numbers(rest.lr)}, |B| = {numbers(rest.batch_size)}; {rest.members} seeds (root "
        f"seed 0), {rest.steps} steps, averages over {rest.levels.shape[2]} records of the second half"
    )
    return text + (f"; {rest.diverged} seeds left out, where a member diverged" if rest.diverged else "")


def numbers(values) -> str:
    return ", ".join(f"{value:g}" for value in np.unique(values))


def repulsion(scale: str, progress=None) -> Reproduction:
    """λ_i/κ_i of all ten levels over the temperature."""
    rest = temperatures(scale, progress)
    kappa = MU**2 - rest.targets
    mean, error = rest.mean((MU**2 - rest.levels) / kappa)
    t = np.geomspace(rest.temperature.min() / 1.5, rest.temperature.max() * 1.5, 60)
    line = (MU**2 - first_order_levels(rest.targets, rest.pairs, t)) / kappa
    ratio, ratio_error = spacing_ratio(rest)
    with style():
        figure, axis = new_figure(width=4.6, height=4.0)
        of_level = _colours(rest)
        for i in reversed(range(len(kappa))):
            axis.plot(t, line[:, i], color=CYCLE[of_level[i]], lw=0.8)
        for k, b in enumerate(np.unique(rest.batch_size)):
            at = rest.batch_size == b
            for i in range(len(kappa)):
                axis.errorbar(
                    rest.temperature[at], mean[at, i], error[at, i], fmt=MARKERS[k], ms=3.5,
                    color=CYCLE[of_level[i]], mfc="white", lw=0.8,
                )  # fmt: skip
            axis.plot([], [], MARKERS[k], ms=3.5, color=BLACK, mfc="white", label=f"$|B|={b}$")
        axis.axhline(1, color=BLACK, lw=0.6, ls=":")
        axis.set_xscale("log")
        axis.set(
            xlabel=r"temperature  $\alpha/|B|$",
            ylabel=r"$\lambda_i/\kappa_i$  (learned / target)",
            title="colours: levels of one target; lines: first order in T",
        )
        axis.legend(loc="upper left", ncols=2)
    low, high = np.argsort(rest.temperature)[[0, -1]]
    theory = (MU**2 - first_order_levels(rest.targets, rest.pairs, rest.temperature)) / kappa
    off = 100 * np.abs(mean - theory).max(axis=1)
    caption = (
        f"{sizes(rest)}. Points: ensemble means with standard errors over seeds; symbols: |B|. Lines: pairs "
        f"split by ⟨S⟩ ∝ √T and all levels displaced by the Coulomb force of the others ∝ T, both to first "
        f"order and without free parameter. Splitting of the four pairs over the lines: {ratio:.3f} ± "
        f"{ratio_error:.3f}. The lines leave out terms of order T in the drift: levels deviate from them by "
        f"up to {off[low]:.1f} % at T = {rest.temperature[low]:.2g} and {off[high]:.1f} % at "
        f"T = {rest.temperature[high]:.2g}."
    )
    data = xr.Dataset(
        {
            "ratio": (("point", "mode"), mean),
            "ratio_sem": (("point", "mode"), error),
            "line": (("temperature", "mode"), line),
            "lr": ("point", rest.lr),
            "batch_size": ("point", rest.batch_size),
        },
        {"temperature": t, "kappa": ("mode", kappa)},
    )
    return Reproduction(figure, data, caption, (prefactor_check(ratio, ratio_error),))


def spacing_ratio(rest: Equilibrium) -> tuple[float, float]:
    """⟨S⟩ over `pair_spacing`, averaged over pairs and points, and its standard error."""
    theory = pair_spacing(rest.targets, rest.pairs, rest.temperature)[:, None, :]
    spacing = np.diff(rest.levels, axis=-1)[..., rest.pairs]
    value, error = rest.joint(spacing / theory[:, :, None], lambda s: s.mean(axis=(-3, -2, -1)))
    return float(value), float(error)


def prefactor_check(ratio: float, error: float) -> Check:
    # Neighbours that give way bend a pair's well less than fixed ones: up to 10 % at the hottest points.
    return Check("⟨S⟩ of the pairs / theory", ratio, error, 1.0, mistaken=2**-0.5, systematic=0.03)


def _colours(rest: Equilibrium) -> np.ndarray:
    """One colour a target: both levels of a pair share it."""
    return np.cumsum(np.diff(rest.targets, prepend=rest.targets[0]) > 1e-4)


REPULSION = Recipe(
    "rbm-repulsion",
    "[A] Fig. 1 left; [C] eigenvalue repulsion",
    "Repulsion of the RBM's levels over the temperature",
    repulsion,
    {"quick": 50, "default": 300, "paper": 15_000},
)

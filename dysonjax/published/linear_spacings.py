"""Spacing of the two levels of a teacher-student matrix. arXiv 2407.16427 (PRE 111, 015303).

Teacher 2·1, Z = 1, symmetric gradient noise of strength ε, 10 epochs of 500 batches. The mean spacing of the
two singular values follows √(αA/|B|) with A = ε². In the released runs all networks of a row share their
inputs, which repeat every epoch, while ours draw fresh ones: see `with_shared_inputs`.
"""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import ellipe

from dysonjax import models
from dysonjax.ensemble import Grid, train
from dysonjax.figures import panels
from dysonjax.figures.style import BLACK, CYCLE, PAGE, colours, new_figure, style
from dysonjax.models.predictions import linear_pair
from dysonjax.published.recipe import Check, Recipe, Reproduction, later
from dysonjax.spectra import TwoMode, WignerSurmise, fit_two_mode

VALUE, WIDTH = 2.0, 0.1  # singular values of the teacher; standard deviation of the first weights
BATCHES, EPOCHS = 500, 10
NETWORKS = {"test": 300, "quick": 1_000, "default": 3_000, "paper": 3_000}
# Of inputs, over which the scatter of ⟨S⟩ between rows is taken.
DATA_SETS = {"test": 10, "quick": 200, "default": 200, "paper": 200}


class Row(NamedTuple):
    """One ensemble of the source: learning rate, batch size, noise."""

    lr: float
    batch_size: int
    epsilon: float


ROWS = (
    *(Row(lr, 16, 0.1) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)),
    *(Row(0.1, batch_size, 0.1) for batch_size in (4, 8, 32, 64)),
    *(Row(0.1, 16, epsilon) for epsilon in (0.05, 0.06, 0.07, 0.08, 0.09)),
)


def spacings(scale: str, progress=None) -> Reproduction:
    """⟨S⟩ and √π σ against √(αA/|B|), P(s) of all rows, density of one."""
    seeds, steps = NETWORKS[scale], BATCHES * EPOCHS
    levels = _train(seeds, steps, progress)
    x = np.array([np.sqrt(row.lr * row.epsilon**2 / row.batch_size) for row in ROWS])
    gaps = np.array([member[:, 1] - member[:, 0] for member in levels])
    mean, error = gaps.mean(axis=1), gaps.std(axis=1, ddof=1) / np.sqrt(seeds)
    laws = [linear_pair(row.epsilon, row.lr, row.batch_size, order=2) for row in ROWS]
    theory = np.array([float(law.mean_spacing) for law in laws])
    fits = [fit_two_mode(member, n_resamples=10 if scale == "test" else 60) for member in levels]
    sigma, sigma_error = (
        np.array([float(getattr(f, name)) for f in fits]) for name in ("sigma", "sigma_err")
    )
    shared = np.array([with_shared_inputs(row, DATA_SETS[scale]) for row in ROWS])
    with style():
        figure, axes = new_figure(2, 2, width=PAGE, height=5.4)
        axis = axes[0, 0]
        axis.errorbar(x, mean, error, fmt="o", color=CYCLE[0], ms=4, label=r"$\langle S\rangle$")
        axis.errorbar(
            x, np.sqrt(np.pi) * sigma, np.sqrt(np.pi) * sigma_error, fmt="s", mfc="none", color=CYCLE[1],
            ms=5, label=r"$\sqrt{\pi}\sigma$ of the density",
        )  # fmt: skip
        axis.plot(x, theory, "_", color=BLACK, ms=10, label="theory of each row")
        axis.plot([0, x.max()], [0, np.sqrt(np.pi) * x.max()], color=BLACK, lw=0.8,
                  label=r"$\sqrt{\pi\alpha A/|B|}$")  # fmt: skip
        axis.set(xlabel=r"$\sqrt{\alpha A/|B|}$,  $A=\epsilon^2$", ylabel="mean spacing")
        axis.locator_params(axis="x", nbins=5)
        axis.legend()
        axis = axes[0, 1]
        axis.errorbar(mean, sigma, sigma_error, error, fmt="o", color=CYCLE[0], ms=4)
        top = np.array([0, 1.05 * mean.max()])
        axis.plot(
            top, top / np.sqrt(np.pi), color=BLACK, lw=0.8, label=r"$\langle S\rangle=\sqrt{\pi}\sigma$"
        )
        axis.set(xlabel=r"$\langle S\rangle$", ylabel=r"$\sigma$ of the density")
        axis.legend()
        axis = axes[1, 0]
        for gap, colour in zip(gaps, colours(len(gaps)), strict=True):
            counts, edges = np.histogram(gap / gap.mean(), 25, (0, 3.5))
            axis.plot((edges[1:] + edges[:-1]) / 2, counts / len(gap) / np.diff(edges), ".", ms=3,
                      color=colour)  # fmt: skip
        panels.law(axis, WignerSurmise(1).pdf, (0, 3.5), color=BLACK, label="Wigner surmise")
        axis.set(xlabel=r"$s=S/\langle S\rangle$", ylabel="$P(s)$, all rows")
        axis.legend()
        axis = axes[1, 1]
        reach = 4.5 * float(laws[0].sigma)
        found = panels.density(axis, levels[0], 40, (VALUE - reach, VALUE + reach), label="ensemble")
        panels.law(
            axis, TwoMode(float(laws[0].sigma), VALUE).pdf, (VALUE - reach, VALUE + reach), color=BLACK,
            label="two-mode semicircle, theory",
        )  # fmt: skip
        axis.set(xlabel=r"singular value $\xi$ at $\alpha=0.1$, $|B|=16$", ylabel=r"$\rho(\xi)$")
        axis.set_ylim(0, 1.4 * found.density.max())
        axis.legend()
    ratio = mean / theory
    # Rows share the randomness of their seeds: a seed is averaged over all rows before errors are taken.
    own = (gaps / theory[:, None]).mean(axis=0)
    slope = Check(
        "⟨S⟩ over theory, all rows", float(own.mean()), float(own.std(ddof=1) / np.sqrt(seeds)), 1.0,
        np.sqrt(2), systematic=0.003,
    )  # fmt: skip
    s = gaps / mean[:, None]
    second_moment = (s**2).mean()
    own = (s**2 - 2 * second_moment * (s - 1)).mean(axis=0)  # the mean that divides is measured too
    second = Check(
        "⟨s²⟩, all rows", float(second_moment), float(own.std(ddof=1) / np.sqrt(seeds)), 4 / np.pi, 2.0,
        "levels without repulsion", systematic=0.003,
    )  # fmt: skip
    both = np.sqrt(np.pi) * sigma / mean
    scatter = shared[:, 1] / shared[:, 0]
    caption = (
        f"Linear teacher-student network, W of 2×2, teacher 2·1, gradient noise ε, W₀ ~ N(0, 0.1²), {seeds} "
        f"networks a row, {EPOCHS} epochs of {BATCHES} batches, fresh inputs. ⟨S⟩ over theory: "
        f"{slope.measured:.4f} ± {slope.error:.4f} over all rows, from {ratio.min():.3f} to "
        f"{ratio.max():.3f}; √π σ of the density over ⟨S⟩ from {both.min():.3f} to {both.max():.3f}; ⟨s²⟩ = "
        f"{second.measured:.4f} ± {second.error:.4f}, the surmise has 4/π = 1.2732. The line √(παA/|B|) is "
        "that of small α; the theory of a row has 2 − α and the batch's own fluctuations. Networks that "
        f"share inputs that repeat every epoch have, from one set of inputs to another, another ⟨S⟩: scatter "
        f"{100 * scatter.min():.1f} to {100 * scatter.max():.1f} %."
    )
    data = xr.Dataset(
        {
            "mean_spacing": ("row", mean),
            "mean_spacing_err": ("row", error),
            "theory": ("row", theory),
            "sigma": ("row", sigma),
            "sigma_err": ("row", sigma_error),
            "shared_inputs": ("row", shared[:, 0]),
            "shared_inputs_scatter": ("row", shared[:, 1]),
        },
        {name: ("row", np.array([getattr(row, name) for row in ROWS])) for name in Row._fields},
    )
    return Reproduction(figure, data, caption, (slope, second))


def _train(seeds: int, steps: int, progress) -> np.ndarray:
    """Singular values at the end, (rows, seeds, 2), ascending."""
    model = models.linear("identity", values=(VALUE, VALUE), epsilon=0.1)
    found = {}
    grids: tuple[dict[str, Any], ...] = (
        {"lr": [0.1, 0.2, 0.3, 0.4, 0.5], "batch_size": 16, "scalars": {"epsilon": [0.1]}},
        {"lr": 0.1, "batch_size": [4, 8, 32, 64], "scalars": {"epsilon": [0.1]}},
        {"lr": 0.1, "batch_size": 16, "scalars": {"epsilon": [0.05, 0.06, 0.07, 0.08, 0.09]}},
    )
    total, before = len(ROWS) * seeds * steps, 0
    for options in grids:
        grid = Grid(sigma_w=WIDTH * np.sqrt(2), seeds=seeds, **options)
        run = train(model, grid, steps, (steps,), progress=later(progress, before, total)).dataset
        before += grid.members * steps
        for row in ROWS:
            place = {"lr": row.lr, "batch_size": row.batch_size, "epsilon": row.epsilon}
            if all(value in run[name].values for name, value in place.items()):
                at = run["eigenvalues"].sel(place).isel(sigma_w=0, record=-1).transpose("seed", "mode")
                found[row] = np.sqrt(at.values)
    return np.array([found[row] for row in ROWS])


def with_shared_inputs(row: Row, sets: int, seed: int = 0) -> tuple[float, float]:
    """⟨S⟩ of networks that share their inputs, repeated every epoch: mean and scatter over sets of inputs.

    Given the inputs, δ = W − 2·1 moves as δ′ = δ(1 − αM_t) + αG with M_t the batch's mean of xxᵀ and G
    symmetric Gaussian noise: its covariance follows step by step, without networks. S² = (δ_11 − δ_22)² +
    (δ_12 + δ_21)² of two Gaussian numbers; with principal variances a² ≥ b² their ⟨S⟩ is
    √(2/π) a E(1 − b²/a²), E the complete elliptic integral.
    """
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(BATCHES, sets, row.batch_size, 2))
    keep = np.eye(2) - row.lr * np.einsum("tsbi,tsbj->tsij", inputs, inputs) / row.batch_size
    both = np.zeros((BATCHES, sets, 4, 4))  # acts on (δ_11, δ_12, δ_21, δ_22): the rows of δ by themselves
    both[..., :2, :2] = both[..., 2:, 2:] = keep.swapaxes(-1, -2)
    noise = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 2.0]])
    noise *= row.lr**2 * row.epsilon**2 / row.batch_size
    covariance = np.zeros((sets, 4, 4))
    for _ in range(2):  # what lies more than an epoch back is forgotten
        for step in both:
            covariance = step @ covariance @ step.swapaxes(-1, -2) + noise
    split = np.array([[1, 0, 0, -1], [0, 1, 1, 0.0]])
    b2, a2 = np.linalg.eigvalsh(split @ covariance @ split.T).T
    mean = np.sqrt(2 / np.pi * a2) * ellipe(1 - b2 / a2)
    return float(mean.mean()), float(mean.std(ddof=1))


SPACINGS = Recipe(
    "linear-spacings",
    "arXiv 2407.16427 mean spacing, P(S) and densities of the teacher-student model",
    "Level spacing of the linear teacher-student network",
    spacings,
    {"quick": 12, "default": 30, "paper": 30},
)

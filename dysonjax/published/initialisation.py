"""The Marchenko-Pastur law of weight matrices before training. [C]."""

import jax
import numpy as np
import xarray as xr

from dysonjax import models, threefry
from dysonjax.figures import panels
from dysonjax.figures.style import PAGE, RED, new_figure, style
from dysonjax.published.recipe import Check, Recipe, Reproduction, value
from dysonjax.spectra import MarchenkoPastur, fit_marchenko_pastur

LEVELS = 64
ROWS = (256, 128, 64)  # r = 1/4, 1/2, 1
SIGMA_W = 1.0
SEEDS = {"test": 60, "quick": 200, "default": 1_000, "paper": 5_000}


@threefry.settled()
def initial_levels(rows: int, seeds: int) -> np.ndarray:
    """Eigenvalues of X = WᵀW of the middle matrix (rows × 64) of a multilayer perceptron, (seeds, 64)."""
    model = models.teacher_student((3, rows, LEVELS, 1))
    point = {"lr": jax.numpy.ones(()), "sigma_w": jax.numpy.asarray(SIGMA_W)}
    keys = jax.random.split(threefry.root(0), seeds)
    weights = jax.vmap(lambda key: model.init(key, None, point).params["w2"])(keys)
    return np.linalg.svd(np.asarray(weights, np.float64), compute_uv=False)[:, ::-1] ** 2


def initialisation(scale: str, progress=None) -> Reproduction:
    """Density of eigenvalues for three shapes of the matrix, with the law of the shape alone."""
    seeds = SEEDS[scale]
    checks, densities, curves = [], [], []
    with style():
        figure, axes = new_figure(1, len(ROWS), width=PAGE, height=2.7)
        for done, (axis, rows) in enumerate(zip(axes, ROWS, strict=True)):
            levels, ratio = initial_levels(rows, seeds), LEVELS / rows
            if progress is not None:
                progress(done + 1, len(ROWS))
            law = MarchenkoPastur(ratio, SIGMA_W**2)
            fit = fit_marchenko_pastur(levels, ratio, n_resamples=60)
            limits = (0.0, 1.08 * law.upper)
            found = panels.density(axis, levels, 40, limits, label="ensemble")
            inside = (max(law.lower, 0.004), law.upper)
            curves.append(panels.law(axis, law.pdf, inside, color=RED, label="Marchenko–Pastur"))
            # At r = 1 the law diverges at 0; the bars hold its mean over a bin.
            axis.set_ylim(0, 1.25 * found.density.max())
            axis.set(xlabel="eigenvalue $x$ of $X=W^TW$", title=f"$r={ratio:g}$:  {rows} × {LEVELS}")
            axis.legend(loc="upper right", fontsize=7)
            densities.append(found)
            checks.append(
                Check(f"σ² at r = {ratio:g}", float(fit.sigma2), float(fit.sigma2_err), SIGMA_W**2,
                      2 * SIGMA_W**2, "twice the variance of the weights")
            )  # fmt: skip
            checks.append(
                Check(f"A at r = {ratio:g}", float(fit.area), float(fit.area_err), 1.0, 0.8,
                      "a fifth of the levels in a tail")
            )  # fmt: skip
        axes[0].set_ylabel(r"density $\rho(x)$")
    caption = (
        f"Middle matrix of multilayer perceptrons [3, M, {LEVELS}, 1] before training, W_ij ~ N(0, σ_W²/M), "
        f"σ_W = {SIGMA_W:g}; {seeds} seeds, bars: standard errors over seeds. Line: the law for r = N/M, "
        "nothing fitted. Fits with free width and area: "
        + "; ".join(f"{check.name}: {value(check)}" for check in checks)
        + " (theory: 1 each)."
    )
    data = xr.Dataset(
        {
            "density": (("ratio", "bin"), np.stack([d.density for d in densities])),
            "density_err": (("ratio", "bin"), np.stack([d.density_err for d in densities])),
            "x": (("ratio", "bin"), np.stack([d.centers for d in densities])),
            "law_x": (("ratio", "fine"), np.stack([c[0] for c in curves])),
            "law": (("ratio", "fine"), np.stack([c[1] for c in curves])),
        },
        {"ratio": [LEVELS / rows for rows in ROWS]},
    )
    return Reproduction(figure, data, caption, tuple(checks))


INITIALISATION = Recipe(
    "mp-initialisation",
    "[C] Marchenko-Pastur at initialisation",
    "Eigenvalues of weight matrices before training",
    initialisation,
    {"quick": 7, "default": 15, "paper": 90},
)

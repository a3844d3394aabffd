"""Where the features of a tanh network turn bimodal: their density before training, beside exact ones."""

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import BLACK, CYCLE, PAGE, RED, new_figure, style
from dysonjax.published.phase import feature_sample
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value

INVERSE_WIDTHS = (2.0, 2**0.5, 0.83, 0.5, 0.25, 0.125)  # 1/σ_W; √2 is the published jamming line
SHOWN = (2.0, 2**0.5, 0.83, 0.25)
NETWORKS = {"test": 60, "quick": 200, "default": 1_000, "paper": 5_000}
MIDDLE = 0.1  # features within ±this are those of the middle
BINS = 40


@trained_once
def ensemble(scale: str, progress=None) -> xr.Dataset:
    """Networks before their first step, with weights."""
    grid = Grid(lr=0.125, sigma_w=[1 / w for w in INVERSE_WIDTHS], batch_size=4, seeds=NETWORKS[scale])
    return train(
        models.teacher_student(batches=1), grid, 1, (0, 1), keep_weights="all", progress=progress
    ).dataset.isel(record=[0])  # fmt: skip


def density(feature: np.ndarray, sigma_w: float) -> np.ndarray:
    """Exact density of the features at initialisation: a pre-activation is Gaussian, given its input x, with
    variance σ_W²|tanh(Mx)|²/32, and inputs and teachers are averaged over."""
    variances = sigma_w**2 * np.quantile(feature_sample(), (np.arange(400) + 0.5) / 400)
    return np.mean([phase.tanh_density(feature, v) for v in variances], axis=0)


def level_width() -> float:
    """The 1/σ_W at which this density is as high at ±1/2 as at 0.

    Whether it has two maxima is no sharp question: inputs near 0 always leave a small peak at φ = 0, since
    the curvature there averages over u^{-3/2}, u = |tanh(Mx)|²/32, which has no mean for three inputs.
    """
    return float(brentq(lambda inverse: _rise(1 / inverse), 0.2, 2.0))


def bimodality(dataset: xr.Dataset) -> Reproduction:
    """Densities of the features at several σ_W, and how much of them sits in the middle."""
    features = phase.features(dataset).isel(batch_size=0, lr=0, record=0)
    edges = np.linspace(-1, 1, BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    inverse = 1 / features["sigma_w"].values
    line = phase.jamming_line(dataset)
    fine = np.linspace(-0.999, 0.999, 801)
    counts = np.stack([
        [np.histogram(member, edges)[0] for member in features.isel(sigma_w=k).values]
        for k in range(len(inverse))
    ])  # fmt: skip
    each = counts / counts.sum(axis=-1, keepdims=True) / np.diff(edges)
    mean, error = each.mean(axis=1), each.std(axis=1, ddof=1) / np.sqrt(each.shape[1])
    share = (abs(features) < MIDDLE).mean(("sample", "feature"))
    share_mean, share_error = phase.mean_of_members(share)
    exact = np.array([_share(1 / w) for w in inverse])
    along = np.geomspace(0.1, 3, 40)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.2)
        for k, width in enumerate(SHOWN):
            at = int(np.argmin(np.abs(inverse - width)))
            left.errorbar(centres, mean[at], error[at], fmt="o", ms=2.5, color=CYCLE[k],
                          label=rf"$1/\sigma_W={inverse[at]:.3g}$")  # fmt: skip
            left.plot(fine, density(fine, 1 / inverse[at]), color=CYCLE[k], lw=0.9)
        left.set(xlabel=r"feature $\phi$", ylabel="density", ylim=(0, 1.9))
        left.legend(fontsize=7, loc="upper center", ncols=2)
        rises = [_rise(1 / w) for w in along]
        right.plot(along, rises, color=BLACK, lw=1.0, label="exact density")
        for k, at in enumerate(inverse):
            number, its_error = _measured_rise(each[k], centres)
            right.errorbar(at, number, its_error, fmt="o", ms=3, color=CYCLE[0])
        right.axhline(0, color=BLACK, lw=0.5)
        right.axvline(line.published, color=RED, label="jamming, published")
        right.axvline(line.measured, color=RED, ls=":", label="jamming, measured variance")
        right.axvline(level_width(), color=RED, ls="--", label="exact density level")
        right.set(xlabel=r"$1/\sigma_W$", ylabel=r"density at $\frac{1}{2}$ minus density at 0")
        right.set_xscale("log", base=2)
        right.legend(fontsize=6)
    checks = tuple(
        Check(
            f"share of |φ| < {MIDDLE:g} at 1/σ_W = {inverse[k]:.3g}", float(share_mean[k]),
            float(share_error[k]), exact[k], _share(2 / inverse[k]), "twice the width of the weights",
            systematic=0.004 * exact[k],
        )
        for k in range(len(inverse))
    )  # fmt: skip
    caption = (
        f"Features tanh(Wᵀtanh(Mx)) of [3, 32, 16, 1] before training, {dataset.sizes['seed']} networks, 128 "
        "inputs, 16 features, errors over networks; lines: exact density, a Gaussian's tanh averaged over x "
        "and M. A Gaussian's tanh turns bimodal where its variance passes 1/2: published as σ_W² = 1/2, "
        f"1/σ_W = √2; with the mean variance of the pre-activations 1/σ_W = {line.measured:.2f}; the exact "
        f"density is as high at ±1/2 as at 0 for 1/σ_W = {level_width():.2f}. Share of features within "
        f"±{MIDDLE:g}: "
        + "; ".join(f"{value(c)} (exact {c.expected:.4f}) at {c.name.split(' at ')[1]}" for c in checks)
        + "."
    )
    data = xr.Dataset(
        {
            "density": (("sigma_w", "feature"), mean),
            "density_err": (("sigma_w", "feature"), error),
            "exact": (("sigma_w", "feature"), np.stack([density(centres, 1 / w) for w in inverse])),
            "middle": (("sigma_w",), share_mean.values),
            "middle_err": (("sigma_w",), share_error.values),
            "middle_exact": (("sigma_w",), exact),
        },
        {"sigma_w": 1 / inverse, "feature": centres},
        {
            "jamming_published": line.published,
            "jamming_measured": line.measured,
            "level": level_width(),
        },
    )
    return Reproduction(figure, data, caption, checks)


def _share(sigma_w: float) -> float:
    """The exact share of features in the middle."""
    x = np.linspace(-MIDDLE, MIDDLE, 201)
    return float(np.trapezoid(density(x, sigma_w), x))


def _rise(sigma_w: float) -> float:
    """How far the density rises from the middle to the side."""
    side, middle = density(np.array([0.5, 0.0]), sigma_w)
    return float(side - middle)


def _measured_rise(each: np.ndarray, centres: np.ndarray) -> tuple[float, float]:
    """The same of a histogram, (members, bins), and its error over members."""
    side = np.abs(np.abs(centres) - 0.5) < 0.06
    middle = np.abs(centres) < 0.06
    rise = each[:, side].mean(axis=1) - each[:, middle].mean(axis=1)
    return float(rise.mean()), float(rise.std(ddof=1) / np.sqrt(len(rise)))


FEATURES = Recipe(
    "phase-feature-density",
    "arXiv 2509.01349 bimodality of tanh features",
    "Density of the features about the jamming line",
    lambda scale, progress: bimodality(ensemble(scale, progress)),
    {"quick": 8, "default": 20, "paper": 90},
)

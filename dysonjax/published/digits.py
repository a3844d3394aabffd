"""The linear scaling rule on real data: handwritten digits that scikit-learn ships. [A] 2.5.

Softmax classifiers of 8×8 images, trained by SGD with weight decay on 1797 digits. The loss is convex, so
that what SGD does at rest follows from the data (`analysis.minimum`), without a network or a fitted number.
"""

import flax.linen as nn
import numpy as np
import optax
import xarray as xr
from matplotlib.ticker import NullFormatter

from dysonjax import models
from dysonjax.analysis import minimum
from dysonjax.checks import InputError
from dysonjax.ensemble import Grid, Optimizer, train
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value

DECAY = 0.05
LR, BATCH_SIZES = (0.05, 0.1, 0.2), (4, 8, 16)
RELAXED = 8.0  # relaxation times of the slowest direction before the record
# scale: networks, learning rates, batch sizes
SCALES = {
    "test": (60, LR[2:], BATCH_SIZES[1:2]),
    "quick": (60, LR, BATCH_SIZES),
    "default": (250, LR, BATCH_SIZES),
    "paper": (1000, LR, BATCH_SIZES),
}


class Softmax(nn.Module):
    """One matrix, (64, 10)."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10, use_bias=False)(x)


def cross_entropy(outputs, batch):
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean()


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels between 0 and 1, (1797, 64), and labels; raises InputError without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(
            "the digits come with scikit-learn; install it with pip install 'dysonjax[digits]'"
        ) from None
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels


@trained_once
def measured(scale: str, progress=None) -> xr.Dataset:
    """Excess loss and largest singular value of every network at rest, with theory."""
    seeds, lr, sizes = SCALES[scale]
    x, y = digits()
    steps = int(RELAXED / (min(lr) * DECAY))
    model = models.wrap_flax(Softmax(), cross_entropy, (x, y))
    grid = Grid(lr=lr, batch_size=sizes, sigma_w=0.1, seeds=seeds)
    run = train(
        model, grid, steps, [steps], optimizer=Optimizer("sgd", DECAY), keep_weights="last", progress=progress
    ).dataset
    best = minimum.minimum(x, y, DECAY)
    name = next(name for name in run.data_vars if str(name).startswith("weights"))
    recorded = run[name].isel(sigma_w=0, drop=True)
    weights = recorded.transpose("lr", "batch_size", "seed", ...).values.astype(np.float64)
    levels = np.linalg.svd(weights, compute_uv=False)[..., 0]
    excess = np.array([[minimum.loss(point, x, y, DECAY) for point in row] for row in weights]) - best.loss
    distance = ((weights - best.weights) ** 2).sum(axis=(-2, -1))
    rows = [
        [
            (best.excess_loss(a, b), best.level_variance(a, b)[-1], np.trace(best.covariance(a, b)))
            for b in sizes
        ]
        for a in lr
    ]
    dims = ("lr", "batch_size")
    theory = np.array(rows)
    return xr.Dataset(
        {
            "excess_loss": ((*dims, "seed"), excess),
            "level": ((*dims, "seed"), levels),
            "distance": ((*dims, "seed"), distance),
            "distance_theory": (dims, theory[..., 2]),
            "excess_theory": (dims, theory[..., 0]),
            "level_variance_theory": (dims, theory[..., 1]),
            "temperature": (dims, np.divide.outer(np.array(lr), np.array(sizes))),
        },
        {"lr": list(lr), "batch_size": list(sizes)},
        {"minimum": best.loss, "noise": float(np.trace(best.noise)), "steps": steps, "seeds": seeds},
    )


def draw(data: xr.Dataset) -> Reproduction:
    """Excess loss and variance of the largest level over α/|B|, and their ratios to theory."""
    seeds = data.attrs["seeds"]
    excess, level = data["excess_loss"], data["level"]
    centred = (level - level.mean("seed")) ** 2 * seeds / (seeds - 1)
    panels = (
        (excess, data["excess_theory"], "excess of the loss", 0.25 * data.attrs["noise"]),
        (centred, data["level_variance_theory"], r"variance of the largest level $\xi$", None),
    )
    with style():
        figure, axes = new_figure(1, 3, width=PAGE, height=2.7)
        for k, (members, theory, label, slope) in enumerate(panels):
            mean, error = members.mean("seed"), members.std("seed", ddof=1) / np.sqrt(seeds)
            for j, size in enumerate(data["batch_size"].values):
                at = {"batch_size": size}
                t = data["temperature"].sel(at)
                axes[k].errorbar(t, mean.sel(at), error.sel(at), fmt="os^"[j % 3], mfc="none",
                                 color=CYCLE[j], label=f"$|B|={size}$")  # fmt: skip
                axes[k].plot(t, theory.sel(at), "_", color=BLACK, ms=9)
                axes[2].errorbar(t * 1.04 ** (k - 0.5), mean.sel(at) / theory.sel(at),
                                 error.sel(at) / theory.sel(at), fmt="os^"[j % 3],
                                 mfc="none" if k else None, color=CYCLE[j])  # fmt: skip
            if slope is None:
                slope = float((theory / data["temperature"]).isel(lr=0, batch_size=-1))
            line = np.geomspace(float(data["temperature"].min()), float(data["temperature"].max()), 20)
            axes[k].plot(line, slope * line, color=BLACK, lw=0.8)
            axes[k].set(xscale="log", yscale="log", xlabel=r"$\alpha/|B|$", ylabel=label)
        axes[0].legend(fontsize=7)
        axes[2].axhline(1, color=BLACK, lw=0.8)
        axes[2].set(xscale="log", xlabel=r"$\alpha/|B|$", ylabel="measured over theory", ylim=(0, 2))
        for axis in axes:
            axis.xaxis.set_minor_formatter(NullFormatter())
    checks = (
        _check("excess loss", excess, data["excess_theory"]),
        _check("|W − W*|²", data["distance"], data["distance_theory"]),
        _check("variance of the level", centred, data["level_variance_theory"], mistaken=np.nan),
    )
    caption = (
        f"Softmax classifiers of the 1797 digits of scikit-learn (8×8 pixels), SGD with decay {DECAY}, "
        f"batches with replacement, α = {', '.join(f'{a:g}' for a in data['lr'].values)}, |B| = "
        f"{', '.join(str(b) for b in data['batch_size'].values)}, {seeds} networks a point after "
        f"{data.attrs['steps']} steps. The minimum, its Hessian and the gradients' covariance C come from "
        "the data; dashes: covariance of the weights at rest, line: first order in α, for the loss (α/4|B|) "
        f"tr C with tr C = {data.attrs['noise']:.3f}. Right: ratios, full for the loss, open for the level. "
        + "; ".join(f"{check.name}: {value(check)}" for check in checks)
        + "."
    )
    return Reproduction(figure, data, caption, checks)


def _check(name: str, members: xr.DataArray, theory: xr.DataArray, mistaken: float = 2.0) -> Check:
    """Ratio to theory over all points, the networks of a seed as one; theory is of small fluctuations."""
    own = (members / theory).mean(("lr", "batch_size"))
    error = float(own.std("seed", ddof=1)) / np.sqrt(own.sizes["seed"])
    return Check(f"{name} over theory", float(own.mean()), error, 1.0, mistaken, systematic=0.05)


DIGITS = Recipe(
    "digits",
    "[A] 2.5 linear scaling rule, on real data",
    "Linear scaling of SGD on handwritten digits",
    lambda scale, progress: draw(measured(scale, progress)),
    {"quick": 12, "default": 20, "paper": 60},
)

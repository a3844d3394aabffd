"""Moments of features before training over width and depth, and what width does to learning. [C].

Multilayer perceptrons of the engine, [3, n, …, n, 1]; the recursions of `analysis.initialisation` know
nothing of it. The right panel trains them: with the standard scaling the features of wide networks learn
faster at one learning rate, with muP all learn alike.
"""

import jax
import numpy as np
import xarray as xr

from dysonjax import models, threefry
from dysonjax.analysis import initialisation
from dysonjax.ensemble import Grid, train_each
from dysonjax.figures.style import CYCLE, PAGE, new_figure, style
from dysonjax.published.recipe import Check, Recipe, Reproduction, value

INPUTS, LAYERS = 3, 6
SIGMA_W = {"tanh": 1.5, "relu": np.sqrt(2), "identity": 1.0}  # chaotic; critical for the other two
LR, STEPS, BATCH, BASE = 5e-4, 4, 16, 32  # α · width ≪ 1: the outputs hardly move
# scale: widths of the moments, networks, widths of training, networks
SCALES = {
    "test": ((32,), 600, (32, 128), 60),
    "quick": ((16, 32, 64), 1500, (32, 64, 128), 100),
    "default": ((16, 32, 64, 128), 4000, (32, 64, 128, 256), 200),
    "paper": ((16, 32, 64, 128), 20_000, (32, 64, 128, 256), 1000),
}
SCALINGS = ("standard", "mup")


@threefry.settled()
def preactivations(activation: str, width: int, networks: int) -> tuple[np.ndarray, np.ndarray]:
    """Second and fourth moment of z over neurons, for each network and layer, (networks, LAYERS) each.

    The input has |x|² = n_in. Each layer's matrix is that of the engine's model.
    """
    model = models.teacher_student((INPUTS, *[width] * LAYERS, 1), activation, "all", batches=1)
    phi = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu, "identity": lambda z: z}[activation]
    point = {"lr": 1.0, "sigma_w": SIGMA_W[activation]}

    def one(key):
        params = model.init(key, None, point).params
        below, found = jax.numpy.ones(INPUTS), []
        for layer in range(LAYERS):
            z = below @ params[f"w{layer + 1}"]
            found.append((jax.numpy.mean(z**2), jax.numpy.mean(z**4)))
            below = phi(z)
        return jax.numpy.array(found).T

    keys = jax.random.split(threefry.root(0), networks)
    many = np.asarray(jax.lax.map(one, keys, batch_size=50), np.float64)
    return many[:, 0], many[:, 1]


def variance_and_kurtosis(second: np.ndarray, fourth: np.ndarray) -> dict[str, np.ndarray]:
    """⟨z²⟩ and ⟨z⁴⟩/⟨z²⟩² − 3 with standard errors over networks, (LAYERS,) each."""
    mean, root = second.mean(axis=0), np.sqrt(len(second))
    ratio = fourth.mean(axis=0) / mean**2
    own = fourth / mean**2 - 2 * ratio * (second / mean - 1)  # the mean that divides is measured too
    return {
        "variance": mean, "variance_err": second.std(axis=0, ddof=1) / root,
        "kurtosis": ratio - 3, "kurtosis_err": own.std(axis=0, ddof=1) / root,
    }  # fmt: skip


def learned(widths, seeds: int, progress=None) -> xr.Dataset:
    """Change of the features in the first steps, dims (scaling, width), with errors over networks."""
    grid, found = Grid(lr=LR, batch_size=BATCH, sigma_w=1.0, seeds=seeds), []
    for scaling in SCALINGS:
        made = {
            width: models.teacher_student(
                (INPUTS, width, width, 1), "tanh", "all", batches=STEPS, scaling=scaling, base_width=BASE
            )
            for width in widths
        }
        data = train_each(made, grid, STEPS, [STEPS], progress=progress, x64=True)
        last = data.isel(batch_size=0, lr=0, sigma_w=0, record=-1)
        found.append(1 - last["feature_memory"])
    change = xr.concat(found, xr.Variable("scaling", list(SCALINGS)))
    return xr.Dataset({"change": change.mean("seed"),
                       "change_err": change.std("seed", ddof=1) / np.sqrt(seeds)})  # fmt: skip


def width_depth(scale: str, progress=None) -> Reproduction:
    """Variance and kurtosis of pre-activations over depth, kurtosis over width, learning over width."""
    widths, networks, trained, seeds = SCALES[scale]
    data = xr.concat(
        [
            xr.concat(
                [
                    xr.Dataset({k: ("layer", v) for k, v in found.items()})
                    for found in (
                        variance_and_kurtosis(*preactivations(name, width, networks)) for width in widths
                    )
                ],
                xr.Variable("width", list(widths)),
            )
            for name in SIGMA_W
        ],
        xr.Variable("activation", list(SIGMA_W)),
    ).assign_coords(layer=np.arange(1, LAYERS + 1))
    lines = {name: initialisation.moments(name, SIGMA_W[name], LAYERS) for name in SIGMA_W}
    data["variance_theory"] = (("activation", "layer"), np.stack([lines[n].variance for n in SIGMA_W]))
    data["fluctuation_theory"] = (("activation", "layer"), np.stack([lines[n].fluctuation for n in SIGMA_W]))
    growth = learned(trained, seeds, progress)
    figure = _figure(data, growth, lines)
    checks = _checks(data, growth, lines)
    caption = (
        f"Networks [{INPUTS}, n × {LAYERS}, 1] before training, σ_W = "
        + ", ".join(f"{s:.3g} ({name})" for name, s in SIGMA_W.items())
        + f", one input, {networks} networks a width. Left: variance of pre-activations at n = "
        f"{widths[-1]}; middle: excess kurtosis of the last layer over 1/n; lines: recursion of infinite "
        "width and its first correction, for relu and identity the exact product (dashed). Right: 1 − cosine "
        f"of the features with the first ones after {STEPS} steps, α = {LR}, [{INPUTS}, n, n, 1], "
        f"{seeds} networks. "
        + "; ".join(f"{check.name}: {value(check)}" for check in checks) + "."
    )  # fmt: skip
    merged = data.merge(growth.rename(width="trained_width"))
    return Reproduction(figure, merged, caption, checks)


def _figure(data: xr.Dataset, growth: xr.Dataset, lines):
    with style():
        figure, axes = new_figure(1, 3, width=PAGE, height=2.7)
        for k, (name, line) in enumerate(lines.items()):
            at, colour = data.sel(activation=name), CYCLE[k]
            wide = at.isel(width=-1)
            axes[0].errorbar(wide["layer"], wide["variance"], wide["variance_err"], fmt="o", mfc="none",
                             color=colour, label=name)  # fmt: skip
            axes[0].plot(data["layer"], line.variance, color=colour, lw=0.9)
            last = at.isel(layer=-1)
            axes[1].errorbar(1 / at["width"], last["kurtosis"], last["kurtosis_err"], fmt="o", mfc="none",
                             color=colour)  # fmt: skip
            n = 1 / np.linspace(1e-3, 1.05 / float(at["width"].min()), 60)
            axes[1].plot(1 / n, [line.kurtosis(w)[-1] for w in n], color=colour, lw=0.9)
            if name in initialisation.MULTIPLIES:
                exact = [initialisation.exact_kurtosis(name, w, LAYERS)[-1] for w in n]
                axes[1].plot(1 / n, exact, color=colour, lw=0.9, ls="--")
        axes[0].set(xlabel="layer", ylabel=r"variance $\langle z^2\rangle$", ylim=(0, None))
        axes[0].legend(fontsize=7)
        axes[1].set(xlabel="1/width", ylabel="excess kurtosis, last layer", xlim=(0, None), ylim=(0, None))
        for scaling, colour in zip(SCALINGS, (CYCLE[0], CYCLE[1]), strict=True):
            at = growth.sel(scaling=scaling)
            axes[2].errorbar(at["width"], at["change"], at["change_err"], fmt="o-", ms=4, color=colour,
                             label={"mup": "muP"}.get(scaling, scaling))  # fmt: skip
        axes[2].set(xscale="log", yscale="log", xlabel="width", ylabel="change of features")
        axes[2].set_xticks(growth["width"].values, [str(width) for width in growth["width"].values])
        axes[2].minorticks_off()
        axes[2].legend()
    return figure


def _checks(data: xr.Dataset, growth: xr.Dataset, lines) -> tuple[Check, ...]:
    """The last layer of the widest networks beside theory; the powers of width in learning."""
    checks, wide = [], data.isel(width=-1, layer=-1)
    width = float(data["width"][-1])
    for name, line in lines.items():
        at = wide.sel(activation=name)
        checks.append(
            Check(f"variance, last layer, {name}", float(at["variance"]), float(at["variance_err"]),
                  float(line.variance[-1]), 2 * float(line.variance[-1]), "twice the variance",
                  systematic=(0.5 / width if name == "tanh" else 0.0) * float(line.variance[-1]))
        )  # fmt: skip
        exact = name in initialisation.MULTIPLIES
        first = float(line.kurtosis(width)[-1])
        theory = float(initialisation.exact_kurtosis(name, int(width), LAYERS)[-1]) if exact else first
        checks.append(
            Check(f"kurtosis, last layer, {name}", float(at["kurtosis"]), float(at["kurtosis_err"]), theory,
                  0.0 if name != "tanh" else np.nan, "Gaussian features",
                  systematic=0.0 if exact else 0.3 * first)
        )  # fmt: skip
    x = np.log(growth["width"].values)
    lever = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    for scaling in SCALINGS:
        at = growth.sel(scaling=scaling)
        power = float(np.log(at["change"].values) @ lever)
        error = float(np.sqrt(np.sum((at["change_err"] / at["change"]).values ** 2 * lever**2)))
        checks.append(
            Check(f"power of width in the change of features, {scaling}", power, error,
                  *((1.0, 0.0) if scaling == "standard" else (0.0, 1.0)), "the other scaling",
                  systematic=0.15)
        )  # fmt: skip
    return tuple(checks)


WIDTH_DEPTH = Recipe(
    "width-depth",
    "[C] moments at initialisation over width and depth",
    "Moments of features before training, and learning over width",
    width_depth,
    {"quick": 60, "default": 600, "paper": 4000},
)

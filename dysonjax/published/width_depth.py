"""Moments of weights and features before training over width and depth, and what width does to learning. [C].

Multilayer perceptrons of the engine, [3, n, …, n, 1]; the recursions of `analysis.initialisation` know
nothing of it. The last panel trains them: with the standard scaling the features of wide networks learn
faster at one learning rate, with muP wide ones all learn alike.
"""

import dataclasses

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
LR, STEPS, BATCH, BASE = 1e-5, 4, 16, 32  # α · width ≪ 1: the outputs hardly move
LEFT_OUT = 6.0  # terms of relative order LEFT_OUT/n may be missing in the law of learning
# scale: widths of the moments, networks, widths of training, networks
SCALES = {
    "test": ((48,), 600, (16, 64), 60),
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


@threefry.settled()
def weight_moments(width: int, scaling: str, networks: int) -> tuple[np.ndarray, np.ndarray]:
    """⟨tr X^k⟩/n of the middle matrix, k = 1, 2, 3, and n ⟨w²⟩ of the last: means and errors, (4,) each."""
    model = models.teacher_student(
        (INPUTS, width, width, 1), "tanh", "all", batches=1, scaling=scaling, base_width=BASE
    )

    one = jax.numpy.ones(())

    def moments(key):
        params = model.init(key, None, {"lr": one, "sigma_w": one}).params
        x = params["w2"].T @ params["w2"]
        square = x @ x
        traces = (jax.numpy.trace(x), jax.numpy.trace(square), jax.numpy.sum(square * x))
        return jax.numpy.array([*(t / width for t in traces), width * jax.numpy.mean(params["w3"] ** 2)])

    keys = jax.random.split(threefry.root(2), networks)
    many = np.asarray(jax.lax.map(moments, keys, batch_size=50), np.float64)
    return many.mean(axis=0), many.std(axis=0, ddof=1) / np.sqrt(networks)


def learned(widths, seeds: int, progress=None) -> xr.Dataset:
    """Change of the features in the first steps, dims (scaling, width), with errors over networks."""
    grid, found = Grid(lr=LR, batch_size=BATCH, sigma_w=1.0, seeds=seeds), []
    for scaling in SCALINGS:
        made = {
            width: _remembering(
                models.teacher_student(
                    (INPUTS, width, width, 1), "tanh", "all", batches=STEPS, scaling=scaling, base_width=BASE
                )
            )
            for width in widths
        }
        data = train_each(made, grid, STEPS, [STEPS], progress=progress, x64=True)
        last = data.isel(batch_size=0, lr=0, sigma_w=0, record=-1)
        found.append(1 - last["feature_memory"])
    change = xr.concat(found, xr.Variable("scaling", list(SCALINGS)))
    return xr.Dataset({"change": change.mean("seed"),
                       "change_err": change.std("seed", ddof=1) / np.sqrt(seeds)})  # fmt: skip


def _remembering(model: models.Model) -> models.Model:
    """The model, of whose observables the memory of its features alone is recorded."""

    def observe(*arguments):
        return {"feature_memory": model.observe(*arguments)["feature_memory"]}

    return dataclasses.replace(model, observe=observe)


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
    drawn = max(networks, 2000)
    weights = [[weight_moments(w, scaling, drawn) for w in widths] for scaling in SCALINGS]
    for suffix, index in (("", 0), ("_err", 1)):
        found = np.array([[one[index] for one in row] for row in weights])
        data[f"level_moments{suffix}"] = (("scaling", "width", "power"), found[..., :3])
        data[f"readout{suffix}"] = (("scaling", "width"), found[..., 3])
    data = data.assign_coords(scaling=list(SCALINGS), power=[1, 2, 3])
    figure = _figure(data, growth, lines)
    checks = _checks(data, growth, lines)
    caption = (
        f"Networks [{INPUTS}, n × {LAYERS}, 1] before training, σ_W = "
        + ", ".join(f"{s:.3g} ({name})" for name, s in SIGMA_W.items())
        + f", one input, {networks} networks a width. Top: variance of pre-activations at n = "
        f"{widths[-1]}; excess kurtosis of the last layer over 1/n; lines: recursion of infinite "
        "width and its first correction, for relu and identity the exact product (dashed). Bottom left: "
        "moments of the levels of an n×n matrix over their limits 1, 2, 5, lines exact. "
        f"Bottom right: 1 − cosine of the features with the first ones after "
        f"{STEPS} steps, α = {LR}, [{INPUTS}, n, n, 1], {seeds} networks, over that at n = {trained[0]}; "
        f"lines: n + {initialisation.first_matrix():.1f} and 1 + {BASE}/n, since the output at the start "
        "adds to the error; terms of order 1/n are left out. "
        + "; ".join(f"{check.name}: {value(check)}" for check in checks) + "."
    )  # fmt: skip
    merged = data.merge(growth.rename(width="trained_width"))
    return Reproduction(figure, merged, caption, checks)


def _figure(data: xr.Dataset, growth: xr.Dataset, lines):
    with style():
        figure, grid = new_figure(2, 2, width=PAGE, height=5.2)
        axes = grid.ravel()
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
            first = float(at["change"][0])
            axes[3].errorbar(at["width"], at["change"] / first, at["change_err"] / first, fmt="o", ms=4,
                             color=colour, label={"mup": "muP"}.get(scaling, scaling))  # fmt: skip
            widths = growth["width"].values
            along = np.geomspace(widths[0], widths[-1], 50)
            law = initialisation.learning(along, scaling, BASE)
            axes[3].plot(along, law / law[0], color=colour, lw=0.9)
        limits = initialisation.level_moments(10**9)
        for k in range(3):
            here = data.isel(power=k, scaling=0)
            axes[2].errorbar(1 / here["width"], here["level_moments"] / limits[k],
                             here["level_moments_err"] / limits[k], fmt="o", ms=4, mfc="none",
                             color=CYCLE[k + 2],
                             label=rf"$\langle x^{k + 1}\rangle$ over its limit")  # fmt: skip
            exact = [initialisation.level_moments(w)[k] / limits[k] for w in n]
            axes[2].plot(1 / n, exact, color=CYCLE[k + 2], lw=0.9)
        axes[2].set(xlabel="1/width", ylabel="moments of weights", xlim=(0, None))
        axes[2].legend(fontsize=7)
        axes[3].set(xscale="log", yscale="log", xlabel="width", ylabel="change of features, relative")
        axes[3].set_xticks(growth["width"].values, [str(width) for width in growth["width"].values])
        axes[3].set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
        axes[3].minorticks_off()
        axes[3].legend()
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
        known = name in initialisation.MULTIPLIES
        first = float(line.kurtosis(width)[-1])
        theory = float(initialisation.exact_kurtosis(name, int(width), LAYERS)[-1]) if known else first
        checks.append(
            Check(f"kurtosis, last layer, {name}", float(at["kurtosis"]), float(at["kurtosis_err"]), theory,
                  0.0 if name != "tanh" else np.nan, "Gaussian features",
                  systematic=0.0 if known else 0.3 * first)
        )  # fmt: skip
    small = data.isel(width=0)
    exact = initialisation.level_moments(int(small["width"]))
    for k in (1, 2):
        at = small.isel(scaling=0, power=k)
        checks.append(
            Check(f"⟨x^{k + 1}⟩ of the levels, n = {int(small['width'])}", float(at["level_moments"]),
                  float(at["level_moments_err"]), exact[k], float(initialisation.level_moments(10**9)[k]),
                  "infinite width")
        )  # fmt: skip
    at = data.sel(scaling="mup").isel(width=-1)
    checks.append(
        Check(f"n var(w₃) of muP, n = {int(width)}", float(at["readout"]), float(at["readout_err"]),
              BASE / width, 1.0, "the standard scaling")
    )  # fmt: skip
    x = np.log(growth["width"].values)
    lever = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    for scaling in SCALINGS:
        at = growth.sel(scaling=scaling)
        power = float(np.log(at["change"].values) @ lever)
        right, wrong = (
            float(np.log(initialisation.learning(growth["width"].values, one, BASE)) @ lever)
            for one in (scaling, *(other for other in SCALINGS if other != scaling))
        )
        error = float(np.sqrt(np.sum((at["change_err"] / at["change"]).values ** 2 * lever**2)))
        checks.append(
            Check(f"power of width in the change of features, {scaling}", power, error, right, wrong,
                  "the other scaling",
                  systematic=abs(float(np.log1p(LEFT_OUT / growth["width"].values) @ lever)))
        )  # fmt: skip
    return tuple(checks)


WIDTH_DEPTH = Recipe(
    "width-depth",
    "[C] moments at initialisation over width and depth",
    "Moments of features before training, and learning over width",
    width_depth,
    {"quick": 60, "default": 600, "paper": 4000},
)

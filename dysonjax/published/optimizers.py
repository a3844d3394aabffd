"""Dyson motion under optimisers beyond SGD: measured drift and noise, and the temperature of each. [A] 2.3.

[A] to [C] have plain gradient steps; what momentum, Adam and Muon do instead is derived in
`analysis.optimizers`, without a fitted number, and measured here on the linear network.
"""

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import optimizers
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, new_figure, style
from dysonjax.published.recipe import Check, Recipe, Reproduction, later, trained_once

EPSILON, VALUE = 1.0, 2.0  # noise of one sample, singular values of the teacher
BATCH_SIZES = (1, 4, 16)
LR = {  # all with rates Ω of 1e-4 to 4e-3 a step
    "sgd": (5e-4, 1e-3, 2e-3),
    "momentum": (5e-5, 1e-4, 2e-4),
    "adam": (5e-4, 7e-4, 1e-3),
    "adamw": (5e-4, 7e-4, 1e-3),
    "muon": (0.8e-4, 1.1e-4, 1.6e-4),
}
LABELS = {"sgd": "SGD", "momentum": "momentum", "adam": "Adam", "adamw": "AdamW", "muon": "Muon"}
COLOURS = dict(zip(LR, (BLUE, RED, GREEN, ORANGE, PURPLE), strict=True))
MARKS = dict(zip(LR, "os^vD", strict=True))
# Steps between records: several memories of the optimiser, and less than 1/Ω
INTERVAL = {name: 80 if name == "muon" else 40 for name in LR}
RELAXED = 9.0  # relaxation times before the first record
# scale: networks a point, records, optimisers, number of learning rates
SCALES = {
    "test": (200, 41, ("momentum", "adam"), 1),
    "quick": (400, 101, tuple(LR), 3),
    "default": (1500, 201, tuple(LR), 3),
    "paper": (5000, 401, tuple(LR), 3),
}
QUANTITIES = ("rate", "g2", "centre_g2", "mean_spacing")


@trained_once
def measured(scale: str, progress=None) -> xr.Dataset:
    """Drift, noise and spacing of all ensembles, dims (optimizer, batch_size, lr), with errors and theory."""
    seeds, records, names, rates = SCALES[scale]
    plan = {name: _grid(name, seeds, records, LR[name][-rates:]) for name in names}
    total = sum(grid.members * steps[-1] for grid, steps in plan.values())
    found, before = [], 0
    for name, (grid, steps) in plan.items():
        model = models.linear("identity", values=(VALUE, VALUE), epsilon=EPSILON)
        run = train(
            model, grid, steps[-1], steps, optimizer=name, progress=later(progress, before, total)
        ).dataset
        before += grid.members * steps[-1]
        found.append(_analysed(name, grid, run))
    return xr.concat(found, xr.Variable("optimizer", list(names)))


def _grid(name: str, seeds: int, records: int, lr) -> tuple[Grid, tuple[int, ...]]:
    grid = Grid(lr=lr, batch_size=BATCH_SIZES, sigma_w=0.1, seeds=seeds)
    rate = optimizers.motion(name, EPSILON, min(lr), min(BATCH_SIZES)).rate.min()
    first = int(RELAXED / rate)
    return grid, tuple(range(first, first + records * INTERVAL[name], INTERVAL[name]))


def _analysed(name: str, grid: Grid, run: xr.Dataset) -> xr.Dataset:
    recorded = run["eigenvalues"].isel(sigma_w=0)
    levels = recorded.transpose("batch_size", "lr", "seed", "record", "mode") ** 0.5
    steps = run["record"].values.astype(np.float64)
    theory = optimizers.motion(name, EPSILON, np.array(grid.lr), np.array(grid.batch_size)[:, None])
    values = np.array(
        [
            [
                optimizers.measure(levels.values[b, rank], steps, theory.beta[b, rank])
                for rank in range(len(grid.lr))
            ]
            for b in range(len(grid.batch_size))
        ]
    )  # (batch_size, lr, quantity, 2)
    centre = levels.mean("mode").mean("record")
    dims = ("batch_size", "rank")
    lines = (theory.rate[..., 0], theory.level_g2, theory.g2[..., 0], theory.mean_spacing)
    variables = {
        "shift": (dims, (centre.mean("seed") / VALUE - 1).values),
        "shift_err": (dims, (centre.std("seed", ddof=1) / VALUE / np.sqrt(grid.seeds)).values),
        "shift_theory": (dims, theory.shift),
        "lr": ("rank", np.array(grid.lr)),
        "temperature": (dims, optimizers.temperature(name, EPSILON, np.array(grid.lr),
                                                     np.array(grid.batch_size)[:, None])),
    }  # fmt: skip
    for place, (quantity, line) in enumerate(zip(QUANTITIES, lines, strict=True)):
        variables[quantity] = (dims, values[..., place, 0])
        variables[f"{quantity}_err"] = (dims, values[..., place, 1])
        variables[f"{quantity}_theory"] = (dims, line)
    return xr.Dataset(variables, {"batch_size": list(grid.batch_size)}, {"seeds": grid.seeds})


def draw(data: xr.Dataset) -> Reproduction:
    """Rate and noise over |B|; mean spacing over α/|B| and over the temperature of each optimiser."""
    with style():
        figure, axes = new_figure(2, 2, height=5.6)
        for name in data["optimizer"].values:
            at, look = data.sel(optimizer=name), {"color": COLOURS[name], "ms": 4, "mfc": "none"}
            size = at["batch_size"].values
            for axis, quantity, power in ((axes[0, 0], "rate", 1), (axes[0, 1], "g2", 2)):
                for rank in at["rank"].values:
                    one = at.isel(rank=rank)
                    unit = float(one["lr"]) ** power
                    axis.errorbar(
                        size * 1.08 ** (rank - 1), one[quantity] / unit, one[f"{quantity}_err"] / unit,
                        fmt=MARKS[name], label=LABELS[name] if not rank else None, **look,
                    )  # fmt: skip
                axis.plot(size, one[f"{quantity}_theory"] / unit, color=COLOURS[name], lw=0.9)
            plain = (at["lr"] / at["batch_size"]).transpose("batch_size", "rank")
            for axis, x in ((axes[1, 0], plain), (axes[1, 1], at["temperature"])):
                axis.errorbar(
                    x.values.ravel(), at["mean_spacing"].values.ravel(),
                    at["mean_spacing_err"].values.ravel(), fmt=MARKS[name], **look,
                )  # fmt: skip
        for axis, ylabel in (
            (axes[0, 0], r"rate $\Omega_t$ of the centre, over $\alpha$"),
            (axes[0, 1], r"noise $g^2$ of a level, over $\alpha^2$"),
        ):
            axis.set(xscale="log", yscale="log", xlabel="$|B|$", ylabel=ylabel, xticks=BATCH_SIZES)
            axis.set_xticks(BATCH_SIZES, [str(size) for size in BATCH_SIZES])
            axis.minorticks_off()
        axes[0, 0].set_ylim(0.5, 60)
        axes[0, 0].legend(ncols=2, fontsize=7)
        for axis, xlabel in (
            (axes[1, 0], r"$\alpha/|B|$"),
            (axes[1, 1], "temperature of the optimiser"),
        ):
            axis.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=r"mean spacing $\langle S\rangle$")
            ends = np.array([3e-6, 5e-3])
            axis.plot(
                ends,
                EPSILON * np.sqrt(np.pi * ends),
                color=BLACK,
                lw=0.8,
                zorder=0,
                label=r"$\sqrt{\pi T}\epsilon$",
            )
        axes[1, 1].legend()
    checks = _checks(data)
    return Reproduction(figure, data, _caption(data, checks), checks)


def _checks(data: xr.Dataset) -> tuple[Check, ...]:
    """Ratios to the theory of each optimiser, over all its points; how drift and noise depend on |B|."""
    checks = []
    for name in data["optimizer"].values:
        at = data.sel(optimizer=name)
        for quantity, what, mistaken in (
            ("rate", "Ω", np.nan),
            ("g2", "g²", 2.0),
            ("mean_spacing", "⟨S⟩", np.sqrt(2)),
        ):
            ratio, error = _ratio(at, quantity)
            checks.append(
                Check(f"{what} over theory, {LABELS[name]}", ratio, error, 1.0, mistaken, systematic=0.01)
            )
        # The power of |B| alone: theory is exact in it, and Adam and Muon have other ones than SGD.
        own = name in ("adam", "adamw", "muon")
        for quantity, what, powers in (("rate", "Ω", (0.0, 0.5)), ("g2", "g²", (-1.0, 0.0))):
            power, error = _power(at, quantity)
            checks.append(
                Check(f"power of |B| in {what}, {LABELS[name]}", power, error, powers[own], powers[not own],
                      "the power of the other kind of optimiser", systematic=0.01)
            )  # fmt: skip
    return tuple(checks)


def _ratio(at: xr.Dataset, quantity: str) -> tuple[float, float]:
    """Of measured to theory over all points; they share random numbers, so that errors do not average."""
    ratio, error = at[quantity] / at[f"{quantity}_theory"], at[f"{quantity}_err"] / at[f"{quantity}_theory"]
    weights = 1 / error**2
    return float((ratio * weights).sum() / weights.sum()), float(
        np.sqrt((error**2 * weights).sum() / weights.sum())
    )


def _power(at: xr.Dataset, quantity: str) -> tuple[float, float]:
    """Exponent of |B| in a quantity, the mean over learning rates; AdamW is freed of its weight decay."""
    value = at[quantity]
    if quantity == "rate" and at["optimizer"] == "adamw":
        value = value - optimizers.Optimizer("adamw").weight_decay * at["lr"]
    y, x = np.log(value.transpose("rank", "batch_size").values), np.log(at["batch_size"].values)
    error = (at[f"{quantity}_err"] / value).transpose("rank", "batch_size").values
    lever = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return float((y @ lever).mean()), float(np.sqrt((error**2 @ lever**2).mean()))


def _caption(data: xr.Dataset, checks) -> str:
    by_name = {check.name: check for check in checks}
    parts = []
    for name in data["optimizer"].values:
        label = LABELS[name]
        numbers = [
            f"{what} {c.measured:.3f} ± {c.error:.3f}"
            for what, c in ((w, by_name[f"{w} over theory, {label}"]) for w in ("Ω", "g²", "⟨S⟩"))
        ]
        powers = [by_name[f"power of |B| in {w}, {label}"] for w in ("Ω", "g²")]
        parts.append(
            f"{label}: {', '.join(numbers)}, Ω ~ |B|^{powers[0].measured:.3f}, "
            f"g² ~ |B|^{powers[1].measured:.3f}"
        )
    return (
        f"Linear network of 2×2 at rest near its teacher {VALUE:g}·1, gradient noise ε = {EPSILON:g}, |B| = "
        f"{', '.join(map(str, BATCH_SIZES))}, {data.attrs['seeds']} networks a point. Top: rate Ω at which "
        "the centre of the two levels returns and noise g² of a level, measured from their increments over "
        "40 and 80 steps (80 and 160 for Muon, whose memory is longer). Bottom: mean spacing over α/|B|, on "
        "which SGD alone has the line, and over the temperature of each optimiser: α/|B|, α/((1−μ)|B|) with "
        "momentum, ∝ α/√|B| with Adam and Muon. Lines: theory without a fitted number. Measured over theory: "
        + "; ".join(parts)
        + "."
    )


OPTIMIZERS = Recipe(
    "optimizers",
    "[A] 2.3, for optimisers beyond SGD",
    "Drift, noise and temperature of momentum, Adam and Muon",
    lambda scale, progress: draw(measured(scale, progress)),
    {"quick": 60, "default": 140, "paper": 900},
)

"""The loss as the energy of a disordered system, during training in the three phases. [C]."""

import numpy as np
import xarray as xr
from matplotlib.ticker import FuncFormatter

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.ensemble import Grid, train
from dysonjax.figures.phase_diagram import steps_label
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.published import phase_dynamics
from dysonjax.published.phase_dynamics import BATCH, Corner, corners, described, where
from dysonjax.published.recipe import Check, Recipe, Reproduction, later, trained_once, value

# With all layers learned losses beyond 100 come earlier, so that the corners lie further inside.
FREE = {
    "converged": Corner("little disorder", 8.0, 1 / 32),
    "jammed": Corner("much disorder", 1 / 8, 1 / 32),
    "divergent": Corner("hot", 8.0, 1 / 2),
}
# scale: networks, steps. (With the middle layer learned: those of `phase_dynamics`.)
ALL = {"test": (8, 1_000), "quick": (16, 20_000), "default": (50, 200_000), "paper": (100, 2_000_000)}
RECORDS = 9
ENERGIES = {"coupling_energy": r"$\frac{1}{2}J\phi\phi$", "field_energy": r"$-h\phi$", "loss": r"loss"}
STRENGTHS = {"coupling": "$J_{ij}$", "field": r"$h_j$", "local_field": r"$(J\phi-h)_j$"}


@trained_once
def ensembles(scale: str, progress=None) -> tuple[xr.Dataset, xr.Dataset]:
    """Networks at the corners with their weights at all records: middle layer learned, all learned."""
    seeds, steps, _ = phase_dynamics.SIZES[scale]
    work, more = 4 * seeds * steps, 4 * ALL[scale][0] * ALL[scale][1]
    middle = phase_dynamics.ensemble(scale, progress and (lambda done, _: progress(done, work + more)))
    seeds, steps = ALL[scale]
    grid = Grid(
        lr=sorted({BATCH * c.temperature for c in FREE.values()}), batch_size=BATCH,
        sigma_w=sorted({1 / c.inverse_sigma_w for c in FREE.values()}), seeds=seeds,
    )  # fmt: skip
    taken = sorted({0, *np.geomspace(1, steps, RECORDS - 1).astype(int).tolist()})
    all_layers = train(
        models.teacher_student(train="all"), grid, steps, taken, keep_weights="all",
        progress=later(progress, work, work + more),
    )  # fmt: skip
    return middle, all_layers.dataset


def draw(runs: tuple[xr.Dataset, xr.Dataset]) -> Reproduction:
    """Energies with the middle layer learned; couplings, fields and forces with all learned."""
    middle = {name: _averages(at) for name, at in corners(runs[0]).items()}
    free = {
        name: _averages(runs[1].sel(lr=[BATCH * c.temperature], sigma_w=[1 / c.inverse_sigma_w]))
        for name, c in FREE.items()
    }
    with style():
        figure, axes = new_figure(2, 3, width=PAGE, height=4.6)
        for k, name in enumerate(middle):
            for row, (found, lines) in enumerate(((middle[name], ENERGIES), (free[name], STRENGTHS))):
                axis = axes[row, k]
                for j, (key, label) in enumerate(lines.items()):
                    drawn = key if row else f"{key}_share"
                    scale = float(found[key].isel(record=0)) if row else 1.0
                    axis.errorbar(
                        found["record"] + 1, found[drawn] / scale, found[f"{drawn}_err"] / scale, fmt="o-",
                        ms=2.5, lw=0.9, color=CYCLE[j], label=label,
                    )  # fmt: skip
                axis.set(xscale="log", xlabel="step + 1" if row else None)
                axis.xaxis.set_major_formatter(FuncFormatter(steps_label))
                if row:
                    axis.set_yscale("log")
                    c = FREE[name]
                    axis.set_title(f"{c.name}: {c.inverse_sigma_w:g}, {c.temperature:.3g}", fontsize=8)
                else:
                    axis.axhline(0.5, color=BLACK, lw=0.6, ls=":")
                    axis.axhline(-1, color=BLACK, lw=0.6, ls=":")
                    axis.set_yscale("symlog", linthresh=1)
                    axis.set_title(name)
        axes[0, 0].set_ylabel(r"energy over $\langle y^2\rangle$, $W$ learned")
        axes[1, 0].set_ylabel("rms over that at the start, all learned")
        axes[0, 1].legend(fontsize=7, loc=(0.05, 0.48))
        axes[1, 0].legend(fontsize=7)
    checks = _checks(middle)
    texts = []
    for name, at in corners(runs[0]).items():
        last, other = middle[name].isel(record=-1), free[name].isel(record=-1)
        start = free[name].isel(record=0)
        grown = {key: float(other[key] / start[key]) for key in STRENGTHS}
        corner = FREE[name]
        texts.append(
            f"{name}, {where(at)}: ½Jφφ {_number(last, 'coupling_energy')}, −hφ "
            f"{_number(last, 'field_energy')}, loss {_number(last, 'loss')} of ⟨y²⟩; with all "
            f"layers learned, 1/σ_W = {corner.inverse_sigma_w:g}, T = {corner.temperature:g}, J grows by "
            f"{grown['coupling']:.3g}, h by {grown['field']:.3g}, the force by {grown['local_field']:.3g}"
        )
    caption = (
        f"{described(runs[0])}. Top: loss = ½Jφφ − hφ + ½⟨y²⟩ on fresh inputs; dotted: where ŷ = y. Bottom: "
        f"root mean squares of couplings, fields and forces where all layers are learned (1/σ_W, T), "
        f"{int(runs[1]['record'][-1])} steps, {runs[1].sizes['seed']} networks. {'; '.join(texts)}. "
        + "; ".join(f"{check.name}: {value(check)}" for check in checks)
        + "."
    )
    data = xr.Dataset(
        {
            f"{name}_{what}_{key}": (f"step_{what}", found[name][key].values)
            for what, found in (("middle", middle), ("all", free))
            for name in found
            for key in found[name].data_vars
        },
        {"step_middle": runs[0]["record"].values, "step_all": runs[1]["record"].values},
    )
    return Reproduction(figure, data, caption, checks)


def _averages(at: xr.Dataset) -> xr.Dataset:
    """Means over the members that are alive, with errors; `identity`: the sum of energies over the loss."""
    found = phase.disorder(at)
    found["loss"] = found["coupling_energy"] + found["field_energy"] + found["target_energy"]
    found["identity"] = 2 * found["loss"] / at["test_loss"]
    target = found["target_energy"].mean("seed")
    # An energy over ⟨y²⟩, with the error of the ratio of two means.
    for name in ENERGIES:
        mean = found[name].mean("seed") / target
        own = (found[name] - mean * (found["target_energy"] - target)) / target
        found[f"{name}_share"] = own / 2
    result = {}
    for key, values in found.where(at["alive"]).items():
        result[str(key)], result[f"{key}_err"] = phase.mean_of_members(values)
    return xr.Dataset(result).squeeze(("batch_size", "lr", "sigma_w"), drop=True)


def _checks(middle: dict[str, xr.Dataset]) -> tuple[Check, ...]:
    """Energies add up to the loss that the run recorded itself; learned features have those of the target."""
    last, start = middle["converged"].isel(record=-1), middle["jammed"].isel(record=0)
    learned = [
        Check(f"{what}, converged", unit * float(last[name]), abs(unit) * float(last[f"{name}_err"]),
              1.0, 0.0, "features without target", systematic=0.05)
        for what, name, unit in (("½Jφφ over ½⟨y²⟩", "coupling_energy_share", 2),
                                 ("hφ over ⟨y²⟩", "field_energy_share", -1))
    ]  # fmt: skip
    return (
        Check("sum of energies over the recorded loss", float(start["identity"]),
              float(start["identity_err"]), 1.0, 0.5, "J counted once", systematic=1e-4),
        *learned,
    )  # fmt: skip


def _number(last: xr.Dataset, name: str) -> str:
    return f"{float(last[f'{name}_share']):.3g} ± {float(last[f'{name}_share_err']):.1g}"


COUPLINGS = Recipe(
    "phase-couplings",
    "[C] neural network as a disordered system",
    "Couplings, fields and energies of the features in the three phases",
    lambda scale, progress: draw(ensembles(scale, progress)),
    {"quick": 15, "default": 60, "paper": 8_000},
)

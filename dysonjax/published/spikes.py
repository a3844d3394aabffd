"""Spikes that leave the bulk as a linear network learns: outliers, overlaps, trainability. arXiv 2606.28486.

The article's own parameters are not known to us; every line is the law of large matrices without a free
parameter (`analysis.spikes_theory`), on grids that were fixed before they were run.
"""

import json

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import spikes
from dysonjax.ensemble import Grid, train
from dysonjax.figures.spikes import law as draw_law
from dysonjax.figures.spikes import spikes as draw_spikes
from dysonjax.published.recipe import Check, Progress, Recipe, Reproduction, trained_once
from dysonjax.spectra import spiked

# The diagram of `dysonjax spikes`; scale: seeds, number of learning rates and of widths
DIAGRAM = {"test": (8, 3, 2), "quick": (4, 12, 4), "default": (8, 12, 8), "paper": (32, 12, 8)}
STEPS, EPSILON = 200, 0.25
# The law, at three sizes: strengths, widths and learning rates; scale: seeds
LAW = {"s": (1.0, 2.0, 4.0), "sigma_w": (0.5, 1.0, 2.0), "lr": (0.05, 0.1, 0.2)}
SIZES = ((64, 16), (128, 32), (256, 64))
SEEDS = {"test": 4, "quick": 16, "default": 64, "paper": 256}
LAW_STEPS, LAW_RECORDS = 40, 21
NAMES = {"position": "position", "overlap_right": "right overlap", "overlap_left": "left overlap"}


@trained_once
def diagram_run(scale: str, progress: Progress | None = None) -> xr.Dataset:
    seeds, rates, widths = DIAGRAM[scale]
    lr = 2.0 ** np.linspace(-11, 0, 12)
    sigma_w = 2.0 ** np.arange(-3, 5)
    lr, sigma_w = lr[:: 12 // rates], sigma_w[:: 8 // widths]
    grid = Grid(lr=lr.tolist(), batch_size=1, sigma_w=sigma_w.tolist(), seeds=seeds)
    model = models.spiked_teacher(epsilon=EPSILON)
    steps = 20 if scale == "test" else STEPS
    return train(model, grid, steps, 11, keep="overlaps-target", progress=progress).dataset


def draw_diagram(dataset: xr.Dataset) -> Reproduction:
    """The standard figure of `dysonjax spikes`, and how often its borders and times agree with theory."""
    found = spikes.compare(dataset)
    border, times = spikes.border(dataset, found), spikes.emergence(found)
    text = [
        f"Linear network against a teacher of rank one, {spikes.caption(dataset)}. Lines: no free parameter."
    ]
    if border:
        text.append(
            f"Borders of trainability within one grid step in {border['within']} of {border['columns']} "
            f"columns; {border['points_that_differ']} of {border['points']} points differ, all of them next "
            "to a border where the columns agree."
        )
    if times:
        text.append(
            f"Times of emergence within one record in {times['within_one_record']} of {times['points']} "
            f"points, mean distance {times['mean_in_records']:.2f} records."
        )
    figure = draw_spikes(found, spikes.margin(dataset))
    last = found.isel(spike=0, record=-1)
    last = last.isel(dict.fromkeys((d for d in last["outside"].dims if d not in ("lr", "sigma_w")), -1))
    strength = last["strength_theory"].fillna(0).stack(point=("lr", "sigma_w"))
    best = last.stack(point=("lr", "sigma_w")).isel(point=int(np.argmax(strength.values)))
    return Reproduction(figure, found.drop_attrs(), " ".join(text), _checks(best))


@trained_once
def law_runs(scale: str, progress: Progress | None = None) -> xr.Dataset:
    """Means, theory and deviations of all three sizes, dims (size, s, sigma_w, lr, record)."""
    made, sizes = [], SIZES[-1:] if scale == "test" else SIZES
    for number, (rows, columns) in enumerate(sizes):
        model = models.spiked_teacher(rows, columns, epsilon=1.0)
        grid = Grid(
            lr=LAW["lr"], batch_size=16, sigma_w=LAW["sigma_w"], seeds=SEEDS[scale], scalars={"s": LAW["s"]}
        )

        def told(done, total, number=number):
            if progress is not None:
                progress(number * total + done, len(sizes) * total)

        steps = (4, 3) if scale == "test" else (LAW_STEPS, LAW_RECORDS)
        run = train(model, grid, *steps, keep="overlaps-target", progress=told)
        found = spikes.compare(run.dataset).isel(spike=0, batch_size=0)
        found.attrs = {"config": run.dataset.attrs["config"]}
        made.append(found)
    return xr.concat(made, xr.Variable("size", [columns for _, columns in sizes]), combine_attrs="override")


def draw_law_figure(found: xr.Dataset) -> Reproduction:
    """Deviations of position and overlaps from the law, over strength and size."""
    text = []
    for columns in found["size"].values:
        at = found.sel(size=columns)
        numbers = spikes.deviations(at)
        text.append(
            f"N = {columns}: "
            + ", ".join(
                f"{NAMES[key]} {100 * n['mean']:.2f} % (largest {100 * n['largest']:.1f} %, "
                f"{100 * n['within_2_percent']:.0f} % of them within 2 %)"
                for key, n in numbers.items()
            )
        )
    # The strongest spike of the grid at the end; the weakest width and rate decide nothing there.
    last = found.isel(size=-1, record=-1)
    point = last.sel(s=LAW["s"][-1], sigma_w=LAW["sigma_w"][0], lr=LAW["lr"][1])
    config = json.loads(found.attrs["config"])
    caption = (
        f"Outliers and overlaps of a linear network against a teacher of rank one beside the law of large "
        f"matrices, s = {_listed(LAW['s'])}, σ_W = {_listed(LAW['sigma_w'])}, α = {_listed(LAW['lr'])}, "
        f"|B| = 16, gradient noise ε = 1, {config['grid']['seeds']} seeds, records every "
        f"{LAW_STEPS // (LAW_RECORDS - 1)} steps. Mean relative deviation where "
        f"θ ≥ {spikes.FAR:g} θ_c: {'; '.join(text)}."
    )
    times = spikes.emergence(found.isel(size=-1))
    if times:
        caption += (
            f" Emergence at N = {SIZES[-1][1]} within one record in {times['within_one_record']} of "
            f"{times['points']} points, mean distance {times['mean_in_records']:.2f} records."
        )
    return Reproduction(draw_law(found, spikes.FAR), found.drop_attrs(), caption, _checks(point))


def _checks(point: xr.Dataset) -> tuple[Check, ...]:
    """One point beside theory, and beside what theory says if rows and columns are taken for each other."""
    rows, columns = SIZES[-1]
    wrong = spiked(float(point["theta_theory"]), float(point["sigma_theory"]), rows / columns)
    checks = []
    for key, name in NAMES.items():
        theory, mistaken = float(point[f"{key}_theory"]), float(getattr(wrong, key))
        checks.append(
            Check(
                f"{name} of the strongest spike",
                float(point[key]),
                float(point[f"{key}_err"]),
                theory,
                mistaken,
                "r = M/N",
                systematic=0.01 * theory,
            )
        )
    return tuple(checks)


def _listed(values) -> str:
    return ", ".join(f"{value:g}" for value in values)


SPIKES = Recipe(
    "spikes",
    "arXiv 2606.28486 trainability",
    "Spikes that leave the bulk during learning",
    lambda scale, progress: draw_diagram(diagram_run(scale, progress)),
    {"quick": 60, "default": 130, "paper": 900},
    draw_diagram,
)
SPIKES_LAW = Recipe(
    "spikes-law",
    "arXiv 2606.28486 outliers and overlaps",
    "Outliers and overlaps of learned spikes beside the law of large matrices",
    lambda scale, progress: draw_law_figure(law_runs(scale, progress)),
    {"quick": 60, "default": 200, "paper": 800},
)

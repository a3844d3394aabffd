"""A spike that emerges and disappears again: inputs in two blocks, of which one is learned slowly.

After arXiv 2604.18450, of which we know the abstract. A spike is learned in the fast block at once; the noise
of the slow one, which nothing holds back, grows for 1/(αλ) steps and swallows it.
"""

import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import spikes, spikes_theory
from dysonjax.ensemble import Grid, train
from dysonjax.figures.spikes import blocks as draw_blocks
from dysonjax.published.recipe import Check, Progress, Recipe, Reproduction, trained_once

SLOW, EPSILON, RATE = 0.01, 0.04, 0.1
ROWS, COLUMNS = 256, 64
SEEDS = {"test": 4, "quick": 12, "default": 48, "paper": 192}
RECORDS = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 200, 300, 400)
NAMES = {"position": "position", "overlap_right": "right overlap", "overlap_left": "left overlap"}


@trained_once
def run(scale: str, progress: Progress | None = None) -> xr.Dataset:
    model = models.spiked_teacher(ROWS, COLUMNS, epsilon=EPSILON, blocks=(1.0, SLOW))
    grid = Grid(lr=RATE, batch_size=1, sigma_w=0.05, seeds=SEEDS[scale])
    records = (0, 8, 16) if scale == "test" else RECORDS
    return train(model, grid, records[-1], records, keep="overlaps-target", progress=progress).dataset


def draw(dataset: xr.Dataset) -> Reproduction:
    """Outlier and overlaps over time beside the theory of two blocks, and that of one with their means."""
    found = spikes.compare(dataset).isel(spike=0).squeeze(drop=True)
    time = dataset["record"].values
    one = spikes_theory.law_of_means(dataset)
    for name in NAMES:
        found[f"{name}_one_block"] = ("record", getattr(one, name).squeeze())
    far = (found["strength_theory"] >= spikes.FAR).values
    off = {name: 100 * abs(found[name] / found[f"{name}_theory"] - 1).values[far] for name in NAMES}
    peak = int(np.argmax(found["strength_theory"].values))
    at = {
        name: float(value)
        for name, value in found.isel(record=peak).items()
        if str(name).startswith(tuple(NAMES))
    }
    checks = [
        Check(
            f"{text} at its strongest",
            at[name],
            at[f"{name}_err"],
            at[f"{name}_theory"],
            # Only the right vector, which lies in the fast block, tells the two laws apart everywhere.
            at[f"{name}_one_block"] if name == "overlap_right" else np.nan,
            "one block with the mean signal and noise",
            systematic=0.01 * at[f"{name}_theory"],
        )
        for name, text in NAMES.items()
    ]
    back, theory = float(found["disappearance"]), float(found["disappearance_theory"])
    near = np.clip(np.searchsorted(time, theory if np.isfinite(theory) else 0), 1, len(time) - 1)
    if np.isfinite(back) and np.isfinite(theory):
        checks.append(Check("time of disappearance, steps", back, float(time[near] - time[near - 1]), theory))
    listed = "; ".join(
        f"{text} {value.mean():.2f} % (largest {value.max():.1f} %)"
        for (_, text), value in zip(NAMES.items(), off.values(), strict=True)
        if value.size
    )
    caption = (
        f"Linear network {ROWS}×{COLUMNS} against a teacher of rank one, s = 1, inputs in two blocks of "
        f"variances 1 and {SLOW:g}, α = {RATE:g}, |B| = 1, gradient noise ε = {EPSILON:g}, "
        f"{dataset.sizes['seed']} seeds. Lines: noise with two variances, no free parameter; dotted: one "
        f"block with the mean square of signal and noise. By theory the spike leaves the bulk at step "
        f"{float(found['emergence_theory']):.1f} and is back at {theory:.0f}; measured: "
        f"{float(found['emergence']):.1f} and {back:.0f}. Off theory where θ ≥ {spikes.FAR:g} θ_c, in the "
        f"mean: {listed}."
    )
    return Reproduction(draw_blocks(found), found.drop_attrs(), caption, tuple(checks))


SPIKES_BLOCKS = Recipe(
    "spikes-blocks",
    "arXiv 2604.18450 a spike that disappears again",
    "A spike that emerges and disappears again: inputs in two blocks",
    lambda scale, progress: draw(run(scale, progress)),
    {"quick": 20, "default": 55, "paper": 200},
    draw,
)

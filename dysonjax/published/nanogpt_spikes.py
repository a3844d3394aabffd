"""What the tail of a transformer's K, Q and V is made of, and what the network needs of it.

A level that lies beyond the edge of noise of its own matrix is a spike. What is left of 1 − A when every
matrix is brought to one scale, and is no spike, is a bulk wider than the law of Marchenko and Pastur, of
which `spectra.tail_parts` says whether noise of unequal variances or a power law describes it. "Removed"
means after training: singular values of all K, Q and V on one side of that edge are set to zero, the others
are left as they are.
"""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import attention
from dysonjax.checks import InputError
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.models.base import eigh
from dysonjax.models.nanogpt import validation_loss
from dysonjax.published.nanogpt import _last_point, _setting, _start_checks
from dysonjax.published.recipe import Progress, Recipe, Reproduction, trained_once
from dysonjax.spectra import fit_power_law
from dysonjax.spectra.tail_parts import TailParts, bulk_density, noise_scale, scales, tail_parts

KINDS = ("key", "query", "value")
# scale: seeds, steps, records
SIZES = {
    "test": (24, 4, (0, 4)),
    "quick": (6, 500, (0, 100, 300, 500)),
    "default": (16, 2000, (0, 400, 800, 1200, 1600, 2000)),
    "paper": (50, 5000, (0, 1000, 2000, 3000, 4000, 5000)),
}


LOSSES = {
    "val_loss": "whole",
    "val_loss_without_spikes": "spikes removed",
    "val_loss_without_noise": "the rest removed",
}
SHAPES = {
    "noise": "noise",
    "unequal": "noise of unequal variances",
    "power law": "noise and a power law",
}


def cut(weight, keep: str):
    """A matrix (M, N), M ≥ N, without its spikes (keep="noise") or without the rest (keep="spikes")."""
    levels, basis = eigh(weight.T @ weight)
    beyond = jnp.arange(levels.size) >= levels.size - spikes_of(levels, len(weight))
    kept = beyond if keep == "spikes" else ~beyond
    return weight @ (basis * kept.astype(basis.dtype)) @ basis.T


def spikes_of(levels, rows: int):
    """How many of a matrix' levels, ascending, are spikes: `spectra.tail_parts.noise_scale`, compiled."""
    levels = jnp.asarray(levels)
    law = scales(rows, levels.size)
    ratio = jnp.asarray(law.edge / law.median, levels.dtype)

    def more(_, k):
        middle = levels.size - k - 1
        median = (levels[middle // 2] + levels[(middle + 1) // 2]) / 2
        return jnp.clip(jnp.sum(levels > ratio[k] * median), k, ratio.size - 1)

    return jax.lax.fori_loop(0, ratio.size, more, jnp.zeros((), int))


def surgical(model: models.Model) -> models.Model:
    """A transformer that also records its validation loss without spikes, and without all else."""
    width, heads, layers = (model.config[name] for name in ("width", "heads", "layers"))
    loss = validation_loss(model.config)

    def without(params, keep):
        changed = dict(params)
        for layer in range(1, layers + 1):
            block = changed[f"layer{layer}"]
            joint = block["attention"]["key_query_value"]
            # (K, Q and V, heads, width, width/heads)
            apart = joint["kernel"].reshape(width, 3, heads, -1).transpose(1, 2, 0, 3)
            apart = jax.vmap(jax.vmap(lambda weight: cut(weight, keep)))(apart)
            kernel = apart.transpose(2, 0, 1, 3).reshape(width, -1)
            attention_block = block["attention"] | {"key_query_value": joint | {"kernel": kernel}}
            changed[f"layer{layer}"] = block | {"attention": attention_block}
        return changed

    def observe(params, initial, world, key, point):
        found = model.observe(params, initial, world, key, point)
        both = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(without(params, k) for k in ("noise", "spikes"))
        )
        without_spikes, without_noise = jax.lax.map(loss, both)
        return found | {"val_loss_without_spikes": without_spikes, "val_loss_without_noise": without_noise}

    names = {
        "val_loss_without_spikes": "val_loss with the spikes of all K, Q and V set to zero",
        "val_loss_without_noise": "val_loss with all but the spikes of K, Q and V set to zero",
    }
    return dataclasses.replace(model, observe=observe, observables=dict(model.observables) | names)


@trained_once
def run(scale: str, progress: Progress | None = None) -> xr.Dataset:
    seeds, steps, records = SIZES[scale]
    small: dict[str, Any] = {"layers": 1, "context": 8, "width": 32, "heads": 2}
    model = models.nanogpt(**small if scale == "test" else {})
    return train(
        surgical(model), Grid(lr=1e-3, batch_size=16, seeds=seeds), steps, records, optimizer="adamw",
        keep="overlaps-start,overlaps-previous", progress=progress,
    ).dataset  # fmt: skip


def draw(dataset: xr.Dataset, n_resamples: int = 200) -> Reproduction:
    """Parts of the tail by layer, the shape of the bulk, stability of singular vectors, and the loss without
    either part."""
    point = _last_point(dataset)
    layers, heads = attention.size(point)
    pooled = attention.marchenko_pastur(point, "key")
    scaled = attention.marchenko_pastur(point, "key", common_scale=True)
    x = [attention.levels(point, layer) for layer in range(1, layers + 1)]
    rows = x[0].shape[-1] * heads
    parts = [tail_parts(one, rows, n_resamples) for one in x]
    first = np.concatenate([attention.levels(point, k + 1, 0) for k in range(layers)], 1)
    start = tail_parts(first, rows, n_resamples)
    tails = [_tail(one, rows) for one in x]
    stable = stability(point, layers, heads, rows)
    losses = [name for name in LOSSES if name in point]
    alive = {name: point[name].where(point["alive"]) for name in losses}
    mean = {name: value.mean("seed") for name, value in alive.items()}
    error = {name: value.std("seed", ddof=1) / np.sqrt(value.count("seed")) for name, value in alive.items()}
    bulk = bulk_density(x[-1], rows)
    added = {
        "area_common_scale": scaled["area"],
        "area_common_scale_err": scaled["area_err"],
        **{
            name: ("layer", [getattr(part, name) for part in parts])
            for name in TailParts.__dataclass_fields__
        },
        **{f"bulk_{name}": ("bin", value) for name, value in bulk._asdict().items()},
        **stable,
        **{name: ("record", mean[name].values) for name in losses},
        **{f"{name}_err": ("record", error[name].values) for name in losses},
    }
    data = pooled.drop_vars("note").assign(added)
    with style():
        figure, ((first, second), (third, fourth)) = new_figure(2, 2, width=PAGE, height=5.2)
        _draw_parts(first, data)
        _draw_bulk(second, bulk, layers)
        _draw_stability(third, data)
        for colour, name in zip(CYCLE, losses, strict=False):
            fourth.errorbar(
                point["record"].values, mean[name], error[name], color=colour, marker="o", label=LOSSES[name]
            )
        fourth.set(xlabel="iteration", ylabel="validation loss, nats a character")
        fourth.set_title("K, Q, V cut after training")
        fourth.legend(fontsize=6)
    caption = _caption(dataset, point, data, parts, start, tails, losses)
    checks = _start_checks(pooled.mean("layer").isel(record=0), layers)
    return Reproduction(figure, data, caption, checks)


def _draw_parts(axis, data: xr.Dataset) -> None:
    place = data["layer"].values
    tail, one = 1 - data["area"][:, -1].values, 1 - data["area_common_scale"][:, -1].values
    spikes = data["spikes"].values
    values = (
        ("$1-A$, heads pooled", tail, data["area_err"][:, -1]),
        ("$1-A$, one scale", one, data["area_common_scale_err"][:, -1]),
        ("spikes", spikes, data["spikes_err"]),
    )
    for k, (name, value, bar) in enumerate(values):
        axis.bar(place + 0.25 * (k - 1), value, 0.24, yerr=bar, color=CYCLE[k], label=name, capsize=2)
    axis.axhline(0, color=BLACK, lw=0.6)
    axis.set(xlabel="layer", ylabel="fraction of the levels", title="key matrices at the end")
    axis.set_xticks(place)
    axis.set_ylim(None, 1.4 * axis.get_ylim()[1])
    axis.legend(fontsize=6)


def _draw_bulk(axis, bulk, layers: int) -> None:
    seen = bulk.data > 0
    axis.errorbar(
        bulk.x[seen], bulk.data[seen], bulk.data_err[seen], color=BLACK, ls="none", marker="o", ms=3,
        label="levels that are no spikes",
    )  # fmt: skip
    for colour, name, label in zip(
        CYCLE,
        ("noise", "power_law", "unequal"),
        ("noise", "noise and a power law", "noise of unequal variances"),
        strict=False,
    ):
        axis.plot(bulk.x, getattr(bulk, name), color=colour, label=label)
    axis.set(
        xscale="log", xlim=(0.05, 1.05), ylim=(0, 1.5 * bulk.data.max()),
        xlabel="level over the edge of its noise", ylabel="density over ln x",
        title=f"bulk of layer {layers}",
    )  # fmt: skip
    axis.legend(fontsize=6, loc="upper left")


def _draw_stability(axis, data: xr.Dataset) -> None:
    steps = data["record"].values
    for colour, name in zip(CYCLE, ("spikes", "smallest", "bulk"), strict=False):
        for line, reference in (("-", "previous"), ("--", "start")):
            value, bar = (data[f"{name}_right_{reference}{end}"] for end in ("", "_err"))
            axis.errorbar(
                steps, value, bar, color=colour, ls=line, marker="o", ms=3,
                label={"spikes": "spikes", "smallest": "smallest level", "bulk": "bulk"}[name]
                if line == "-"
                else None,
            )  # fmt: skip
    axis.set(
        xlabel="iteration", ylabel="squared overlap", ylim=(0, 1.02),
        title="right vectors: with the record before,\ndashed with the start",
    )  # fmt: skip
    axis.legend(fontsize=6)


def _caption(dataset, point, data, parts, start, tails, losses) -> str:
    layers = []
    for k, (part, tail) in enumerate(zip(parts, tails, strict=True)):
        pooled, one = (1 - float(data[name][k, -1]) for name in ("area", "area_common_scale"))
        layers.append(
            f"layer {k + 1}: {pooled:.3f} pooled, {one:.3f} with one scale, {part.spikes:.3f} ± "
            f"{part.spikes_err:.3f} spikes; the bulk without them is {SHAPES[part.best]} (p = "
            f"{part.p_value:.2g} for equal noise; log-likelihood gained {part.gain_unequal:.1f} by unequal "
            f"variances, s = {part.spread:.1f}, and {part.gain_power_law:.1f} by a power law, difference "
            f"± {part.gain_difference_err:.1f}); a power law through all levels from {tail[0]:.2f} of the "
            f"edge on holds {tail[1]:.3f} of them, α = {tail[2]:.2f} ± {tail[3]:.2f}, p = {tail[4]:.2g}, "
            f"against a lognormal p = {tail[5]:.2g}"
        )
    found = ", ".join(
        f"{LOSSES[name]} {float(data[name][-1]):.3f} ± {float(data[name + '_err'][-1]):.3f}"
        for name in losses
    )

    def kept(name, side="right", reference="previous"):
        value, bar = (float(data[f"{name}_{side}_{reference}{end}"][-1]) for end in ("", "_err"))
        return f"{value:.3f} ± {bar:.3f}"

    previous, last = (int(step) for step in point["record"][-2:])
    return (
        f"{_setting(dataset, point)} Fraction 1 − A of the key matrices' levels in the tail, and its parts: "
        f"{'; '.join(layers)}. Spikes are levels beyond the edge of the noise of their own matrix; before "
        f"training they are {start.spikes:.4f} ± {start.spikes_err:.4f} of the levels. Validation loss at "
        f"the end: {found}. Squared overlap from iteration {previous} to {last} of right (left) vectors of "
        f"all K, Q and V: spikes {kept('spikes')} ({kept('spikes', 'left')}), bulk {kept('bulk')} "
        f"({kept('bulk', 'left')}), smallest level {kept('smallest')} ({kept('smallest', 'left')}); with the "
        f"start: spikes {kept('spikes', 'right', 'start')}, bulk {kept('bulk', 'right', 'start')}, smallest "
        f"level {kept('smallest', 'right', 'start')}, where directions drawn at random have "
        f"{1 / point.sizes['mode']:.3f}."
    )


def _tail(x: np.ndarray, rows: int) -> tuple[float, ...]:
    """A power law through the largest levels in units of their own edge: start, share, α with error, p, and p
    against a lognormal tail; NaN where there is none."""
    sigma2 = noise_scale(x, rows)[1]
    y = x / (sigma2 * scales(rows, x.shape[-1]).edge[0])[..., None]
    try:
        fit = fit_power_law(y.reshape(len(y), -1), 200, max_candidates=60, member_axis=-2)
    except InputError:
        return (np.nan,) * 6
    names = ("alpha", "alpha_err", "p_value", "lognormal_p")
    return float(fit.xmin), float(fit.n_tail) / y.size, *(float(getattr(fit, name)) for name in names)


def stability(point: xr.Dataset, layers: int, heads: int, rows: int) -> dict[str, tuple[str, np.ndarray]]:
    """Mean squared overlaps over records of vectors of spikes, of the bulk and of the smallest level.

    All K, Q and V; a level is a spike by its record. Keys such as `spikes_right_previous` and its `_err`,
    over members. NaN at the first record, which has none before.
    """
    found = {}
    for side in ("right", "left"):
        for reference in ("previous", "start"):
            # (members, matrices, records, modes)
            names = [
                f"layer{layer}_head{head}_{kind}"
                for layer in range(1, layers + 1)
                for head in range(1, heads + 1)
                for kind in KINDS
            ]
            alive = point["alive"].transpose("seed", "record").values.all(axis=1)
            overlaps, levels = (
                np.stack(
                    [point[f"{kept}{name}"].transpose("seed", "record", ...).values for name in names], 1
                )
                for kept in (f"overlap_{reference}_{side}_", "eigenvalues_")
            )
            overlaps, levels = overlaps[alive], levels[alive]
            k, _ = noise_scale(levels, rows)
            mode = np.arange(levels.shape[-1])
            spike = mode >= (levels.shape[-1] - k)[..., None]
            kinds = {"spikes": spike, "bulk": ~spike, "smallest": np.broadcast_to(mode == 0, spike.shape)}
            for name, chosen in kinds.items():
                with np.errstate(invalid="ignore"):
                    one = np.where(chosen, overlaps, 0).sum(axis=(1, 3)) / chosen.sum(axis=(1, 3))
                key = f"{name}_{side}_{reference}"
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of records at which no member has a spike
                    found[key] = ("record", np.nanmean(one, axis=0))
                    error = np.nanstd(one, axis=0, ddof=1) / np.sqrt(np.isfinite(one).sum(axis=0))
                found[f"{key}_err"] = ("record", error)
    return found


GPT_SPIKES = Recipe(
    "gpt-spikes",
    "[A] Fig. 4; arXiv 2606.28486 for a transformer",
    "What the tail of a transformer's attention matrices is made of",
    lambda scale, progress: draw(run(scale, progress), 40 if scale == "test" else 200),
    {"quick": 30, "default": 300, "paper": 2_400},
    draw,
)

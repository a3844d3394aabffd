"""What the tail of a transformer's K, Q and V is made of, and what the network needs of it.

A level that lies beyond the edge of noise of its own matrix is a spike. What is left of 1 − A when every
matrix is brought to one scale, and is no spike, is neither. "Removed" means after training: singular values
of all K, Q and V on one side of that edge are set to zero, the others are left as they are.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dysonjax import models
from dysonjax.analysis import attention
from dysonjax.ensemble import Grid, train
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.models.base import eigh
from dysonjax.models.nanogpt import validation_loss
from dysonjax.published.nanogpt import _last_point, _setting, _start_checks
from dysonjax.published.recipe import Progress, Recipe, Reproduction, trained_once
from dysonjax.spectra import MarchenkoPastur
from dysonjax.spectra.spikes import noise_edge

KINDS = ("key", "query", "value")
# scale: seeds, steps, records
SIZES = {
    "test": (24, 4, (0, 4)),
    "quick": (6, 500, (0, 100, 300, 500)),
    "default": (16, 2000, (0, 400, 1000, 1600, 2000)),
    "paper": (50, 5000, (0, 1000, 2000, 3000, 4000, 5000)),
}
FALSE_POSITIVES = 0.01  # of a matrix of noise


def edge_over_median(rows: int, modes: int) -> float:
    """The edge of noise in units of the median level of a matrix, whose spikes hardly move its median."""
    median = float(MarchenkoPastur(modes / rows, 1.0).ppf(0.5))
    return noise_edge(1.0, rows, modes, 1 - FALSE_POSITIVES) / median


def cut(weight, ratio: float, keep: str):
    """A matrix (M, N), M ≥ N, without its spikes (keep="noise") or without the rest (keep="spikes")."""
    levels, basis = eigh(weight.T @ weight)
    beyond = levels > ratio * jnp.median(levels)
    kept = beyond if keep == "spikes" else ~beyond
    return weight @ (basis * kept.astype(basis.dtype)) @ basis.T


def surgical(model: models.Model) -> models.Model:
    """A transformer that also records its validation loss without spikes, and without all else."""
    width, heads, layers = (model.config[name] for name in ("width", "heads", "layers"))
    ratio = edge_over_median(width, width // heads)
    loss = validation_loss(model.config)

    def without(params, keep):
        changed = dict(params)
        for layer in range(1, layers + 1):
            block = changed[f"layer{layer}"]
            joint = block["attention"]["key_query_value"]
            # (K, Q and V, heads, width, width/heads)
            apart = joint["kernel"].reshape(width, 3, heads, -1).transpose(1, 2, 0, 3)
            apart = jax.vmap(jax.vmap(lambda weight: cut(weight, ratio, keep)))(apart)
            kernel = apart.transpose(2, 0, 1, 3).reshape(width, -1)
            attention_block = block["attention"] | {"key_query_value": joint | {"kernel": kernel}}
            changed[f"layer{layer}"] = block | {"attention": attention_block}
        return changed

    def observe(params, initial, world, key, point):
        found = model.observe(params, initial, world, key, point)
        for name, keep in (("without_spikes", "noise"), ("without_noise", "spikes")):
            found[f"val_loss_{name}"] = loss(without(params, keep))
        return found

    names = {
        "val_loss_without_spikes": "val_loss with the spikes of all K, Q and V set to zero",
        "val_loss_without_noise": "val_loss with all but the spikes of K, Q and V set to zero",
    }
    return dataclasses.replace(model, observe=observe, observables=dict(model.observables) | names)


@trained_once
def run(scale: str, progress: Progress | None = None) -> xr.Dataset:
    seeds, steps, records = SIZES[scale]
    small = {"layers": 1, "context": 8, "width": 32, "heads": 2}
    model = models.nanogpt(**small if scale == "test" else {})
    return train(
        surgical(model), Grid(lr=1e-3, batch_size=16, seeds=seeds), steps, records, optimizer="adamw",
        keep="overlaps-start,overlaps-previous", progress=progress,
    ).dataset  # fmt: skip


def draw(dataset: xr.Dataset) -> Reproduction:
    """Parts of the tail by layer, stability of singular vectors, and the loss without either part."""
    point = _last_point(dataset)
    layers, heads = attention.size(point)
    pooled = attention.marchenko_pastur(point, "key")
    scaled = attention.marchenko_pastur(point, "key", common_scale=True)
    shares, errors = spike_shares(point, layers)
    stable, from_start = (_overlap(point, layers, heads, name) for name in ("previous", "start"))
    losses = ["val_loss", "val_loss_without_spikes", "val_loss_without_noise"]
    mean = {name: point[name].where(point["alive"]).mean("seed") for name in losses}
    error = {
        name: point[name].where(point["alive"]).std("seed", ddof=1) / np.sqrt(point.sizes["seed"])
        for name in losses
    }
    steps = point["record"].values
    with style():
        figure, (left, middle, right) = new_figure(1, 3, width=PAGE, height=2.7)
        place = np.arange(1, layers + 1)
        values = (
            ("$1-A$, pooled", 1 - pooled["area"][:, -1], pooled["area_err"][:, -1]),
            ("$1-A$, one scale", 1 - scaled["area"][:, -1], scaled["area_err"][:, -1]),
            ("spikes", shares, errors),
        )
        for k, (name, value, bar) in enumerate(values):
            left.bar(place + 0.25 * (k - 1), value, 0.24, yerr=bar, color=CYCLE[k], label=name, capsize=2)
        left.axhline(0, color=BLACK, lw=0.6)
        left.set(xlabel="layer", ylabel="fraction of the levels", title="key matrices at the end")
        left.set_xticks(place)
        left.set_ylim(None, 1.4 * left.get_ylim()[1])
        left.legend(fontsize=6)
        rank = np.arange(1, len(stable) + 1)
        middle.plot(rank, stable[::-1], "o-", label="with the record before")
        middle.plot(rank, from_start[::-1], "s-", label="with the start")
        middle.set(
            xlabel="rank of the level, largest first", ylabel="squared overlap", ylim=(0, 1.02),
            title="right vectors at the end",
        )  # fmt: skip
        middle.legend(fontsize=6)
        for colour, name, label in zip(
            CYCLE, losses, ("whole", "spikes removed", "the rest removed"), strict=False
        ):
            right.errorbar(steps, mean[name], error[name], color=colour, marker="o", label=label)
        right.set(
            xlabel="iteration", ylabel="validation loss, nats a character", title="K, Q, V cut after training"
        )
        right.legend(fontsize=6)
    tail = "; ".join(
        f"layer {k + 1}: {1 - float(pooled['area'][k, -1]):.3f} pooled, "
        f"{1 - float(scaled['area'][k, -1]):.3f} with one scale, {shares[k]:.3f} ± {errors[k]:.3f} spikes"
        for k in range(layers)
    )
    found = ", ".join(f"{float(mean[name][-1]):.3f} ± {float(error[name][-1]):.3f}" for name in losses)
    middle_rank = len(stable) // 2
    caption = (
        f"{_setting(dataset, point)} Fraction 1 − A of the key matrices' levels in the tail: {tail} (levels "
        f"beyond the edge of noise of their own matrix, whose scale is its median level; before training "
        f"{spike_shares(point, layers, 0)[0].mean():.4f} of the levels). Validation loss at the end, whole, "
        f"without the spikes of all K, Q and V, and without all but them: {found}. Overlap of the right "
        f"vectors with the record before, of the largest and the median level: {stable[-1]:.2f}, "
        f"{stable[middle_rank]:.2f}; with the start: {from_start[-1]:.2f}, {from_start[middle_rank]:.2f}."
    )
    data = pooled.drop_vars("note").assign(
        area_common_scale=scaled["area"],
        spikes=("layer", shares),
        spikes_err=("layer", errors),
        overlap_previous=("rank", stable[::-1]),
        overlap_start=("rank", from_start[::-1]),
        **{name: ("record", mean[name].values) for name in losses},
        **{f"{name}_err": ("record", error[name].values) for name in losses},
    )
    checks = _start_checks(pooled.mean("layer").isel(record=0), layers)
    return Reproduction(figure, data, caption, checks)


def spike_shares(point: xr.Dataset, layers: int, record: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of the key matrices' levels beyond the edge of their own noise, with errors over members,
    (layers,)."""
    shares, errors = np.zeros(layers), np.zeros(layers)
    for layer in range(layers):
        x = attention.levels(point, layer + 1, record)  # (members, heads, modes)
        # The shape of a head: modes × heads = width rows.
        ratio = edge_over_median(x.shape[-1] * x.shape[1], x.shape[-1])
        share = (x > ratio * np.median(x, axis=-1, keepdims=True)).mean(axis=(1, 2))
        shares[layer], errors[layer] = share.mean(), share.std(ddof=1) / np.sqrt(len(share))
    return shares, errors


def _overlap(point: xr.Dataset, layers: int, heads: int, reference: str) -> np.ndarray:
    """Mean squared overlap of right vectors at the end by mode, over members and all K, Q, V."""
    names = [
        f"overlap_{reference}_right_layer{layer}_head{head}_{kind}"
        for layer in range(1, layers + 1)
        for head in range(1, heads + 1)
        for kind in KINDS
    ]
    last = [
        point[name].isel(record=-1).where(point["alive"].isel(record=-1)).mean("seed").values
        for name in names
    ]
    return np.mean(last, axis=0)


GPT_SPIKES = Recipe(
    "gpt-spikes",
    "[A] Fig. 4; arXiv 2606.28486 for a transformer",
    "What the tail of a transformer's attention matrices is made of",
    lambda scale, progress: draw(run(scale, progress)),
    {"quick": 30, "default": 700, "paper": 5_000},
)

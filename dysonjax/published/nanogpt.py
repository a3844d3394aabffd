"""Attention matrices of the nano-GPT: spacings, densities, Marchenko-Pastur part and tail. [A] Figs. 3, 4.

Published: 4 blocks of 4 heads, width 64, context 32, tiny Shakespeare, AdamW at α = 10⁻³, |B| = 16, 5000
iterations, at least 50 networks. Here all heads of a layer are taken together, and members are resampled with
all their heads. Without a run of one's own the text is the one that Python ships, which needs no network.
"""

import json

import numpy as np
import xarray as xr

from dysonjax import models, spectra
from dysonjax.analysis import attention
from dysonjax.ensemble import Grid, train
from dysonjax.figures.attention import Course, Spectrum, density_figure, fit_figure, spacing_figure
from dysonjax.published.recipe import Check, Progress, Recipe, Reproduction, trained_once

KIND = "key"
MATRIX = "$K^TK$"
# scale: seeds, steps, records
SIZES = {
    "test": (10, 4, (0, 4)),
    "quick": (8, 500, (0, 100, 500)),
    "default": (16, 2000, (0, 400, 1000, 2000)),
    "paper": (50, 5000, (0, 1000, 2000, 3000, 4000, 5000)),
}
NULL_SAMPLES = 200
NORMAL_SIGMA2 = 1.0  # of weights from N(0, 1/n_in), which these are not
POISSON_RATIO = 2 * np.log(2) - 1  # ⟨r̃⟩ of levels that do not repel
# Of the fit on 64×16 matrices of uniform entries: what is left of order 1/N².
SYSTEMATIC = 0.001


@trained_once
def ensemble(scale: str, progress: Progress | None = None) -> xr.Dataset:
    """The runs behind all figures of this file."""
    seeds, steps, records = SIZES[scale]
    model = models.nanogpt(layers=1, context=8) if scale == "test" else models.nanogpt()
    grid = Grid(lr=1e-3, batch_size=16, seeds=seeds)
    return train(model, grid, steps, records, optimizer="adamw", progress=progress).dataset


def draw_spacings(dataset: xr.Dataset) -> Reproduction:
    """P(s) of the first layer's key matrices at the start, early and at the end."""
    point = _last_point(dataset)
    shown = _shown(point)
    steps = point["record"].values
    s = {int(steps[r]): attention.spacings(point, 1, r) for r in shown}
    ratio = 1 / attention.size(point)[1]
    unscaled = [attention.spacings(point, 1, r, common_scale=False) for r in shown]
    tests = [_spacing_test(point, r, ratio) for r in shown]
    start = tests[0]
    check = Check(
        "⟨r̃⟩ at initialisation",
        float(start.spacing_ratio), float(start.null_ratio_err), float(start.null_ratio),
        mistaken=POISSON_RATIO, mistake="levels that do not repel",
    )  # fmt: skip
    found = "; ".join(
        f"{step}: ⟨s²⟩ = {np.mean(s[step] ** 2):.3f} ({np.mean(bare**2):.3f} without common scale), "
        f"⟨r̃⟩ = {float(test.spacing_ratio):.3f} ± {float(test.null_ratio_err):.3f}"
        for step, bare, test in zip(s, unscaled, tests, strict=True)
    )
    caption = (
        f"Unfolded spacings of X = KᵀK, first layer, all heads, {_setting(dataset, point)} The levels of "
        f"each matrix are divided by their mean and each head is unfolded by index, s_i = S_i/⟨S_i⟩ over "
        f"members; bars: standard errors over members. Line: Wigner surmise, ⟨s²⟩ = 4/π = 1.273. By "
        f"iteration: {found}. Spacing ratios need no unfolding but feel the slope of the density; ⟨r̃⟩ of "
        f"Gaussian matrices of the same shape is {float(start.null_ratio):.3f}."
    )
    # Rows of a record are the members alive then; NaN fills up where some were frozen.
    table = np.full((len(s), *s[int(steps[0])].shape), np.nan)
    for row, values in zip(table, s.values(), strict=True):
        row[: len(values)] = values
    data = xr.Dataset({"spacing": (("record", "member", "sample"), table)}, {"record": list(s)})
    return Reproduction(spacing_figure(s), data, caption, (check,))


def draw_density(dataset: xr.Dataset) -> Reproduction:
    """ρ(x) of the first layer's key matrices at the start, early and at the end, with fits of A and σ²."""
    point = _last_point(dataset)
    shown = _shown(point)
    fits = attention.marchenko_pastur(point.isel(record=shown), KIND)
    first = fits.isel(layer=0)
    ratio = 1 / attention.size(point)[1]
    panels = []
    for place, record in enumerate(shown):
        x = attention.levels(point, 1, record)
        sigma2, area = (float(first[name][place]) for name in ("sigma2", "area"))
        panels.append(Spectrum(int(point["record"][record]), x.reshape(len(x), -1), sigma2, area, ratio))
    found = "; ".join(
        f"{panel.step}: σ² = {_number(first, 'sigma2', i)}, A = {_number(first, 'area', i)}"
        for i, panel in enumerate(panels)
    )
    caption = (
        f"Density of the eigenvalues of X = KᵀK, first layer, all heads, {_setting(dataset, point)} Lines: "
        f"Marchenko-Pastur, r = {ratio:g}, fitted area A and σ², errors by bootstrap over members; {found}. "
        f"Linear axes end at the largest level or at eight edges of the bulk; below, all levels on "
        f"logarithmic axes with bins of equal ratios."
    )
    members = min(len(panel.levels) for panel in panels)
    data = first.assign(
        levels=(("record", "member", "level"), np.stack([panel.levels[:members] for panel in panels]))
    )
    return Reproduction(density_figure(panels, MATRIX), data, caption, _start_checks(first.isel(record=0)))


def draw_first_head(dataset: xr.Dataset) -> Reproduction:
    """A and σ² of the first head of every layer over training, as in [A] Fig. 4."""
    point = _last_point(dataset)
    fits = attention.marchenko_pastur(point, KIND, head=1)
    figure = fit_figure(
        fits["record"].values, *(Course(fits[n].values, fits[f"{n}_err"].values) for n in ("area", "sigma2"))
    )
    end = "; ".join(
        f"layer {k + 1}: A = {_number(fits.isel(layer=k), 'area', -1)}, "
        f"σ² = {_number(fits.isel(layer=k), 'sigma2', -1)}"
        for k in range(fits.sizes["layer"])
    )
    caption = (
        f"Area A and σ² of the Marchenko-Pastur part of X = KᵀK by layer, first head alone as published, "
        f"{_setting(dataset, point)} Errors by bootstrap over members. Dotted: A = 1 and σ² = 1/3. At the "
        f"end: {end}."
    )
    start = fits.mean("layer").isel(record=0)
    return Reproduction(figure, fits, caption, _start_checks(start, fits.sizes["layer"]))


def draw_fits(dataset: xr.Dataset) -> Reproduction:
    """A, σ² and tail exponent of every layer over training."""
    point = _last_point(dataset)
    fits = attention.marchenko_pastur(point, KIND)
    layers, records = fits["area"].shape
    tails = [attention.tails(point, KIND, r) for r in range(records)]
    for name, value in {"alpha": "alpha", "alpha_err": "alpha_err", "tail_p": "p_value"}.items():
        column = [[np.nan if fit is None else float(getattr(fit, value)) for fit in row] for row in tails]
        fits[name] = (("record", "layer"), column)
        fits[name] = fits[name].transpose("layer", "record")
    figure = fit_figure(
        fits["record"].values,
        *(Course(fits[name].values, fits[f"{name}_err"].values) for name in ("area", "sigma2", "alpha")),
    )
    at = sorted({0, _early(point), records - 1})
    found = "; ".join(
        f"layer {layer + 1}: A = "
        + ", ".join(_number(fits.isel(layer=layer), "area", r) for r in at)
        + ", σ² = "
        + ", ".join(_number(fits.isel(layer=layer), "sigma2", r) for r in at)
        + f", α = {_number(fits.isel(layer=layer), 'alpha', -1)} (p = {float(fits['tail_p'][layer, -1]):.2g})"
        for layer in range(layers)
    )
    steps = ", ".join(str(int(point["record"][r])) for r in at)
    # [A] Fig. 4 shows the first head; with the same networks that is a quarter of the levels.
    one = attention.marchenko_pastur(point, KIND, head=1)
    alone = "; ".join(
        f"{_number(one.isel(layer=k), 'area', -1)}, {_number(one.isel(layer=k), 'sigma2', -1)}"
        for k in range(layers)
    )
    fits = fits.merge(one.rename({name: _of(name, "head1") for name in map(str, one.data_vars)}))
    scaled = attention.marchenko_pastur(point, KIND, common_scale=True)
    common = "; ".join(
        f"{_number(scaled.isel(layer=k), 'area', -1)} (p = {float(scaled['p_value'][k, -1]):.2g})"
        for k in range(layers)
    )
    fits = fits.merge(scaled.rename({name: _of(name, "common_scale") for name in map(str, scaled.data_vars)}))
    caption = (
        f"Area A and σ² of the Marchenko-Pastur part of X = KᵀK and exponent α of a power law through the "
        f"largest levels, by layer, all heads together, {_setting(dataset, point)} Errors by bootstrap over "
        f"members. Dotted: A = 1 and σ² = 1/3. At iterations {steps}: {found}; α and the p-value of its "
        f"goodness of fit at the end. At initialisation α is that of a spectrum without a tail. First "
        f"head alone, as published, at the end, A and σ² by layer: {alone}. Matrices of different size look "
        f"like a tail when pooled: with each brought to the same median level first, A at the end is "
        f"{common}, p from noise of the same shape."
    )
    return Reproduction(figure, fits, caption, _start_checks(fits.mean("layer").isel(record=0), layers))


def _last_point(dataset: xr.Dataset) -> xr.Dataset:
    *_, (_, point) = attention.points(dataset)
    return point.load()


def _early(point: xr.Dataset) -> int:
    """The record nearest to a fifth of the run: iteration 1000 of 5000, as published."""
    steps = point["record"].values
    return int(np.argmin(np.abs(steps - steps[-1] / 5)))


def _shown(point: xr.Dataset) -> list[int]:
    return sorted({0, _early(point), point.sizes["record"] - 1})


def _spacing_test(point: xr.Dataset, record: int, ratio: float) -> spectra.SpacingTest:
    x = attention.levels(point, 1, record)
    return spectra.spacing_test(x.reshape(-1, x.shape[-1]), ratio, NULL_SAMPLES)


def _start_checks(start: xr.Dataset, layers: int = 1) -> tuple[Check, ...]:
    """A = 1 and σ² = 1/3 where nothing has been learned; the layers of a network start independently."""
    error = {name: float(start[f"{name}_err"]) / layers**0.5 for name in ("sigma2", "area")}
    return (
        Check(
            "σ² at initialisation", float(start["sigma2"]), error["sigma2"], 1 / 3,
            mistaken=NORMAL_SIGMA2, mistake="normal weights of variance 1/n_in", systematic=SYSTEMATIC,
        ),
        Check("A at initialisation", float(start["area"]), error["area"], 1.0, systematic=SYSTEMATIC),
    )  # fmt: skip


def _setting(dataset: xr.Dataset, point: xr.Dataset) -> str:
    config = json.loads(dataset.attrs["config"])
    model = config["model"]
    loss = point["val_loss"].where(point["alive"]).isel(record=-1)
    return (
        f"nano-GPT with {model['layers']} layers of {model['heads']} heads, width {model['width']}, context "
        f"{model['context']}, text {model['text']} ({len(model['vocabulary'])} characters), "
        f"{config['optimizer']}, α = {float(point['lr']):g}, |B| = {int(point['batch_size'])}, "
        f"{int(loss.count())} seeds, {int(point['record'][-1])} iterations, validation loss "
        f"{float(loss.mean()):.3f}."
    )


def _of(name: str, what: str) -> str:
    """The name of a variable of other matrices; that of an error stays one."""
    return f"{name.removesuffix('_err')}_{what}_err" if name.endswith("_err") else f"{name}_{what}"


def _number(fits: xr.Dataset, name: str, record: int) -> str:
    value, error = (float(fits[key][record]) for key in (name, f"{name}_err"))
    return f"{value:.3f} ± {error:.3f}"


def _recipe(name: str, source: str, title: str, draw) -> Recipe:
    def make(scale: str, progress: Progress | None) -> Reproduction:
        return draw(ensemble(scale, progress))

    return Recipe(name, source, title, make, {"quick": 60, "default": 550, "paper": 4_200}, draw)


SPACINGS = _recipe(
    "gpt-spacings",
    "[A] Fig. 3 top; [C] nano-GPT spacings",
    "Level spacings of a transformer's key matrices",
    draw_spacings,
)
DENSITY = _recipe(
    "gpt-density",
    "[A] Fig. 3 bottom; [C] nano-GPT densities",
    "Spectral density of a transformer's key matrices",
    draw_density,
)
FIRST_HEAD = _recipe(
    "gpt-mp-fit-head1",
    "[A] Fig. 4, first head",
    "Marchenko-Pastur part of the first head's key matrices",
    draw_first_head,
)
FITS = _recipe(
    "gpt-mp-fit",
    "[A] Fig. 4 left; [A] Fig. 4 right",
    "Marchenko-Pastur part and tail of the key matrices",
    draw_fits,
)

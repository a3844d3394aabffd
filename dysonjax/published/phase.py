"""The phase diagram of the teacher-student network and what differs between phases. [C]; arXiv 2509.01349.

All figures show one ensemble over the published grid, learning rates and σ_W of 2⁻³ … 2⁸ at |B| = 4, and can
be drawn from a run of `dysonjax phase-diagram` as well. Lines are what theory says without a simulation.
"""

import functools
from math import gamma
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.ensemble import Grid, configuration, train
from dysonjax.figures import panels
from dysonjax.figures.phase_diagram import boundary_lines, heat_map, phase_map, resolved
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.published.equilibrium import numbers
from dysonjax.published.rbm import MARKERS
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value
from dysonjax.spectra.averages import mean_and_sem

POWERS = tuple(2.0**k for k in range(-3, 9))
# scale: learning rates, σ_W, seeds, steps
SIZES = {
    "test": ((1.0, 256.0), (0.5, 16.0), 12, 1_500),
    "quick": (POWERS, POWERS, 8, 20_000),
    "default": (POWERS, POWERS, 16, 200_000),
    "paper": (POWERS, POWERS, 100, 100_000_000),
}
SECONDS = {"quick": 20, "default": 110, "paper": 75_000}
INPUTS, FEATURES_BELOW, FEATURES = 3, 32, 16  # of the published network
SAMPLES = 128  # fresh inputs behind the observables


@trained_once
def ensemble(scale: str, progress=None) -> xr.Dataset:
    """The runs behind all figures of this file."""
    lr, sigma_w, seeds, steps = SIZES[scale]
    grid = Grid(lr=lr, sigma_w=sigma_w, batch_size=4, seeds=seeds)
    return train(models.teacher_student(), grid, steps, 21, progress=progress).dataset


def published(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset of a run, if it is one of the published network; raises InputError otherwise."""
    config = configuration(dataset)["model"]
    if config["name"] != "teacher-student" or list(config["widths"]) != [3, 32, 16, 1]:
        raise InputError("this figure needs a run of dysonjax phase-diagram with widths 3,32,16,1")
    if dataset.sizes["batch_size"] > 1:
        dataset = dataset.isel(batch_size=[0])
    return dataset


class Diagram(NamedTuple):
    """What the maps of this file show of a run, its first batch size selected."""

    dataset: xr.Dataset
    averages: xr.Dataset  # dims (lr, sigma_w)
    phases: xr.Dataset
    jamming: phase.Jamming
    noise: xr.DataArray  # the published line at all contours, dims (contour, sigma_w)
    variance: xr.DataArray  # the same with the variance of the turned matrix


def diagram(dataset: xr.Dataset) -> Diagram:
    """Averages, phases and boundary lines of a run; raises InputError as `published`."""
    dataset = published(dataset)
    return Diagram(
        dataset,
        phase.observables(dataset).isel(batch_size=0),
        phase.classify(dataset),
        phase.jamming_line(dataset),
        noise_line(dataset, "published"),
        noise_line(dataset, "variance"),
    )


def noise_line(dataset: xr.Dataset, criterion: str) -> xr.DataArray:
    """`phase.noise_line`; no temperature anywhere for runs that did not record what it needs."""
    if criterion in phase.criteria(dataset):
        return phase.noise_line(dataset, criterion=criterion)
    other = phase.noise_line(dataset, criterion="variance")
    return xr.full_like(other, np.nan)


def line_error(dataset: xr.Dataset) -> xr.DataArray:
    """`phase.noise_line_error` of the published line at 68 %; NaN for runs that did not record it."""
    if "published" in phase.criteria(dataset):
        return phase.noise_line_error(dataset)
    return xr.full_like(dataset["sigma_w"], np.nan, dtype=float)


def described(dataset: xr.Dataset) -> str:
    """Parameters and statistics for a caption."""
    return (
        f"Network [3, 32, 16, 1] with tanh, middle matrix learned, 1000 fixed batches; |B| = "
        f"{numbers(dataset['batch_size'].values)}, α = {dataset['lr'].values[0]:g} … "
        f"{dataset['lr'].values[-1]:g}, σ_W = {dataset['sigma_w'].values[0]:g} … "
        f"{dataset['sigma_w'].values[-1]:g}; {dataset.sizes['seed']} seeds (root seed 0), "
        f"{int(dataset['record'][-1])} steps"
    )


def statistics(dataset: xr.Dataset) -> dict[str, int]:
    """What a comparison must know of a run: networks behind each average, and steps."""
    return {"networks": dataset.sizes["seed"], "steps": int(dataset["record"][-1])}


def halfway(dataset: xr.Dataset, names: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Averages at the record nearest to half the steps, `NAME_before`: how far training still moves them."""
    record = dataset["record"].values
    middle = max(1, int(np.argmin(np.abs(record - record[-1] / 2))))
    before = phase.observables(dataset.isel(record=slice(0, middle + 1))).isel(batch_size=0)
    before["growth"] = before["growth_rate"] * float(record[middle] - record[0])
    before = before.drop_vars("record", errors="ignore")
    return {f"{name}_before": before[name] for name in names if name in before}


@functools.cache
def feature_sample(draws: int = 100_000) -> np.ndarray:
    """|tanh(Mx)|²/32 of the features that enter the learned matrix, for random M and x, (draws,).

    It is the variance of a pre-activation over σ_W², given x: pre-activations are Gaussian.
    """
    rng = np.random.default_rng(0)
    # M x has components of variance |x|²/3 at given x.
    radius = np.sqrt((rng.normal(size=(draws, INPUTS)) ** 2).sum(axis=1) / INPUTS)
    return (np.tanh(radius[:, None] * rng.normal(size=(draws, FEATURES_BELOW))) ** 2).mean(axis=1)


def over_seeds(
    name: str, values: xr.DataArray, expected: float, mistaken: float, mistake: str, systematic: float = 0.0
) -> Check:
    """A check of the mean of `values`, first over all grid points of a seed but NaN, then over seeds."""
    each = values.mean([dim for dim in values.dims if dim != "seed"]).values
    mean, error = map(float, mean_and_sem(np.where(np.isfinite(each), each, np.nan)))
    return Check(name, mean, error, expected, mistaken, mistake, systematic)


def variance_check(dataset: xr.Dataset) -> Check:
    """Pre-activation variance over σ_W² at the start, behind the measured jamming line."""
    ratio = dataset["preactivation_variance"].isel(record=0) / dataset["sigma_w"] ** 2
    return over_seeds(
        "pre-activation variance / σ_W²", ratio, float(feature_sample().mean()), 1.0,
        "the published line takes it as 1", systematic=0.003,
    )  # fmt: skip


# ---- the loss


def phase_diagram(dataset: xr.Dataset) -> Reproduction:
    """Test loss and phases over disorder and temperature, with both boundary lines."""
    dataset, averages, phases, jamming, noise, variance = diagram(dataset)
    point = phases.isel(batch_size=0)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.5, sharey=True)
        loss = 10.0 ** averages["log10_test_loss"]
        figure.colorbar(heat_map(left, loss, norm=LogNorm(), cmap="viridis"), ax=left)
        left.set_title("test loss (mean of its logarithm)")
        phase_map(figure, right, point)
        draw_lines(figure, (left, right), jamming, noise, variance, dataset.sizes["seed"])
    counts = phase.count(phases)
    check = variance_check(dataset)
    warm = float(phase.convergence_line(phases).max())
    caption = (
        f"{described(dataset)}. {counts['converged']} points converged, {counts['jammed']} jammed, "
        f"{counts['divergent']} divergent, {counts['undecided']} undecided (as many seeds in one phase as in "
        f"another). Jamming line: published at 1/σ_W = √2, where σ_W² = 1/2, up to the noise line; the "
        f"variance that must pass 1/2 is that of the pre-activations, {value(check)} σ_W² (theory "
        f"{check.expected:.4f}), which puts it at 1/σ_W = {jamming.measured:.2f}; training jams at about "
        f"{_jam(phases)}. Noise line: drift exceeds noise in 68 % of the networks at the last record, with "
        f"the criterion as published: T = {line_text(noise)}; with the variance of the turned matrix: T = "
        f"{line_text(variance)}. Training converges up to T = {warm:g}."
    )
    data = xr.Dataset(
        {
            "test_loss": loss,
            "log10_test_loss": averages["log10_test_loss"],
            "log10_test_loss_err": averages["log10_test_loss_err"],
            "mean_test_loss": averages["mean_test_loss"],
            "mean_test_loss_err": averages["mean_test_loss_err"],
            **halfway(dataset, ("mean_test_loss",)),
            "phase": point["point"].astype(np.int32),
            "agreement": point["agreement"],
            "noise_line": noise,
            "log2_noise_line_err": line_error(dataset),
            "noise_line_variance": variance,
        },
        attrs={"jamming_published": float(jamming.published), "jamming_measured": float(jamming.measured)},
    )
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


def draw_lines(figure, axes, jamming, noise, variance, seeds: int) -> None:
    """Labels, boundary lines and their legend."""
    for axis in axes:
        handles = boundary_lines(axis, jamming, resolved(noise, seeds), variance)
        axis.set_xlabel(r"inverse disorder  $1/\sigma_W$")
    axes[0].set_ylabel(r"temperature  $T=\alpha/|B|$")
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7)


def line_text(noise: xr.DataArray) -> str:
    """The first contour of a noise line for a caption."""
    first = noise.isel(contour=0)
    listed = ", ".join(
        f"{float(t):.3g} at 1/σ_W = {1 / float(w):.3g}"
        for w, t in zip(first["sigma_w"].values, first.values, strict=True)
        if np.isfinite(t) and np.log2(w) % 2 == 1
    )
    return listed or "at no temperature of the grid"


def _jam(phases: xr.Dataset) -> str:
    """Where the coldest networks stop converging, between two values of the grid."""
    coldest = phases["point"].isel(batch_size=0, lr=0).values
    widths = phases["sigma_w"].values
    converged = widths[coldest == 0]
    stuck = widths[coldest == 1]
    if not len(converged) or not len(stuck):
        return "no point of this grid"
    return f"1/σ_W = {1 / stuck.min():.3g} … {1 / converged.max():.3g}"


# ---- field alignment


def field_alignment(dataset: xr.Dataset) -> Reproduction:
    """Alignment of features with the external field h, over the diagram and against exact learning."""
    dataset, averages, phases, jamming, noise, variance = diagram(dataset)
    exact = exact_alignment(dataset)
    point = phases["point"].isel(batch_size=0)
    predicted, measured = exact.isel(batch_size=0).mean("seed"), averages["field_alignment"]
    with style():
        figure, (left, middle, right) = new_figure(1, 3, width=1.35 * PAGE, height=3.5)
        maps = (
            (left, 1e3 * measured, r"field alignment $h\cdot\phi$  ($\times 10^{-3}$)"),
            (middle, averages.get("field_alignment_per_feature"), "the same, each feature normalised"),
        )
        for axis, shown, title in maps:
            axis.set_title(title)
            if shown is not None:
                bar = figure.colorbar(heat_map(axis, shown, vmin=0, cmap="viridis"), ax=axis)
                bar.ax.tick_params(labelsize=7)
        draw_lines(figure, (left, middle), jamming, noise, variance, dataset.sizes["seed"])
        for index, name in enumerate(phase.PHASES):
            of_phase = (point == index).values
            if not of_phase.any():
                continue
            panels.points(
                right, 1e3 * predicted.values[of_phase], 1e3 * measured.values[of_phase],
                1e3 * averages["field_alignment_err"].values[of_phase], fmt=MARKERS[index],
                color=CYCLE[index], label=name,
            )  # fmt: skip
        shown = predicted.where(point == 0) if (point == 0).any() else predicted
        x = np.array([0, 1.05e3 * float(shown.max())])
        right.plot(x, inverse_readout() * x, color=BLACK, lw=1, label=r"exact learning, $\hat y=y$")
        right.set(xlim=x, ylim=(0, None), title="each point of the grid")
        right.set_xlabel(rf"$|y|\,/\,{SAMPLES}\,|\phi|$  ($\times 10^{{-3}}$)")
        right.set_ylabel(r"$h\cdot\phi$  ($\times 10^{-3}$)")
        right.legend(loc="upper left")
    check = _alignment_check(dataset, exact.where(phases["member"] == 0))
    inside, outside = (1e3 * float(measured.where(these).mean()) for these in (point == 0, point != 0))
    caption = (
        f"{described(dataset)}. h_jα = Σ_i y_iα Z_ij and φ normalised over 128 fresh samples and 16 "
        "features, their product divided by 128, so that 7.8·10⁻³ is parallel; means over seeds and "
        "their errors. "
        "Once ŷ = y the alignment is |y|/(|Z||φ|) whatever the student has become: measured over this in "
        f"converged members, with |Z| = 1, {value(check)}, theory ⟨1/|Z|⟩ = {check.expected:.3f}. Mean over "
        f"converged points {inside:.2f}·10⁻³, over the others {outside:.2f}·10⁻³. "
        "In the middle every feature is normalised over the samples by itself: the mean cosine with its own "
        "field."
    )
    data = xr.Dataset(
        {
            "field_alignment": measured,
            "field_alignment_err": averages["field_alignment_err"],
            **{
                name: averages[name]
                for name in ("field_alignment_per_sample", "field_alignment_per_feature")
                if name in averages
            },
            "exact_learning": inverse_readout() * predicted,
            "phase": point.astype(np.int32),
        },
        attrs={"parallel": 1 / SAMPLES},
    )
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


def exact_alignment(dataset: xr.Dataset) -> xr.DataArray:
    """|y|/|φ| of every member over the number of samples: its alignment once ŷ = y, if |Z| = 1."""
    last = dataset.isel(record=-1)
    start = np.sqrt(dataset["feature_overlap"].isel(record=0))  # root mean square of the initial features
    now = last["feature_overlap"] / (last["feature_memory"] * start)
    return np.sqrt(last["target_variance"]) / (np.sqrt(FEATURES) * now) / SAMPLES


def inverse_readout() -> float:
    """⟨1/|Z|⟩ of a readout Z with 16 entries of variance 1/16."""
    return float(np.sqrt(FEATURES / 2) * gamma((FEATURES - 1) / 2) / gamma(FEATURES / 2))


def _alignment_check(dataset: xr.Dataset, exact: xr.DataArray) -> Check:
    ratio = dataset["field_alignment"].isel(record=-1) / exact
    return over_seeds(
        "field alignment / |y|/|φ|, converged", ratio, inverse_readout(), 0.0,
        "features unrelated to the field", systematic=0.02,
    )  # fmt: skip


# ---- feature correlation in time


def feature_correlation(dataset: xr.Dataset) -> Reproduction:
    """Correlation of features with the initial ones, over the diagram and over time in each phase."""
    dataset, averages, phases, jamming, noise, variance = diagram(dataset)
    typical = phase.typical_members(dataset, phases)
    with style():
        figure, (left, right) = new_figure(1, 2, width=PAGE, height=3.5)
        bar = figure.colorbar(
            heat_map(left, averages["feature_overlap"], vmin=0, vmax=1, cmap="viridis"), ax=left
        )
        bar.ax.tick_params(labelsize=7)
        left.set_title("$G(t_0,t)$ at the end")
        draw_lines(figure, (left,), jamming, noise, variance, dataset.sizes["seed"])
        curves = {}
        for k, (name, member) in enumerate(typical.items()):
            place = {dim: member[dim].item() for dim in ("batch_size", "lr", "sigma_w")}
            at = dataset["feature_overlap"].sel(place).transpose("seed", "record").values
            mean, error = mean_and_sem(at)
            width, temperature = place["sigma_w"], place["lr"] / place["batch_size"]
            curves[name] = (mean, error, width)
            label = rf"{name}: $1/\sigma_W={1 / width:.3g}$, $T={temperature:.3g}$"
            right.errorbar(
                dataset["record"], mean, error, fmt="o-", ms=2.5, lw=0.8,
                color=CYCLE[k], label=label,
            )  # fmt: skip
            right.axhline(initial_overlap(width), color=CYCLE[k], lw=0.7, ls=":")
        right.plot([], [], color=BLACK, lw=0.7, ls=":", label="theory at the start: nothing forgotten")
        right.set(xlabel="training step", title="$G(t_0,t)$ in time", ylim=(None, 1.45))
        right.set_yticks(np.linspace(0, 1, 6))
        right.legend(fontsize=7, loc="upper right")
        right.locator_params(axis="x", nbins=4)
    width = float(dataset["sigma_w"].values[np.argmin(np.abs(dataset["sigma_w"].values - 1))])
    first = dataset["feature_overlap"].isel(record=0).sel(sigma_w=width)
    check = over_seeds(
        f"G(t₀,t₀) at σ_W = {width:g}", first, initial_overlap(width), initial_overlap(2**0.5 * width),
        "twice the variance of the weights", systematic=0.003,
    )  # fmt: skip
    kept = "; ".join(
        f"{name} {curve[-1]:.3f} ± {error[-1]:.3f} of {curve[0]:.3f}"
        for name, (curve, error, _) in curves.items()
    )
    caption = (
        f"{described(dataset)}. G(t₀,t) = mean of φ_jα(t₀) φ_jα(t) over seeds, 128 fresh samples and "
        f"16 features; errors over seeds. Dotted: its start, the mean of tanh² of a Gaussian, no simulation. "
        f"{check.name}: {value(check)}, theory {check.expected:.4f}. Left at the end: {kept}. The jammed "
        "phase has the largest G; a converged network may keep most of a smaller one, if it starts near its "
        "goal."
    )
    data = xr.Dataset(
        {
            "feature_overlap": averages["feature_overlap"],
            "feature_overlap_err": averages["feature_overlap_err"],
            **halfway(dataset, ("feature_overlap",)),
            **{f"{name}_overlap": ("record", curve) for name, (curve, _, _) in curves.items()},
            **{f"{name}_overlap_err": ("record", error) for name, (_, error, _) in curves.items()},
            **{f"{name}_start_theory": initial_overlap(width_) for name, (_, _, width_) in curves.items()},
        },
        {"record": dataset["record"].values},
    )
    return Reproduction(figure, data.assign_attrs(statistics(dataset)), caption, (check,))


def initial_overlap(sigma_w: float) -> float:
    """⟨φ²⟩ at the start: the mean of tanh² of a Gaussian of variance σ_W²|tanh(Mx)|²/32."""
    variance = sigma_w**2 * feature_sample()
    return float(
        (np.tanh(np.sqrt(variance) * np.random.default_rng(1).normal(size=variance.size)) ** 2).mean()
    )


def phase_recipe(name: str, source: str, title: str, draw) -> Recipe:
    return Recipe(name, source, title, lambda scale, progress: draw(ensemble(scale, progress)), SECONDS, draw)


PHASE_DIAGRAM = phase_recipe(
    "phase-diagram",
    "[C] phase diagram of the loss",
    "Phase diagram of a teacher-student network",
    phase_diagram,
)
FIELD_ALIGNMENT = phase_recipe(
    "phase-field-alignment",
    "[C] external field alignment",
    "Alignment of the features with the external field",
    field_alignment,
)
FEATURE_CORRELATION = phase_recipe(
    "phase-feature-correlation",
    "[C] correlations in time",
    "Memory of the initial features",
    feature_correlation,
)

"""How networks move in the three phases: singular values, and correlations between any two times.

Both figures show the corners of the published diagram, 1/σ_W = 8 and 1/256, T = 1/32 and 64: the coldest
networks with little and with much disorder, and the hottest. For the converged phase this is the point that
the source shows; for the others it does not say which, and the corners are ours.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter

from dysonjax import models
from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.ensemble import Grid, configuration, log_spaced, train
from dysonjax.figures.phase_diagram import spectra_of_phases, steps_label
from dysonjax.figures.style import BLACK, CYCLE, PAGE, new_figure, style
from dysonjax.published.phase import initial_overlap, over_seeds, published
from dysonjax.published.recipe import Check, Recipe, Reproduction, trained_once, value

BATCH = 4


class Corner(NamedTuple):
    """A point of the published grid."""

    name: str
    inverse_sigma_w: float
    temperature: float


CORNERS = (
    Corner("converged", 8.0, 1 / 32),
    Corner("jammed", 1 / 256, 1 / 32),
    Corner("divergent", 8.0, 64.0),
)
# scale: networks, steps, records in equal distances
SIZES = {
    "test": (8, 2_000, 6),
    "quick": (16, 200_000, 21),
    "default": (100, 1_000_000, 21),
    "paper": (100, 100_000_000, 21),
}
SECONDS = {"quick": 10, "default": 150, "paper": 5_000}


@trained_once
def ensemble(scale: str, progress=None) -> xr.Dataset:
    """Networks at the corners, with their weights at all records."""
    seeds, steps, records = SIZES[scale]
    lr = sorted({BATCH * c.temperature for c in CORNERS})
    sigma_w = sorted({1 / c.inverse_sigma_w for c in CORNERS})
    grid = Grid(lr=lr, sigma_w=sigma_w, batch_size=BATCH, seeds=seeds)
    early = log_spaced(12, steps // (records - 1))[:-1]
    shown = sorted({*np.linspace(0, steps, records).astype(int).tolist(), *early})
    return train(
        models.teacher_student(), grid, shown[-1], shown, keep_weights="all", progress=progress
    ).dataset  # fmt: skip


def corners(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """The run at the corners, or at those points of its grid that are nearest to them."""
    dataset = published(dataset)
    found = {}
    for corner in CORNERS:
        widths, rates = dataset["sigma_w"].values, dataset["lr"].values / float(dataset["batch_size"][0])
        column = int(np.argmin(np.abs(np.log(widths * corner.inverse_sigma_w))))
        row = int(np.argmin(np.abs(np.log(rates / corner.temperature))))
        found[corner.name] = dataset.isel(batch_size=[0], lr=[row], sigma_w=[column])
    return found


def described(dataset: xr.Dataset) -> str:
    """Parameters and statistics for a caption."""
    return (
        f"Network [3, 32, 16, 1] with tanh, middle matrix learned, 1000 fixed batches of "
        f"{int(dataset['batch_size'][0])}; {dataset.sizes['seed']} networks at each point (root seed "
        f"{configuration(dataset)['seed']}), {int(dataset['record'][-1])} steps"
    )


def where(at: xr.Dataset) -> str:
    return f"1/σ_W = {1 / at['sigma_w'].item():.4g}, T = {(at['lr'] / at['batch_size']).item():.4g}"


# ---- singular values


def singular_values(dataset: xr.Dataset) -> Reproduction:
    """Squared singular values over training of one network at each corner, and the top level of all."""
    found = corners(dataset)
    dataset = published(dataset)
    lines, texts, shown = {}, [], {}
    for name, at in found.items():
        member = at.squeeze(("batch_size", "lr", "sigma_w"))
        loss = xr.apply_ufunc(np.log10, member["test_loss"].isel(record=-1)).where(
            member["alive"].isel(record=-1)
        )
        order = np.argsort(np.where(np.isfinite(loss), loss, np.inf))
        seed = int(order[(int(np.isfinite(loss).sum()) - 1) // 2])
        one = member.isel(seed=seed)
        shown[name] = xr.Dataset(
            {"levels": one["eigenvalues"].transpose("record", "mode"), "targets": one["target_eigenvalues"]}
        )
        mean, error = phase.mean_of_members(member["eigenvalues"].where(member["alive"]))
        lines[name] = (mean, error)
        top = mean.isel(mode=-1), error.isel(mode=-1)
        grown = member["eigenvalues"].isel(record=-1) / member["eigenvalues"].isel(record=0)
        moved = xr.apply_ufunc(np.log10, grown)
        change, change_error = phase.mean_of_members(
            moved.mean("mode").where(member["alive"].isel(record=-1))
        )
        texts.append(
            f"{name}, {where(at)}: the largest level goes from {float(top[0][0]):.3g} to "
            f"{float(top[0][-1]):.3g} ± {float(top[1][-1]):.2g}, log₁₀ of all levels changes by "
            f"{float(change):+.3f} ± {float(change_error):.2g} on average"
        )
    figure = spectra_of_phases(shown)
    # W_ij ~ N(0, σ_W²/n_in), so that the mean eigenvalue of X is σ_W² times n_in/n_in.
    start = over_seeds(
        "mean eigenvalue at the start / σ_W²",
        dataset["eigenvalues"].isel(record=0) / dataset["sigma_w"] ** 2,
        1.0, 2.0, "twice the variance of the weights",
    )  # fmt: skip
    caption = (
        f"{described(dataset)}. The network with the median test loss at the corners of the published "
        f"diagram and, in numbers, the mean over all networks: {'; '.join(texts)}. Dotted: eigenvalues of "
        "the teacher, which a student with shared outer matrices need not reach to learn its function. "
        f"{start.name[0].upper()}{start.name[1:]}: {value(start)}, theory 1."
    )
    data = xr.Dataset(
        {
            f"{name}_{what}": (dims, values)
            for name, (mean, error) in lines.items()
            for what, dims, values in (
                ("levels", ("record", "mode"), shown[name]["levels"].values),
                ("targets", ("mode",), shown[name]["targets"].values),
                ("mean", ("record", "mode"), mean.transpose("record", "mode").values),
                ("mean_err", ("record", "mode"), error.transpose("record", "mode").values),
            )
        },
        {"record": dataset["record"].values},
    )
    return Reproduction(figure, data, caption, (start,))


# ---- correlations between any two times


def two_times(dataset: xr.Dataset) -> Reproduction:
    """Normalised G(t, t') for all pairs of records at each corner, and G against t' − t and t'/t."""
    found = corners(dataset)
    results = {
        name: phase.two_time_correlation(phase.features(at)).squeeze(("batch_size", "lr", "sigma_w"))
        for name, at in found.items()
    }
    places = {name: where(at) for name, at in found.items()}
    with style():
        figure, axes = new_figure(2, 3, width=PAGE, height=4.6)
        for k, (name, result) in enumerate(results.items()):
            steps = result["record"].values
            matrix = result["normalised"].transpose("record", "later").values
            even = np.flatnonzero(np.isin(steps, _even(steps)))
            mesh = axes[0, k].pcolormesh(
                steps[even], steps[even], matrix[np.ix_(even, even)], norm=Normalize(0, 1), cmap="viridis",
                shading="nearest", rasterized=True,
            )  # fmt: skip
            axes[0, k].locator_params(nbins=3)
            for side in (axes[0, k].xaxis, axes[0, k].yaxis):
                side.set_major_formatter(FuncFormatter(steps_label))
            axes[0, k].set(title=f"{name}\n{_math(found[name])}", xlabel="$t'$", aspect="equal")
            for j, first in enumerate(_chosen(even, len(steps))):
                later = np.arange(first + 1, len(steps))
                label = f"$t$ = {steps_label(steps[first])}"
                axes[1, k].errorbar(
                    steps[later] - steps[first], matrix[first, later],
                    result["normalised_err"].transpose("record", "later").values[first, later],
                    fmt="o-", ms=2, lw=0.8, color=CYCLE[j], label=label,
                )  # fmt: skip
            axes[1, k].set(xlabel="$t'-t$", ylim=(-0.15, 1.05))
            axes[1, k].set_xscale("log")
            axes[1, k].axhline(0, color=BLACK, lw=0.5)
            axes[1, k].legend(fontsize=6, loc=(0.03, 0.2))
        axes[0, 0].set_ylabel("$t$")
        axes[1, 0].set_ylabel(r"$G(t,t')/\sqrt{G(t,t)G(t',t')}$")
        figure.colorbar(mesh, ax=axes[0], label="correlation")
    checks = (_starts(found["converged"]),)
    texts = []
    for name, result in results.items():
        last = result.isel(later=-1)
        middle = int(np.argmin(np.abs(result["record"].values - result["record"].values[-1] / 2)))
        parts = [
            f"{float(last['normalised'][i]):.3f} ± {float(last['normalised_err'][i]):.2g} with t = "
            f"{int(result['record'][i])}"
            for i in (0, middle)
        ]
        texts.append(f"{name} ({places[name]}): {' and '.join(parts)}")
    caption = (
        f"{described(published(dataset))}. G(t,t') = mean of φ_jα(t) φ_jα(t') over networks, 128 fresh "
        "samples and 16 features, for all pairs of records, divided by √(G(t,t)G(t',t')) network by network; "
        f"errors over networks. Correlation with the last record: {'; '.join(texts)}. Below: it ages if "
        "curves of different t do not fall on each other. Before it is normalised G(t₀,t₀) is ⟨tanh²⟩ of a "
        f"Gaussian: {'; '.join(f'{c.name} {value(c)}, theory {c.expected:.4f}' for c in checks)}."
    )
    names = ("correlation", "connected", "normalised")
    data = xr.Dataset(
        {
            f"{phase_}_{name}{suffix}": result[f"{name}{suffix}"].drop_vars(("batch_size", "lr", "sigma_w"))
            for phase_, result in results.items()
            for name in names
            for suffix in ("", "_err")
        }
    )
    return Reproduction(figure, data, caption, checks)


def _starts(at: xr.Dataset) -> Check:
    """G(t₀, t₀) against a Gaussian's ⟨tanh²⟩."""
    width = at["sigma_w"].item()
    expected = initial_overlap(width)
    wrong = initial_overlap(width / 2)
    first = at["feature_overlap"].isel(record=0)
    return over_seeds(
        f"G(t₀,t₀) at 1/σ_W = {1 / width:.4g}", first, expected, wrong, "half the width of the weights",
        systematic=0.004 * expected,
    )  # fmt: skip


def _even(steps: np.ndarray) -> np.ndarray:
    """Those records that lie in equal distances."""
    distance = np.diff(steps).max()
    return steps[(steps % distance) == 0] if steps[-1] % distance == 0 else steps


def _chosen(even: np.ndarray, count: int) -> list[int]:
    """The first record and three later ones."""
    return sorted({0, *(int(even[len(even) * k // 8]) for k in (1, 2, 4))} - {count - 1})


def _math(at: xr.Dataset) -> str:
    width, temperature = 1 / at["sigma_w"].item(), (at["lr"] / at["batch_size"]).item()
    return rf"$1/\sigma_W={width:.3g}$, $T={temperature:.3g}$"


def _draw_two_times(dataset: xr.Dataset) -> Reproduction:
    if "weights" not in dataset:
        raise InputError("this figure needs a run with weights at all records (--keep-weights all)")
    return two_times(dataset)


SINGULAR_VALUES = Recipe(
    "phase-singular-values",
    "[C] singular values in the three phases",
    "Squared singular values over training in the three phases",
    lambda scale, progress: singular_values(ensemble(scale, progress)),
    SECONDS,
    singular_values,
)
TWO_TIMES = Recipe(
    "phase-two-time-correlation",
    "[C] correlations in time; arXiv 2509.01349 two-time correlations",
    "Correlation of the features between any two records",
    lambda scale, progress: two_times(ensemble(scale, progress)),
    SECONDS,
    _draw_two_times,
)

"""Phases of the teacher-student network: observables with errors, classification, boundary lines.

Everything here works on the dataset of a run, wherever it was computed. Temperatures are T = lr/batch_size;
the seeds of a grid point are the unit of averaging and of resampling. [C]; arXiv 2509.01349.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.ensemble import configuration
from dysonjax.spectra.resampling import bootstrap

PHASES = ("converged", "jammed", "divergent")
JAMMING_VARIANCE = 0.5  # pre-activation variance at which the density of tanh features turns bimodal
CONTOURS = (0.68, 0.95, 0.997)


class Thresholds(NamedTuple):
    """Where one phase ends and the next begins.

    Chosen by eye, so here is how the phases move with them, on the published grid of 144 points after 2e4
    steps with 8 seeds: a loss threshold of 0.02 or 0.05 changes the phase of 3 or 4 points, 0.01 or 0.1 of 8
    or 14; a memory threshold of 0.3 or 0.7 of 14 and 14. The border between jammed and divergent is the soft
    one: memory is lost gradually.
    """

    loss: float = 0.03  # converged: test loss below this fraction of the targets' mean square
    memory: float = 0.5  # jammed rather than divergent: cosine with the initial features above this


def observables(dataset: xr.Dataset, resamples: int = 400) -> xr.Dataset:
    """Averages over seeds at the last record, with bootstrap errors `NAME_err`.

    Returns dims (batch_size, lr, sigma_w). Losses are averaged as log10. Members that diverged are left out;
    `seeds_used` counts the rest. `growth_rate` is (1/t) ln(u_t/u_0) with u the mean level distance of the
    learned matrix. With one seed the errors are NaN.
    """
    last = dataset.isel(record=-1)
    levels = dataset[main_matrix(dataset)]
    mode = levels.dims[-1]
    distance = (levels.isel({mode: -1}) - levels.isel({mode: 0})) / max(levels.sizes[mode] - 1, 1)
    steps = float(dataset["record"][-1] - dataset["record"][0])
    with np.errstate(divide="ignore", invalid="ignore"):
        members = {
            "log10_test_loss": np.log10(last["test_loss"]),
            "log10_train_loss": np.log10(last["train_loss"]),
            "feature_overlap": last["feature_overlap"],
            "feature_memory": last["feature_memory"],
            "field_alignment": last["field_alignment"],
            "field_alignment_per_sample": last["field_alignment_per_sample"],
            "growth_rate": np.log(distance.isel(record=-1) / distance.isel(record=0)) / max(steps, 1.0),
        }
    alive = last["alive"]
    result = {"seeds_used": alive.sum("seed")}
    for name, values in members.items():
        values = values.where(alive & np.isfinite(values)).transpose(..., "seed")
        result[name] = values.mean("seed")
        result[f"{name}_err"] = xr.DataArray(
            _mean_error(values.values, resamples), result[name].coords, result[name].dims
        )
    return xr.Dataset(result)


DEFAULT_THRESHOLDS = Thresholds()


def classify(dataset: xr.Dataset, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> xr.Dataset:
    """The phase of every member and of every grid point.

    A member is converged if its test loss is below `thresholds.loss` of the targets' mean square; otherwise
    jammed if its features still have a cosine of `thresholds.memory` or more with the initial ones; otherwise
    divergent. A frozen member is divergent. A point has the phase of most of its seeds. Returns `member`
    (batch_size, lr, sigma_w, seed) and `point`, both indices into `PHASES`, and `agreement`, the fraction of
    seeds that agree with the point.
    """
    for name, value in thresholds._asdict().items():
        checks.positive(f"thresholds.{name}", value)
    last = dataset.isel(record=-1)
    learned = last["alive"] & (last["test_loss"] < thresholds.loss * last["target_variance"])
    remembers = last["alive"] & (last["feature_memory"] >= thresholds.memory)
    member = xr.where(learned, 0, xr.where(remembers, 1, 2)).astype(np.int8)
    shares = xr.concat([(member == phase).mean("seed") for phase in range(3)], "phase")
    return xr.Dataset(
        {"member": member, "point": shares.argmax("phase").astype(np.int8), "agreement": shares.max("phase")},
        attrs={"phases": list(PHASES), **{f"threshold_{k}": v for k, v in thresholds._asdict().items()}},
    )


def count(phases: xr.Dataset) -> dict[str, int]:
    """Grid points in each phase, from the result of `classify`."""
    return {name: int((phases["point"] == index).sum()) for index, name in enumerate(PHASES)}


class Jamming(NamedTuple):
    """The line below which tanh features are unimodal at initialisation, as values of 1/sigma_w."""

    published: float  # sqrt 2: the variance of the pre-activations taken as sigma_w^2
    measured: float  # from the measured variance of the pre-activations of this ensemble


def jamming_line(dataset: xr.Dataset) -> Jamming:
    """Where the variance of the learned layer's pre-activations passes 1/2 at initialisation.

    tanh(z) of a Gaussian z turns bimodal when its variance passes 1/2. The published line,
    1/sigma_w = sqrt 2, takes that variance as sigma_w^2. It is sigma_w^2 times the mean square of the
    features below, which is about 0.3 to 0.4 behind a tanh layer, so that the features turn bimodal at a
    larger sigma_w.
    """
    first = dataset.isel(record=0)
    ratio = float((first["preactivation_variance"] / first["sigma_w"] ** 2).mean())
    return Jamming(np.sqrt(1 / JAMMING_VARIANCE), np.sqrt(ratio / JAMMING_VARIANCE))


def noise_threshold(dataset: xr.Dataset, record: int = 0) -> xr.DataArray:
    """The temperature at which noise overtakes drift, of every member, at one record.

    The drift K pulls the outermost levels apart (or together), the noise V repels
    them; levels stay ordered by learning while K/(sqrt(r) (N-1)) >= T V/(4 sigma_w^2) with r = M/N. At
    initialisation 4 sigma_w^2/sqrt(r) is the Marchenko-Pastur width of X, so that the criterion reads
    K (mean level distance) >= T V, and it is applied there by default. Solved for T: shape of the members;
    negative or zero if the drift does not separate the levels.
    """
    levels = dataset[main_matrix(dataset)]
    rows, columns = _matrix_shape(dataset)
    size, ratio = levels.sizes[levels.dims[-1]], max(rows, columns) / min(rows, columns)
    at = dataset.isel(record=record)
    scale = 4 * dataset["sigma_w"] ** 2 / (np.sqrt(ratio) * (size - 1))
    return (at["drift_gap"] * scale / at["noise_gap"]).transpose(*at["drift_gap"].dims)


def noise_line(dataset: xr.Dataset, contours: tuple[float, ...] = CONTOURS) -> xr.DataArray:
    """For each sigma_w, the temperature up to which a fraction of the members passes the noise criterion.

    Returns dims (contour, sigma_w): the (1 - contour) quantile of `noise_threshold` over seeds, batch sizes
    and, as the criterion is applied at initialisation, learning rates.
    """
    threshold = noise_threshold(dataset).transpose("sigma_w", ...).values
    threshold = threshold.reshape(dataset.sizes["sigma_w"], -1)
    # A threshold without a value (NaN) fails the criterion at every temperature.
    quantiles = np.quantile(
        np.nan_to_num(threshold, nan=-np.inf), 1 - np.array(contours), axis=1, method="lower"
    )
    return xr.DataArray(
        quantiles,
        {"contour": list(contours), "sigma_w": dataset["sigma_w"]},
        ("contour", "sigma_w"),
        name="temperature",
    )


def convergence_line(phases: xr.Dataset) -> xr.DataArray:
    """For each sigma_w, the largest temperature lr/batch_size of a converged grid point; NaN without one.

    The measured counterpart of `noise_line`; its resolution is the spacing of the grid.
    """
    temperature = phases["lr"] / phases["batch_size"]
    return temperature.where(phases["point"] == 0).max(("batch_size", "lr"))


def typical_members(dataset: xr.Dataset, phases: xr.Dataset) -> dict[str, xr.Dataset]:
    """One member for each phase that occurs: the seed with the median test loss at the phase's median point.

    Returns phase -> dataset with `levels` (record, mode) and `targets` (mode), the teacher's levels, and the
    member's coordinates.
    """
    members = {}
    for index, name in enumerate(PHASES):
        of_phase = phases["member"].values == index
        if not of_phase.any():
            continue
        # The medoid of the phase in the plane of the figure, in steps of the grid.
        places = np.argwhere(of_phase)
        centre = np.median(places[:, :3], axis=0)
        nearest = np.abs(places[:, :3] - centre).sum(axis=1)
        places = places[nearest == nearest.min()]
        loss = dataset["test_loss"].isel(record=-1).values[tuple(places.T)]
        place = places[np.argsort(loss)[len(loss) // 2]]
        at = dict(zip(("batch_size", "lr", "sigma_w", "seed"), map(int, place), strict=True))
        levels = main_matrix(dataset)
        members[name] = xr.Dataset(
            {"levels": dataset[levels].isel(at), "targets": dataset[f"target_{levels}"].isel(at)}
        )
    return members


def main_matrix(dataset: xr.Dataset) -> str:
    """The name of the spectrum that feeds the features: the learned matrix before the last hidden layer."""
    names = sorted(name for name in dataset.data_vars if str(name).startswith("eigenvalues"))
    if not names:
        raise checks.InputError("the dataset holds no eigenvalues; is it the dataset of a run?")
    if names == ["eigenvalues"] or "config" not in dataset.attrs:
        return names[0]
    last_hidden = f"eigenvalues_w{len(_widths(dataset)) - 2}"
    return last_hidden if last_hidden in names else names[-1]


def _widths(dataset: xr.Dataset) -> list[int]:
    return configuration(dataset)["model"]["widths"]


def _matrix_shape(dataset: xr.Dataset) -> tuple[int, int]:
    widths = _widths(dataset)
    return widths[-3], widths[-2]


def _mean_error(values: np.ndarray, resamples: int) -> np.ndarray:
    """Bootstrap error of the mean over the last axis (seeds), NaN entries left out."""
    flat = values.reshape(-1, values.shape[-1])
    if flat.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    present = np.isfinite(flat)
    stacked = np.stack([np.where(present, flat, 0.0), present], axis=-1)  # (points, seeds, 2)

    def mean(sample):
        total = sample.sum(axis=-2)
        with np.errstate(invalid="ignore"):
            return total[..., 0] / total[..., 1]

    with np.errstate(invalid="ignore"):
        error = bootstrap(stacked, mean, n=resamples, vectorised=True).error
    return np.where(present.sum(axis=-1) > 1, error, np.nan).reshape(values.shape[:-1])

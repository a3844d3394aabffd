"""What there is to explore, as plain arrays: grid points first, then seeds, records and modes."""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.report.explore.boundaries import Boundary, boundaries

MOST_POINTS = 4096  # of the grid; of a larger one every second value is left out until it fits
SKIP = ("alive", "diverged_at")
FIRST = ("test_loss", "val_loss", "train_loss", "feature_memory", "feature_overlap", "field_alignment")
COLOURS = {"converged": "#56b4e9", "jammed": "#f5d08a", "divergent": "#8c564b", "undecided": "#ffffff"}


class Axis(NamedTuple):
    """A dimension of the grid."""

    name: str
    label: str
    values: np.ndarray


class Levels(NamedTuple):
    """A spectrum: levels of every network at every record."""

    name: str
    label: str
    values: np.ndarray  # (point, seed, record, mode), NaN where a network is not there
    targets: np.ndarray | None  # (point, mode)


class Observable(NamedTuple):
    """One number a network and record."""

    name: str
    label: str
    values: np.ndarray  # (point, seed, record)


class Phases(NamedTuple):
    """Indices into `names`."""

    names: list[str]
    point: np.ndarray  # (point, record)
    member: np.ndarray  # (point, seed), at the last record


class Scene(NamedTuple):
    """All that the explorer shows; the points of the grid are in the order of its axes, the last fastest."""

    axes: list[Axis]
    record_label: str
    records: np.ndarray
    record_names: list[str] | None  # where records have names instead of numbers
    seeds: np.ndarray
    diverged: np.ndarray  # (point, seed), the step, -1 if it never was
    spectra: list[Levels]
    observables: list[Observable]
    phases: Phases | None
    notes: list[str]
    boundaries: tuple[Boundary, ...] = ()
    members: str = "seed"  # what a network is called
    file: str = "run.zarr"  # that holds all numbers


def of_dataset(dataset: xr.Dataset, options: dict[str, Any] | None = None) -> Scene:
    """The scene of a run. options: those of its command, of which the thresholds of phases are taken."""
    dims = [str(dim) for dim in dataset["train_loss"].dims if dim not in ("seed", "record")]
    dataset, notes = _thinned(dataset, dims)
    alive = dataset["alive"]
    each = {*dims, "seed", "record"}
    spectra, observables = [], []
    for name in map(str, dataset.data_vars):
        variable = dataset[name]
        extra = [str(dim) for dim in variable.dims if dim not in each]
        label = str(variable.attrs.get("long_name", name))
        if name in SKIP or not each <= set(variable.dims) or len(extra) > 1:
            continue
        if extra:
            values = _flat(variable.where(alive), dims, ("seed", "record", *extra))
            spectra.append(Levels(name, label, values, _targets(dataset, name, dims, extra[0])))
        else:
            values = _flat(variable.where(alive), dims, ("seed", "record"))
            observables.append(Observable(name, label, values))
    if any(levels.targets is not None for levels in spectra):
        notes.append("Dotted lines: levels that are to be learned, means over seeds.")
    spectra.sort(key=lambda levels: not levels.name.startswith("eigenvalues"))
    observables.sort(key=lambda o: FIRST.index(o.name) if o.name in FIRST else len(FIRST))
    return Scene(
        axes=[Axis(d, str(dataset[d].attrs.get("long_name", d)), dataset[d].values) for d in dims],
        record_label="training step",
        records=dataset["record"].values,
        record_names=None,
        seeds=dataset["seed"].values,
        diverged=_flat(dataset["diverged_at"], dims, ("seed",)),
        spectra=spectra,
        observables=observables,
        phases=(phases := _phases(dataset, dims, options or {})),
        notes=notes,
        boundaries=tuple(boundaries(dataset)) if phases else (),
    )


def _thinned(dataset: xr.Dataset, dims: list[str]) -> tuple[xr.Dataset, list[str]]:
    """At most `MOST_POINTS` of a grid, and what was left out."""
    points = math.prod(dataset.sizes[dim] for dim in dims)
    shown = dataset
    while math.prod(shown.sizes[dim] for dim in dims) > MOST_POINTS:
        longest = max(dims, key=lambda dim: shown.sizes[dim])
        shown = shown.isel({longest: slice(None, None, 2)})
    left = math.prod(shown.sizes[dim] for dim in dims)
    return shown, [] if left == points else [f"{left} of {points} grid points are shown here."]


def _flat(variable: xr.DataArray, dims: list[str], rest: tuple[str, ...]) -> np.ndarray:
    """The values with one axis for all points of the grid."""
    values = variable.transpose(*dims, *rest).values
    return values.reshape(-1, *values.shape[len(dims) :])


def _targets(dataset: xr.Dataset, name: str, dims: list[str], mode: str) -> np.ndarray | None:
    """The levels that are to be learned, means over seeds."""
    target = f"target_{name}"
    if target not in dataset:
        return None
    values = _flat(dataset[target], dims, ("seed", mode))
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _phases(dataset: xr.Dataset, dims: list[str], options: dict[str, Any]) -> Phases | None:
    """Phases at every record, for runs that have phases."""
    usual = phase.DEFAULT_THRESHOLDS
    chosen: dict[str, Any] = {
        name: options.get(f"threshold_{name}", value) for name, value in usual._asdict().items()
    }
    try:
        thresholds = phase.Thresholds(**chosen)
        found = [
            phase.classify(dataset.isel(record=[record]), thresholds)
            for record in range(dataset.sizes["record"])
        ]
    except InputError:
        return None
    point = np.stack([_flat(f["point"], dims, ()) for f in found], axis=-1)
    return Phases(list(phase.PHASES), point, _flat(found[-1]["member"], dims, ("seed",)))

"""The numbers of a run as CSV tables that any program reads, and as the data of its figures."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.report.tables import of_summary

SKIP = ("alive", "diverged_at")


def of_run(dataset: xr.Dataset, thresholds: phase.Thresholds | None) -> Iterator[tuple[str, str, str]]:
    """Name, description and content of every table of a training run. thresholds: of its phases."""
    dims = [str(dim) for dim in dataset["train_loss"].dims if dim not in ("seed", "record")]
    members = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if set(variable.dims) == {*dims, "seed", "record"} and name not in SKIP
    ]
    yield (
        "tables/records.csv",
        "Mean and standard error over the seeds alive of every observable, at every grid point and record.",
        _records(dataset, dims, members),
    )
    yield (
        "tables/members.csv",
        "Every network at the last record; diverged_at is the step at which it was frozen, -1 for never.",
        _members(dataset, dims, members),
    )
    for name in map(str, dataset.data_vars):
        if name.startswith("eigenvalues"):
            about = f"{dataset[name].attrs.get('long_name', name)}: of every network at the last record."
            yield f"tables/{name}.csv", about, _levels(dataset, dims, name)
    if thresholds is not None:
        try:
            yield from _phases(dataset, dims, thresholds)
        except InputError:  # of a run that has no phases
            return


def of_numbers(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The tables of a summary, whatever its command."""
    for index, table in enumerate(of_summary(summary)):
        columns, rows = _split(table.columns, table.rows)
        name = "".join(c if c.isalnum() else "-" for c in table.title.lower()).strip("-")
        about = f"{table.title}, from summary.json. {table.note}".strip()
        yield f"tables/summary-{index:02d}-{name}.csv", about, text(columns, rows)


def of_levels(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, str, str]]:
    """The arrays of levels.npz; of a motion its last time."""
    times = arrays.get("times")
    for name, values in arrays.items():
        if name == "times" or values.ndim < 2:
            continue
        last = values[:, -1] if values.ndim == 3 else values
        when = f" at time {times[-1]:g}" if values.ndim == 3 and times is not None else ""
        columns = ["member", *(f"level_{i}" for i in range(last.shape[-1]))]
        rows = ([i, *map(float, row)] for i, row in enumerate(last))
        yield f"tables/{name}.csv", f"Levels of every member, ascending{when}.", text(columns, rows)


def text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """The text of a table; numbers with all their digits, nothing for what is missing."""
    found = io.StringIO()
    writer = csv.writer(found, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if isinstance(x, float) and np.isnan(x) else x for x in row])
    return found.getvalue()


def _split(columns: list[str], rows: list[list]) -> tuple[list[str], list[list]]:
    """A column of (value, error) as two."""
    both = [any(isinstance(row[i], tuple) for row in rows) for i in range(len(columns))]
    heads = [h for c, two in zip(columns, both, strict=True) for h in ([c, f"{c} err"] if two else [c])]
    cells = [[part for x, two in zip(row, both, strict=True) for part in _parts(x, two)] for row in rows]
    return heads, cells


def _parts(cell, two: bool) -> tuple:
    if not two:
        return (cell,)
    return cell if isinstance(cell, tuple) else (cell, "")


def _points(dataset: xr.Dataset, dims: list[str]) -> list[tuple[tuple[int, ...], list]]:
    shape = [dataset.sizes[dim] for dim in dims]
    return [
        (place, [dataset[dim].values[i].item() for dim, i in zip(dims, place, strict=True)])
        for place in np.ndindex(*shape)
    ]


def _records(dataset: xr.Dataset, dims: list[str], names: list[str]) -> str:
    alive = dataset["alive"]
    averages = [phase.mean_of_members(dataset[name].where(alive)) for name in names]
    arrays = [a.transpose(*dims, "record").values for pair in averages for a in pair]
    count = alive.sum("seed").transpose(*dims, "record").values
    heads = [head for name in names for head in (name, f"{name}_err")]
    rows = (
        [*point, int(step), int(count[place][r]), *(float(a[place][r]) for a in arrays)]
        for place, point in _points(dataset, dims)
        for r, step in enumerate(dataset["record"].values)
    )
    return text([*dims, "step", "seeds_alive", *heads], rows)


def _members(dataset: xr.Dataset, dims: list[str], names: list[str]) -> str:
    last = dataset.isel(record=-1)
    arrays = [last[name].transpose(*dims, "seed").values for name in names]
    frozen = dataset["diverged_at"].transpose(*dims, "seed").values
    rows = (
        [*point, int(seed), int(frozen[place][s]), *(float(a[place][s]) for a in arrays)]
        for place, point in _points(dataset, dims)
        for s, seed in enumerate(dataset["seed"].values)
    )
    return text([*dims, "seed", "diverged_at", *names], rows)


def _levels(dataset: xr.Dataset, dims: list[str], name: str) -> str:
    mode = next(dim for dim in dataset[name].dims if dim not in (*dims, "seed", "record"))
    values = dataset[name].isel(record=-1).transpose(*dims, "seed", mode).values
    rows = (
        [*point, int(seed), *map(float, values[place][s])]
        for place, point in _points(dataset, dims)
        for s, seed in enumerate(dataset["seed"].values)
    )
    return text([*dims, "seed", *(f"level_{i}" for i in range(values.shape[-1]))], rows)


def _phases(dataset, dims, thresholds) -> Iterator[tuple[str, str, str]]:
    """What phase_diagram.png shows: averages and phases of the points, and the lines between them."""
    averages, phases = phase.observables(dataset), phase.classify(dataset, thresholds)
    names = list(map(str, averages.data_vars))
    arrays = [averages[name].transpose(*dims).values for name in names]
    point, agreement = (phases[name].transpose(*dims).values for name in ("point", "agreement"))
    rows = (
        [
            *values,
            phase.PHASES[int(point[place])],
            float(agreement[place]),
            *(float(a[place]) for a in arrays),
        ]
        for place, values in _points(dataset, dims)
    )
    yield (
        "figures/phase_diagram.csv",
        "What phase_diagram.png shows of every point, averages over seeds with their standard errors.",
        text([*dims, "phase", "agreement", *names], rows),
    )
    jamming = phase.jamming_line(dataset)
    lines = [["jamming", "published", "", float(1 / jamming.published), ""],
             ["jamming", "measured", "", float(1 / jamming.measured), ""]]  # fmt: skip
    for criterion in phase.criteria(dataset):
        noise = phase.noise_line(dataset, criterion=criterion)
        for contour in noise["contour"].values:
            for sigma_w, temperature in zip(
                noise["sigma_w"].values, noise.sel(contour=contour).values, strict=True
            ):
                lines.append(["noise", criterion, float(contour), float(sigma_w), float(temperature)])
    yield (
        "figures/phase_boundaries.csv",
        "The lines of phase_diagram.png; the temperature of a noise line is lr/batch_size.",
        text(["line", "criterion", "contour", "sigma_w", "temperature"], lines),
    )

"""Our averages beside the released numbers of arXiv 2509.01349 and 2407.16427, with z-scores.

The numbers are not part of this package. They come in a folder with one or more of three tables, each with a
header:
`phase_maps.csv` (temperature, inverse_sigma_w, test_loss, feature_overlap, field_alignment,
growth_rate_per_epoch), one row a grid point, and `noise_line.csv` (inverse_sigma_w, temperature_68);
`teacher_student_spacings.csv` (lr, batch_size, noise_std, mean_spacing, sem), one row an ensemble.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax.checks import InputError

PUBLISHED_NETWORKS = 100  # at each point
PUBLISHED_EPOCHS = 95_001  # of 1000 batches, up to the last record
# By what the released growth was divided: 100 networks of ours a point, after 10⁵ epochs, give 100 100 ± 220
# (chi² 0.5 a point of 50, 11 for 95 001). Records 5000 epochs apart, the first of them taken for the start.
GROWTH_EPOCHS = 100_000
GROWTH_FLOOR = 0.0  # the released map of the growth rate is clipped here from below


class Column(NamedTuple):
    """A column of the released maps and its counterpart of ours."""

    ours: str  # variable of a figure's data; its error is `ours_err`
    reading: float  # error with which the released number was read off, of its log10 if that is compared
    logarithm: bool = False  # compare log10 of both
    factor: float = 1.0  # of the released number, to make it ours


COLUMNS = {
    "test_loss": Column("mean_test_loss", 0.05, True),
    "feature_overlap": Column("feature_overlap", 0.005),
    "field_alignment": Column("field_alignment", 1e-5),
    # ln(u_t/u_0) itself: a rate over a shorter time has another scale, and so have its errors.
    "growth_rate_per_epoch": Column("growth", 1e-6 * GROWTH_EPOCHS, factor=GROWTH_EPOCHS),
}

MAPS = ("phase_maps.csv", ("temperature", "inverse_sigma_w", *COLUMNS))
LINE = ("noise_line.csv", ("inverse_sigma_w", "temperature_68"))
SPACINGS = ("teacher_student_spacings.csv", ("lr", "batch_size", "noise_std", "mean_spacing", "sem"))


class Comparison(NamedTuple):
    """One number of ours beside the released one."""

    quantity: str
    temperature: float
    inverse_sigma_w: float
    measured: float
    error: float
    released: float
    z: float  # with our error, that of 100 networks, and that of reading
    difference_err: float  # all three together


class Summary(NamedTuple):
    """How all points of a quantity compare."""

    quantity: str
    points: int
    median_z: float
    within_3: float  # fraction of the points within three standard errors
    median_difference: float  # measured minus released
    largest: Comparison


def compare(data: xr.Dataset, folder: Path, networks: int) -> list[Comparison]:
    """All released numbers that have a counterpart in the data of a figure, dims (lr, sigma_w).

    networks: behind each of our averages. Empty without the table; raises InputError if it is damaged.
    """
    found = []
    for row in _rows(folder, *MAPS):
        for name, column in COLUMNS.items():
            if column.ours not in data or (name == "growth_rate_per_epoch" and row[name] <= GROWTH_FLOOR):
                continue
            at = _at(data, row["temperature"], row["inverse_sigma_w"])
            if at is None or not np.isfinite(at[column.ours]):
                continue
            measured, error = float(at[column.ours]), float(at[f"{column.ours}_err"])
            released = row[name] * column.factor
            if column.logarithm:
                error /= measured * np.log(10)
                measured, released = np.log10(measured), np.log10(released)
            # Theirs scatter as ours do, from network to network.
            total = np.hypot(error * np.sqrt(1 + networks / PUBLISHED_NETWORKS), column.reading)
            found.append(
                Comparison(
                    name, row["temperature"], row["inverse_sigma_w"], float(measured), float(error),
                    float(released), float((measured - released) / total), float(total),
                )
            )  # fmt: skip
    return found


def check(folder: Path) -> None:
    """Raise InputError if the folder holds none of the tables or if one cannot be read."""
    if not any([_rows(folder, *table) for table in (MAPS, LINE, SPACINGS)]):
        names = ", ".join(name for name, _ in (MAPS, LINE, SPACINGS))
        raise InputError(f"{folder} holds none of the released numbers ({names})")


def compare_spacings(data: xr.Dataset, folder: Path) -> list[dict[str, float]]:
    """Mean spacings of the rows of `linear_spacings` beside the released ones.

    The z-score is against the mean over sets of shared inputs, with their scatter and the released error.
    """
    found = []
    for row in _rows(folder, *SPACINGS):
        same = [np.isclose(data[name].values, row[key]) for name, key in
                (("lr", "lr"), ("batch_size", "batch_size"), ("epsilon", "noise_std"))]  # fmt: skip
        for at in np.flatnonzero(np.logical_and.reduce(same)):
            expected, scatter = (float(data[n][at]) for n in ("shared_inputs", "shared_inputs_scatter"))
            z = (row["mean_spacing"] - expected) / np.hypot(scatter, row["sem"])
            found.append({**row, "expected": expected, "scatter": scatter, "z": float(z)})
    return found


class LinePoint(NamedTuple):
    """log₂ of the temperature of the noise line at one 1/σ_W; NaN where ours has none."""

    inverse_sigma_w: float
    ours: float
    error: float
    released: float
    difference_err: float
    z: float


def line_points(data: xr.Dataset, folder: Path) -> list[LinePoint]:
    """The noise line of a figure's data, with its error and that of 100 networks, beside the released one."""
    if "log2_noise_line_err" not in data:
        return []
    found, networks = [], int(data.attrs["networks"])
    for inverse, ours, theirs in compare_line(data["noise_line"], folder):
        at = np.argmin(np.abs(data["sigma_w"].values * inverse - 1))
        error = float(data["log2_noise_line_err"][at])
        total = error * np.sqrt(1 + networks / PUBLISHED_NETWORKS)
        # A bootstrap that always finds the same line does not know its error.
        z = np.log2(ours / theirs) / total if np.isfinite(ours) and total > 0 else np.nan
        found.append(LinePoint(inverse, float(np.log2(ours)), error, float(np.log2(theirs)), total, float(z)))
    return found


def compare_line(noise: xr.DataArray, folder: Path) -> list[tuple[float, float, float]]:
    """(1/σ_W, ours, the released one) of the temperature at 68 %. noise: dims (contour, sigma_w)."""
    found, line = [], noise.sel(contour=0.68)
    for row in _rows(folder, *LINE):
        near = np.isclose(line["sigma_w"].values * row["inverse_sigma_w"], 1.0, rtol=1e-6)
        if near.any():
            found.append((row["inverse_sigma_w"], float(line.values[near][0]), row["temperature_68"]))
    return found


def log2_ratios(line: list[tuple[float, float, float]]) -> np.ndarray:
    """log₂ of ours over theirs where ours has a temperature."""
    return np.array([np.log2(ours / theirs) for _, ours, theirs in line if np.isfinite(ours)])


def line_sentence(line: list[tuple[float, float, float]]) -> str:
    """How the noise lines compare."""
    ratios = log2_ratios(line)
    if not len(ratios):
        return "noise line at 68 %: ours has no temperature where the released one has"
    return (
        f"noise line at 68 %: log₂ of ours over the released one at {len(ratios)} of {len(line)} widths: "
        f"median {np.median(ratios):+.2f}, from {ratios.min():+.2f} to {ratios.max():+.2f}"
    )


def summarise(comparisons: list[Comparison]) -> list[Summary]:
    """One summary a quantity, in the order of `COLUMNS`."""
    result = []
    for name in COLUMNS:
        of = [c for c in comparisons if c.quantity == name]
        if of:
            z = np.array([c.z for c in of])
            differences = np.array([c.measured - c.released for c in of])
            result.append(
                Summary(
                    name, len(of), float(np.median(z)), float((np.abs(z) < 3).mean()),
                    float(np.median(differences)), of[int(np.argmax(np.abs(z)))],
                )
            )  # fmt: skip
    return result


def _at(data: xr.Dataset, temperature: float, inverse_sigma_w: float) -> xr.Dataset | None:
    """The point of the grid there, if there is one."""
    row = np.flatnonzero(np.isclose((data["lr"] / data["batch_size"]).values, temperature, rtol=1e-6))
    column = np.flatnonzero(np.isclose(data["sigma_w"].values * inverse_sigma_w, 1.0, rtol=1e-6))
    if not len(row) or not len(column):
        return None
    return data.isel(lr=row[0], sigma_w=column[0])


def _rows(folder: Path, name: str, needed: tuple[str, ...]) -> list[dict[str, float]]:
    path = Path(folder) / name
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = [{key: float(row[key]) for key in needed} for row in rows]
    except OSError as error:
        raise InputError(f"the released numbers {path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} must be a table with the columns {', '.join(needed)}, all numbers"
        ) from None
    if not found:
        raise InputError(f"{path} holds no rows")
    return found

"""The lines between phases, as the explorer draws them over its map."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax.analysis import phase
from dysonjax.checks import InputError
from dysonjax.figures.phase_diagram import temperature_at

CRITERIA = {"published": "drift > noise", "variance": "the same with the variance"}


class Boundary(NamedTuple):
    """A line in the plane of inverse disorder 1/σ_W and temperature T = α/|B|, one for each batch size."""

    name: str  # jamming or noise, and in which sense
    label: str
    points: list[np.ndarray]  # (point, 2): 1/σ_W and T; T = 0 and infinity are the ends of the map


def boundaries(dataset: xr.Dataset) -> list[Boundary]:
    """The lines that `phase_diagram.png` shows; none for runs that did not record what they need."""
    if not {"sigma_w", "lr", "batch_size"} <= set(dataset.dims):
        return []
    sizes = [dataset.isel(batch_size=[index]) for index in range(dataset.sizes["batch_size"])]
    try:
        known = phase.criteria(dataset)
        noise = {name: [phase.noise_line(size, criterion=name) for size in sizes] for name in known}
        jamming = phase.jamming_line(dataset)
    except (InputError, KeyError):
        return []
    ends = [_end(lines.isel(contour=0), jamming.published) for lines in noise.get("published", [])]
    published = [_vertical(jamming.published, end) for end in ends or [np.inf] * len(sizes)]
    measured = [_vertical(jamming.measured, np.inf)] * len(sizes)
    found = [
        Boundary("jamming", "jamming, published (σ_W² = ½)", published),
        Boundary("jamming-measured", "jamming, measured variance", measured),
    ]
    for name, lines in noise.items():
        share = f"{100 * float(lines[0]['contour'][0]):g} %"
        points = [_along(line.isel(contour=0)) for line in lines]
        found.append(Boundary(f"noise-{name}", f"{CRITERIA[name]} in {share}", points))
    return found


def _vertical(width: float, end: float) -> np.ndarray:
    return np.array([[width, 0.0], [width, end]])


def _along(line: xr.DataArray) -> np.ndarray:
    """Points with a temperature, by increasing 1/σ_W; NaN where the line is broken or leaves the grid."""
    temperature = np.where(np.isfinite(line.values), line.values, np.nan)
    points = np.stack([1 / line["sigma_w"].values, temperature], axis=-1)
    return points[np.argsort(points[:, 0])]


def _end(line: xr.DataArray, width: float) -> float:
    found = temperature_at(line, width)
    return np.inf if found is None else found

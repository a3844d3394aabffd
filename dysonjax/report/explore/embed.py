"""A scene as the JSON that a page embeds: quantiles over seeds, densities, and some networks one by one.

What is embedded stays within a budget whatever the run: records, then modes and networks are thinned out,
and a note says so.
"""

import numpy as np

from dysonjax.report.explore.pack import pack, pack_small
from dysonjax.report.explore.scene import COLOURS, Levels, Scene

QUANTILES = (0.16, 0.5, 0.84)
BINS = 40  # of a density
MOST_MODES = 32  # of a spectrum; of more, some are left out between the outermost
OUTERMOST = 8
AVERAGES = 1_000_000  # numbers embedded of quantiles and densities, 2.7 bytes each
MEMBERS = 1_500_000  # numbers embedded of single networks
MOST_SEEDS = 100  # shown one by one


def embed(scene: Scene, command: list | None = None) -> dict:
    """The JSON object. command: text and {"axis": name} in turn, the command of one grid point."""
    notes = list(scene.notes)
    modes = [_modes(levels.values.shape[-1]) for levels in scene.spectra]
    points, seeds = scene.diverged.shape
    width = sum(map(len, modes)) + len(scene.observables)
    records = _thin(len(scene.records), AVERAGES // (points * (3 * width + BINS * len(scene.spectra)) or 1))
    if len(records) < len(scene.records):
        notes.append(f"{len(records)} of {len(scene.records)} records are shown here.")
    shown = min(seeds, MOST_SEEDS, max(1, MEMBERS // max(points * len(records) * width, 1)))
    if shown < seeds:
        notes.append(
            f"Quantiles are over all {seeds} {scene.members}s; the first {shown} can be looked at one by one."
        )
    for levels, kept in zip(scene.spectra, modes, strict=True):
        if len(kept) < levels.values.shape[-1]:
            notes.append(f"{levels.name}: {len(kept)} of {levels.values.shape[-1]} modes are drawn as lines.")
    return {
        "axes": [
            {"name": axis.name, "label": axis.label, "values": _numbers(axis.values), "texts": _texts(axis)}
            for axis in scene.axes
        ],
        "records": {
            "label": scene.record_label,
            "values": _numbers(scene.records[records]),
            "names": None if scene.record_names is None else [scene.record_names[i] for i in records],
        },
        "seeds": _numbers(scene.seeds),
        "members": scene.members,
        "file": scene.file,
        "shown": shown,
        "diverged": pack(np.where(scene.diverged < 0, np.nan, scene.diverged)),
        "spectra": [
            _levels(levels, kept, records, shown) for levels, kept in zip(scene.spectra, modes, strict=True)
        ],
        "observables": [
            {"name": o.name, "label": o.label, **_averages(o.values[:, :, records], shown)}
            for o in scene.observables
        ],
        "phases": None
        if scene.phases is None
        else {
            "names": scene.phases.names,
            "colours": [COLOURS.get(name, "#999999") for name in scene.phases.names],
            "point": pack_small(scene.phases.point[:, records]),
            "member": pack_small(scene.phases.member),
        },
        "boundaries": [
            {"name": line.name, "label": line.label, "points": [_places(points) for points in line.points]}
            for line in scene.boundaries
        ],
        "command": command if command and _known(command, scene) else None,
        "notes": notes,
    }


def _places(points: np.ndarray) -> list[list[float | str | None]]:
    """Points of a line: 1/σ_W and T, null where there is no point, "top" at the map's end."""
    ends = {np.inf: "top"}
    return [[float(f"{x:.5g}"), None if np.isnan(t) else ends.get(t) or float(f"{t:.5g}")] for x, t in points]


def _levels(levels: Levels, kept: np.ndarray, records: np.ndarray, shown: int) -> dict:
    values = levels.values[:, :, records]
    return {
        "name": levels.name,
        "label": levels.label,
        "modes": _numbers(kept),
        **_averages(values[..., kept], shown),
        "targets": None if levels.targets is None else pack(levels.targets[:, kept]),
        "density": _density(values),
    }


def _averages(values: np.ndarray, shown: int) -> dict:
    """Quantiles over seeds (axis 1), how many networks they are of, and the first networks."""
    low, median, high = quantiles(values)
    counted = np.isfinite(values if values.ndim == 3 else values[..., 0]).sum(axis=1)
    found = {"low": pack(low), "median": pack(median), "high": pack(high), "count": pack(counted)}
    return found | {"members": pack(values[:, :shown])}


def quantiles(values: np.ndarray) -> np.ndarray:
    """`QUANTILES` over axis 1, of the finite numbers, NaN where there is none; as `numpy.nanquantile`, which
    takes a minute for a large grid."""
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN come last
    count = np.isfinite(ordered).sum(axis=1)
    found = []
    for q in QUANTILES:
        place = q * np.maximum(count - 1, 0)
        below = np.floor(place).astype(int)
        lower, upper = (
            np.take_along_axis(ordered, np.expand_dims(i, 1), axis=1)[:, 0]
            for i in (below, np.minimum(below + 1, np.maximum(count - 1, 0)))
        )
        found.append(lower + (place - below) * (upper - lower))
    return np.stack(found)


def _density(values: np.ndarray) -> dict:
    """Histograms of all levels of a point at a record, in equal bins from the smallest to the largest."""
    points, _, records, _ = values.shape
    counts = np.zeros((points, records, BINS))
    edges = np.full((points, records, 2), np.nan)
    for p, r in np.ndindex(points, records):
        found = values[p, :, r]
        found = found[np.isfinite(found)]
        if len(found):
            low, high = found.min(), found.max()
            least = BINS * max(1e-9 * max(abs(low), abs(high)), 1e-300)  # or bins would have no width
            low, high = (low, high) if high - low > least else (low - least, high + least)
            counts[p, r], edges[p, r] = np.histogram(found, BINS, (low, high))[0], (low, high)
    return {"counts": pack(counts), "low": pack(edges[..., 0]), "high": pack(edges[..., 1])}


def _known(command: list, scene: Scene) -> bool:
    """Whether all values that a command needs are axes of the scene."""
    return {part["axis"] for part in command if isinstance(part, dict)} <= {axis.name for axis in scene.axes}


def _modes(count: int) -> np.ndarray:
    if count <= MOST_MODES:
        return np.arange(count)
    evenly = np.linspace(0, count - 1, MOST_MODES - OUTERMOST).round().astype(int)
    return np.unique([*evenly, *range(count - OUTERMOST, count)])


def _thin(count: int, most: int) -> np.ndarray:
    most = max(2, most)
    return (
        np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int))
    )


def _numbers(values) -> list:
    return np.asarray(values).tolist()


def _texts(axis) -> list[str]:
    """The values as they are typed, with all their digits."""
    return [str(int(v)) if float(v).is_integer() and abs(v) < 1e15 else repr(float(v)) for v in axis.values]

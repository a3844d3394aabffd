"""What a comparison with released numbers comes to: rows of a table, each with a verdict.

A row holds averages over many released points. It agrees at 1 % if no point lies further off than the
largest of that many would with probability 1 % (Bonferroni's bound, true however the points depend on each
other), and if the mean over the points is within 2.6 of its own errors. Points of ours share their seeds, so
that their errors are taken to be fully correlated, which bounds the error of the mean from above; each
released point has networks of its own.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import norm

from dysonjax.published import released

LEVEL = 0.01
PUBLISHED_STEPS = 1000 * released.PUBLISHED_EPOCHS
# figure: what of the released numbers it shows, with its place in the source
FIGURES = {
    "phase-diagram": ("arXiv 2509.01349, maps of the test loss and noise line", ("test_loss", "noise_line")),
    "phase-feature-correlation": ("arXiv 2509.01349, map of the overlap q", ("feature_overlap",)),
    "phase-field-alignment": ("arXiv 2509.01349, map of h·φ", ("field_alignment",)),
    "phase-growth-rate": ("arXiv 2509.01349, map of the growth rate", ("growth_rate_per_epoch",)),
    "linear-spacings": ("arXiv 2407.16427, mean spacings", ("spacings",)),
}
LABELS = {
    "test_loss": "log₁₀ of the mean test loss",
    "feature_overlap": "overlap q",
    "field_alignment": "h·φ × 1000",
    "growth_rate_per_epoch": "growth of distances, ln(u_t/u_0)",
}
UNITS = {"field_alignment": 1e3}
RANGES = (("T ≤ 1/4", 0.0, 0.3), ("1/2 ≤ T ≤ 2", 0.3, 3.0), ("T ≥ 4", 3.0, np.inf))


class Row(NamedTuple):
    """One quantity over some released points; numbers are means over them."""

    source: str
    quantity: str
    where: str
    points: int
    ours: float
    ours_err: float
    released: float
    released_err: float
    z: float  # of the difference of the means
    largest_z: float
    within_3: float  # fraction of the points
    verdict: str  # "agrees" or "differs"
    why: str


def rows(figure: str, data: xr.Dataset, folder) -> list[Row]:
    """All rows that the data of a figure have; empty for a figure without released numbers."""
    if figure not in FIGURES:
        return []
    source, quantities = FIGURES[figure]
    networks = int(data.attrs.get("networks", 0))
    found = []
    points = released.compare(data, folder, networks) if networks else []
    for quantity in (name for name in released.COLUMNS if name in quantities):
        unit = UNITS.get(quantity, 1.0)
        for where, low, high in RANGES:
            of = [p for p in points if p.quantity == quantity and low < p.temperature <= high]
            if of:
                values = unit * np.array([(p.measured, p.error, p.released, p.difference_err) for p in of])
                z = np.array([p.z for p in of])
                why = _length(data, quantity, folder, (low, high), values[:, 0] / unit, values[:, 2] / unit)
                why = why or _few(quantity, values / unit, networks)
                ours, error, theirs, total = values.T
                found.append(_row(source, LABELS[quantity], where, ours, error, theirs, total, z, why))
    if "noise_line" in quantities:
        line = [p for p in released.line_points(data, folder) if np.isfinite(p.z)]
        if line:
            values = np.array([(p.ours, p.error, p.released, p.difference_err) for p in line])
            z = np.array([p.z for p in line])
            ours, error, theirs, total = values.T
            name = "log₂ T of the noise line, 68 %"
            found.append(_row(source, name, "all widths", ours, error, theirs, total, z, ""))
    if "spacings" in quantities and "shared_inputs" in data:
        pairs = released.compare_spacings(data, folder)
        for where, key, fixed in (
            ("over α", "lr", 0.1),
            ("over |B|", "batch_size", 16),
            ("over ε", "noise_std", 0.1),
        ):
            series = [p for p in pairs if p[key] != fixed or _only(p)]
            if series:
                scale = np.array([p["expected"] for p in series])
                total = np.array([np.hypot(p["scatter"], p["sem"]) for p in series]) / scale
                ones, sem = np.ones(len(series)), np.array([p["sem"] for p in series]) / scale
                theirs = np.array([p["mean_spacing"] for p in series]) / scale
                z = -np.array([p["z"] for p in series])
                ours_err = np.sqrt(total**2 - sem**2)
                found.append(
                    _row(
                        source,
                        "⟨S⟩ over theory with shared inputs",
                        where,
                        ones,
                        ours_err,
                        theirs,
                        total,
                        z,
                        "",
                    )
                )
    return found


def _only(row: dict) -> bool:
    """Whether this is the row that all three series share: it is counted with each."""
    return (row["lr"], row["batch_size"], row["noise_std"]) == (0.1, 16, 0.1)


def _row(source, quantity, where, ours, error, theirs, total, z, why) -> Row:
    count = len(z)
    theirs_err = np.sqrt(np.clip(total**2 - error**2, 0, None))
    ours_err, released_err = float(error.mean()), float(np.sqrt(np.sum(theirs_err**2))) / count
    mean_z = float((ours.mean() - theirs.mean()) / np.hypot(ours_err, released_err))
    largest = float(z[np.argmax(np.abs(z))])
    agrees = abs(largest) < norm.isf(LEVEL / 2 / count) and abs(mean_z) < norm.isf(LEVEL / 2)
    return Row(
        source, quantity, where, count, float(ours.mean()), ours_err, float(theirs.mean()), released_err,
        mean_z, largest, float((np.abs(z) < 3).mean()), "agrees" if agrees else "differs",
        "" if agrees else why or "not known",
    )  # fmt: skip


def _length(data, quantity, folder, temperatures, ours, theirs) -> str:
    """Whether training still moves our numbers towards the released ones: the one reason that a run can see.

    It is none if the run is as long as the released ones, or if its second half moved the mean the other way.
    """
    steps, name = int(data.attrs.get("steps", PUBLISHED_STEPS)), released.COLUMNS[quantity].ours
    if steps >= 0.9 * PUBLISHED_STEPS or f"{name}_before" not in data:
        return ""
    low, high = temperatures
    earlier = released.compare(
        data.assign({name: data[f"{name}_before"]}), folder, int(data.attrs["networks"])
    )
    before = [p.measured for p in earlier if p.quantity == quantity and low < p.temperature <= high]
    moved, left = ours.mean() - np.mean(before), theirs.mean() - ours.mean()
    if not moved * left > 0:
        return ""
    share = f"{PUBLISHED_STEPS / steps:.0f} times shorter"
    return f"length: {share}; its second half moved it by {moved:+.2g}, {left:+.2g} are left"


def _few(quantity: str, values: np.ndarray, networks: int) -> str:
    """Whether few networks make a mean: at a point that lacks one of them, the error is too small as well.

    All points of the row then say together how widely networks scatter. values: ours, its error, the released
    number, the error of the difference, (points, 4).
    """
    if not released.COLUMNS[quantity].logarithm:
        return ""
    ours, error, theirs, _ = values.T
    pooled = np.sqrt(np.mean(error**2)) * np.sqrt(1 + networks / released.PUBLISHED_NETWORKS)
    z = (ours - theirs) / np.hypot(pooled, released.COLUMNS[quantity].reading)
    largest = float(z[np.argmax(np.abs(z))])
    if abs(largest) >= norm.isf(LEVEL / 2 / len(z)):
        return ""
    return (
        f"few networks make a mean: with the scatter of all {len(z)} points the largest z is {largest:+.1f}"
    )

"""The phase of every member and of every grid point."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.analysis.phase.matrix import main_matrix

PHASES = ("converged", "jammed", "divergent", "undecided")  # the last is that of no member that was trained
UNDECIDED = PHASES.index("undecided")


class Thresholds(NamedTuple):
    """Where one phase ends and the next begins.

    Chosen by eye, so here is how the phases move with them, on the published grid of 144 points after 2e4
    steps with 8 seeds: a loss threshold of 0.02 or 0.05 changes the phase of 3 or 4 points, 0.01 or 0.1 of 8
    or 14; a memory threshold of 0.3 or 0.7 of 14 and 14. The border between jammed and divergent is the soft
    one: memory is lost gradually.
    """

    loss: float = 0.03  # converged: test loss below this fraction of the targets' mean square
    memory: float = 0.5  # jammed rather than divergent: cosine with the initial features above this


DEFAULT_THRESHOLDS = Thresholds()


def needs(dataset: xr.Dataset, names: tuple[str, ...]) -> None:
    """Raise InputError if a dataset lacks what a phase is read from."""
    if not isinstance(dataset, xr.Dataset):
        raise checks.InputError(f"dataset must be an xarray Dataset, got {type(dataset).__name__}")
    missing = [name for name in names if name not in dataset]
    if missing:
        raise checks.InputError(
            f"the dataset has no {', '.join(missing)}; phases are those of teacher-student runs"
        )


def classify(dataset: xr.Dataset, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> xr.Dataset:
    """The phase of every member and of every grid point.

    A member is converged if its test loss is below `thresholds.loss` of the targets' mean square; otherwise
    jammed if its features still have a cosine of `thresholds.memory` or more with the initial ones; otherwise
    divergent. A frozen member is divergent; one without a last record, in a run that is under way, is
    undecided. A point has the phase that more of its members have than any other phase; if two phases have
    equally many, it is undecided, and so is a point without members. Returns `member` (batch_size, lr,
    sigma_w, seed) and `point`, both indices into `PHASES`, and `agreement`, the largest fraction of its
    members that agree on a phase.
    """
    for name, value in thresholds._asdict().items():
        checks.positive(f"thresholds.{name}", value)
    if thresholds.memory > 1:
        raise checks.InputError(f"thresholds.memory is a cosine, at most 1, got {thresholds.memory}")
    needs(dataset, ("test_loss", "target_variance", "feature_memory", "alive", "diverged_at"))
    last = dataset.isel(record=-1)
    learned = last["alive"] & (last["test_loss"] < thresholds.loss * last["target_variance"])
    remembers = last["alive"] & (last["feature_memory"] >= thresholds.memory)
    member = xr.where(learned, 0, xr.where(remembers, 1, 2))
    known = last["alive"] | (dataset["diverged_at"] >= 0)
    member = member.where(known, UNDECIDED).astype(np.int8)
    counts = xr.concat([(member == phase).sum("seed") for phase in range(UNDECIDED)], "phase")
    tie = (counts == counts.max("phase")).sum("phase") > 1
    return xr.Dataset(
        {
            "member": member,
            "point": counts.argmax("phase").where(~tie, UNDECIDED).astype(np.int8),
            "agreement": counts.max("phase") / np.maximum(known.sum("seed"), 1),
        },
        attrs={"phases": list(PHASES), **{f"threshold_{k}": v for k, v in thresholds._asdict().items()}},
    )


def count(phases: xr.Dataset) -> dict[str, int]:
    """Grid points in each phase and undecided ones, from the result of `classify`."""
    return {name: int((phases["point"] == index).sum()) for index, name in enumerate(PHASES)}


def convergence_line(phases: xr.Dataset, undecided: bool = False) -> xr.DataArray:
    """For each sigma_w, the largest temperature lr/batch_size of a converged grid point; NaN without one.

    The measured counterpart of `noise_line`; its resolution is the spacing of the grid. Undecided points are
    not converged; with `undecided` they count, and the two lines enclose what the seeds leave open.
    """
    temperature = phases["lr"] / phases["batch_size"]
    counted = (phases["point"] == 0) | (undecided & (phases["point"] == UNDECIDED))
    return temperature.where(counted).max(("batch_size", "lr"))


def typical_members(dataset: xr.Dataset, phases: xr.Dataset) -> dict[str, xr.Dataset]:
    """One member for each phase that occurs: the seed with the median test loss at the phase's median point.

    Returns phase -> dataset with `levels` (record, mode) and `targets` (mode), the teacher's levels, and the
    member's coordinates.
    """
    members = {}
    for index, name in enumerate(PHASES[:UNDECIDED]):
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

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

    Attributes
    ----------
    loss : float, default 0.03
        A member is converged if its test loss is below this fraction of the targets' mean square.
    memory : float, default 0.5
        A member that is not converged is jammed, rather than divergent, if the cosine of its features with
        the initial ones is at least this.

    Notes
    -----
    They were chosen by eye. This is how the phases move with them, on the published grid of 144 points after
    2e4 steps with 8 seeds: a loss threshold of 0.02 or 0.05 changes the phase of 3 or 4 points, one of 0.01
    or 0.1 that of 8 or 14; a memory threshold of 0.3 or 0.7 changes 14 and 14. The border between jammed and
    divergent is the soft one: memory is lost gradually.
    """

    loss: float = 0.03
    memory: float = 0.5


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

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    thresholds : Thresholds, optional
        Where one phase ends and the next begins.

    Returns
    -------
    xarray.Dataset
        `member` (batch_size, lr, sigma_w, seed) and `point` (batch_size, lr, sigma_w), both indices into
        `PHASES`; and `agreement`, the largest fraction of a point's members that agree on a phase.

    Raises
    ------
    InputError
        If a threshold is not positive, `memory` is above 1, or the dataset lacks what a phase is read from.

    Notes
    -----
    A member is converged if its test loss is below `thresholds.loss` of the targets' mean square. Otherwise
    it is jammed if its features still have a cosine of `thresholds.memory` or more with the initial ones, and
    divergent if not. A frozen member is divergent. One without a last record, in a run that is under way, is
    undecided. A point has the phase that more of its members have than any other. If two phases have equally
    many, the point is undecided, and so is a point without members.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> phases = dj.phase.classify(run)
    >>> [dj.phase.PHASES[i] for i in phases["point"].sel(lr=0.05)[0].values]
    ['converged', 'jammed']
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
    """How many grid points are in each phase.

    Parameters
    ----------
    phases : xarray.Dataset
        From `classify`.

    Returns
    -------
    dict of str to int
        For every name in `PHASES`, also for the undecided points.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.count(dj.phase.classify(run))
    {'converged': 2, 'jammed': 2, 'divergent': 0, 'undecided': 0}
    """
    return {name: int((phases["point"] == index).sum()) for index, name in enumerate(PHASES)}


def convergence_line(phases: xr.Dataset, undecided: bool = False) -> xr.DataArray:
    """For each sigma_w, the largest temperature lr/batch_size of a converged grid point.

    Parameters
    ----------
    phases : xarray.Dataset
        From `classify`.
    undecided : bool, default False
        Whether undecided points count as converged. The two lines enclose what the seeds leave open.

    Returns
    -------
    xarray.DataArray
        Dims (sigma_w,). NaN where no point is converged.

    See Also
    --------
    noise_line : the line of theory. The resolution of the measured one is the spacing of the grid.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> dj.phase.convergence_line(dj.phase.classify(run)).values
    array([0.125,   nan])
    """
    temperature = phases["lr"] / phases["batch_size"]
    counted = (phases["point"] == 0) | (undecided & (phases["point"] == UNDECIDED))
    return temperature.where(counted).max(("batch_size", "lr"))


def typical_members(dataset: xr.Dataset, phases: xr.Dataset) -> dict[str, xr.Dataset]:
    """One member for each phase that occurs: the seed with the median test loss at the phase's median point.

    Parameters
    ----------
    dataset : xarray.Dataset
        A run of the teacher-student network.
    phases : xarray.Dataset
        From `classify`.

    Returns
    -------
    dict of str to xarray.Dataset
        By the name of the phase: `levels` (record, mode), `targets` (mode), the teacher's levels, and the
        coordinates of the member.

    Examples
    --------
    >>> model = dj.models.teacher_student(widths=(3, 8, 6, 1), batches=100)
    >>> grid = dj.Grid(lr=(0.05, 0.5), batch_size=4, sigma_w=(0.5, 8.0), seeds=4)
    >>> run = dj.train(model, grid, steps=4000, records=3, keep_weights="all").dataset
    >>> members = dj.phase.typical_members(run, dj.phase.classify(run))
    >>> {name: float(member["sigma_w"]) for name, member in members.items()}
    {'converged': 0.5, 'jammed': 8.0}
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

"""Train an ensemble, go on with one, or say what it would take: the arguments become a configuration here.

What is done with it stands in `running`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from dysonjax import checks
from dysonjax.ensemble import store
from dysonjax.ensemble.config import How, Options, check_grid, configured, restored, takes_options
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.plans import Plan
from dysonjax.ensemble.running import Run, plan, run
from dysonjax.models.base import Model

if TYPE_CHECKING:
    import optax


@takes_options
def train(
    model: Model,
    grid: Grid,
    steps: int,
    records: int | Sequence[int] = 11,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
    **options: Unpack[Options],
) -> Run:
    """Train every member of a grid, and record spectra and observables.

    Parameters
    ----------
    model : Model
        What is trained.
    grid : Grid
        Its members.
    steps : int
        Length of the training.
    records : int or sequence of int, default 11
        Number of records in equal distances, or the steps themselves.
    out : str or Path, optional
        Folder for the Zarr store and the checkpoints, which must not hold a run yet. By default results stay
        in memory.
    resume : bool, default False
        Go on with the run that `out` holds, which must have the same configuration.
    progress : callable, optional
        Called with network-steps done and in all.
    announce : callable, optional
        Called with a `Plan` before training starts.
    say : callable, optional
        Called with a sentence about anything unusual; by default it becomes a warning.

    Returns
    -------
    Run
        The dataset, a summary and the folder.

    Other Parameters
    ----------------
    optimizer : str, Optimizer or GradientTransformation, default "sgd"
        "sgd", "momentum", "adam", "adamw", "muon", an `Optimizer`, or a transform of optax WITHOUT learning
        rate.
    randomness : {"common", "independent"}, default "common"
        "common" gives all grid points of a seed the same teacher, data and noise, "independent" gives each
        its own.
    key : int or jax.Array, default 0
        Root of all randomness.
    x64 : bool, default False
        Train in double precision.
    precision : {"float32", "tf32", "bfloat16"}, default "float32"
        The lowest in which products may be computed while training on a GPU or a TPU.
    keep_weights : {"none", "last", "all"}, default "none"
        Records whose weights are kept.
    keep : str or sequence of str, default "none"
        "overlaps" of singular vectors, or some of "overlaps-target", "overlaps-start" and
        "overlaps-previous".
    identity_bits : {64, 32}, default 64
        Length of the names of grid points from which independent randomness is drawn.
    tile : int or "tune", optional
        The largest number of members trained at once on a device.
    devices : int, str or sequence of Device, optional
        A number of devices, or a kind ("cpu", "gpu", "tpu"); by default all.
    backend : {"auto", "native", "cuda", "xla"}, default "auto"
        What compiles a training step.
    save_every : float, default 300.0
        The longest time between two checkpoints, seconds.

    Raises
    ------
    InputError
        On bad input.
    RunError
        If the folder cannot be written any more.
    Interrupted
        With `out`, after the first SIGINT or SIGTERM, when the run is saved. It is a KeyboardInterrupt.

    Notes
    -----
    The options are fields of `Config`, which says more about each.

    A member's trajectory depends on its identity and on nothing else: not on the grid, tiles, devices, record
    times or interruptions. Its identity is `seed`, the index of its seed and its batch size; with independent
    randomness also its lr, sigma_w and scalars. A member that the model calls unhealthy is frozen, and
    `diverged_at` holds its step.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=[0.01, 0.1], batch_size=4, seeds=8), 200, 3)
    >>> loss = run.dataset["train_loss"].mean("seed").squeeze()
    >>> bool(loss.sel(record=200, lr=0.1) < loss.sel(record=200, lr=0.01))  # it is ahead
    True
    """
    check_grid(model, grid)
    config = configured(grid, steps, records, options)
    return run(model, config, out=out, resume=resume, progress=progress, announce=announce, say=say)


def resume(
    folder: str | Path,
    model: Model,
    *,
    optimizer: optax.GradientTransformation | None = None,
    progress: Callable[[float, float], None] | None = None,
    announce: Callable[[Plan], None] | None = None,
    say: Callable[[str], None] | None = None,
    **options: Unpack[How],
) -> Run:
    """Go on with the run that a folder holds, from its last checkpoint.

    A finished run is returned as it is.

    Parameters
    ----------
    folder : str or Path
        Of the run.
    model : Model
        The one with which the run was started.
    optimizer : GradientTransformation, optional
        Needed only if it was a transform of your own.
    progress, announce, say : callable, optional
        As in `train`.
    **options
        Those fields of `Config` that say how, not what: tile, devices, backend, save_every.

    Returns
    -------
    Run
        As without the interruption: to the last bit on the same devices, to rounding on others.

    Raises
    ------
    InputError
        If the folder holds no run, or that of another model.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=3), 2, 2, out="run")
    >>> dj.resume("run", dj.models.linear()).summary["steps"]  # nothing is left to do
    2
    """
    folder = checks.path("folder", folder)
    text = store.configuration(folder)
    if text is None:
        raise checks.InputError(f"{folder} holds no run (there is no readable run.zarr in it)")
    config = restored(json.loads(text), optimizer=optimizer, **options)
    return run(model, config, out=folder, resume=True, progress=progress, announce=announce, say=say)


@takes_options
def estimate(
    model: Model, grid: Grid, steps: int, records: int | Sequence[int] = 11, **options: Unpack[Options]
) -> Plan:
    """Say what a run would take, without running it.

    Parameters
    ----------
    model : Model
        What is to be trained.
    grid : Grid
        Its members.
    steps : int
        Length of the training.
    records : int or sequence of int, default 11
        Number of records in equal distances, or the steps themselves.

    Returns
    -------
    Plan
        Time of training in seconds, from a short measurement on this machine, and bytes of the results.

    Other Parameters
    ----------------
    optimizer, randomness, key, x64, precision, keep_weights, keep, identity_bits : optional
        What is computed, as in `train`.
    tile, devices, backend, save_every : optional
        How it is computed, as in `train`.

    Raises
    ------
    InputError
        On bad input, as `train`.

    Examples
    --------
    >>> plan = dj.estimate(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=8), 1000)
    >>> plan.members, plan.steps, plan.seconds < 60
    (8, 1000, True)
    """
    return plan(model, configured(grid, steps, records, options))

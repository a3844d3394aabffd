"""Whether a stored run is what its configuration gives: some of its tiles, trained again and compared.

A member's trajectory depends on its identity alone, up to rounding; its last bits depend also on who shares
its tile. So whole tiles are trained again, cut as they were, and on the machine, versions and backend of the
run all numbers must be the same to the last bit, also where training is chaotic. Elsewhere rounding differs.
Levels are then compared in units of the largest one: float32 rounding stays below the tolerance unless
training is chaotic, where it decides single members.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from dysonjax import cache, checks, threefry
from dysonjax.checks import InputError
from dysonjax.ensemble import devices, jobs, loop, machine, results, running
from dysonjax.ensemble.checkpoints import Progress
from dysonjax.ensemble.config import Config, check, restored
from dysonjax.ensemble.identity import configuration_with
from dysonjax.ensemble.interrupts import Request
from dysonjax.ensemble.jobs import Job
from dysonjax.ensemble.results import Results
from dysonjax.ensemble.session import Session
from dysonjax.models.base import Model

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}  # of the largest level of a record
COMPARED = ("processor", "device", "backend", "target", "code")  # of a session, beside its versions


class MemberCheck(NamedTuple):
    """One member, trained again."""

    place: dict[str, float]
    bit_equal: bool
    deviation: float
    """largest |difference| of a level over the largest level of its record"""
    first_step: int | None
    """of the first record with a number that differs"""
    variables: tuple[str, ...]
    """in which numbers differ"""


class Verification(NamedTuple):
    """What came out. `equal` is the verdict: bits where bits can be asked for, else the tolerance."""

    equal: bool
    bit_equal: bool
    differences: tuple[str, ...]
    """between the machine, versions and backend then and now, in words"""
    tolerance: float
    members: tuple[MemberCheck, ...]


def verify(
    folder: str | Path,
    model: Model,
    *,
    members: int = 8,
    key: int = 0,
    optimizer: Any = None,
    progress: Callable[[float, float], None] | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Verification:
    """Train some members of a run again, and compare all that was recorded of them.

    Parameters
    ----------
    folder : str or Path
        Of the run. It may be under way: members with a last record are compared.
    model : Model
        The one with which it was made.
    members : int, default 8
        At least so many, if the run has them. Tiles are trained as a whole.
    key : int, default 0
        Chooses which.
    optimizer : GradientTransformation, optional
        Needed only if it was a transform of your own, as in `resume`.
    progress : callable, optional
        Called with network-steps done and in all.
    say : callable, optional
        Called with a sentence about anything unusual.

    Returns
    -------
    Verification
        The verdict, what differs between the machine, versions and backend then and now, and every member.

    Raises
    ------
    InputError
        If the folder holds no run, that of another model, or no member with all records.

    Notes
    -----
    On the machine, versions and backend of the run all numbers must be the same to the last bit. Elsewhere
    rounding differs, and levels are compared within 1e-3 (1e-9 in double precision) of the largest one.

    Examples
    --------
    >>> run = dj.train(dj.models.linear(), dj.Grid(lr=0.1, batch_size=4, seeds=3), 2, 2, out="run")
    >>> dj.verify("run", dj.models.linear()).bit_equal
    True
    """
    members, key = checks.positive_int("members", members), checks.seed("key", key)
    dataset = results.read(folder)
    stored = configuration_with(model, dataset)
    sessions = dataset.attrs.get("sessions") or [{}]
    tile = json.loads(dataset.attrs.get("summary", "{}")).get("tile")
    config = _config(stored, sessions[-1], optimizer)
    known = _complete(dataset, config)
    check(model, config)
    with jax.enable_x64(config.x64), threefry.settled():
        work = jobs.all_batch_sizes(model, config, range(config.grid.seeds))
        if tile and max(job.tile_members for job in work) != tile:
            config = _config(stored, sessions[-1], optimizer, tile)
            work = jobs.all_batch_sizes(model, config, range(config.grid.seeds))
        chosen = _tiles(work, known, members, key)
        again, trained = _train(model, config, work, chosen, progress, say)
    now = _now(config, trained)
    differences = tuple(_differences(sessions, now))
    checked = tuple(_compare(dataset, again, config, np.argwhere(chosen & known)))
    bit_equal = all(member.bit_equal for member in checked)
    tolerance = TOLERANCE[stored["dtype"]]
    within = all(member.deviation <= tolerance for member in checked)
    return Verification(
        bit_equal or (bool(differences) and within), bit_equal, differences, tolerance, checked
    )


def _config(stored: dict, session: dict, optimizer: Any, tile: int | None = None) -> Config:
    """The configuration, on as many devices and by the backend of then if this machine has them."""
    count = str(session.get("device", "")).partition(" x ")[0]
    there = len(devices.resolve(None))
    how = {
        "optimizer": optimizer,
        "devices": min(int(count) if checks.digits(count) else 1, there),
        "tile": tile,
    }
    try:
        return restored(stored, backend=session.get("backend") or "auto", **how)
    except InputError:
        return restored(stored, backend="auto", **how)


def _complete(dataset: xr.Dataset, config: Config) -> np.ndarray:
    """Which members have their last record, (batch sizes, members); raises InputError if none has."""
    # Recorded levels are finite: a member that diverges is frozen while its weights are.
    levels = next(dataset[name] for name in dataset.data_vars if str(name).startswith("eigenvalues"))
    last = xr.apply_ufunc(np.isfinite, levels.isel(record=-1))
    known = last.any([dim for dim in last.dims if dim not in config.grid.dims])
    known = known.transpose(*config.grid.dims).values.reshape(len(config.grid.batch_size), -1)
    if not known.any():
        raise InputError("no member of this run has its last record yet; verify it when it has gone further")
    return known


def _tiles(work: list[Job], known: np.ndarray, members: int, key: int) -> np.ndarray:
    """The members, (batch sizes, members), of as many tiles as hold so many that are known."""
    tiles = [(job.batch_index, tile[tile >= 0]) for job in work for wave in job.waves for tile in wave.index]
    chosen = np.zeros_like(known)
    for number in np.random.default_rng(key).permutation(len(tiles)):
        batch_index, tile = tiles[number]
        if known[batch_index, tile].any() and (chosen & known).sum() < members:
            chosen[batch_index, tile] = True
    return chosen


def _train(
    model: Model, config: Config, work: list[Job], chosen: np.ndarray, progress, say
) -> tuple[xr.Dataset, list[Job]]:
    """The dataset with these members alone, each in its place of its tile."""
    template = running.template_of(model, config, work[0])
    found = Results(template, config.grid, None)
    everybody = np.arange(chosen.shape[1])
    session = Session(found, Progress(~chosen, []), everybody, config.steps, Request(), None, progress)
    needed = [job.compiled() for job in work if chosen[job.batch_index].any()]
    with loop.out_of_memory_in_words(None):
        trained = loop.train_all(list(needed), config, session, say)
    return found.dataset(), trained


def _now(config: Config, trained: list[Job]) -> dict[str, Any]:
    """What the bits depend on, here and now; as the sessions of a store."""
    return {
        "versions": json.dumps(results.versions()),
        "device": config.devices[0].device_kind,
        "processor": cache.processor(),
        "code": machine.code_sha256(),
        "backend": ", ".join(dict.fromkeys(job.target.backend for job in trained)),
        "target": ", ".join(dict.fromkeys(job.target.name for job in trained)),
    }


def _differences(sessions: list[dict[str, Any]], now: dict[str, Any]) -> list[str]:
    """In words what is not as it was, of all that bits depend on."""
    then = sessions[-1]
    if not then:
        return ["the run does not say by what it was computed"]
    found = [f"the run was computed in {len(sessions)} sessions"] if len(sessions) > 1 else []
    old, new = (json.loads(session.get("versions") or "{}") for session in (then, now))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            found.append(f"{name} {old.get(name, 'unknown')} then, {new.get(name, 'unknown')} now")
    for name in COMPARED:
        # How many devices there are decides nothing.
        before, after = (str(session.get(name)).rpartition(" x ")[-1] for session in (then, now))
        if name == "code" and name not in then:
            continue  # of a run before its hash was kept
        if not set(after.split(", ")) <= set(before.split(", ")):  # of some batch sizes of those then
            found.append(f"{name} {before} then, {after} now")
    return found


def _compare(old: xr.Dataset, new: xr.Dataset, config: Config, members: np.ndarray):
    """The members as they were stored and as they are now. members: (batch index, place in its grid)."""
    dims, shape = config.grid.dims, config.grid.shape
    places = [dict(zip(dims, (b, *np.unravel_index(m, shape[1:])), strict=True)) for b, m in members]
    arrays = {}
    for name in map(str, old.data_vars):
        rest = [dim for dim in old[name].dims if dim not in dims and dim != "record"]
        order = (*dims, *(d for d in ("record",) if d in old[name].dims), *rest)
        arrays[name] = [variable[name].transpose(*order).values for variable in (old, new)]
    steps = old["record"].values
    for place in places:
        index = tuple(int(place[dim]) for dim in dims)
        differing, first, deviation = [], None, 0.0
        for name, (stored, again) in arrays.items():
            a, b = stored[index], again[index]
            same = (a == b) | ((a != a) & (b != b))
            if not same.all():
                differing.append(name)
                if "record" in old[name].dims:
                    step = int(steps[np.flatnonzero(~same.reshape(len(steps), -1).all(axis=1))[0]])
                    first = step if first is None else min(first, step)
            if name.startswith("eigenvalues"):
                deviation = max(deviation, _deviation(a, b))
        if "diverged_at" in differing:
            deviation = np.inf
        where = {dim: old[dim].values[i].item() for dim, i in place.items()}
        yield MemberCheck(where, not differing, float(deviation), first, tuple(differing))


def _deviation(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest level of a record; infinite where one of them is no number."""
    if (np.isfinite(a) != np.isfinite(b)).any():
        return np.inf
    if not np.isfinite(a).any():
        return 0.0
    scale = np.nanmax(np.abs(np.where(np.isfinite(a), a, 0)), axis=-1, keepdims=True)
    return float(np.nanmax(np.abs(a - b) / np.where(scale > 0, scale, 1)))

"""Take possession of a run folder, new or with what earlier sessions have left in it."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.ensemble import checkpoints, disk, jobs, processes, results, schema, store
from dysonjax.ensemble.checkpoints import Progress
from dysonjax.ensemble.config import Config
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.interrupts import Request, listening
from dysonjax.ensemble.jobs import Job
from dysonjax.ensemble.lock import Lock
from dysonjax.ensemble.results import Results
from dysonjax.ensemble.session import Folder, recover

HEX = 32 * "[0-9a-f]"
LEFT_OVERS = (
    *(f".{kind}-{HEX}" for kind in ("store", "lock", "stale", "clock")),
    *(f"{kind}/.{HEX}.part" for kind in ("checkpoints", "checksums")),
    f"run.zarr/**/*.{HEX}.partial",
)
ABANDONED_SECONDS = 3600.0


class Opened(NamedTuple):
    """Where a run stands, as this process sees it."""

    folder: Folder | None  # None: results stay in memory
    results: Results
    progress: Progress  # of earlier sessions
    seeds: range  # of this process, counted from 0
    members: np.ndarray  # theirs, by place in the grid of one batch size
    request: Request  # a signal, once one has come
    summary: dict[str, Any] | None = None  # of a finished run

    def stopped(self) -> bool:
        return self.request.signal is not None


def opened(
    stack: contextlib.ExitStack,
    path: Path | None,
    config: Config,
    template: xr.Dataset,
    work: list[Job],
    resume: bool,
    say: Callable[[str], None],
) -> Opened:
    """Begin a run, or go on with the one that a folder holds; signals are listened to as long as it is open.

    work: all jobs, for the size of what will be stored. Raises InputError if the folder cannot be taken.
    """
    grid = config.grid
    shape = (len(grid.batch_size), template["diverged_at"][0].size)
    if path is None:
        nothing = Progress(np.zeros(shape, bool), [])
        found = Results(template, grid, None)
        return Opened(None, found, nothing, range(grid.seeds), np.arange(shape[1]), Request())
    if not resume and processes.index() == 0 and (path / "run.zarr").exists():
        # Only process 0 asks: the others may find what it has just made.
        raise checks.InputError(f"{path} holds a run already; choose another folder, or resume it")
    jobs.check_storable(work[0])
    if not resume:
        disk.check_space(path, template.nbytes + 3 * disk.state_bytes(work))
    request = stack.enter_context(listening())
    folder = _claimed(stack, path, template, config.save_every, resume, say)
    found, progress = _stored(folder, template, grid, shape, resume, say)
    size = found.seeds_per_block
    seeds = processes.share(grid.seeds, size)
    blocks = range(seeds.start // size, -(-seeds.stop // size))
    members = np.concatenate([found.members(block) for block in blocks])
    own = [f.of(members) for f in progress.fragments if np.isin(f.members, members).any()]
    summary = (store.read_attributes(found.kept.path) or {}).get("summary")
    summary = None if summary is None else json.loads(summary)
    return Opened(folder, found, progress._replace(fragments=own), seeds, members, request, summary)


def _claimed(
    stack: contextlib.ExitStack,
    path: Path,
    template: xr.Dataset,
    save_every: float,
    resume: bool,
    say: Callable[[str], None],
) -> Folder:
    """Take possession of a run folder."""
    try:
        if not resume:
            path.mkdir(parents=True, exist_ok=True)
        lock = Lock(path / processes.lock_name(processes.index()), say)
    except OSError as error:
        raise checks.InputError(f"{path} cannot be written: {error.strerror or error}") from None
    stack.callback(lock.release)
    if processes.index() == 0:
        _sweep(path)
    return Folder(path, lock, template.attrs["config"], save_every)


def _stored(
    folder: Folder,
    template: xr.Dataset,
    grid: Grid,
    shape: tuple[int, int],
    resume: bool,
    say: Callable[[str], None],
) -> tuple[Results, Progress]:
    """The store, new or with what earlier sessions have left in it; process 0 goes first and repairs."""
    leader = processes.index() == 0
    before = checkpoints.Progress(np.zeros(shape, bool), [])
    try:
        if leader:
            if resume:
                opened = store.open_again(folder.path, template, say)
            else:
                opened = store.create(folder.path, template, processes.count())
            found = results.Results(template, grid, opened)
            if resume:
                before = checkpoints.load(folder.checkpoints, folder.config, shape, say)
                before, damaged = recover(found, before, say)
                if damaged:  # no older checkpoint may speak for members that start again
                    checkpoints.replace_all(folder.checkpoints, folder.config, before)
                if not before.done.all():
                    opened.remove_summary()
            processes.clear_status(folder.checkpoints)
        processes.barrier("store")
        if not leader:
            found = results.Results(template, grid, store.reopen(folder.path, template))
            if resume:
                before = checkpoints.load(folder.checkpoints, folder.config, shape, lambda sentence: None)
                before, _ = recover(found, before, say)
    except OSError as error:
        place = error.filename or folder.path
        how = "read or written" if resume else "written"
        raise checks.RunError(f"{place} cannot be {how}: {error.strerror or error}") from None
    except MemoryError:
        raise checks.RunError(f"not enough memory to open {folder.path}; nothing was changed") from None
    return found, before


def note_session(opened: store.Store, now: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Record with what a run begins or goes on; say so where that is another thing: its bits may differ.

    now: versions (JSON), device, processor, backend and target of this session.
    """
    attributes = store.read_attributes(opened.path) or {}
    changes = ""
    if before := schema.sessions(attributes, opened.path):
        (last,) = schema.sessions({"sessions": [now]}, opened.path)
        old, new = (session | session["versions"] for session in (before[-1], last))
        differ = [k for k in new if k in old and k != "versions" and old[k] != new[k]]
        changes = ", ".join(f"{k} = {new[k]}, not {old[k]}" for k in differ)
    if changes:
        say(f"the run goes on with another machine or software ({changes}): its last digits may differ")
    try:
        opened.set_attributes({"sessions": [*attributes.get("sessions", []), dict(now)]})
    except OSError as error:
        place, why = opened.path.parent, error.strerror or error
        raise checks.RunError(f"{place} cannot be written ({why}); what was saved before is intact") from None


def _sweep(path: Path) -> None:
    """Remove what killed processes wrote aside and never gave its name."""
    long_ago = time.time() - ABANDONED_SECONDS
    for pattern in LEFT_OVERS:
        for found in path.glob(pattern):
            with contextlib.suppress(OSError):
                if found.lstat().st_mtime < long_ago:
                    shutil.rmtree(found) if found.is_dir() else found.unlink()

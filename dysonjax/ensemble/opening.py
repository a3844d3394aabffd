"""Take possession of a run folder, new or with what earlier sessions have left in it."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from dysonjax import checks
from dysonjax.ensemble import checkpoints, processes, results, store
from dysonjax.ensemble.grid import Grid
from dysonjax.ensemble.lock import Lock
from dysonjax.ensemble.session import Folder, recover

HEX = 32 * "[0-9a-f]"
LEFT_OVERS = (f".store-{HEX}", f".lock-{HEX}", f".stale-{HEX}", f".clock-{HEX}", f"checkpoints/.{HEX}.part")
LEFT_OVERS += (f"checksums/.{HEX}.part", f"run.zarr/**/*.{HEX}.partial")
ABANDONED_SECONDS = 3600.0


def enter(
    stack: contextlib.ExitStack,
    path: Path,
    template: xr.Dataset,
    save_every: float,
    resume: bool,
    say: Callable[[str], None] | None = None,
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


def open_results(
    kept: Folder,
    template: xr.Dataset,
    grid: Grid,
    shape: tuple[int, int],
    resume: bool,
    say: Callable[[str], None],
) -> tuple[results.Results, checkpoints.Progress]:
    """The store, new or with what earlier sessions have left in it; process 0 goes first and repairs."""
    leader = processes.index() == 0
    before = checkpoints.Progress(np.zeros(shape, bool), [])
    try:
        if leader:
            if resume:
                opened = store.open_again(kept.path, template, say)
            else:
                opened = store.create(kept.path, template, processes.count())
            found = results.Results(template, grid, opened)
            if resume:
                before = checkpoints.load(kept.checkpoints, kept.config, shape, say)
                before, damaged = recover(found, before, say)
                if damaged:  # no older checkpoint may speak for members that start again
                    checkpoints.replace_all(kept.checkpoints, kept.config, before)
                if not before.done.all():
                    opened.remove_summary()
                    _note_session(opened, template, say)
            processes.clear_status(kept.checkpoints)
        processes.barrier("store")
        if not leader:
            found = results.Results(template, grid, store.reopen(kept.path, template))
            if resume:
                before = checkpoints.load(kept.checkpoints, kept.config, shape, lambda sentence: None)
                before, _ = recover(found, before, say)
    except OSError as error:
        place = error.filename or kept.path
        how = "read or written" if resume else "written"
        raise checks.RunError(f"{place} cannot be {how}: {error.strerror or error}") from None
    except MemoryError:
        raise checks.RunError(f"not enough memory to open {kept.path}; nothing was changed") from None
    return found, before


def _note_session(opened: store.Store, template: xr.Dataset, say: Callable[[str], None]) -> None:
    """Record with what a run goes on, where that is not what it was started with: its bits may differ."""
    attributes = store.read_attributes(opened.path) or {}
    now = {"versions": template.attrs["versions"], "device": template.attrs["device"]}
    sessions = attributes.get("sessions") or [{key: attributes.get(key) for key in now}]
    if sessions[-1] == now:
        return
    changes = store.difference(_flat(sessions[-1]), _flat(now)).removesuffix("; these cannot change")
    say(f"the run goes on with another machine or software ({changes}): its last digits may differ")
    opened.set_attributes({"sessions": [*sessions, now]})


def _flat(session: dict) -> str:
    versions = json.loads(session["versions"] or "{}")
    return json.dumps({"device": session["device"], **versions})


def _sweep(path: Path) -> None:
    """Remove what killed processes wrote aside and never gave its name."""
    long_ago = time.time() - ABANDONED_SECONDS
    for pattern in LEFT_OVERS:
        for found in path.glob(pattern):
            with contextlib.suppress(OSError):
                if found.lstat().st_mtime < long_ago:
                    shutil.rmtree(found) if found.is_dir() else found.unlink()

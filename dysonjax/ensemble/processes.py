"""The processes that share one run: who computes which seeds, who is still there.

Members never talk to each other, so neither do processes: each trains its own seeds on its own devices and
writes its own blocks of the store. `jax.distributed` brings them together and ends all of them when one dies;
before it does, the others notice the silence of its lock file and stop with a sentence.
"""

import json
import time
from pathlib import Path

from dysonjax import files
from dysonjax.checks import InputError, RunError
from dysonjax.ensemble.interrupts import resume_command
from dysonjax.ensemble.lock import silence

SILENCE_SECONDS = 25.0
LOOK_SECONDS = 2.0


def index() -> int:
    import jax  # here: who only reads a run need not wait for it

    return jax.process_index()


def count() -> int:
    import jax

    return jax.process_count()


def lock_name(process: int) -> str:
    return "run.lock" if process == 0 else f"run-{process:03d}.lock"


def share(seeds: int, seeds_per_block: int) -> range:
    """The seeds of this process, as whole blocks; raises InputError if there are too few for all."""
    blocks = -(-seeds // seeds_per_block)
    if count() > blocks:
        raise InputError(
            f"{count()} processes cannot share {blocks} blocks of {seeds_per_block} seeds; {blocks} can"
        )
    first, last = (blocks * i // count() for i in (index(), index() + 1))
    return range(first * seeds_per_block, min(last * seeds_per_block, seeds))


def barrier(name: str) -> None:
    """Wait until all processes have come here."""
    if count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


class Peers:
    """The other processes of a run, seen through their lock files."""

    def __init__(self, folder: Path):
        self.folder, self.looked = folder, 0.0

    def lost(self) -> str | None:
        """A sentence about a process that has gone silent, if there is one."""
        if count() == 1 or time.monotonic() - self.looked < LOOK_SECONDS:
            return None
        self.looked = time.monotonic()
        for process in range(count()):
            quiet = 0.0 if process == index() else silence(self.folder / lock_name(process))
            if quiet > SILENCE_SECONDS:
                since = "has left" if quiet == float("inf") else f"has been silent for {quiet:.0f} s"
                return f"process {process} of {count()} {since}"
        return None


def write_status(folder: Path, status: dict) -> None:
    """How far this process is, for `dysonjax info` and for the process that ends the run."""
    folder.mkdir(exist_ok=True)
    files.put(folder / f"process-{index():03d}.json", json.dumps(status))


def clear_status(folder: Path) -> None:
    """Forget what the processes of an earlier session said."""
    for path in folder.glob("process-*.json"):
        path.unlink(missing_ok=True)


def read_status(folder: Path) -> list[dict]:
    """What the processes of a run last said of themselves."""
    found = []
    for path in sorted(folder.glob("process-*.json")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


def let_others_leave(folder: Path, seconds: float = 10.0) -> None:
    """Keep process 0, without which JAX aborts the others, until they have saved and left."""
    others = [folder / lock_name(process) for process in range(1, count())] if index() == 0 else []
    end = time.monotonic() + seconds
    while any(path.exists() for path in others) and time.monotonic() < end:
        time.sleep(0.2)


def wait_for_all(folder: Path) -> None:
    """Wait until every process has finished; raises RunError if one is lost."""
    peers = Peers(folder)
    while sum(status["finished"] for status in read_status(folder / "checkpoints")) < count():
        lost = peers.lost()
        if lost:
            raise RunError(f"{lost}; go on with: {resume_command(folder)}")
        time.sleep(0.5)

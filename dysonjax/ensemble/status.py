"""How far a run is, from what its processes left in its folder; for looking on, from any process."""

import time
from pathlib import Path

from dysonjax.ensemble import processes
from dysonjax.ensemble.lock import living_owner


def status(folder: str | Path) -> dict:
    """The state of a run that is not finished.

    Keys: progress (0...1, None before training), net_steps_per_second (since the last start), seconds_left
    and saved_seconds_ago (None if unknown), running (which process, None if it is dead), processes.
    """
    folder = Path(folder)
    said = processes.read_status(folder / "checkpoints")
    done, total, rate = (sum(s[key] for s in said) for key in ("done", "total", "rate"))
    saves = [path.stat().st_mtime for path in (folder / "checkpoints").glob("*.npz")]
    owner = living_owner(folder / processes.lock_name(0))
    return {
        "progress": done / total if total else None,
        "net_steps_per_second": round(rate, 1),
        "seconds_left": round((total - done) / rate, 1) if owner and rate else None,
        "saved_seconds_ago": round(max(0.0, time.time() - max(saves)), 1) if saves else None,
        "running": f"process {owner.pid} on {owner.host}" if owner else None,
        "processes": len(said),
    }

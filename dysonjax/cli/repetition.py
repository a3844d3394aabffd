"""A command that trains no ensemble is verified by running it again as a whole and comparing its levels."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from dysonjax import __version__, files
from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.terminal import Terminal

TOLERANCE = 1e-3  # of the largest level of an array, on another machine or version; training is in float32


class _Progress(Terminal):
    """Shows how far the command is, and nothing of what it says."""

    def print(self, text: str = "") -> None:
        pass

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        pass


def verify(folder: Path, command, terminal: Terminal) -> dict:
    """The summary of `dysonjax verify` for a folder of `dysonjax dyson` or `dysonjax compare`.

    Raises InputError if the folder has no levels, or files that cannot be read.
    """
    name = run_folder.name_of(command)
    if name not in ("dyson", "compare"):
        raise InputError(f"dysonjax {name} trains no ensemble; repeat it as a whole")
    stored, then = _levels(folder), _summary(folder)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "again"
        where = dataclasses.replace(command.execution, out=out, overwrite=False, json=False)
        shown = _Progress(quiet=terminal.quiet, json=True)
        now = dataclasses.replace(command, execution=where).run(shown)
        again = _levels(out)
    differing = list(_compare(stored, again))
    differences = _differences(then, now)
    within = all(d["deviation"] is not None and d["deviation"] <= TOLERANCE for d in differing)
    equal = not differing or (bool(differences) and within)
    for sentence in differences:
        terminal.print(f"not as it was: {sentence}")
    for one in differing:
        terminal.print(f"{', '.join(one['variables'])}: largest deviation {one['deviation']}")
    verdict = _verdict(len(stored), differing, differences, equal)
    terminal.print(verdict)
    return {
        "command": "verify",
        "out": str(folder),
        "equal": equal,
        "bit_equal": not differing,
        "tolerance": TOLERANCE,
        "differences": differences,
        "members": now["members"],
        "of": now["members"],
        "differing": differing,
        "verdict": verdict,
    }


def _levels(folder: Path) -> dict[str, np.ndarray]:
    try:
        return files.arrays(folder / "levels.npz")
    except FileNotFoundError:
        raise InputError(f"{folder} has no levels.npz yet; verify it when its command has ended") from None


def _summary(folder: Path) -> dict:
    try:
        found = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _compare(old: dict[str, np.ndarray], new: dict[str, np.ndarray]):
    """Arrays that are not the same, as the members of `dysonjax verify` that differ."""
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if a is None or b is None or a.shape != b.shape:
            yield {"place": {}, "deviation": None, "first_step": None, "variables": [name]}
        elif not np.array_equal(a, b, equal_nan=True):
            with np.errstate(invalid="ignore"):
                deviation = np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(a))
            known = np.isfinite(deviation) and np.array_equal(np.isnan(a), np.isnan(b))
            deviation = float(deviation) if known else None
            yield {"place": {}, "deviation": deviation, "first_step": None, "variables": [name]}


def _differences(then: dict, now: dict) -> list[str]:
    """In words what is not as it was, of what the last bits depend on."""
    old, new = then.get("version", "unknown"), __version__
    found = [f"dysonjax {old} then, {new} now"] if old != new else []
    old, new = then.get("device", "unknown"), now["device"]
    return found + ([f"device {old} then, {new} now"] if old != new else [])


def _verdict(count: int, differing: list[dict], differences: list[str], equal: bool) -> str:
    if not differing:
        return f"verified: all {count} arrays of levels.npz are the same to the last bit"
    if equal:
        return f"verified: levels agree within {TOLERANCE:g} of the largest one; their last bits differ"
    wrong = ", ".join(name for one in differing for name in one["variables"])
    where = "" if differences else ", on the same machine with the same version"
    return f"NOT verified: {wrong} of levels.npz is not what is stored{where}"

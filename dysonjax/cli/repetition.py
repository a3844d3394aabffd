"""A command that stores no ensemble is verified by running it again and comparing all that it found."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from dysonjax import files
from dysonjax.checks import InputError
from dysonjax.cli import agreement, run_folder
from dysonjax.cli.agreement import TOLERANCE
from dysonjax.cli.terminal import Terminal

LEVELS = ("dyson", "compare")  # commands that leave levels.npz
FOUND = ("advise", "spectrum")  # those of which the numbers of summary.json are compared
# Of a summary, what is not found but says where, when and by what.
SKIP = ("command", "out", "file", "seconds", "version", "device", "made_by")


class _Progress(Terminal):
    """Shows how far the command is, and nothing of what it says."""

    def print(self, text: str = "") -> None:
        pass

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        pass


def verify(folder: Path, command, terminal: Terminal) -> dict:
    """The summary of `dysonjax verify` for a folder of a command that stores no ensemble.

    Raises InputError if the folder has no results, or files that cannot be read.
    """
    name = run_folder.name_of(command)
    if name not in (*LEVELS, *FOUND):
        raise InputError(
            f"{folder} is of dysonjax {name}, whose results are not compared; repeat it as a whole"
        )
    then = _summary(folder)
    stored = _levels(folder) if name in LEVELS else _found(then, folder)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "again"
        now = _again(command, out).run(_Progress(quiet=terminal.quiet, json=True))
        again = _levels(out) if name in LEVELS else _found(_summary(out), out)
    if name in LEVELS:
        differing = list(_compare(stored, again))
        within = all(d["deviation"] is not None and d["deviation"] <= TOLERANCE for d in differing)
        what, kind = "arrays of levels.npz", "levels.npz"
    else:
        values, within = agreement.of_values(stored, again)
        differing = [_differing(variable, deviation) for variable, deviation in values.items()]
        what, kind = "numbers of summary.json", "summary.json"
    differences = _differences(then, now)
    equal = not differing or (bool(differences) and within)
    for sentence in differences:
        terminal.print(f"not as it was: {sentence}")
    for one in differing:
        terminal.print(f"{', '.join(one['variables'])}: largest deviation {one['deviation']}")
    count = f"{len(stored)} " if name in LEVELS else ""
    verdict = _verdict(f"{count}{what}", kind, differing, differences, equal)
    terminal.print(verdict)
    members = {"members": now["members"], "of": now["members"]} if "members" in now else {}
    return {
        "command": "verify",
        "out": str(folder),
        "equal": equal,
        "bit_equal": not differing,
        "tolerance": TOLERANCE,
        "differences": differences,
        **members,
        "differing": differing,
        "verdict": verdict,
    }


def _again(command, out: Path):
    """The command that writes into another folder, and nothing that is not compared."""
    if hasattr(command, "execution"):
        where = dataclasses.replace(command.execution, out=out, overwrite=False, json=False)
        return dataclasses.replace(command, execution=where)
    return dataclasses.replace(command, out=out, overwrite=False, resume=False, figures=False, csv=False)


def _found(summary: dict, folder: Path) -> dict:
    """What a command found, of all that its summary holds."""
    if not summary:
        raise InputError(
            f"{folder} has no summary.json that can be read; verify it when its command has ended"
        )
    return {name: value for name, value in summary.items() if name not in SKIP}


def _differing(variable: str, deviation: float | None) -> dict:
    return {"place": {}, "deviation": deviation, "first_step": None, "variables": [variable]}


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
            yield _differing(name, None)
        elif not agreement.same(a, b):
            yield _differing(name, agreement.deviation(a, b))


def _differences(then: dict, now: dict) -> list[str]:
    """In words what is not as it was, of what the last bits depend on."""
    found = []
    for name, word in (("version", "dysonjax"), ("device", "device")):
        old, new = then.get(name, "unknown"), now.get(name, "unknown")
        found += [f"{word} {old} then, {new} now"] if old != new else []
    return found


def _verdict(what: str, kind: str, differing: list[dict], differences: list[str], equal: bool) -> str:
    if not differing:
        return f"verified: all {what} are the same to the last bit"
    if equal:
        kinds = "levels" if kind == "levels.npz" else "numbers"
        return f"verified: {kinds} agree within {TOLERANCE:g} of the largest one; their last bits differ"
    wrong = ", ".join(name for one in differing for name in one["variables"])
    where = "" if differences else ", on the same machine with the same version"
    return f"NOT verified: {wrong} of {kind} is not what is stored{where}"

"""`dysonjax verify DIR`: train a sample of a run's members again and compare with what is stored."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from dysonjax import checks
from dysonjax.checks import InputError
from dysonjax.cli import repeat_figures, repetition, run_folder
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Verify:
    """Train some members of a run again and compare everything that was recorded of them.

    Members are trained with those that shared their tile, on which the last bits depend. On the machine,
    versions and backend of the run all numbers must then be the same to the last bit. Elsewhere levels must
    agree within 1e-3 (double precision: 1e-9) of the largest level, and what differs between then and now is
    named. Folders of `dyson`, `compare`, `advise` and `spectrum`, which keep no ensemble, are repeated as a
    whole. So are figures, by their own commands: their files, the numbers behind them and their checks are
    compared, elsewhere within 1e-3 of the largest of a variable or 4 standard errors. The exit code is 0 if
    all is equal, 1 if not, 2 if there is nothing to verify.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """A run folder: of a training run, finished or not, or of another command, or a folder of figures."""
    members: int = 8
    """How many members to compare at least, each for as many steps as in the run; tiles are kept whole."""
    seed: int = 0
    """Chooses which members."""
    minutes: float = 10.0
    """Of figures, the shortest are made again, as many as took so long together."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble

        checks.positive_int("members", self.members)
        if run_folder.holds_figures(self.folder):
            return repeat_figures.verify(self.folder, self.minutes, terminal)
        run_folder.there(self.folder)
        if (self.folder / "run.json").exists():
            command = run_folder.read(self.folder)
            if not hasattr(command, "training"):
                return repetition.verify(self.folder, command, terminal)
        dataset = ensemble.read(self.folder)
        model = model_of(self.folder, ensemble.configuration(dataset))
        ensemble.one_device_per_core()
        with terminal.progress("verifying", "network-steps") as progress:
            found = ensemble.verify(
                self.folder, model, members=self.members, key=self.seed, progress=progress, say=terminal.warn
            )
        if rows := _rows(found):
            terminal.table("members that differ", ["member", "in", "largest deviation", "from step"], rows)
        for sentence in found.differences:
            terminal.print(f"not as it was: {sentence}")
        verdict = _verdict(found)
        terminal.print(verdict)
        return {
            "command": "verify",
            "out": str(self.folder),
            "equal": found.equal,
            "bit_equal": found.bit_equal,
            "tolerance": found.tolerance,
            "differences": list(found.differences),
            "members": len(found.members),
            "of": dataset["diverged_at"].size,
            "differing": [
                {
                    "place": member.place,
                    "deviation": member.deviation if member.deviation < float("inf") else None,
                    "first_step": member.first_step,
                    "variables": list(member.variables),
                }
                for member in found.members
                if not member.bit_equal
            ],
            "verdict": verdict,
        }

    def exit_code(self, summary: dict) -> int:
        return 0 if summary["equal"] else 1


def model_of(folder: Path, config: dict):
    """The model with which a run was made: by its command, or by the configuration alone for those that one
    makes in Python by a function of `dysonjax.models` with plain numbers."""
    from dysonjax import models
    from dysonjax.cli.training import described

    if (folder / "run.json").exists():
        return described(run_folder.read(folder))[0]
    settings = dict(config["model"])
    name = settings.pop("name")
    known: dict[str, Any] = {
        "teacher-student": models.teacher_student,
        "spiked-teacher": models.spiked_teacher,
    }
    if name not in known:
        raise InputError(
            f"{folder} was not made by a command, and its model {name} is known to its maker alone; "
            "verify it in Python: dj.verify(folder, model)"
        )
    try:
        return known[name](**settings)
    except TypeError:
        raise InputError(f"{folder} was made by another version of dysonjax, with other settings") from None


MOST_ROWS = 20


def _rows(found) -> list[list[str]]:
    """The members that differ most."""
    rows = []
    differing = sorted((m for m in found.members if not m.bit_equal), key=lambda m: -m.deviation)
    for member in differing[:MOST_ROWS]:
        place = ", ".join(f"{name} = {value:g}" for name, value in member.place.items())
        names = ", ".join(member.variables[:3]) + (", ..." if len(member.variables) > 3 else "")
        start = "" if member.first_step is None else str(member.first_step)
        rows.append([place, names, f"{member.deviation:.2g}", start])
    return rows


def _verdict(found) -> str:
    count = len(found.members)
    if found.bit_equal:
        return f"verified: all that was recorded of {count} members is the same to the last bit"
    if found.equal:
        return (
            f"verified: the levels of {count} members agree within {found.tolerance:g} of the largest one; "
            "their last bits differ, as the machine, the versions or the way do"
        )
    if not found.differences:
        wrong = sum(not member.bit_equal for member in found.members)
        return (
            f"NOT verified: {wrong} of {count} members are not what is stored, on the same machine with the "
            "same versions and backend"
        )
    wrong = sum(member.deviation > found.tolerance for member in found.members)
    return (
        f"NOT verified: {wrong} of {count} members lie beyond the tolerance of {found.tolerance:g}; rounding "
        "may do that where training is chaotic, so verify on a machine like that of the run"
    )

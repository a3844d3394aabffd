"""`dysonjax resume DIR`: go on with an interrupted run."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.distributed import PROCESSES, Processes
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run, with the options with which it was started.

    It ends as it would have without the interruption: to the last bit on the same number of devices, to
    rounding otherwise. A damaged checkpoint is skipped, damaged results are computed again. What a run
    computes cannot be changed; the options here say where and how it goes on. An interrupted analysis of
    spectra keeps the layers that are finished.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """The folder of the run."""
    tile: str | None = None
    """Largest number of networks trained at once on a device, or tune; default: as before."""
    devices: str | None = None
    """Number of devices, or cpu, gpu, tpu; default: as before."""
    save_every: float | None = None
    """Longest time between two checkpoints, seconds; default: as before."""
    processes: Processes = PROCESSES
    json: bool = False
    """Print the summary as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble
        from dysonjax.ensemble.schema import read_object

        command = run_folder.read(self.folder)
        name = run_folder.name_of(command)
        if not hasattr(command, "training") and not hasattr(command, "resume"):
            raise InputError(f"{name} keeps no checkpoints; start it again with --overwrite")
        summary = self.folder / "summary.json"
        whole = hasattr(command, "resume") or ensemble.intact(self.folder)
        if summary.exists() and run_folder.ended(self.folder) and whole:
            terminal.print(f"{self.folder} is finished; there is nothing to go on with")
            return read_object(summary)
        if hasattr(command, "resume"):
            again = dataclasses.replace(
                command, out=self.folder, resume=True, overwrite=False, json=self.json, quiet=self.quiet
            )
            terminal.print(f"going on with {name} in {self.folder}")
            return again.run(terminal)
        changes = {n: getattr(self, n) for n in ("tile", "devices", "save_every", "processes")}
        changes = {n: value for n, value in changes.items() if value is not None}
        again = dataclasses.replace(
            command,
            training=dataclasses.replace(command.training, **changes, resume=True, dry_run=False),
            execution=dataclasses.replace(
                command.execution, out=self.folder, json=self.json, quiet=self.quiet
            ),
        )
        terminal.print(f"going on with {name} in {self.folder}")
        return again.run(terminal)

"""`dysonjax merge DIR...`: join runs that trained different seeds of one grid."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax.checks import InputError
from dysonjax.cli import run_folder
from dysonjax.cli.common import EXECUTION, Execution, output_folder
from dysonjax.cli.distributed import PROCESSES
from dysonjax.cli.terminal import Terminal
from dysonjax.cli.training import parse_shard


@dataclasses.dataclass(frozen=True)
class Merge:
    """Join finished runs, each a shard I/N of one run, into one run folder with figure and summary.

    The result is the same as if one run had trained all seeds. Refused: shards of different runs, a shard
    that is given twice or is missing, and runs that are not finished.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The run folders of all shards, in any order."""
    execution: Execution = EXECUTION

    def run(self, terminal: Terminal) -> dict:
        from dysonjax import ensemble
        from dysonjax.ensemble.interrupts import resume_command

        if not self.folders:
            raise InputError("merge needs the folders of the shards")
        commands = [run_folder.read(folder) for folder in self.folders]
        command = _whole(self.folders, commands)
        for path in self.folders:  # found before anything is written
            if not ensemble.intact(path):
                raise InputError(f"{path} is not finished or damaged; {resume_command(path)} first")
        folder = output_folder(self.execution.out, run_folder.name_of(command), self.execution.overwrite)
        run_folder.write(folder, command)
        ensemble.merge(self.folders, folder)
        terminal.print(f"merged {len(self.folders)} runs into {folder}")
        again = dataclasses.replace(
            command,
            training=dataclasses.replace(command.training, resume=True),
            execution=dataclasses.replace(self.execution, out=folder, seed=command.execution.seed),
        )
        return again.run(terminal)  # finds everything computed: it only reports


def _whole(folders: tuple[Path, ...], commands: list):
    """The command of the whole run; raises InputError unless these are all of its shards."""
    shards: dict[int, Path] = {}
    counts: list[int] = []
    for folder, command in zip(folders, commands, strict=True):
        training = getattr(command, "training", None)
        if training is None or training.shard is None:
            raise InputError(f"{folder} is not a shard; shards are made with --shard I/N")
        index, count = parse_shard(training.shard)
        if index in shards:
            raise InputError(f"{shards[index]} and {folder} are both shard {index}/{count}")
        shards[index] = folder
        counts.append(count)
    whole = [_without_shard(command) for command in commands]
    for folder, other, count in zip(folders, whole, counts, strict=True):
        if other != whole[0] or count != counts[0]:
            raise InputError(f"{folders[0]} and {folder} are shards of different runs")
    missing = [str(i) for i in range(1, counts[0] + 1) if i not in shards]
    if missing:
        raise InputError(f"of {counts[0]} shards these are missing: {', '.join(missing)}")
    return whole[0]


def _without_shard(command):
    """What the run computes, without where and how it was computed."""
    training = dataclasses.replace(
        command.training,
        shard=None,
        tile=None,
        devices=None,
        save_every=300.0,
        dry_run=False,
        processes=PROCESSES,
    )
    execution = dataclasses.replace(EXECUTION, seed=command.execution.seed)
    return dataclasses.replace(command, training=training, execution=execution)

"""`dysonjax info DIR`: what a run folder holds, how far it is, whether it is alive, how to go on with it."""

import dataclasses
import json as json_
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from dysonjax.cli import run_folder
from dysonjax.cli.common import duration, speed
from dysonjax.cli.terminal import Terminal, amount


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a run folder holds: configuration, variables, how far it is, and how to go on with it.

    Of a folder of figures: which they are, and by which commands they were made.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """A run folder, finished or not, or a folder of figures."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.ensemble import configuration, read, schema, status
        from dysonjax.ensemble.store import present

        if run_folder.holds_figures(self.folder):
            return self._figures(terminal)
        run_folder.there(self.folder)
        if not present(self.folder / "run.zarr") and present(self.folder / "run.json"):
            return self._other(terminal)
        dataset = read(self.folder)
        config = configuration(dataset)
        diverged = int((dataset["diverged_at"] >= 0).sum())
        # A record exists once its loss is a number or its member is known to have diverged.
        recorded = np.isfinite(dataset["train_loss"]) | (dataset["diverged_at"] >= 0)
        progress = float(recorded.mean())
        summary = json_.loads(dataset.attrs.get("summary", "{}"))
        sessions = schema.sessions(dataset.attrs, self.folder / "run.zarr")
        members = dataset["diverged_at"].size
        terminal.print(f"{config['model']['name']}: {members} networks x {config['steps']} steps")
        terminal.table(
            "grid",
            ["dimension", "values", "from", "to"],
            [
                [str(dim), str(n), f"{dataset[dim].values[0]:g}", f"{dataset[dim].values[-1]:g}"]
                for dim, n in dataset.sizes.items()
            ],
        )
        terminal.table(
            "variables",
            ["name", "dimensions", "meaning"],
            [
                [str(name), ", ".join(map(str, v.dims)), str(v.attrs.get("long_name", ""))]
                for name, v in dataset.data_vars.items()
            ],
        )
        if len(backends := dict.fromkeys(str(s.get("backend")) for s in sessions)) > 1:
            terminal.print(f"computed by {', then '.join(backends)}, in {len(sessions)} sessions")
        found = status(self.folder)
        alive = dataset["diverged_at"].size - diverged
        terminal.print(f"{100 * progress:.0f} % of the records; {alive} networks alive, {diverged} diverged")
        if summary:
            terminal.print(f"finished: {speed(summary)}")
        else:
            for line in _state(found, self.folder):
                terminal.print(line)
        return {
            "command": "info",
            "out": str(self.folder),
            "config": config,
            "members": members,
            "finished": bool(summary),
            "recorded": progress,
            "alive": alive,
            "diverged": diverged,
            "sessions": sessions,
            **({"summary": summary} if summary else found),
        }

    def _figures(self, terminal: Terminal) -> dict:
        """A folder of `dysonjax figure`."""
        from dysonjax.export import figure_folder

        figures = figure_folder.stored(self.folder)
        rows = []
        for figure in figures:
            off = sum(abs(row.get("z") or 0.0) > 3 for row in figure.summary["checks"])
            checks = f"{len(figure.summary['checks'])}, {off} beyond 3 errors"
            seconds = duration(figure.summary["seconds"])
            rows.append([figure.name, figure_folder.command_line(figure.summary), seconds, checks])
        terminal.table("figures", ["name", "command", "time", "checks"], rows)
        found = {"command": "info", "out": str(self.folder), "of": "figure", "finished": True}
        return found | {"figures": [figure.summary for figure in figures]}

    def _other(self, terminal: Terminal) -> dict:
        """A folder of a command that trains no ensemble, such as dyson or compare."""
        from dysonjax.ensemble.schema import read_object

        command = run_folder.name_of(run_folder.read(self.folder))
        try:
            summary = read_object(self.folder / "summary.json", {"command": str})
        except FileNotFoundError:
            summary = {}
        files = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        terminal.print(f"dysonjax {command}, {'finished' if summary else 'not finished'}: {', '.join(files)}")
        single = {k: v for k, v in summary.items() if isinstance(v, str | int | float) and k != "out"}
        terminal.table("summary", ["quantity", "value"], [[name, str(v)] for name, v in single.items()])
        found = {"command": "info", "out": str(self.folder), "of": command, "finished": bool(summary)}
        return found | {"files": files, "summary": summary}


def _state(found: dict, folder: Path) -> list[str]:
    """How far a run is that is not finished, in words."""
    from dysonjax.ensemble.interrupts import resume_command

    lines = []
    if found["progress"] is not None:
        lines.append(
            f"training: {100 * found['progress']:.1f} %, "
            f"{amount(found['net_steps_per_second'], 'network-steps/s')}"
        )
    if found["saved_seconds_ago"] is None:
        lines.append("no checkpoint yet")
    else:
        lines.append(f"last checkpoint {duration(found['saved_seconds_ago'])} ago")
    if found["running"]:
        left = found["seconds_left"]
        lines.append(f"running: {found['running']}" + (f", {duration(left)} left" if left else ""))
    else:
        lines.append(f"stopped; go on with: {resume_command(folder)}")
    return lines

"""`dysonjax info DIR`: what a run folder holds."""

import dataclasses
import json as json_
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a run folder holds: its configuration, how far it is, and its variables."""

    folder: Annotated[Path, tyro.conf.Positional]
    """A run folder, finished or not."""
    json: bool = False
    """Print one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.ensemble import configuration, read

        dataset = read(self.folder)
        config = configuration(dataset)
        diverged = int((dataset["diverged_at"] >= 0).sum())
        # A record exists once its loss is a number or its member is known to have diverged.
        recorded = np.isfinite(dataset["train_loss"]) | (dataset["diverged_at"] >= 0)
        progress = float(recorded.mean())
        summary = json_.loads(dataset.attrs.get("summary", "{}"))
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
        state = "finished" if summary else "not finished"
        terminal.print(f"{state}: {100 * progress:.0f} % of the records, {diverged} members diverged")
        if summary:
            rate = summary["net_steps_per_second"]
            terminal.print(f"{summary['seconds']:.1f} s on {summary['device']}, {rate:.3g} network-steps/s")
        return {
            "command": "info",
            "out": str(self.folder),
            "config": config,
            "members": members,
            "finished": bool(summary),
            "recorded": progress,
            "diverged": diverged,
            **({"summary": summary} if summary else {}),
        }

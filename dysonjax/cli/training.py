"""What the commands that train an ensemble share: its options, the dry run, the run folder."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import checks
from dysonjax.cli.common import output_folder, parse_integers, parse_records, parse_values
from dysonjax.cli.compile_cache import compiling
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Grid, length and execution of a training run. Ranges: 0.1,0.5 is a list, 0.125:256:x2 doubles,
    0.01:0.1:10 are ten linear steps."""

    lr: str
    """Learning rates alpha, dimensionless."""
    batch_size: str
    """Mini-batch sizes |B|, samples (or Markov chains)."""
    sigma_w: str
    """Initial weight widths sigma_W: weights start from N(0, sigma_W^2/n_in)."""
    seeds: int
    """Networks at each grid point."""
    steps: int
    """Training steps."""
    records: str = "41"
    """Number of records in equal distances, log:N for logarithmic ones, or the steps as a list."""
    randomness: str = "common"
    """common: the points of a seed share their noise, which is then drawn once; independent: each its own."""
    seed: int = 0
    """Root of all randomness."""
    keep_weights: str = "none"
    """Weights to store: none, last or all records."""
    tile: int | None = None
    """Largest number of networks trained at once on a device; default: chosen from its memory."""
    devices: str | None = None
    """Number of devices, or cpu, gpu, tpu; default: all that JAX finds."""
    x64: bool = False
    """Train in double precision."""
    out: Path | None = None
    """Folder for the results; default: the next free runs/COMMAND-NNN."""
    overwrite: bool = False
    """Replace the results that the output folder holds."""
    dry_run: bool = False
    """Print the estimated time and disk space and stop."""


Training = Annotated[TrainingOptions, tyro.conf.arg(name="")]  # its options carry no prefix


def train(command: str, model, options: TrainingOptions, terminal: Terminal):
    """Train as the options say. Returns (run, folder), or (plan, None) for a dry run."""
    from dysonjax import ensemble

    steps = checks.positive_int("steps", options.steps)
    arguments = {
        "model": model,
        "grid": ensemble.Grid(
            lr=parse_values("lr", options.lr),
            batch_size=parse_integers("batch_size", options.batch_size),
            sigma_w=parse_values("sigma_w", options.sigma_w),
            seeds=options.seeds,
        ),
        "steps": steps,
        "optimizer": "sgd",  # the theory is that of plain gradient steps
        "records": parse_records(options.records, steps),
        **{
            name: getattr(options, name)
            for name in ("randomness", "seed", "keep_weights", "tile", "devices", "x64")
        },
    }
    if options.dry_run:
        plan = ensemble.estimate(**arguments)
        terminal.print(announcement(plan))
        return plan, None
    ensemble.check(**arguments)
    folder = output_folder(options.out, command, options.overwrite)
    terminal.print(compiling(f"{arguments['grid'].members} networks"))
    with terminal.progress("training", "network-steps") as progress:
        run = ensemble.train(
            **arguments,
            out=folder,
            progress=progress,
            announce=lambda plan: terminal.print(announcement(plan)),
        )
    return run, folder


def announcement(plan) -> str:
    """What a run will take, in one line."""
    time = f"{plan.seconds:.0f} s" if plan.seconds < 600 else f"{plan.seconds / 3600:.1f} h"
    size = f"{plan.bytes / 1e6:.1f} MB"
    return f"{plan.members} networks x {plan.steps} steps: about {time} and {size} of results"

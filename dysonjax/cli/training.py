"""What the commands that train an ensemble share: its options, the dry run, the run folder."""

import contextvars
import dataclasses
import os
from typing import Annotated, Literal

import tyro

from dysonjax import checks
from dysonjax.cli import run_folder
from dysonjax.cli.common import duration, output_folder, parse_integers, parse_records, parse_values
from dysonjax.cli.compile_cache import compiling
from dysonjax.cli.distributed import PROCESSES, Processes
from dysonjax.cli.output import computed, go_on_with
from dysonjax.cli.terminal import Terminal


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Grid, length and devices of a training run. Ranges: 0.1,0.5 is a list, 0.125:256:x2 doubles,
    0.01:0.1:10 are ten linear steps."""

    lr: str | None = None
    """Learning rates alpha, dimensionless."""
    batch_size: str | None = None
    """Mini-batch sizes |B|, samples (or Markov chains)."""
    sigma_w: str | None = None
    """Initial weight widths sigma_W: weights start from N(0, sigma_W^2/n_in)."""
    seeds: int | None = None
    """Networks at each grid point, each with its own teacher, data and noise."""
    steps: int | None = None
    """Training steps."""
    records: str = "41"
    """Number of records at equal distances, log:N at logarithmic ones, or the steps as a list."""
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "muon"] = "sgd"
    """How gradients become steps."""
    momentum: float | None = None
    """What a step keeps of the direction before it, from 0 to 1; default: 0.9, for muon 0.95."""
    weight_decay: float | None = None
    """Decoupled weight decay, in units of the learning rate; default: 0.01 for adamw, else 0."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the learning rate; cosine goes down to a tenth."""
    warmup: int = 0
    """Steps over which the learning rate rises from zero."""
    randomness: Literal["common", "independent"] = "common"
    """common: the points of a seed share their randomness, which is then drawn once; independent: each has
    its own."""
    keep_weights: Literal["none", "last", "all"] = "none"
    """Records whose weights are stored."""
    keep: str = "none"
    """Overlaps of singular vectors to record with the levels: none, overlaps (all of them), or a list out of
    overlaps-target, overlaps-start and overlaps-previous."""
    tile: str | None = None
    """Largest number of networks trained at once on a device, or tune: measure which is the fastest and
    remember it; default: what is remembered for such networks, else chosen from a device's memory."""
    devices: str | None = None
    """Number of devices, or cpu, gpu, tpu; default: all that JAX finds."""
    backend: Literal["auto", "cuda", "native", "xla"] = "auto"
    """What compiles a training step: cuda (small networks on an NVIDIA GPU, with their weights on the chip),
    native (C, on a CPU), xla (everything, everywhere), or auto: the first of these that takes it."""
    x64: bool = False
    """Train in double precision."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Lowest precision of products while training on a GPU or a TPU; a CPU computes them in full."""
    save_every: float = 300.0
    """Longest time between two checkpoints, seconds; some are also written at records."""
    dry_run: bool = False
    """Print the estimated time and disk space and stop."""
    shard: str | None = None
    """I/N: train the I-th of N parts of the seeds, for jobs that know nothing of each other; `dysonjax merge`
    joins them."""
    processes: Processes = PROCESSES
    resume: Annotated[bool, tyro.conf.Suppress] = False


AS_THEY_ARE = (
    "randomness",
    "keep_weights",
    "keep",
    "tile",
    "devices",
    "backend",
    "x64",
    "precision",
    "save_every",
)  # of `Config`
Training = Annotated[TrainingOptions, tyro.conf.arg(name="")]  # its options carry no prefix


_describing = contextvars.ContextVar("describing", default=False)


class _Described(Exception):
    """Ends a command once it is known what it would train."""


def described(command):
    """The model and the `Config` that a command would train; raises InputError if it trains no ensemble."""
    token = _describing.set(True)
    try:
        command.run(Terminal(quiet=True))
    except _Described as found:
        return found.args
    finally:
        _describing.reset(token)
    raise checks.InputError(f"dysonjax {run_folder.name_of(command)} trains no ensemble")


def train(command, model, terminal: Terminal, scalars=None):
    """Train as the `training` and `execution` options of a command say.

    scalars: further axes of the grid, name -> values.
    Returns (run, folder), or (plan, None) for a dry run.
    """
    from dysonjax import ensemble

    options, execution = command.training, command.execution
    steps = checks.positive_int("steps", options.steps)
    grid = ensemble.Grid(
        lr=parse_values("lr", options.lr),
        batch_size=parse_integers("batch_size", options.batch_size),
        sigma_w=parse_values("sigma_w", options.sigma_w),
        seeds=options.seeds,
        scalars=scalars or {},
    )
    config = ensemble.Config(
        grid if options.shard is None else shard_of(grid, *parse_shard(options.shard)),
        steps,
        parse_records(options.records, steps),
        ensemble.Optimizer(
            options.optimizer, options.weight_decay, options.schedule, options.warmup, options.momentum
        ),
        seed=execution.seed,
        **{name: getattr(options, name) for name in AS_THEY_ARE},
    )
    ensemble.check(model, config)
    if _describing.get():
        raise _Described(model, config)
    if options.dry_run:
        plan = ensemble.plan(model, config)
        terminal.print(announcement(plan))
        return plan, None
    leader = ensemble.process_index() == 0
    if options.processes.distributed and execution.out is None:
        raise checks.InputError("distributed runs need --out, a folder that all processes see")
    if options.resume or not leader:
        folder = execution.out
        if leader:
            go_on_with(folder)
    else:
        folder = output_folder(execution.out, run_folder.name_of(command), execution.overwrite)
        run_folder.write(folder, command)
    ensemble.barrier("folder")
    terminal.print(compiling(f"{config.grid.members} networks"))
    with terminal.progress("training", "network-steps") as progress:
        run = ensemble.run(
            model,
            config,
            out=folder,
            resume=options.resume,
            progress=progress,
            announce=lambda plan: terminal.print(announcement(plan)),
            say=terminal.warn,
        )
    if os.environ.get("DYSONJAX_DEBUG"):
        reason = run.summary["backend_reason"] or "nothing refused"
        terminal.print(f"compiled by {run.summary['target']}; {reason}")
    if not leader:
        raise SystemExit(0)  # figures and summary are process 0's
    computed(folder)
    return run, folder


def parse_shard(text: str) -> tuple[int, int]:
    """I and N of a shard I/N."""
    index, _, count = text.partition("/")
    if not (checks.digits(index) and checks.digits(count) and 1 <= int(index) <= int(count)):
        raise checks.InputError(f"shard must be I/N with I from 1 to N, got {text!r}")
    return int(index), int(count)


def shard_of(grid, index: int, count: int):
    """The part of a grid's seeds that shard `index` of `count` trains."""
    if count > grid.seeds:
        raise checks.InputError(f"{grid.seeds} seeds cannot be cut into {count} shards")
    first, end = (grid.seeds * i // count for i in (index - 1, index))
    return dataclasses.replace(grid, first_seed=grid.first_seed + first, seeds=end - first)


def announcement(plan) -> str:
    """What a run will take, in one line."""
    from dysonjax.ensemble.disk import size

    text = (
        f"{plan.members} networks x {plan.steps} steps: about {duration(plan.seconds)} and "
        f"{size(plan.bytes)} of results"
    )
    if plan.tile:
        text += f"; {plan.tile} at a time on a device, {size(plan.member_bytes)} of memory each"
    if plan.tuning_seconds:
        text += f"; first, about {duration(plan.tuning_seconds)} to find the fastest tile"
    return text

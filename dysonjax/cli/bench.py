"""`dysonjax bench NAME`: throughput on this machine beside the baselines and a limit."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dysonjax import __version__
from dysonjax.checks import InputError
from dysonjax.cli.common import write_json
from dysonjax.cli.output import new_file
from dysonjax.cli.terminal import Terminal

OPTIONS = ("seeds", "steps", "train", "data", "randomness", "sampler", "beta", "task")
DRAWN = ("teacher-student", "rbm", "linear")  # against the number of networks


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure rates on this machine: this package, what one would write instead, a limit.

    teacher-student, rbm, linear, spikes and nanogpt count steps of one network. Their baselines are a plain
    vmap in JAX and loops over networks in NumPy and (where installed) PyTorch, on the same cores; the limit
    is a hand-written C kernel of the same arithmetic, where there is a C compiler, or the matrix products
    alone. dyson counts trajectories to 1 % in the mean spacings, samplers exact draws, statistics repeats of
    a test or fit. Repetitions of all variants are taken in turn; leave the machine alone while it measures.
    """

    name: Annotated[str, tyro.conf.Positional] = "teacher-student"
    """What to measure: teacher-student, rbm, linear, spikes, nanogpt, dyson, samplers or statistics."""
    seeds: int | None = None
    """Seeds: members are 144 (teacher-student), 16 (spikes), 10 (rbm, linear) or 1 times this."""
    steps: int | None = None
    """Steps of each repetition; default: about a second on two cores."""
    repetitions: int = 5
    """Repetitions; medians are reported."""
    train: Literal["middle", "all"] | None = None
    """teacher-student: matrices that are trained; middle is the published setting."""
    data: Literal["fixed", "online"] | None = None
    """teacher-student: the same batches in every epoch, or fresh samples."""
    randomness: Literal["common", "independent"] | None = None
    """teacher-student: whether grid points share their randomness."""
    sampler: Literal["gibbs", "collapsed"] | None = None
    """rbm: how Markov chains are drawn."""
    beta: Literal["1", "2", "4"] | None = None
    """samplers: Dyson index."""
    task: Literal["permutation", "power-law", "ratios", "marchenko-pastur"] | None = None
    """statistics: what is measured; default: permutation."""
    only: str | None = None
    """Variants to measure beside this package's, separated by commas; default: all."""
    members: str | None = None
    """Instead of all that, time and memory of this package at these numbers of members: 64,1000,10000."""
    out: Path | None = None
    """File for the result as JSON."""
    figure: Path | None = None
    """Also measure at several numbers of networks and draw the rates into this file (.png, .pdf or .svg)."""
    overwrite: bool = False
    """Replace the files of --out and --figure if they exist."""
    json: bool = False
    """Print the result as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        for path in (self.out, self.figure):
            if path is not None:
                new_file(path, self.overwrite)
        if self.figure is not None and self.figure.suffix not in (".png", ".pdf", ".svg"):
            raise InputError(f"figure must be a .png, .pdf or .svg file, got {self.figure}")
        if self.figure is not None and (self.members is not None or self.name not in DRAWN):
            raise InputError(f"--figure goes with {', '.join(DRAWN)}, and without --members")
        options = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        found = (
            self._rates(options, terminal)
            if self.members is None
            else self._cost(self.members, options, terminal)
        )
        result = {"command": "bench", **found, "version": __version__}
        if self.out is not None:
            write_json(self.out, result)
        return result

    def _rates(self, options: dict, terminal: Terminal) -> dict:
        from dysonjax.bench import sweep, table
        from dysonjax.figures.style import write
        from dysonjax.figures.throughput import throughput

        only = tuple(self.only.split(",")) if self.only else ()
        result = table.run(self.name, self.repetitions, terminal.print, only, **options)
        rows, extra = [], [key for key in result["variants"]["engine"]["details"] if key != "note"]
        for name, variant in result["variants"].items():
            row = [name.replace("_", " "), f"{variant['per_second']:.3g}"]
            row += [f"{result['ratios'].get(name, 1.0):.3g}", f"{variant['compile_seconds']:.1f}"]
            rows.append(row + [f"{variant['details'][key]:.3g}" for key in extra])
        columns = ["variant", result["unit"], "engine over it", "compiled in s", *extra]
        title = f"{self.name}: {result['members']} members, {result['cores']} cores, {result['processor']}"
        terminal.table(title, columns, rows)
        notes = {name: variant["details"].get("note") for name, variant in result["variants"].items()}
        notes |= {name: f"not measured, {reason}" for name, reason in result["unavailable"].items()}
        for name, note in notes.items():
            if note:
                terminal.print(f"{name.replace('_', ' ')}: {note}")
        if self.figure is not None:
            points = sweep.rates(self.name, self.repetitions, terminal.print, **options)
            flat = {name: rate for name, rate in result["baselines"].items() if name != "plain_vmap"}
            title = f"{self.name}, {result['cores']} cores, {result['processor']}"
            write(throughput(title, points, flat), self.figure, dpi=160)
            result |= {"sweep": points, "figure": str(self.figure)}
        return result

    def _cost(self, given: str, options: dict, terminal: Terminal) -> dict:
        from dysonjax.bench import sweep

        try:
            members = [int(number) for number in given.split(",")]
        except ValueError:
            message = f"members must be whole numbers with commas between, got {given}"
            raise InputError(message) from None
        if options.pop("seeds", None):
            raise InputError("--members stands in place of --seeds; give one of them")
        result = sweep.cost(self.name, members, self.repetitions, terminal.print, **options)
        rows = []
        for point in result["points"]:
            more = point["bytes_per_member"]
            row = [f"{point['members']}", f"{point['steps'] or ''}", f"{point['net_steps_per_second']:.3g}"]
            row += [f"{1e9 * point['seconds_per_member_step']:.4g}", f"{point['peak_bytes'] / 1e6:.0f}"]
            rows.append([*row, "" if more is None else f"{more / 1e3:.3g}"])
        columns = ["members", "steps", result["unit"], "ns each", "peak memory in MB", "kB for each more"]
        terminal.table(f"{self.name}: what a member costs", columns, rows)
        terminal.print(f"time for each: largest over smallest is {1 + result['flatness']:.2f}")
        return result

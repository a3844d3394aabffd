"""`dysonjax bench NAME`: throughput on this machine beside the baselines and a limit."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from dysonjax import __version__
from dysonjax.checks import InputError
from dysonjax.cli.terminal import Terminal

SWEEP = (1, 4, 16, 64, 256)  # seeds at which the figure measures


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure network-steps/s of one training step: this engine, what one would write instead, a limit.

    The baselines are a plain vmap in JAX and loops over networks in NumPy and (for the RBM, where installed)
    PyTorch, on the same cores; the limit is a hand-written C kernel of the same arithmetic, where there is a
    C compiler. Repetitions of all variants are taken in turn; leave the machine alone while it measures.
    """

    name: Annotated[str, tyro.conf.Positional] = "teacher-student"
    """What to measure: teacher-student, rbm, linear or nanogpt."""
    seeds: int | None = None
    """Seeds: members are 144 (teacher-student) or 10 times this. Default: 8 or 64."""
    steps: int | None = None
    """Steps of each repetition; default: about a second on two cores."""
    repetitions: int = 5
    """Repetitions; medians are reported."""
    train: str | None = None
    """teacher-student: middle (the published setting) or all matrices."""
    data: str | None = None
    """teacher-student: fixed or online."""
    randomness: str | None = None
    """teacher-student: common or independent between grid points."""
    sampler: str | None = None
    """rbm: gibbs or collapsed."""
    only: str | None = None
    """Variants to measure beside the engine, separated by commas; default: all."""
    out: Path | None = None
    """File for the result as JSON."""
    figure: Path | None = None
    """Also measure at several numbers of members and draw the rates into this file."""
    json: bool = False
    """Print the result as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.bench import table

        for path in (self.out, self.figure):
            if path is not None and not path.parent.is_dir():
                raise InputError(f"the folder {path.parent} does not exist; create it first")
        options = {name: getattr(self, name) for name in ("train", "data", "randomness", "sampler")}
        arguments = {
            "repetitions": self.repetitions,
            "say": terminal.print,
            "only": tuple(self.only.split(",")) if self.only else (),
            **{name: value for name, value in options.items() if value is not None},
        }
        result = table.run(self.name, self.seeds, self.steps, **arguments)
        rows = [
            [
                name.replace("_", " "),
                f"{variant['per_second']:.3g}",
                f"{result['ratios'].get(name, 1.0):.3g}",
                f"{variant['compile_seconds']:.1f}",
            ]
            for name, variant in result["variants"].items()
        ]
        terminal.table(
            f"{self.name}: {result['members']} networks, {result['cores']} cores, {result['processor']}",
            ["variant", "network-steps/s", "engine over it", "compiled in s"],
            rows,
        )
        for name, reason in result["unavailable"].items():
            terminal.print(f"{name.replace('_', ' ')}: not measured, {reason}")
        result = {"command": "bench", **result, "version": __version__}
        if self.figure is not None:
            result["sweep"] = self._sweep(result, arguments, terminal)
            result["figure"] = str(self.figure)
        if self.out is not None:
            self.out.write_text(json.dumps(result, indent=2) + "\n")
        return result

    def _sweep(self, result: dict, arguments: dict, terminal: Terminal) -> list[dict]:
        """Rates at several numbers of members; the loops over networks do not depend on it."""
        from dysonjax.bench import table
        from dysonjax.figures.throughput import throughput

        members_per_seed = result["members"] // result["seeds"]
        points = []
        for seeds in SWEEP:
            # Equal work at every point; few members would otherwise be over before a clock notices.
            steps = min(20_000, max(50, result["seeds"] * result["steps"] // seeds))
            terminal.print(f"{members_per_seed * seeds} networks ...")
            found = table.run(
                self.name, seeds, steps, **arguments | {"only": ("plain_vmap", "limit"), "say": _silent}
            )
            points.append(
                {
                    "members": found["members"],
                    "net_steps_per_second": {
                        name: variant["per_second"] for name, variant in found["variants"].items()
                    },
                }
            )
        flat = {name: rate for name, rate in result["baselines"].items() if name.endswith("loop")}
        throughput(self.name, points, flat).savefig(self.figure, dpi=160)
        return points


def _silent(text: str) -> None:
    pass

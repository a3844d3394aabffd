"""`dysonjax bench NAME`: throughput on this machine beside the baselines."""

import dataclasses
from typing import Annotated

import tyro

from dysonjax import __version__, checks
from dysonjax.cli.terminal import Terminal

NAMES = ["teacher-student"]


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure throughput in network-steps/s, beside a plain vmap and a NumPy loop on the same cores.

    Leave the machine alone while it measures; every variant runs after the others in a process of its own.
    """

    name: Annotated[str, tyro.conf.Positional] = "teacher-student"
    """What to measure: teacher-student."""
    seeds: int = 8
    """Seeds of the 12x12 grid; the number of networks is 144 times this."""
    steps: int = 4000
    """Steps of each repetition."""
    repetitions: int = 3
    """Repetitions; the median is reported."""
    json: bool = False
    """Print the result as one JSON object on the last line of standard output."""
    quiet: bool = False
    """Print nothing but warnings and errors."""

    def run(self, terminal: Terminal) -> dict:
        from dysonjax.bench import teacher_student

        checks.one_of("name", self.name, NAMES)
        result = teacher_student.run(
            checks.positive_int("seeds", self.seeds),
            checks.positive_int("steps", self.steps),
            checks.positive_int("repetitions", self.repetitions),
            say=terminal.print,
        )
        rows = [["dysonjax", f"{result['net_steps_per_second']:.3g}", "1"]]
        rows += [
            [name.replace("_", " "), f"{rate:.3g}", f"{result['ratios'][name]:.3g}"]
            for name, rate in result["baselines"].items()
        ]
        terminal.table(
            f"{result['members']} networks on {result['cores']} cores",
            ["variant", "network-steps/s", "dysonjax is faster by"],
            rows,
        )
        terminal.print(
            f"the products of the training step run at {100 * result['share_of_peak']:.0f} % of the "
            f"{result['peak_flops_per_second'] / 1e9:.0f} GFLOP/s that one large product reaches"
        )
        return {"command": "bench", **result, "version": __version__}

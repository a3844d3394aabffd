"""What the kernels of the built-in models take on a GPU, read from machine code that NVRTC makes without one.

    python tests/cuda/budgets.py            # the table as it is now
    python tests/cuda/budgets.py --write    # ... into budgets.json, which tests hold later changes against

Instructions are those of the loop over steps, with nobody frozen.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import kernels

from dysonjax.compile import fastest, layouts, warps

FILE = Path(__file__).with_name("budgets.json")
ALIVE = ("-DALL_ALIVE",)
# Seeds and points of the published grid; of the others what their figures have.
SIZES = {"linear": (640, 1), "gibbs": (64, 10), "collapsed": (64, 10)}


class Use(NamedTuple):
    """Of a kernel."""

    threads: int
    registers: int
    stack: int
    instructions: int  # of a step
    whole: int  # instructions of the whole kernel


def use(name: str, architecture: int) -> Use:
    """Of the layout that a model would be given on a GPU."""
    one = kernels.case(name, (0.01, 0.02))
    step = one.ready.step
    worlds, points = SIZES.get(name, (10, 144))
    source = fastest.compiled(step, layouts.ranked(step, worlds, points)[: fastest.TRIES], architecture)
    real = warps.usage(warps.compiled(source, architecture))
    alive = warps.usage(warps.compiled(source, architecture, ALIVE))
    return Use(source.how.threads, real.registers, real.stack, alive.marked, real.instructions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*", default=list(kernels.MODELS))
    options = parser.parse_args()
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in options.names:
        for architecture in (80, 90, 100):
            found = use(name, architecture)
            known[f"{name} sm_{architecture}"] = found._asdict()
            print(f"{name} sm_{architecture}", found, flush=True)
    if options.write:
        FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
